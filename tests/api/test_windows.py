"""From when to when, and by whom: certificates near their issuer's end, renewals, a new issuer."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtensionOID

from provisor.core.x509.certificate import Certificate, parse_certificate
from support.authority import NOW, PKI, MemoryCA, make_config, make_pki
from support.credentials import Party, TokenSigner, make_csr, make_key, make_party, make_signer

SIGNER: Final[TokenSigner] = make_signer("ci")
SOON: Final = NOW + timedelta(hours=10)


def ending(**members: object) -> MemoryCA:
    """A CA whose issuer ends in ten hours."""
    pki = make_pki(NOW, lifetime=timedelta(hours=10))
    return MemoryCA(make_config(SIGNER.entry(), **members), pki=pki, signers=[SIGNER])


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with MemoryCA(make_config(SIGNER.entry()), signers=[SIGNER]) as made:
        yield made


def sign(ca: MemoryCA, **window: str) -> Certificate:
    answer = ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": ca.token(), **window})
    return answer.certificate


def refusal(ca: MemoryCA, **window: str) -> int:
    return ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": ca.token(), **window}).status


# -- near the issuer's end --------------------------------------------------------------------------------


def test_an_end_that_was_left_to_us_is_the_issuers_at_the_latest() -> None:
    with ending() as ca:
        assert sign(ca).not_after == SOON
        assert sign(ca, notBefore="1h").not_after == SOON


def test_an_end_that_was_asked_for_is_not_moved() -> None:
    with ending() as ca:
        assert sign(ca, notAfter="10h").not_after == SOON
        assert refusal(ca, notAfter="10h1s") == 403


def test_the_reference_outlives_its_issuer_where_it_is_told_to() -> None:
    with ending(provisor={"switches": {"allowNotAfterBeyondIssuer": True}}) as ca:
        assert sign(ca, notAfter="24h").not_after == NOW + timedelta(hours=24)


def test_a_renewal_ends_with_the_issuer_at_the_latest() -> None:
    with ending() as ca:
        leaf = ca.issue()
        ca.clock.advance(hours=1)
        assert ca.call("POST", "/renew", client_certificate=leaf).certificate.not_after == SOON


def test_an_issuer_that_is_over_signs_nothing() -> None:
    with ending() as ca:
        ca.clock.advance(hours=11)
        assert refusal(ca) in (400, 403)
        assert ca.books().certificates == ()


# -- renewals -----------------------------------------------------------------------------------------------


def _renewed(ca: MemoryCA, leaf: Party) -> Party:
    answer = ca.call("POST", "/renew", client_certificate=leaf)
    return Party(x509.load_der_x509_certificate(answer.certificate.der), leaf.key)


def test_renewals_keep_the_length_and_the_line(ca: MemoryCA) -> None:
    first = leaf = ca.issue()
    for _ in range(3):
        ca.clock.advance(hours=8)
        before, leaf = leaf, _renewed(ca, leaf)
        certificate = leaf.certificate
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=24, minutes=1)
        assert certificate.not_valid_before_utc == ca.clock.now - timedelta(minutes=1)
        record = ca.run(ca.store.ledger.find_certificate(ca.snapshot.issuer.id, leaf.serial))
        assert record is not None
        assert (record.predecessor, record.lineage) == (before.serial, first.serial)
        assert record.provisioner_id == f"ci:{SIGNER.kid}"


def test_a_renewal_event_names_its_predecessor(ca: MemoryCA) -> None:
    leaf = ca.issue()
    renewed = _renewed(ca, leaf)
    event = ca.books().events[-1]
    assert event.given is not None
    assert (event.given.serial, event.given.predecessor) == (str(renewed.serial), str(leaf.serial))
    assert event.certificate == str(leaf.serial)


@pytest.mark.parametrize("seconds", [60, 59, 1])
def test_what_lived_no_longer_than_it_is_put_back_is_not_renewed(ca: MemoryCA, seconds: int) -> None:
    leaf = make_party(
        "a.test",
        ca.pki.issuer,
        now=NOW,
        starts=timedelta(),
        ends=timedelta(seconds=seconds),
    )
    found = ca.snapshot.registry.find_by_name("ci")
    assert found is not None
    ca.record(leaf.der, found.ref)
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 500


def test_a_renewal_shrinks_with_no_claim(ca: MemoryCA) -> None:
    """The old certificate is the grant; what the provisioner allows today bounds new ones only."""
    leaf = ca.issue()
    shorter = SIGNER.entry(claims={"maxTLSCertDuration": "1h", "defaultTLSCertDuration": "1h"})
    ca.reconfigure(make_config(shorter))
    certificate = _renewed(ca, leaf).certificate
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(hours=24, minutes=1)


# -- a new issuer -------------------------------------------------------------------------------------------


@pytest.fixture
def rotated(ca: MemoryCA) -> tuple[MemoryCA, Party]:
    """A leaf of an intermediate that was replaced by another one below the same root."""
    leaf = ca.issue()
    root = make_party("Another Root", None, now=NOW, authority=True, ends=timedelta(days=3650))
    issuer = make_party("Another Issuer", root, now=NOW, authority=True, path_length=0, ends=timedelta(days=3650))
    ca.pki = PKI((issuer.der,), (*ca.pki.roots, root.der), issuer)
    ca.reconfigure(ca.document)
    return ca, leaf


def test_a_certificate_of_the_former_issuer_is_renewed_by_the_new_one(rotated: tuple[MemoryCA, Party]) -> None:
    ca, leaf = rotated
    renewed = _renewed(ca, leaf).certificate
    renewed.verify_directly_issued_by(ca.pki.issuer.certificate)
    assert _other_extensions(renewed) == _other_extensions(leaf.certificate)
    key_id = x509.SubjectKeyIdentifier.from_public_key(ca.pki.issuer.key.public_key()).digest
    identifier = renewed.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    assert identifier == key_id


def _other_extensions(certificate: x509.Certificate) -> list[tuple[str, bool, bytes]]:
    return [
        (e.oid.dotted_string, e.critical, e.value.public_bytes())
        for e in certificate.extensions
        if e.oid != ExtensionOID.AUTHORITY_KEY_IDENTIFIER
    ]


def test_a_serial_is_revoked_for_the_issuer_it_is_of(rotated: tuple[MemoryCA, Party]) -> None:
    ca, leaf = rotated
    body = {"serial": str(leaf.serial), "ott": ca.revoke_token(leaf.serial), "passive": True}
    assert ca.call("POST", "/revoke", body).status == 200
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 401
    ledger = ca.store.ledger
    former = next(issuer for issuer in ca.snapshot.issuers if issuer != ca.snapshot.issuer.id)
    assert ca.run(ledger.is_revoked(former, leaf.serial))
    assert not ca.run(ledger.is_revoked(ca.snapshot.issuer.id, leaf.serial))


def test_the_former_issuer_signs_nothing_any_more(rotated: tuple[MemoryCA, Party]) -> None:
    ca, _ = rotated
    leaf = sign(ca)
    assert leaf.issuer == parse_certificate(ca.pki.chain[0]).subject


def test_an_authority_certificate_is_never_renewed(ca: MemoryCA) -> None:
    """Not by its holder, not by a token of its key, on record or not."""
    below = make_party("Below", ca.pki.issuer, now=NOW, authority=True, path_length=0)
    found = ca.snapshot.registry.find_by_name("ci")
    assert found is not None
    ca.record(below.der, found.ref)
    for path in ("/renew", "/rekey"):
        body = {"csr": make_csr(make_key())}
        assert ca.call("POST", path, body, client_certificate=below).status == 401
    headers = [("Authorization", f"Bearer {ca.renew_token(below)}")]
    assert ca.call("POST", "/renew", headers=headers).status == 401


def test_times_are_the_clocks_and_nothing_is_read_twice(ca: MemoryCA) -> None:
    """Every check of a request sees one moment, although the clock goes on."""
    moments: list[datetime] = []

    def running() -> datetime:
        moments.append(NOW + timedelta(hours=len(moments)))
        return moments[-1]

    token = ca.token()
    ca.snapshot.clock = running
    answer = ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": token})
    assert answer.certificate.not_before == NOW - timedelta(minutes=1)
