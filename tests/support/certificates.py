"""Certificates of a throw-away CA that no CA would issue, such as those whose time is over."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisor.core.x509.extensions import ProvisionerExtension, encode_provisioner
from support.peers import ThrowawayPKI


def write_certificate(
    pki: ThrowawayPKI,
    crt_file: Path,
    key_file: Path,
    name: str,
    *,
    provisioner: str = "",
    key_id: str = "",
    ends_in: timedelta = timedelta(minutes=-1),
) -> None:
    """`crt_file` with the intermediate, and `key_file`: valid for two hours, as if made by a JWK provisioner."""
    issuer = x509.load_pem_x509_certificate(pki.intermediate_file.read_bytes())
    issuer_key = load_pem_private_key(pki.key_file.read_bytes(), None)
    assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
    key = ec.generate_private_key(ec.SECP256R1())
    end = datetime.now(UTC) + ends_in
    step = encode_provisioner(ProvisionerExtension(type=1, name=provisioner, credential_id=key_id))
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=False,
        crl_sign=False,
        encipher_only=False,
        decipher_only=False,
    )
    certificate = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(end - timedelta(hours=2))
        .not_valid_after(end)
        .add_extension(usage, critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False
        )
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .add_extension(x509.UnrecognizedExtension(x509.ObjectIdentifier(step.oid), step.value), critical=step.critical)
        .sign(issuer_key, hashes.SHA256())
    )
    for file in (crt_file, key_file):
        file.touch(mode=0o600)
    crt_file.write_bytes(certificate.public_bytes(Encoding.PEM) + issuer.public_bytes(Encoding.PEM))
    key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
