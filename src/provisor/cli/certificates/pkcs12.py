"""PKCS#12 files (RFC 7292), by the library: AES-256 and SHA-256, or what older programs read."""

from __future__ import annotations

from collections.abc import Sequence

from cryptography.hazmat.primitives.hashes import SHA1, SHA256
from cryptography.hazmat.primitives.serialization import (
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from cryptography.hazmat.primitives.serialization.pkcs12 import (
    PBES,
    PKCS12Certificate,
    serialize_java_truststore,
    serialize_key_and_certificates,
)
from cryptography.x509 import Certificate as LibraryCertificate
from cryptography.x509 import load_der_x509_certificate
from msgspec import Struct

from provisor.cli.inspection.words import name_text
from provisor.core.keys import PrivateKey
from provisor.core.secret import Secret
from provisor.core.x509.certificate import Certificate

_ROUNDS = 100_000


class Contents(Struct, frozen=True):
    """A certificate, its key, and the certificates above it."""

    leaf: Certificate
    key: PrivateKey
    above: tuple[Certificate, ...] = ()


def encode_pair(contents: Contents, password: Secret, *, legacy: bool = False) -> bytes:
    """With an empty password nothing is encrypted."""
    above = [_load(certificate) for certificate in contents.above] or None
    return serialize_key_and_certificates(
        None, contents.key, _load(contents.leaf), above, _encryption(password, legacy=legacy)
    )


def encode_trust_store(certificates: Sequence[Certificate], password: Secret, *, legacy: bool = False) -> bytes:
    """Certificates that Java trusts, each by its subject and fingerprint."""
    named = [
        PKCS12Certificate(_load(certificate), f"{name_text(certificate.subject)} - {certificate.fingerprint}".encode())
        for certificate in certificates
    ]
    return serialize_java_truststore(named, _encryption(password, legacy=legacy))


def _load(certificate: Certificate) -> LibraryCertificate:
    return load_der_x509_certificate(certificate.der)


def _encryption(password: Secret, *, legacy: bool) -> KeySerializationEncryption:
    if not password:
        return NoEncryption()
    builder = PrivateFormat.PKCS12.encryption_builder().kdf_rounds(_ROUNDS)
    if legacy:
        builder = builder.key_cert_algorithm(PBES.PBESv1SHA1And3KeyTripleDESCBC).hmac_hash(SHA1())
    else:
        builder = builder.key_cert_algorithm(PBES.PBESv2SHA256AndAES256CBC).hmac_hash(SHA256())
    return builder.build(password.reveal())
