"""Signing requests and certificates: read or refused, and nothing is proven that was not signed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.extensions import parse_provisioner
from provisor.core.x509.request import CertificateRequest, parse_csr, parse_csr_pem, verify_csr
from provisor.errors import BadCSR, Malformed
from support.credentials import NameForms, make_csr, make_key, make_party, provisioner_extension, rsa_key
from support.fuzzing import brief, fuzz, mutated, mutated_text
from support.raw_der import (
    SAN_OID,
    common_name,
    extension,
    make_raw_certificate,
    make_raw_request,
    san_attribute,
    spki_of,
    tlv,
    validity,
)

NOW = datetime(2026, 6, 1, tzinfo=UTC)
KEY = make_key()
NAMES: list[NameForms] = [
    "a.test",
    x509.UniformResourceIdentifier("https://a.test/x?y"),
    x509.RFC822Name("a@b.test"),
    x509.IPAddress(IPv4Address("10.0.0.1")),
]
PEMS = [make_csr(KEY, "a.test", NAMES), make_csr(rsa_key(), "b", ["b.test"]), make_csr(KEY)]
DERS = [x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER) for pem in PEMS]
SAYS = {(request.spki, request.subject, request.names) for request in map(parse_csr, DERS)}

SUBJECTS = [
    common_name(b"a.test"),
    common_name("bücher".encode()),
    common_name(b"\x00a\x00b", 0x1E),
    common_name(b"\xe9", 0x14),
    tlv(0x30, tlv(0x31, tlv(0x30, bytes.fromhex("060355040a"), tlv(0x13, b"x")), *[common_name(b"a")[4:]] * 2)),
]
ALTERNATIVES = [
    tlv(0x30, tlv(0x82, b"a.test"), tlv(0x81, b"a@b.test"), tlv(0x87, b"\x0a\0\0\1"), tlv(0x86, b"https://a/%20")),
    tlv(0x30, tlv(0x82, "é".encode()), tlv(0x87, bytes(5)), tlv(0x86, b"//[::1"), tlv(0x88, b"\x2a\x03")),
    tlv(0x30, tlv(0xA0, bytes.fromhex("0603551d11"), tlv(0xA0, tlv(0x0C, b"x"))), tlv(0xA4, common_name(b"x"))),
    tlv(0x30, *[tlv(0x82, b"x")] * 500),
    tlv(0x30),
]
CERTIFICATES = [
    make_party("a", None, now=NOW, names=NAMES, extensions=[provisioner_extension("ci", "kid")]).der,
    make_party("ca", None, now=NOW, authority=True, path_length=0).der,
]
PROVISIONERS = [tlv(0x30, b"\x02\x01\x01", tlv(0x04, b"ci"), tlv(0x04, b"kid")), tlv(0x30, b"\x02\x01\x01", tlv(0x04))]
EXTENSION_VALUES = [
    (SAN_OID, ALTERNATIVES[0]),
    (bytes.fromhex("0603551d0f"), bytes.fromhex("03020780")),
    (bytes.fromhex("0603551d13"), tlv(0x30, b"\x01\x01\xff\x02\x01\x00")),
    (bytes.fromhex("0603551d25"), tlv(0x30, bytes.fromhex("06082b06010505070302"))),
    (bytes.fromhex("0603551d0e"), tlv(0x04, bytes(20))),
    (bytes.fromhex("0603551d23"), tlv(0x30, tlv(0x80, bytes(20)))),
]


def examine(der: bytes) -> CertificateRequest | None:
    """The request, if it is one and proven."""
    with brief():
        try:
            request = parse_csr(der)
            verify_csr(request)
        except BadCSR:
            return None
        return request


def test_the_seeds_are_good() -> None:
    assert all(examine(der) for der in DERS)
    assert examine(make_raw_request(KEY, subject=SUBJECTS[0], attributes=san_attribute(ALTERNATIVES[0])))


@fuzz(800)
@given(mutated(DERS))
def test_a_changed_request_is_refused_or_says_the_same(der: bytes) -> None:
    request = examine(der)
    if request is not None:
        assert (request.spki, request.subject, request.names) in SAYS


@fuzz(300)
@given(mutated_text([*PEMS, PEMS[0].replace(" REQUEST", "")]))
def test_a_changed_text_is_a_request_or_bad(text: str) -> None:
    with brief():
        try:
            request = parse_csr_pem(text)
        except BadCSR:
            return
    examine(request.der)


@fuzz(500)
@given(mutated(SUBJECTS), mutated(ALTERNATIVES))
def test_strange_names_under_a_good_signature_are_read_or_refused(subject: bytes, names: bytes) -> None:
    request = examine(make_raw_request(KEY, subject=subject, attributes=san_attribute(names)))
    assert request is None or request.subject == subject


@fuzz(300)
@given(mutated([spki_of(KEY), spki_of(KEY)[:26]]), mutated([san_attribute(ALTERNATIVES[0]), tlv(0x30)]))
def test_strange_keys_and_attributes_are_read_or_refused(spki: bytes, attributes: bytes) -> None:
    examine(make_raw_request(KEY, subject=SUBJECTS[0], spki=spki, attributes=attributes))


@fuzz(800)
@given(mutated(CERTIFICATES))
def test_a_changed_certificate_is_read_or_malformed(der: bytes) -> None:
    with brief():
        try:
            parse_certificate(der)
        except Malformed:
            return


@fuzz(500)
@given(
    mutated(SUBJECTS),
    mutated([validity(NOW, NOW + timedelta(days=1)), tlv(0x30, *[tlv(0x18, b"99991231235959Z")] * 2)]),
    st.lists(st.sampled_from(EXTENSION_VALUES).flatmap(lambda e: mutated([e[1]]).map(lambda v: extension(e[0], v)))),
    mutated([b"\x02\x01\x01", b"\x02\x14" + b"\x7f" * 20]),
)
def test_strange_members_of_a_certificate_are_read_or_malformed(
    subject: bytes, times: bytes, extensions: list[bytes], serial: bytes
) -> None:
    issuer = x509.load_der_x509_certificate(CERTIFICATES[1])
    der = make_raw_certificate(KEY, issuer, KEY, subject=subject, validity=times, extensions=extensions, serial=serial)
    with brief():
        try:
            parse_certificate(der)
        except Malformed:
            return


@fuzz(400)
@given(mutated(PROVISIONERS))
def test_a_changed_provisioner_extension_is_read_or_malformed(value: bytes) -> None:
    with brief():
        try:
            parse_provisioner(value)
        except Malformed:
            return
