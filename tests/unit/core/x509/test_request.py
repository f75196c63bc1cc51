from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.keys import KeyInfo, describe_key, spki_der
from provisor.core.pem import encode_pem
from provisor.core.x509.request import CertificateRequest, parse_csr, parse_csr_pem, verify_csr
from provisor.errors import BadCSR

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
SigningKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
    | dsa.DSAPrivateKey
)


def csr(
    key: SigningKey = EC_KEY,
    algorithm: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | hashes.SHA224 | None = hashes.SHA256(),  # noqa: B008
    *,
    names: Sequence[x509.GeneralName] = (),
    cn: str = "a.test",
    pss: padding.PSS | None = None,
) -> bytes:
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, cn)] if cn else [])
    )
    if names:
        builder = builder.add_extension(x509.SubjectAlternativeName(names), critical=False)
    return builder.sign(key, algorithm, rsa_padding=pss).public_bytes(Encoding.DER)


def sha1_csr() -> bytes:
    """The library will not sign with SHA-1 any more, so the frame is put together around its own signature."""
    request = x509.load_der_x509_csr(csr())
    signature = EC_KEY.sign(request.tbs_certrequest_bytes, ec.ECDSA(hashes.SHA1()))
    algorithm = bytes.fromhex("300906072a8648ce3d0401")
    bits = b"\x03" + bytes((len(signature) + 1, 0)) + signature
    body = request.tbs_certrequest_bytes + algorithm + bits
    return b"\x30\x81" + bytes((len(body),)) + body


PSS = padding.PSS(padding.MGF1(hashes.SHA256()), 32)


@pytest.mark.parametrize(
    "der",
    [
        csr(),
        csr(algorithm=hashes.SHA512()),
        csr(ec.generate_private_key(ec.SECP224R1())),
        csr(ec.generate_private_key(ec.SECP384R1()), hashes.SHA384()),
        csr(ec.generate_private_key(ec.SECP521R1()), hashes.SHA512()),
        csr(RSA_KEY),
        csr(RSA_KEY, hashes.SHA384()),
        csr(RSA_KEY, pss=PSS),
        csr(ed25519.Ed25519PrivateKey.generate(), None),
    ],
    ids=["P-256", "SHA-512", "P-224", "P-384", "P-521", "RSA", "RSA SHA-384", "RSA-PSS", "Ed25519"],
)
def test_a_request_signed_by_its_own_key_is_proven(der: bytes) -> None:
    request = parse_csr(der)
    verify_csr(request)
    loaded = x509.load_der_x509_csr(der)
    assert request.key == describe_key(loaded.public_key())
    assert request.spki == spki_der(loaded.public_key())
    assert request.common_name == "a.test"
    assert request.subject == loaded.subject.public_bytes()


def test_a_request_signed_with_sha1_is_proven_only_where_that_is_allowed() -> None:
    request = parse_csr(sha1_csr())
    verify_csr(request, allow_sha1=True)
    with pytest.raises(BadCSR) as caught:
        verify_csr(request)
    assert caught.value.public == "invalid csr"


def swapped_signature() -> bytes:
    mine, other = csr(), csr(cn="b.test")
    return mine[:-8] + other[-8:]


@pytest.mark.parametrize(
    "der",
    [
        csr(RSA_KEY, pss=padding.PSS(padding.MGF1(hashes.SHA256()), 20)),
        csr(RSA_KEY, pss=padding.PSS(padding.MGF1(hashes.SHA512()), 32)),
        csr(RSA_KEY, hashes.SHA224()),
        csr(ed448.Ed448PrivateKey.generate(), None),
        swapped_signature(),
        csr().replace(b"a.test", b"b.test"),
        csr(RSA_KEY).replace(spki_der(RSA_KEY.public_key())[-20:-6], bytes(14)),
    ],
    ids=["PSS salt", "PSS hash of the mask", "SHA-224", "Ed448", "signature", "subject", "another key"],
)
def test_a_request_not_signed_by_its_own_key_is_not_proven(der: bytes) -> None:
    request = parse_csr(der)
    with pytest.raises(BadCSR) as caught:
        verify_csr(request, allow_sha1=True)
    assert caught.value.public == "invalid csr"


def test_a_point_off_its_curve_is_not_proven() -> None:
    der = csr()
    point = EC_KEY.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    request = parse_csr(der.replace(point, point[:-1] + bytes((point[-1] ^ 1,))))
    with pytest.raises(BadCSR):
        verify_csr(request)


def compressed() -> bytes:
    der = csr()
    key = EC_KEY.public_key()
    whole = key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return der.replace(b"\x03\x42\x00" + whole, b"\x03\x42\x00\x02" + whole[1:])


@pytest.mark.parametrize(
    "der",
    [
        b"",
        b"\x30\x00",
        csr()[:-1],
        csr() + b"\x00",
        csr(ec.generate_private_key(ec.SECP256K1())),
        csr(ec.generate_private_key(ec.BrainpoolP256R1())),
        compressed(),
        csr(names=[x509.DNSName("a.test")]).replace(b"\x82\x06a.test", b"\x82\x06a.tes\xff"),
        csr(names=[x509.DNSName("abcd")]).replace(b"\x82\x04abcd", b"\x87\x03abc\x82\x00")[:-1],
        x509.load_der_x509_csr(csr()).tbs_certrequest_bytes,
    ],
    ids=["nothing", "empty", "cut", "trailing", "secp256k1", "brainpool", "compressed", "name", "address", "inner"],
)
def test_a_request_that_cannot_be_read_is_refused(der: bytes) -> None:
    with pytest.raises(BadCSR) as caught:
        parse_csr(der)
    assert caught.value.public == "error decoding json"


def test_a_key_that_nobody_signs_with_is_read_and_described() -> None:
    assert parse_csr(csr(ed448.Ed448PrivateKey.generate(), None)).key == KeyInfo("Ed448", 456)
    key = dsa.generate_private_key(1024)
    assert parse_csr(csr(key)).key == KeyInfo("DSA")


def test_names_are_read_in_their_own_form() -> None:
    request = parse_csr(
        csr(
            names=[
                x509.UniformResourceIdentifier("HTTPS://a.test/x"),
                x509.DNSName("*.A.test"),
                x509.DirectoryName(x509.Name([])),
                x509.RegisteredID(x509.ObjectIdentifier("1.2.3")),
                x509.RFC822Name("Max@a.test"),
                x509.OtherName(x509.ObjectIdentifier("1.2.3"), b"\x05\x00"),
            ]
        )
    )
    assert [(name.kind.value, name.value) for name in request.names] == [
        ("uri", "https://a.test/x"),
        ("dns", "*.A.test"),
        ("email", "Max@a.test"),
    ]


def test_a_request_without_subject_has_no_common_name() -> None:
    request = parse_csr(csr(cn=""))
    assert request.common_name == ""
    assert request.subject == b"\x30\x00"


def test_an_attribute_that_is_none_is_passed_over() -> None:
    der = csr(names=[x509.DNSName("a.test")])
    request_attribute = bytes.fromhex("06092a864886f70d01090e")
    assert parse_csr(der.replace(request_attribute, bytes.fromhex("06092a864886f70d01090d"))).names == ()


@pytest.mark.parametrize(
    "wrap",
    [
        lambda pem: pem,
        lambda pem: "some text\n" + pem + "and more",
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"),
        lambda pem: pem.replace("CERTIFICATE REQUEST", "ANYTHING"),
    ],
    ids=["as it is", "text around it", "CRLF", "new", "another label"],
)
def test_a_request_is_found_in_its_pem(wrap: Callable[[str], str]) -> None:
    der = csr()
    assert parse_csr_pem(wrap(encode_pem("CERTIFICATE REQUEST", der))).der == der


@pytest.mark.parametrize(
    "text", ["", "no PEM", "-----BEGIN X-----\n!\n-----END X-----\n", "\udc80", "-----BEGIN X-----"]
)
def test_a_text_without_pem_is_refused(text: str) -> None:
    with pytest.raises(BadCSR):
        parse_csr_pem(text)


def read_and_prove(der: bytes) -> CertificateRequest | None:
    with contextlib.suppress(BadCSR):
        request = parse_csr(der)
        verify_csr(request, allow_sha1=True)
        return request
    return None


@given(st.binary(max_size=200))
def test_any_octets_are_read_or_refused(der: bytes) -> None:
    read_and_prove(der)


VALID = csr(names=[x509.DNSName("a.test"), x509.UniformResourceIdentifier("https://a.test")])


@given(st.data())
def test_a_request_with_changed_octets_is_refused_or_unchanged_in_what_is_signed(data: st.DataObject) -> None:
    changed = bytearray(VALID)
    for _ in range(data.draw(st.integers(1, 3))):
        changed[data.draw(st.integers(0, len(VALID) - 1))] = data.draw(st.integers(0, 255))
    request = read_and_prove(bytes(changed))
    if request is not None:
        original = parse_csr(VALID)
        assert (request.spki, request.names, request.subject) == (original.spki, original.names, original.subject)


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(BadCSR):
        parse_csr_pem(text)
