from __future__ import annotations

import contextlib
import hashlib
from datetime import UTC, datetime

import pytest
from cryptography import x509
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from provisor.core.x509 import oids
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.draft import assemble, encode_tbs
from provisor.core.x509.extensions import Extension, KeyUsage
from provisor.errors import Malformed
from support.x509_lab import BORN, END, NOW, Lab, with_extension, without


def test_a_leaf_is_read_back(lab: Lab) -> None:
    draft = lab.draft(["b.test", "10.0.0.1"])
    leaf = lab.leaf(draft)
    assert leaf.serial == draft.serial
    assert leaf.issuer == lab.intermediate.certificate.subject
    assert leaf.common_name == "a.test"
    assert (leaf.not_before, leaf.not_after) == (draft.not_before, draft.not_after)
    assert leaf.spki == draft.spki
    assert leaf.extensions == draft.extensions
    assert leaf.names == draft.names
    assert leaf.key_usage == KeyUsage.DIGITAL_SIGNATURE
    assert leaf.ext_key_usage == (oids.SERVER_AUTH, oids.CLIENT_AUTH)
    assert not leaf.is_ca
    assert leaf.path_length is None
    assert leaf.akid == lab.intermediate.certificate.skid
    assert leaf.fingerprint == hashlib.sha256(leaf.der).hexdigest()
    assert leaf.extension("1.2.3") is None


def test_an_authority_is_read_back(lab: Lab) -> None:
    root = lab.root.certificate
    assert root.is_ca
    assert root.path_length == 1
    assert root.key_usage == KeyUsage.CERT_SIGN | KeyUsage.CRL_SIGN
    assert root.ext_key_usage is None
    assert root.subject == root.issuer
    assert (root.not_before, root.not_after) == (BORN, END)


def test_a_certificate_without_extensions_says_nothing(lab: Lab) -> None:
    leaf = lab.leaf(replace(lab.draft(), extensions=()))
    assert (leaf.key_usage, leaf.ext_key_usage, leaf.basic_constraints) == (None, None, None)
    assert (leaf.skid, leaf.akid, leaf.names) == (b"", b"", ())


def test_another_library_reads_the_same(lab: Lab) -> None:
    leaf = lab.leaf(lab.draft())
    loaded = x509.load_der_x509_certificate(leaf.der)
    loaded.verify_directly_issued_by(x509.load_der_x509_certificate(lab.intermediate.certificate.der))
    assert loaded.subject.public_bytes() == leaf.subject
    assert loaded.not_valid_after_utc == leaf.not_after


@pytest.mark.parametrize(
    "oid",
    [
        oids.KEY_USAGE,
        oids.EXT_KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.SUBJECT_ALT_NAME,
        oids.SUBJECT_KEY_ID,
        oids.AUTHORITY_KEY_ID,
    ],
)
def test_a_known_extension_that_cannot_be_read_is_malformed(lab: Lab, oid: str) -> None:
    with pytest.raises(Malformed):
        lab.leaf(with_extension(lab.draft(), Extension(oid, critical=False, value=b"\x30\x03\x02\x01")))


def test_an_extension_that_is_there_twice_is_malformed(lab: Lab) -> None:
    draft = lab.draft()
    with pytest.raises(Malformed, match="twice"):
        lab.leaf(replace(draft, extensions=draft.extensions * 2))


def test_two_different_algorithms_are_malformed(lab: Lab) -> None:
    with pytest.raises(Malformed, match="algorithms"):
        parse_certificate(assemble(encode_tbs(lab.draft()), bytes.fromhex("300a06082a8648ce3d040303"), b"x"))


def test_the_default_of_critical_may_be_written_out(lab: Lab) -> None:
    strange = Extension("1.2.3", critical=True, value=b"\x05\x00")
    der = lab.leaf(with_extension(lab.draft(), strange)).der
    oid, true, false = b"\x06\x02\x2a\x03", b"\x01\x01\xff", b"\x01\x01\x00"
    leaf = parse_certificate(der.replace(oid + true, oid + false))
    assert leaf.extensions[-1] == Extension("1.2.3", critical=False, value=b"\x05\x00")


def test_another_version_is_malformed(lab: Lab) -> None:
    der = lab.leaf(without(lab.draft())).der
    with pytest.raises(Malformed, match="version"):
        parse_certificate(der.replace(b"\xa0\x03\x02\x01\x02", b"\xa0\x03\x02\x01\x01", 1))


def test_times_after_2049_are_read(lab: Lab) -> None:
    late = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert lab.leaf(replace(lab.draft(), not_before=NOW, not_after=late)).not_after == late


@given(data=st.data())
@settings(max_examples=60)
def test_changed_octets_are_read_or_malformed(lab: Lab, data: st.DataObject) -> None:
    changed = bytearray(lab.root.certificate.der)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with contextlib.suppress(Malformed):
        parse_certificate(bytes(changed))


@given(st.binary(max_size=100))
def test_any_octets_are_malformed(der: bytes) -> None:
    with pytest.raises(Malformed):
        parse_certificate(der)
