from __future__ import annotations

import contextlib

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.names import Name, NameKind, classify_sans
from provisor.core.x509 import oids
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    ProvisionerExtension,
    encode_authority_key_id,
    encode_basic_constraints,
    encode_ext_key_usage,
    encode_key_usage,
    encode_provisioner,
    encode_subject_alt_name,
    encode_subject_key_id,
    parse_authority_key_id,
    parse_basic_constraints,
    parse_ext_key_usage,
    parse_key_usage,
    parse_provisioner,
    parse_subject_alt_name,
    parse_subject_key_id,
)
from provisor.errors import Malformed, Unencodable


@pytest.mark.parametrize(
    ("usage", "der"),
    [
        (KeyUsage.DIGITAL_SIGNATURE, "03020780"),
        (KeyUsage.DIGITAL_SIGNATURE | KeyUsage.KEY_ENCIPHERMENT, "030205a0"),
        (KeyUsage.CERT_SIGN | KeyUsage.CRL_SIGN, "03020106"),
        (KeyUsage.ENCIPHER_ONLY, "03020001"),
        (KeyUsage.DIGITAL_SIGNATURE | KeyUsage.DECIPHER_ONLY, "0303078080"),
    ],
)
def test_key_usage_is_a_list_of_named_bits(usage: KeyUsage, der: str) -> None:
    assert encode_key_usage(usage) == Extension(oids.KEY_USAGE, critical=True, value=bytes.fromhex(der))
    assert parse_key_usage(bytes.fromhex(der)) == usage


@given(st.integers(1, 511))
def test_every_key_usage_is_read_back(bits: int) -> None:
    assert parse_key_usage(encode_key_usage(KeyUsage(bits)).value) == KeyUsage(bits)


def test_purposes_keep_their_order() -> None:
    extension = encode_ext_key_usage((oids.SERVER_AUTH, oids.CLIENT_AUTH))
    assert extension.value.hex() == "301406082b0601050507030106082b06010505070302"
    assert not extension.critical
    assert parse_ext_key_usage(extension.value) == (oids.SERVER_AUTH, oids.CLIENT_AUTH)


@pytest.mark.parametrize(
    ("constraints", "der"),
    [
        (BasicConstraints(is_ca=False), "3000"),
        (BasicConstraints(is_ca=True), "30030101ff"),
        (BasicConstraints(is_ca=True, path_length=0), "30060101ff020100"),
        (BasicConstraints(is_ca=True, path_length=1), "30060101ff020101"),
    ],
)
def test_basic_constraints_are_critical_and_read_back(constraints: BasicConstraints, der: str) -> None:
    assert encode_basic_constraints(constraints) == Extension(
        oids.BASIC_CONSTRAINTS, critical=True, value=bytes.fromhex(der)
    )
    assert parse_basic_constraints(bytes.fromhex(der)) == constraints


def test_basic_constraints_with_the_default_written_out_are_read() -> None:
    assert parse_basic_constraints(bytes.fromhex("3003010100")) == BasicConstraints(is_ca=False)


def test_a_negative_path_length_is_refused() -> None:
    with pytest.raises(ValueError, match="negative"):
        parse_basic_constraints(bytes.fromhex("30060101ff0201ff"))


def test_key_identifiers_are_read_back() -> None:
    assert parse_subject_key_id(encode_subject_key_id(b"id").value) == b"id"
    assert parse_authority_key_id(encode_authority_key_id(b"id").value) == b"id"
    assert encode_authority_key_id(b"id").value.hex() == "300480026964"


def test_an_authority_named_otherwise_has_no_key_identifier() -> None:
    value = x509.AuthorityKeyIdentifier(None, [x509.DNSName("x")], 5).public_bytes()
    assert parse_authority_key_id(value) == b""


def test_alternative_names_are_in_the_order_dns_email_ip_uri() -> None:
    names = classify_sans(["https://x.y/z", "10.1.2.3", "::1", "a@b.c", "b.test", "a.test"])
    extension = encode_subject_alt_name(names, critical=True)
    assert extension.critical
    assert [name.value for name in parse_subject_alt_name(extension.value)] == [
        "b.test",
        "a.test",
        "a@b.c",
        "10.1.2.3",
        "::1",
        "https://x.y/z",
    ]
    assert b"\x87\x04\x0a\x01\x02\x03\x87\x10" in extension.value


def test_an_address_in_ipv6_form_is_read_as_ipv4() -> None:
    value = bytes.fromhex("3012871000000000000000000000ffff01020304")
    assert parse_subject_alt_name(value) == (Name(NameKind.IP, "1.2.3.4"),)


@pytest.mark.parametrize(
    "name",
    [
        Name(NameKind.DNS, "jürgen.test"),
        Name(NameKind.EMAIL, "jürgen@a.test"),
        Name(NameKind.URI, "https://ü"),
        Name(NameKind.IP, "1.2.3"),
    ],
)
def test_a_name_that_is_not_ascii_cannot_be_encoded(name: Name) -> None:
    with pytest.raises(Unencodable, match=name.value):
        encode_subject_alt_name([name], critical=False)


@pytest.mark.parametrize("value", ["", "3002", "30058203616263ff", "30038201ff", "300587030a0102", "0500"])
def test_alternative_names_that_cannot_be_read_are_refused(value: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011
        parse_subject_alt_name(bytes.fromhex(value))


def test_the_provisioner_is_as_documented() -> None:
    extension = encode_provisioner(ProvisionerExtension(1, "name", "credentialID"))
    assert not extension.critical
    assert extension.oid == "1.3.6.1.4.1.37476.9000.64.1"
    assert extension.value.hex() == "301702010104046e616d65040c63726564656e7469616c4944"


@pytest.mark.parametrize(
    "provisioner",
    [
        ProvisionerExtension(1, "name", "kid"),
        ProvisionerExtension(6, "acme"),
        ProvisionerExtension(3, "gcp", "sub", ("InstanceID", "1", "InstanceName", "naïve@x")),
        ProvisionerExtension(99, "Ünïcode & <name>", "é"),
    ],
)
def test_a_provisioner_is_read_back(provisioner: ProvisionerExtension) -> None:
    assert parse_provisioner(encode_provisioner(provisioner).value) == provisioner


def test_pairs_are_printable_where_they_can_be() -> None:
    value = encode_provisioner(ProvisionerExtension(3, "", "", ("plain", "a@b"))).value
    assert b"\x13\x05plain\x0c\x03a@b" in value


@pytest.mark.parametrize("value", ["", "3000", "30060201010400", "30070201010401ff0400", "300902010104016104016100"])
def test_a_malformed_provisioner_is_refused(value: str) -> None:
    with pytest.raises(Malformed):
        parse_provisioner(bytes.fromhex(value))


@given(st.binary(max_size=60))
def test_any_octets_are_a_provisioner_or_malformed(value: bytes) -> None:
    with contextlib.suppress(Malformed):
        parse_provisioner(value)
