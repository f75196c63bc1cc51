"""Keys, requests, tokens and certificates of every kind for tests, good ones and every other kind.

Made with the cryptography library and by hand, not by the code under test: what a test sends is a
second opinion on the formats, and a forger does not use our encoders.
"""

from __future__ import annotations

import base64
import functools
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID
from msgspec import Struct

from provisor.core.jose.jwk import jwk_members, make_jwk
from provisor.core.keys import PrivateKey

CLIENT: Final = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER: Final = ExtendedKeyUsageOID.SERVER_AUTH
PROVISIONER_OID: Final = x509.ObjectIdentifier("1.3.6.1.4.1.37476.9000.64.1")

NameForms = x509.GeneralName | str
"""A name of a certificate; a text is a DNS name."""


def make_key() -> ec.EllipticCurvePrivateKey:
    return ec.generate_private_key(ec.SECP256R1())


@functools.cache
def rsa_key(bits: int = 2048) -> rsa.RSAPrivateKey:
    """One key a size and test run: making them is slow."""
    return rsa.generate_private_key(65537, bits)


# -- provisioners ---------------------------------------------------------------------------------


class TokenSigner(Struct, frozen=True):
    """A JWK provisioner with its private key."""

    name: str
    key: PrivateKey
    kid: str

    def entry(self, **members: object) -> dict[str, object]:
        """The provisioner as it stands in ca.json, with further members (`claims`, `options`)."""
        key = {**jwk_members(make_jwk(self.key)), "kid": self.kid}
        return {"type": "JWK", "name": self.name, "key": key, **members}


def make_signer(name: str, key: PrivateKey | None = None) -> TokenSigner:
    private = key or make_key()
    return TokenSigner(name, private, make_jwk(private).thumbprint())


# -- tokens ---------------------------------------------------------------------------------------


def b64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def unb64url(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def compact(members: Mapping[str, object]) -> bytes:
    return json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()


def raw_signature(key: PrivateKey, signed: bytes) -> bytes:
    """The JWS signature by the key's own algorithm (RFC 7518 section 3)."""
    if isinstance(key, ec.EllipticCurvePrivateKey):
        digest = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}[key.key_size]
        r, s = decode_dss_signature(key.sign(signed, ec.ECDSA(digest)))
        size = (key.key_size + 7) // 8
        return r.to_bytes(size, "big") + s.to_bytes(size, "big")
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(signed)


def algorithm_of(key: PrivateKey) -> str:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return {256: "ES256", 384: "ES384", 521: "ES512"}[key.key_size]
    return "EdDSA" if isinstance(key, ed25519.Ed25519PrivateKey) else "RS256"


def make_jws(
    header: Mapping[str, object], payload: Mapping[str, object] | bytes, sign: PrivateKey | Callable[[bytes], bytes]
) -> str:
    """A compact JWS. `sign` is a key or what makes the signature of the signing input."""
    body = payload if isinstance(payload, bytes) else compact(payload)
    signed = f"{b64url(compact(header))}.{b64url(body)}".encode()
    signature = sign(signed) if callable(sign) else raw_signature(sign, signed)
    return f"{signed.decode()}.{b64url(signature)}"


# -- requests -------------------------------------------------------------------------------------


def make_csr(
    key: PrivateKey,
    common_name: str = "",
    names: Iterable[NameForms] = (),
    *,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
    broken: bool = False,
) -> str:
    """PEM of a certificate request; `broken` spoils its signature."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(_subject(common_name))
    general = [_general_name(name) for name in names]
    if general:
        builder = builder.add_extension(x509.SubjectAlternativeName(general), critical=False)
    default = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    der = builder.sign(key, digest or default).public_bytes(Encoding.DER)
    if broken:
        der = der[:-1] + bytes((der[-1] ^ 1,))
    return to_pem("CERTIFICATE REQUEST", der)


def csr_digest(pem: str) -> bytes:
    """SHA-256 of the request's DER: what a bound token names."""
    return hashlib.sha256(x509.load_pem_x509_csr(pem.encode()).public_bytes(Encoding.DER)).digest()


def to_pem(label: str, der: bytes) -> str:
    text = base64.b64encode(der).decode()
    lines = "\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    return f"-----BEGIN {label}-----\n{lines}\n-----END {label}-----\n"


def _subject(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def _general_name(name: NameForms) -> x509.GeneralName:
    return x509.DNSName(name) if isinstance(name, str) else name


# -- certificates ---------------------------------------------------------------------------------


class Party(Struct, frozen=True):
    """A certificate and its key."""

    certificate: x509.Certificate
    key: PrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def serial(self) -> int:
        return self.certificate.serial_number

    @property
    def common_name(self) -> str:
        return next((str(a.value) for a in self.certificate.subject.get_attributes_for_oid(NameOID.COMMON_NAME)), "")


_NO_USAGE: Final[dict[str, bool]] = dict.fromkeys(
    (
        *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
        *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
    ),
    False,
)


def key_usage(*usages: str) -> x509.KeyUsage:
    return x509.KeyUsage(**{**_NO_USAGE, **dict.fromkeys(usages, True)})


def make_party(
    common_name: str,
    issuer: Party | None,
    *,
    now: datetime,
    key: PrivateKey | None = None,
    starts: timedelta = timedelta(minutes=-1),
    ends: timedelta = timedelta(days=1),
    names: Iterable[NameForms] = (),
    authority: bool = False,
    path_length: int | None = None,
    usages: Sequence[str] | None = ("digital_signature",),
    purposes: Sequence[x509.ObjectIdentifier] = (SERVER, CLIENT),
    extensions: Iterable[tuple[x509.ExtensionType, bool]] = (),
    serial: int | None = None,
    issuer_name: x509.Name | None = None,
    key_id: bool = True,
) -> Party:
    """A certificate as one likes it, self-signed without an issuer; `usages` None leaves key usage out."""
    private = key or make_key()
    builder = (
        x509.CertificateBuilder()
        .subject_name(_subject(common_name))
        .issuer_name(issuer_name or (issuer.certificate.subject if issuer else _subject(common_name)))
        .public_key(private.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
    )
    if key_id:
        builder = builder.add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    for extension, critical in (*_extensions(authority, path_length, usages, purposes, names), *extensions):
        builder = builder.add_extension(extension, critical)
    signing = issuer.key if issuer else private
    digest = None if isinstance(signing, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return Party(builder.sign(signing, digest), private)


def _extensions(
    authority: bool,
    path_length: int | None,
    usages: Sequence[str] | None,
    purposes: Sequence[x509.ObjectIdentifier],
    names: Iterable[NameForms],
) -> Iterable[tuple[x509.ExtensionType, bool]]:
    if authority:
        yield x509.BasicConstraints(ca=True, path_length=path_length), True
    if usages is not None:
        yield key_usage(*(("key_cert_sign", "crl_sign") if authority else usages)), True
    if purposes and not authority:
        yield x509.ExtendedKeyUsage(purposes), False
    general = [_general_name(name) for name in names]
    if general:
        yield x509.SubjectAlternativeName(general), False


def provisioner_extension(name: str, credential: str = "", kind: int = 1) -> tuple[x509.ExtensionType, bool]:
    """The extension that names the provisioner of a certificate (core-api 4.6)."""
    octets = b"".join(bytes((4, len(part))) + part for part in (name.encode(), credential.encode()))
    body = bytes((2, 1, kind)) + octets
    return x509.UnrecognizedExtension(PROVISIONER_OID, bytes((0x30, len(body))) + body), False
