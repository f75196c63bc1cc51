"""A throwaway PKI that both servers are started on: one root, one issuer, one JWK provisioner."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, Literal

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

IssuerKey = Literal["P-256", "RSA-2048", "RSA-4096"]
PROVISIONER: Final = "admin"

_USAGE: Final = x509.KeyUsage(
    digital_signature=False,
    content_commitment=False,
    key_encipherment=False,
    data_encipherment=False,
    key_agreement=False,
    key_cert_sign=True,
    crl_sign=True,
    encipher_only=False,
    decipher_only=False,
)


class PKI:
    """Files in `folder`; keys without a password. `jwk` is the provisioner's public key as ca.json holds it."""

    def __init__(self, folder: Path, issuer_key: IssuerKey = "P-256") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.root_file = folder / "root_ca.crt"
        self.issuer_file = folder / "intermediate_ca.crt"
        self.issuer_key_file = folder / "intermediate_ca_key"
        self.jwk_file = folder / "provisioner.jwk"
        root_key = ec.generate_private_key(ec.SECP256R1())
        key = _generate(issuer_key)
        root = _certificate("Bench Root CA", root_key, "Bench Root CA", root_key, path_length=1)
        issuer = _certificate("Bench Intermediate CA", key, "Bench Root CA", root_key, path_length=0)
        self.root_file.write_bytes(root.public_bytes(Encoding.PEM))
        self.issuer_file.write_bytes(issuer.public_bytes(Encoding.PEM))
        form = PrivateFormat.TraditionalOpenSSL
        _write_secret(self.issuer_key_file, key.private_bytes(Encoding.PEM, form, NoEncryption()))
        self.jwk, private = _jwk(ec.generate_private_key(ec.SECP256R1()))
        _write_secret(self.jwk_file, json.dumps(private).encode())


def _generate(kind: IssuerKey) -> ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey:
    if kind == "P-256":
        return ec.generate_private_key(ec.SECP256R1())
    return rsa.generate_private_key(65537, int(kind.removeprefix("RSA-")))


def _certificate(
    name: str,
    key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey,
    issuer: str,
    issuer_key: ec.EllipticCurvePrivateKey,
    *,
    path_length: int,
) -> x509.Certificate:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(_USAGE, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def make_leaf(name: str, key: ec.EllipticCurvePrivateKey, issuer_key: ec.EllipticCurvePrivateKey) -> x509.Certificate:
    """Of a server of this machine, by the issuer of the bench."""
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Bench Intermediate CA")]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


def _jwk(key: ec.EllipticCurvePrivateKey) -> tuple[dict[str, str], dict[str, str]]:
    """Public and private members; the key's id is its thumbprint (RFC 7638)."""
    numbers = key.private_numbers()
    public = numbers.public_numbers
    members = {"crv": "P-256", "kty": "EC", "x": _text(public.x), "y": _text(public.y)}
    canonical = json.dumps(members, separators=(",", ":"), sort_keys=True).encode()
    thumbprint = base64.urlsafe_b64encode(hashlib.sha256(canonical).digest()).rstrip(b"=").decode()
    shown = {"use": "sig", "kty": "EC", "kid": thumbprint, "crv": "P-256", "alg": "ES256"} | members
    return shown, shown | {"d": _text(numbers.private_value)}


def _text(number: int) -> str:
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()


def _write_secret(path: Path, content: bytes) -> None:
    path.touch(mode=0o600)
    path.write_bytes(content)
