"""The same requests to a real step-ca and to Provisor, on copies of one folder: the same answers.

Where they differ on purpose, `DIFFERENCES` names the row of docs/compatibility.md that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from support.credentials import Party, make_signer
from support.paired_requests import TABLES
from support.peers import REPOSITORY, ThrowawayPKI, jwk_provisioner, require_peer
from support.provisor_process import CAFolder, provisor_ca, step_ca
from support.two_cas import Side, differences

pytestmark = pytest.mark.peer


class Different(Struct, frozen=True):
    """What Provisor answers instead, and the row of docs/compatibility.md."""

    status: int
    row: str


DIFFERENCES: Final[Mapping[str, Different]] = {
    "body: member twice, first unusable": Different(201, "a member twice in a body, the first one unusable"),
    "token: critical header empty": Different(401, "token with an empty `crit`"),
    "renewal: by token, critical header empty": Different(500, "token with an empty `crit`"),
    "certificate: request signed with SHA-1": Different(400, "request signed with SHA-1"),
    "certificate: ends after the issuer": Different(403, "explicit `notAfter` beyond the issuer's"),
    "renewal: by certificate without provisioner": Different(
        401, "certificate without provisioner extension and without record: renewal"
    ),
    "renewal: by certificate of a CA": Different(401, "renewal of a CA certificate"),
    "renewal: rekey to RSA 1024": Different(403, "rekey to RSA below 2048 bits or to P-224"),
    "renewal: rekey to P-224": Different(403, "rekey to RSA below 2048 bits or to P-224"),
    "on purpose: ready": Different(200, "`/ready`"),
    "on purpose: token spent by a stranger": Different(201, "when a token is spent"),
    "on purpose: token for another endpoint": Different(201, "a valid token at the wrong endpoint"),
    "on purpose: token without id, rewritten": Different(401, "token without `jti`"),
    "on purpose: token issued before the start": Different(201, "tokens issued before the start"),
    "on purpose: token over 64 KiB": Different(401, "token over 64 KiB"),
    "on purpose: body over 1 MiB": Different(413, "request body over 1 MiB"),
    "on purpose: header over 32 KiB": Different(431, "header over 32 KiB or 100 lines"),
    "on purpose: header of 101 lines": Different(431, "header over 32 KiB or 100 lines"),
    "on purpose: seventy levels of JSON": Different(400, "more than 64 levels of JSON"),
    "on purpose: 1,001 names": Different(400, "more than 1,000 names"),
    "on purpose: begins before the issuer": Different(
        403, "explicit `notBefore` more than two days before the issuer's"
    ),
    "on purpose: renewal with an empty chain": Different(
        401, "`x5cInsecure: []`, certificate of an uninitialised provisioner at /renew"
    ),
    "on purpose: ACME directory": Different(404, "SSH, ACME, SCEP, admin API"),
}

PROVISIONERS: Final[Mapping[str, Mapping[str, Any]]] = {
    "ci": {},
    "noext": {"claims": {"disableSmallstepExtensions": True}},
    "short": {"claims": {"minTLSCertDuration": "10m", "defaultTLSCertDuration": "20m", "maxTLSCertDuration": "30m"}},
    "long": {"claims": {"maxTLSCertDuration": "100000h"}},
    "norenew": {"claims": {"disableRenewal": True}},
    "after": {"claims": {"allowRenewalAfterExpiry": True}},
}


class Pair(Struct, frozen=True):
    reference: Side
    ours: Side


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Pair]:
    require_peer("step-ca")
    base = tmp_path_factory.mktemp("pair")
    pki = ThrowawayPKI(base)
    issuer_key = load_pem_private_key(pki.key_file.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    issuer = Party(x509.load_pem_x509_certificate(pki.intermediate_file.read_bytes()), issuer_key)
    signers = {name: make_signer(name) for name in PROVISIONERS}
    provisioners: list[Mapping[str, Any]] = [
        jwk_provisioner("you@smallstep.com"),
        *(signer.entry(**PROVISIONERS[name]) for name, signer in signers.items()),
        {"type": "X5C", "name": "broken"},
    ]
    theirs, mine = (CAFolder(base / name, provisioners, pki=pki) for name in ("step-ca", "provisor"))
    with theirs.serve(step_ca()), mine.serve(provisor_ca()):
        yield Pair(Side("step-ca", theirs, issuer, signers), Side("provisor", mine, issuer, signers))


def cases() -> list[str]:
    return [f"{table}: {name}" for table, made in TABLES.items() for name in made]


@pytest.mark.parametrize("case", cases())
def test_both_answer_the_same(case: str, pair: Pair) -> None:
    table, _, name = case.partition(": ")
    make = TABLES[table][name]
    ours = pair.ours.send(make(pair.ours))
    theirs = pair.reference.send(make(pair.reference))
    found = differences(theirs, ours, (pair.ours.folder.port, pair.reference.folder.port))
    expected = DIFFERENCES.get(case)
    if expected is None:
        assert found == []
    else:
        assert found, "there is no difference any more"
        assert ours.status == expected.status


def test_every_difference_is_a_row_of_the_documentation() -> None:
    text = (REPOSITORY / "docs" / "compatibility.md").read_text(encoding="utf-8")
    rows = {match[1].strip() for match in re.finditer(r"(?m)^\| ([^|]+)\|", text)}
    assert {different.row for different in DIFFERENCES.values()} <= rows
    assert set(DIFFERENCES) <= set(cases())


def test_there_are_many_requests() -> None:
    assert len(cases()) >= 400
