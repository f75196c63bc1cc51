"""A worker that a stranger has taken over asks the notary directly: it gets no certificate it should not have.

Whatever it says, nothing is signed, nothing recorded, and the notary goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from msgspec import Struct
from msgspec.structs import replace

from provisor.core.keys import describe_key, spki_der
from provisor.core.names import classify_sans
from provisor.core.x509 import oids
from provisor.core.x509.build import build_leaf
from provisor.core.x509.crl import encode_tbs_crl
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    encode_basic_constraints,
    encode_subject_alt_name,
)
from provisor.errors import Forbidden
from provisor.ports import Entry, Epoch, FreshSerial, NotRevoked, ToSign, Unspent
from support.authority import NOW, PKI, MemoryCA, make_config
from support.credentials import key_usage, make_key, make_party, make_signer, rsa_key

SECOND: Final = timedelta(seconds=1)


def constrained_pki() -> PKI:
    """An issuer that may name `a.test` and what is below it."""
    born, end = timedelta(days=-30), timedelta(days=30)
    root = make_party("Test Root", None, now=NOW, starts=born, ends=end, authority=True)
    constraints = x509.NameConstraints(permitted_subtrees=[x509.DNSName("a.test")], excluded_subtrees=None)
    issuer = make_party(
        "Test Issuer",
        root,
        now=NOW,
        starts=born,
        ends=end,
        authority=True,
        path_length=0,
        extensions=[(constraints, True)],
    )
    return PKI((issuer.der,), (root.der,), issuer)


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    signer = make_signer("ci")
    with MemoryCA(make_config(signer.entry()), pki=constrained_pki(), signers=[signer]) as made:
        yield made


class Worker:
    """Makes entries as a worker does, and changes them as it likes."""

    def __init__(self, ca: MemoryCA) -> None:
        self.ca = ca

    def draft(self, key: Any = None, sans: tuple[str, ...] = ("a.test",)) -> Draft:
        public = (key or make_key()).public_key()
        return build_leaf(
            subject_cn="a.test",
            names=classify_sans(sans),
            spki=spki_der(public),
            key=describe_key(public),
            issuer=self.ca.snapshot.issuer,
            serial=self.ca.snapshot.generate_serial(self.ca.clock.now),
            not_before=self.ca.clock.now,
            not_after=self.ca.clock.now + timedelta(hours=1),
        )

    def entry(self, draft: Draft | None = None, tbs: bytes | None = None, **sign: Any) -> Entry:
        draft = draft or self.draft()
        wanted: dict[str, Any] = {
            "issuer": self.ca.snapshot.issuer.id,
            "tbs": encode_tbs(draft) if tbs is None else tbs,
            "serial": draft.serial,
            "provisioner_id": "ci:x",
            "provisioner_name": "ci",
            "provisioner_kind": "JWK",
            "lineage": draft.serial,
            "predecessor": None,
            "csr_digest": b"",
            **sign,
        }
        return Entry(
            id=os.urandom(16),
            guards=(Epoch(self.ca.snapshot.epoch),),
            event=b"{}",
            sign=ToSign(**wanted),
        )


@pytest.fixture
def worker(ca: MemoryCA) -> Worker:
    return Worker(ca)


def test_what_an_honest_worker_asks_is_signed(worker: Worker) -> None:
    """Otherwise the refusals below would show nothing."""
    outcome = worker.ca.submit(worker.entry())
    assert outcome.committed
    leaf = x509.load_der_x509_certificate(outcome.certificate)
    leaf.verify_directly_issued_by(worker.ca.pki.issuer.certificate)


def _rejected(ca: MemoryCA, entry: Entry, why: str, *, status: str = "rejected") -> None:
    before = _rows(ca)
    outcome = ca.submit(entry)
    assert outcome.status == status, outcome
    assert why in (outcome.reason or outcome.guard)
    assert not outcome.certificate
    assert _rows(ca) == before
    assert ca.submit(Worker(ca).entry()).committed, "the notary goes on"


def _rows(ca: MemoryCA) -> list[int]:
    connection = ca._connection()
    tables = ("certificates", "events", "tokens", "revocations")
    return [connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in tables]


# -- what stands in the certificate -----------------------------------------------------------------------


def _with(*added: Extension) -> Callable[[Worker], Draft]:
    def change(worker: Worker) -> Draft:
        draft = worker.draft()
        replaced = {extension.oid for extension in added}
        return replace(draft, extensions=(*(e for e in draft.extensions if e.oid not in replaced), *added))

    return change


def _twice(worker: Worker) -> Draft:
    draft = worker.draft()
    return replace(draft, extensions=(*draft.extensions, draft.extensions[-1]))


def _usage(*usages: str) -> Extension:
    return Extension(oids.KEY_USAGE, True, key_usage(*usages).public_bytes())


def _window(start: timedelta, end: timedelta) -> Callable[[Worker], Draft]:
    return lambda worker: replace(
        worker.draft(), not_before=worker.ca.clock.now + start, not_after=worker.ca.clock.now + end
    )


def _beside_issuer(start: timedelta | None, end: timedelta | None) -> Callable[[Worker], Draft]:
    """A window measured from the issuer's own."""

    def change(worker: Worker) -> Draft:
        issuer, draft = worker.ca.snapshot.issuer.certificate, worker.draft()
        not_before: datetime = draft.not_before if start is None else issuer.not_before + start
        not_after: datetime = draft.not_after if end is None else issuer.not_after + end
        return replace(draft, not_before=not_before, not_after=not_after)

    return change


def _serial(number: int) -> Callable[[Worker], Draft]:
    return lambda worker: replace(worker.draft(), serial=number)


def _spki(octets: bytes) -> Callable[[Worker], Draft]:
    return lambda worker: replace(worker.draft(), spki=octets)


def _other_name(worker: Worker) -> Draft:
    return replace(worker.draft(), issuer=worker.draft().subject)


def _other_algorithm(worker: Worker) -> Draft:
    return replace(worker.draft(), signature_algorithm=bytes.fromhex("300d06092a864886f70d01010b0500"))


_NOT_A_KEY: Final = bytes.fromhex("3003020101")
_ED448: Final = (
    ed448.Ed448PrivateKey.generate().public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
)


class Bad(Struct, frozen=True):
    make: Callable[[Worker], Draft]
    why: str


DRAFTS: Final[Mapping[str, Bad]] = {
    "an authority": Bad(_with(encode_basic_constraints(BasicConstraints(is_ca=True))), "authority"),
    "an authority below this one": Bad(
        _with(encode_basic_constraints(BasicConstraints(is_ca=True, path_length=0)), _usage("key_cert_sign")),
        "authority",
    ),
    "the key usage of an authority": Bad(_with(_usage("digital_signature", "key_cert_sign")), "authority"),
    "the key usage of a list signer": Bad(_with(_usage("digital_signature", "crl_sign")), "authority"),
    "an extension twice": Bad(_twice, "twice"),
    "an extension that cannot be read": Bad(_with(Extension(oids.BASIC_CONSTRAINTS, True, b"\xff")), "cannot be read"),
    "an end before the beginning": Bad(_window(SECOND, -SECOND), "before it begins"),
    "no time at all": Bad(_window(timedelta(), timedelta()), "before it begins"),
    "an end in the past": Bad(_window(timedelta(hours=-2), timedelta(hours=-1)), "ended already"),
    "an end after the issuer's": Bad(_beside_issuer(None, SECOND), "after its issuer"),
    "a beginning long before the issuer's": Bad(
        _beside_issuer(timedelta(hours=-48) - SECOND, None), "before its issuer"
    ),
    "an RSA key that is too short": Bad(lambda worker: worker.draft(rsa_key(1024)), "RSA key of 1024"),
    "a key of another kind": Bad(_spki(_ED448), "Ed448"),
    "a key that cannot be read": Bad(_spki(_NOT_A_KEY), "public key cannot be read"),
    "a serial of zero": Bad(_serial(0), "serial"),
    "a negative serial": Bad(_serial(-5), "serial"),
    "a serial of 21 octets": Bad(_serial(1 << 160), "serial"),
    "another issuer's name": Bad(_other_name, "issuer name"),
    "another algorithm": Bad(_other_algorithm, "signature algorithm"),
    "a name that the issuer may not give": Bad(lambda worker: worker.draft(sans=("a.test", "evil.test")), "evil.test"),
    "a wildcard that the issuer may not give": Bad(lambda worker: worker.draft(sans=("*.test",)), "*.test"),
    "such a name in a critical extension": Bad(
        _with(encode_subject_alt_name(classify_sans(("evil.test",)), critical=True)), "evil.test"
    ),
}


@pytest.mark.parametrize("name", DRAFTS)
def test_a_certificate_is_not_signed_that_is(worker: Worker, name: str) -> None:
    bad = DRAFTS[name]
    _rejected(worker.ca, worker.entry(bad.make(worker)), bad.why)


def test_no_certificate_is_longer_than_the_absolute_maximum() -> None:
    signer = make_signer("ci")
    config = make_config(signer.entry(), provisor={"maxCertificateDuration": "48h"})
    with MemoryCA(config, signers=[signer]) as ca:
        worker = Worker(ca)
        longest = _window(timedelta(), timedelta(hours=48))(worker)
        assert ca.submit(worker.entry(longest)).committed
        _rejected(ca, worker.entry(_window(timedelta(), timedelta(hours=48) + SECOND)(worker)), "absolute maximum")


# -- bytes that are no certificate --------------------------------------------------------------------------


BYTES: Final[Mapping[str, Callable[[bytes], bytes]]] = {
    "nothing": lambda tbs: b"",
    "garbage": lambda tbs: b"\xff" * 64,
    "a certificate cut short": lambda tbs: tbs[:-1],
    "a certificate and more": lambda tbs: tbs + b"\0",
    "a whole certificate": lambda tbs: b"\x30\x82" + (len(tbs) + 0).to_bytes(2, "big") + tbs,
    "an indefinite length": lambda tbs: b"\x30\x80" + tbs[4:] + b"\0\0",
    "a length that is not the shortest": lambda tbs: b"\x30\x83\x00" + tbs[2:],
    "a sequence of nothing": lambda tbs: b"\x30\x00",
    "a text": lambda tbs: b"sign this message, please",
}


@pytest.mark.parametrize("name", BYTES)
def test_bytes_are_not_signed_that_are(worker: Worker, name: str) -> None:
    draft = worker.draft()
    _rejected(worker.ca, worker.entry(draft, tbs=BYTES[name](encode_tbs(draft))), "")


def test_a_list_of_revoked_certificates_is_not_signed_as_a_certificate(worker: Worker) -> None:
    tbs = encode_tbs_crl(
        worker.ca.snapshot.issuer,
        number=1,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
        entries=[],
        idp_url="https://ca.test/crl",
    )
    _rejected(worker.ca, worker.entry(tbs=tbs), "not a certificate")


# -- what is said about it ------------------------------------------------------------------------------------


def test_the_serial_on_record_is_the_serial_that_is_signed(worker: Worker) -> None:
    draft = worker.draft()
    other = draft.serial + 1
    _rejected(worker.ca, worker.entry(draft, serial=other, lineage=other), "serial number is not the one")


def test_a_serial_is_used_once(worker: Worker) -> None:
    draft = worker.draft()
    assert worker.ca.submit(worker.entry(draft)).committed
    again = replace(worker.draft(), serial=draft.serial)
    _rejected(worker.ca, worker.entry(again), "fresh-serial", status="refused")


def test_an_issuer_whose_key_is_not_here_signs_nothing(worker: Worker) -> None:
    _rejected(worker.ca, worker.entry(issuer=bytes(32)), "issuer")


def test_a_certificate_without_an_event_is_not_signed(worker: Worker) -> None:
    _rejected(worker.ca, replace(worker.entry(), event=None), "audit event")


def test_a_certificate_under_no_configuration_is_not_signed(worker: Worker) -> None:
    _rejected(worker.ca, replace(worker.entry(), guards=()), "no configuration")


@pytest.mark.parametrize("behind", [1, -1], ids=["the last one", "one that is to come"])
def test_a_certificate_under_another_configuration_is_not_signed(worker: Worker, behind: int) -> None:
    stale = replace(worker.entry(), guards=(Epoch(worker.ca.snapshot.epoch - behind),))
    _rejected(worker.ca, stale, "epoch", status="refused")


def test_a_worker_that_missed_a_reload_signs_nothing(worker: Worker) -> None:
    before = worker.entry()
    worker.ca.reconfigure(worker.ca.document)
    _rejected(worker.ca, before, "epoch", status="refused")


def test_a_renewal_that_does_not_ask_for_its_predecessor_is_not_signed(worker: Worker) -> None:
    _rejected(worker.ca, worker.entry(predecessor=5, lineage=5), "predecessor")
    other = (Epoch(worker.ca.snapshot.epoch), NotRevoked(worker.ca.snapshot.issuer.id, 6))
    _rejected(worker.ca, replace(worker.entry(predecessor=5, lineage=5), guards=other), "predecessor")


def test_the_first_of_a_line_does_not_join_another_line(worker: Worker) -> None:
    _rejected(worker.ca, worker.entry(lineage=5), "begins it")


def test_an_id_on_record_gives_no_second_certificate(worker: Worker) -> None:
    """The entry of another worker repeated with another certificate in it."""
    first = worker.entry()
    assert worker.ca.submit(first).committed
    before = _rows(worker.ca)
    outcome = worker.ca.submit(replace(worker.entry(), id=first.id))
    assert outcome.status == "rejected"
    assert _rows(worker.ca) == before


def test_a_guard_of_ones_own_does_not_replace_the_notarys(worker: Worker) -> None:
    """A worker that claims its serial to be fresh is not believed."""
    draft = worker.draft()
    assert worker.ca.submit(worker.entry(draft)).committed
    guards = (Epoch(worker.ca.snapshot.epoch), FreshSerial(worker.ca.snapshot.issuer.id, 7), Unspent("x"))
    _rejected(worker.ca, replace(worker.entry(draft), guards=guards), "fresh-serial", status="refused")


@pytest.mark.parametrize("curve", [ec.SECP256R1(), ec.SECP384R1(), ec.SECP521R1()], ids=lambda curve: curve.name)
def test_a_strong_key_passes(worker: Worker, curve: ec.EllipticCurve) -> None:
    key = ec.generate_private_key(curve)
    assert worker.ca.submit(worker.entry(worker.draft(key))).committed


# -- the list of revoked certificates -----------------------------------------------------------------------------


def test_a_certificate_is_not_signed_as_a_list(worker: Worker) -> None:
    tbs = encode_tbs(worker.draft())
    with pytest.raises(Forbidden, match="not a CRL"):
        worker.ca.run(worker.ca.notary.sign_crl(worker.ca.snapshot.issuer.id, tbs))
