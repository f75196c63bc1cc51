"""Near misses of the two checks: every invariant broken alone, beside the certificate that passes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from provisor.core.der import element, header_size, sequence
from provisor.core.durations import HOUR, Duration
from provisor.core.keys import KeyInfo, spki_der
from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import RSA_SHA256
from provisor.core.x509.check import MAX_SERIAL, ParsedTBS, check_draft, check_invariants
from provisor.core.x509.constraints import NameConstraints
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    encode_basic_constraints,
    encode_key_usage,
    encode_subject_alt_name,
)
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.name import encode_common_name
from provisor.errors import Forbidden, KeyNotAllowed, NameConstrained, ProvisorError, Unencodable, ValidityNotAllowed
from support.x509_lab import END, NOW, Lab, Party, dns, with_extension

DAY = Duration(24 * HOUR)
SECOND = timedelta(seconds=1)


def gate(
    tbs: bytes,
    issuer: Issuer,
    *,
    max_validity: Duration = DAY,
    allow_ca: bool = False,
    now: datetime = NOW,
    not_beyond_issuer: bool = True,
) -> ParsedTBS:
    return check_invariants(
        tbs,
        issuer=issuer,
        max_validity=max_validity,
        allow_ca=allow_ca,
        now=now,
        not_beyond_issuer=not_beyond_issuer,
    )


RSA_2048 = spki_der(rsa.generate_private_key(65537, 2048).public_key())
RSA_1024 = spki_der(rsa.generate_private_key(65537, 1024).public_key())
P224 = spki_der(ec.generate_private_key(ec.SECP224R1()).public_key())
AUTHORITY = encode_basic_constraints(BasicConstraints(is_ca=True))
NO_AUTHORITY = encode_basic_constraints(BasicConstraints(is_ca=False))


def test_a_leaf_passes_and_is_reported_as_the_bytes_say(lab: Lab) -> None:
    draft = lab.draft(["a.test", "10.0.0.1", "x@a.test", "https://a.test/x"])
    parsed = gate(encode_tbs(draft), lab.issuer)
    assert parsed == ParsedTBS(
        serial=draft.serial,
        subject=draft.subject,
        not_before=draft.not_before,
        not_after=draft.not_after,
        spki=draft.spki,
        key=KeyInfo("EC", 256, "P-256"),
        is_ca=False,
        names=(
            Name(NameKind.DNS, "a.test"),
            Name(NameKind.EMAIL, "x@a.test"),
            Name(NameKind.IP, "10.0.0.1"),
            Name(NameKind.URI, "https://a.test/x"),
        ),
        signature_algorithm=lab.issuer.signature_algorithm,
    )


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: replace(draft, serial=1),
        lambda draft: replace(draft, serial=MAX_SERIAL),
        lambda draft: replace(draft, spki=RSA_2048),
        lambda draft: replace(draft, spki=P224),
        lambda draft: replace(draft, spki=spki_der(ed25519.Ed25519PrivateKey.generate().public_key())),
        lambda draft: replace(draft, extensions=()),
        lambda draft: replace(draft, subject=encode_common_name("")),
        lambda draft: with_extension(draft, NO_AUTHORITY),
        lambda draft: with_extension(draft, Extension("1.2.3", critical=True, value=b"\x05\x00")),
        lambda draft: replace(
            draft, not_before=draft.not_before - timedelta(days=9), not_after=NOW - timedelta(days=8)
        ),
    ],
    ids=["1", "2^159-1", "RSA", "P-224", "Ed25519", "bare", "no subject", "no CA", "unknown extension", "waited"],
)
def test_an_unusual_leaf_passes(lab: Lab, change: Callable[[Draft], Draft]) -> None:
    draft = change(lab.draft())
    gate(encode_tbs(draft), lab.issuer, now=min(NOW, draft.not_after + timedelta(minutes=5)))


@pytest.mark.parametrize(
    ("change", "kind", "detail"),
    [
        (lambda draft: replace(draft, serial=0), Forbidden, "serial number"),
        (lambda draft: replace(draft, serial=-5), Forbidden, "serial number"),
        (lambda draft: replace(draft, serial=MAX_SERIAL + 1), Forbidden, "serial number"),
        (lambda draft: replace(draft, issuer=encode_common_name("Other")), Forbidden, "issuer name"),
        (lambda draft: replace(draft, issuer=draft.subject), Forbidden, "issuer name"),
        (lambda draft: replace(draft, signature_algorithm=RSA_SHA256), Forbidden, "signature algorithm"),
        (lambda draft: replace(draft, not_after=draft.not_before), ValidityNotAllowed, "before it begins"),
        (lambda draft: replace(draft, not_after=NOW + timedelta(hours=24, seconds=1)), ValidityNotAllowed, "longer"),
        (
            lambda draft: replace(draft, not_before=END, not_after=END + timedelta(seconds=1)),
            ValidityNotAllowed,
            "after",
        ),
        (
            lambda draft: replace(
                draft,
                not_before=datetime(2025, 12, 29, 23, tzinfo=UTC),
                not_after=datetime(2025, 12, 30, tzinfo=UTC),
            ),
            ValidityNotAllowed,
            "ended already|long before",
        ),
        (
            lambda draft: replace(
                draft, not_before=NOW - timedelta(hours=1), not_after=NOW - timedelta(minutes=5, seconds=1)
            ),
            ValidityNotAllowed,
            "ended already",
        ),
        (lambda draft: replace(draft, spki=RSA_1024), KeyNotAllowed, "1024 bits"),
        (
            lambda draft: replace(draft, spki=spki_der(dsa.generate_private_key(1024).public_key())),
            KeyNotAllowed,
            "DSA",
        ),
        (
            lambda draft: replace(draft, spki=spki_der(ed448.Ed448PrivateKey.generate().public_key())),
            KeyNotAllowed,
            "Ed448",
        ),
        (
            lambda draft: replace(draft, spki=spki_der(ec.generate_private_key(ec.SECP256K1()).public_key())),
            KeyNotAllowed,
            "curve",
        ),
        (lambda draft: with_extension(draft, AUTHORITY), Forbidden, "certificate of an authority"),
        (lambda draft: with_extension(draft, encode_key_usage(KeyUsage.CERT_SIGN)), Forbidden, "key usage"),
        (
            lambda draft: with_extension(draft, encode_key_usage(KeyUsage.DIGITAL_SIGNATURE | KeyUsage.CRL_SIGN)),
            Forbidden,
            "key usage",
        ),
        (lambda draft: replace(draft, extensions=draft.extensions[:1] * 2), Forbidden, "2.5.29.15 is there twice"),
        (
            lambda draft: replace(draft, extensions=(Extension("1.2.3", critical=False, value=b""),) * 2),
            Forbidden,
            "1.2.3 is there twice",
        ),
        (
            lambda draft: with_extension(draft, Extension(oids.KEY_USAGE, critical=True, value=b"\x30\x00")),
            Forbidden,
            "cannot be read",
        ),
        (
            lambda draft: with_extension(draft, Extension(oids.SUBJECT_ALT_NAME, critical=True, value=b"\x30\x02")),
            Forbidden,
            "cannot be read",
        ),
        (
            lambda draft: with_extension(
                draft, Extension(oids.SUBJECT_ALT_NAME, critical=False, value=bytes.fromhex("3004a3020500"))
            ),
            Forbidden,
            "cannot be read",
        ),
        (
            lambda draft: with_extension(
                draft, Extension(oids.BASIC_CONSTRAINTS, critical=True, value=bytes.fromhex("3003010101"))
            ),
            Forbidden,
            "cannot be read",
        ),
    ],
)
def test_a_broken_invariant_is_refused(
    lab: Lab, change: Callable[[Draft], Draft], kind: type[ProvisorError], detail: str
) -> None:
    with pytest.raises(kind, match=detail):
        gate(encode_tbs(change(lab.draft())), lab.issuer)


def test_a_certificate_for_longer_ago_than_the_issuer_lives_is_refused(lab: Lab) -> None:
    start = lab.issuer.certificate.not_before - timedelta(hours=48, seconds=1)
    draft = replace(lab.draft(), not_before=start, not_after=NOW)
    with pytest.raises(ValidityNotAllowed, match="long before"):
        gate(encode_tbs(draft), lab.issuer, max_validity=Duration(10_000 * HOUR))
    with pytest.raises(ValidityNotAllowed, match="long before"):
        check_draft(draft, issuer=lab.issuer, not_beyond_issuer=False)
    gate(
        encode_tbs(replace(draft, not_before=start + timedelta(seconds=1))),
        lab.issuer,
        max_validity=Duration(10_000 * HOUR),
    )


def test_the_end_of_the_issuer_binds_unless_it_is_said_not_to(lab: Lab) -> None:
    draft = replace(lab.draft(), not_before=END, not_after=END + timedelta(hours=1))
    with pytest.raises(ValidityNotAllowed, match="after its issuer"):
        check_draft(draft, issuer=lab.issuer, not_beyond_issuer=True)
    tbs = check_draft(draft, issuer=lab.issuer, not_beyond_issuer=False).tbs
    with pytest.raises(ValidityNotAllowed, match="after its issuer"):
        gate(tbs, lab.issuer)
    gate(tbs, lab.issuer, not_beyond_issuer=False)


def test_another_version_is_refused(lab: Lab) -> None:
    tbs = encode_tbs(lab.draft())
    for version in (0, 1, 3):
        with pytest.raises(Forbidden):
            gate(tbs.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01" + bytes((version,)), 1), lab.issuer)


@pytest.mark.parametrize(
    "replaced",
    [
        # A time of this century as GeneralizedTime, in place of a UTCTime.
        (b"\x17\x0d260601120000Z", b"\x18\x0f20260601120000Z"),
        # Seconds with a fraction.
        (b"\x17\x0d260601120000Z", b"\x18\x1120260601120000.5Z"),
        # A zone instead of Z.
        (b"\x17\x0d260601120000Z", b"\x17\x11260601120000+0000"),
    ],
    ids=["generalized", "fraction", "zone"],
)
def test_a_time_in_another_form_is_refused(lab: Lab, replaced: tuple[bytes, bytes]) -> None:
    old, new = replaced
    tbs = encode_tbs(lab.draft())
    head, body = tbs[:4], tbs[4:]
    assert head[:2] == b"\x30\x82"
    window = body.index(b"\x30\x1e" + old)
    grown = len(new) - len(old)
    changed = b"".join(
        (
            head[:2],
            (len(body) + grown).to_bytes(2, "big"),
            body[:window],
            bytes((0x30, 0x1E + grown)),
            body[window + 2 :].replace(old, new, 1),
        )
    )
    with pytest.raises(Forbidden, match=r"a time is not|not a certificate"):
        gate(changed, lab.issuer)


def test_an_authority_passes_only_where_authorities_may(lab: Lab) -> None:
    issuer = replace(lab.issuer, certificate=lab.root.certificate)
    tbs = encode_tbs(replace(with_extension(lab.draft(), AUTHORITY), issuer=lab.root.certificate.subject))
    assert gate(tbs, issuer, allow_ca=True).is_ca
    with pytest.raises(Forbidden, match="authority"):
        gate(tbs, issuer, allow_ca=False)


def test_an_authority_below_a_path_length_of_zero_is_for_the_verifiers_to_refuse(lab: Lab) -> None:
    assert lab.issuer.certificate.path_length == 0
    assert gate(encode_tbs(with_extension(lab.draft(), AUTHORITY)), lab.issuer, allow_ca=True).is_ca


def test_names_outside_the_constraints_are_refused_by_both_checks(lab: Lab) -> None:
    issuer = replace(lab.issuer, constraints=NameConstraints(permitted_dns=("a.test",)))
    inside, outside = lab.draft(["x.a.test"]), lab.draft(["x.b.test"])
    gate(check_draft(inside, issuer=issuer, not_beyond_issuer=True).tbs, issuer)
    with pytest.raises(NameConstrained, match=r"x\.b\.test"):
        check_draft(outside, issuer=issuer, not_beyond_issuer=True)
    with pytest.raises(NameConstrained, match=r"x\.b\.test"):
        gate(encode_tbs(outside), issuer)


def test_the_bytes_count_not_what_the_draft_says_of_itself(lab: Lab) -> None:
    issuer = replace(lab.issuer, constraints=NameConstraints(permitted_dns=("a.test",)))
    lying = with_extension(lab.draft(["x.a.test"]), encode_subject_alt_name(dns("evil.test"), critical=False))
    tbs = check_draft(lying, issuer=issuer, not_beyond_issuer=True).tbs
    with pytest.raises(NameConstrained, match=r"evil\.test"):
        gate(tbs, issuer)


def test_limits_of_keys_are_arguments(lab: Lab) -> None:
    rsa_tbs = encode_tbs(replace(lab.draft(), spki=RSA_1024))
    check_invariants(rsa_tbs, issuer=lab.issuer, max_validity=DAY, allow_ca=False, now=NOW, min_rsa_bits=1024)
    p224 = encode_tbs(replace(lab.draft(), spki=P224))
    with pytest.raises(KeyNotAllowed, match="P-224"):
        check_invariants(
            p224, issuer=lab.issuer, max_validity=DAY, allow_ca=False, now=NOW, curves=frozenset({"P-256"})
        )


def test_a_checked_draft_holds_the_bytes_of_its_draft(lab: Lab) -> None:
    draft = lab.draft()
    checked = check_draft(draft, issuer=lab.issuer, not_beyond_issuer=True)
    assert checked.draft is draft
    assert checked.tbs == encode_tbs(draft)


def test_a_draft_without_a_window_is_refused(lab: Lab) -> None:
    draft = lab.draft()
    with pytest.raises(ValidityNotAllowed):
        check_draft(replace(draft, not_after=draft.not_before), issuer=lab.issuer, not_beyond_issuer=False)


@pytest.mark.parametrize(
    "extension",
    [
        "300b 0603551d0f 010100 0401 00",  # the default written out
        "300b 0603551d0f 010101 0401 00",  # a boolean that is neither
        "300a 0603551d0f 0401 00 0500",  # a member too many
        "3005 0603551d0f",  # no value
        "3008 0603551d0f 0c01 41",  # a value of another type
        "3108 0603551d0f 0401 00",  # no sequence
        "0500",
    ],
)
def test_extensions_are_read_strictly(lab: Lab, extension: str) -> None:
    plain = encode_tbs(replace(lab.draft(), extensions=()))
    gate(plain, lab.issuer)
    list_of_one = element(b"\xa3", sequence(bytes.fromhex(extension)))
    with pytest.raises(Forbidden):
        gate(sequence(plain[header_size(len(plain)) :], list_of_one), lab.issuer)


def test_a_subject_that_is_not_der_cannot_be_encoded(lab: Lab) -> None:
    with pytest.raises(Unencodable):
        check_draft(replace(lab.draft(), subject=b"\x30"), issuer=lab.issuer, not_beyond_issuer=True)


@given(data=st.data())
@settings(max_examples=100)
def test_changed_bytes_never_become_an_authority_or_another_issuers(lab: Lab, data: st.DataObject) -> None:
    changed = bytearray(encode_tbs(lab.draft()))
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(ProvisorError):
        assert not gate(bytes(changed), lab.issuer).is_ca


def test_octets_that_are_no_certificate_are_refused(lab: Lab) -> None:
    for tbs in (b"", b"\x30\x00", encode_tbs(lab.draft())[:-1], encode_tbs(lab.draft()) + b"\x00"):
        with pytest.raises(Forbidden):
            gate(tbs, lab.issuer)


def test_a_signed_certificate_is_what_passed(lab: Lab) -> None:
    party: Party = lab.intermediate
    draft = lab.draft()
    assert encode_tbs(draft) in party.sign(draft)
