"""Recorded exchanges with step-ca, answered again: the same, or knowingly different as docs/compatibility.md says."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from msgspec import Struct

from support.comparison import differences
from support.recorded import ELSEWHERE, Exchange, load, load_document, load_pki
from support.replay import CHANGES, replay

RECORDINGS: Final = ("public", "sign-refused", "sign-issued", "renew", "mtls", "revoke", "crl", "bare")
COMPATIBILITY: Final = Path(__file__).resolve().parents[2] / "docs" / "compatibility.md"


class Known(Struct, frozen=True):
    """A difference: our status, and the row of docs/compatibility.md that says why.

    `switch`: the reference's answer comes back with the switches on. `message` is a part of our answer.
    """

    status: int
    why: str
    switch: bool = False
    message: str = ""


UNKNOWN_CERTIFICATE = Known(401, "certificate without provisioner extension and without record: renewal", switch=True)
OTHER_KINDS = "provisioners other than JWK"
STATE = Known(200, OTHER_KINDS, message='"state":"Uninitialized"')
RENEWS_BY_CLAIMS = Known(201, OTHER_KINDS)
NO_ACME = Known(404, "SSH, ACME, SCEP, admin API", message="404 page not found")

KNOWN: Final[Mapping[tuple[str, str], Known]] = {
    ("public", "provisioners"): STATE,
    ("public", "provisioners page 3"): STATE,
    ("public", "provisioners page 4"): STATE,
    ("public", "acme mounted"): NO_ACME,
    ("public", "acme mounted 2.0"): NO_ACME,
    ("sign-refused", "oversize body 2 MiB"): Known(413, "request body over 1 MiB"),
    ("sign-refused", "token iat before the CA started"): Known(201, "tokens issued before the start", switch=True),
    ("sign-refused", "token burnt by a bad signature, then the good one"): Known(201, "when a token is spent"),
    ("sign-refused", "csr signed with SHA-1"): Known(
        400, "request signed with SHA-1", switch=True, message="invalid csr"
    ),
    ("renew", "token chain empty"): Known(
        401, "`x5cInsecure: []`, certificate of an uninitialised provisioner at /renew", message="error validating"
    ),
    ("renew", "rekey to RSA 1024"): Known(403, "rekey to RSA below 2048 bits or to P-224", switch=True),
    ("renew", "renew after the provisioner's key was replaced"): Known(
        401, "recorded certificate whose provisioner's id is gone: renewal", switch=True
    ),
    ("mtls", "renew: certificate not in the database, no extension"): UNKNOWN_CERTIFICATE,
    ("mtls", "renew: no extended key usage"): UNKNOWN_CERTIFICATE,
    ("mtls", "renew: no key usage"): UNKNOWN_CERTIFICATE,
    ("mtls", "token: extension names the broken X5C provisioner"): RENEWS_BY_CLAIMS,
    ("mtls", "renew: extension names the broken X5C provisioner"): RENEWS_BY_CLAIMS,
    ("bare", "bare renew: certificate without extension, mTLS"): UNKNOWN_CERTIFICATE,
}


def _cases() -> Iterator[object]:
    for recording in RECORDINGS:
        for exchange in load(recording):
            if (recording, exchange.name) not in ELSEWHERE:
                for switched in (False, True):
                    mode = " (switches on)" if switched else ""
                    yield pytest.param(exchange, switched, id=f"{recording}: {exchange.name}{mode}")


@pytest.mark.parametrize(("exchange", "switched"), list(_cases()))
def test_the_answer_is_the_recorded_one(exchange: Exchange, switched: bool) -> None:
    answer = replay(exchange.recording, switched=switched)[exchange.name]
    found = differences(exchange, answer)
    known = KNOWN.get((exchange.recording, exchange.name))
    if known is None or (known.switch and switched):
        assert not found, "\n".join(found)
    else:
        assert found, "no longer different: take it off the table, and off docs/compatibility.md"
        assert answer.status == known.status
        assert known.message in answer.body.decode()


def test_every_issued_certificate_is_signed_by_the_issuer_under_a_serial_of_its_own() -> None:
    issuer = load_pki(load_document("ca")).issuer.certificate
    serials: list[int] = []
    for recording in RECORDINGS:
        for answer in replay(recording, switched=False).values():
            if answer.status == 201 and answer.body.startswith(b'{"crt"'):
                leaf = x509.load_der_x509_certificate(answer.certificate.der)
                leaf.verify_directly_issued_by(issuer)
                serials.append(leaf.serial_number)
    assert len(serials) > 150
    assert len(set(serials)) == len(serials)
    assert all(0 < serial < 1 << 128 for serial in serials)


def test_a_disabled_provisioner_is_listed_as_it_was_but_with_its_state() -> None:
    recorded = next(exchange for exchange in load("public") if exchange.name == "provisioners")
    ours = replay("public", switched=False)["provisioners"].json["provisioners"]
    theirs = json.loads(recorded.answer)["provisioners"]
    assert [entry["name"] for entry in ours] == [entry["name"] for entry in theirs]
    for entry, was in zip(ours, theirs, strict=True):
        # The one that was uninitialised in the recording as well, for a reason of its own.
        disabled = entry["name"] == "broken"
        assert entry.pop("state", "") == ("Uninitialized" if disabled else "")
        assert entry.pop("stateReason", "").endswith("not supported by this version of Provisor" if disabled else "")
        assert list(entry.items()) == [pair for pair in was.items() if pair[0] not in ("state", "stateReason")]


def test_every_known_difference_is_a_row_of_the_documentation() -> None:
    rows = [line.split("|")[1].strip() for line in COMPATIBILITY.read_text().splitlines() if line.startswith("|")]
    assert {known.why for known in KNOWN.values()} <= set(rows)


@pytest.mark.parametrize("table", [KNOWN, ELSEWHERE, CHANGES], ids=["known", "elsewhere", "changes"])
def test_the_tables_name_exchanges_that_exist(table: Mapping[tuple[str, str], object]) -> None:
    recorded = {(recording, exchange.name) for recording in RECORDINGS for exchange in load(recording)}
    assert table.keys() <= recorded
