"""Certificates and requests of many shapes, made by another library than the one under test."""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

Key = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
Extension = tuple[x509.ExtensionType, bool]


def write_shapes(folder: Path) -> None:
    """Fills a folder; what the files are is in their names."""
    root_key, inter_key, leaf_key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(3))
    rsa_key = rsa.generate_private_key(65537, 2048)
    root = certificate("Root", root_key, "Root", root_key, ca=1)
    inter = certificate("Inter", inter_key, "Root", root_key, ca=0)
    leaf = certificate("leaf.test", leaf_key, "Inter", inter_key, extensions=LEAF)
    below_leaf = certificate("low.test", leaf_key, "leaf.test", leaf_key)
    deeper = certificate("Deeper", leaf_key, "Inter", inter_key, ca=0)
    below_deeper = certificate("deep.test", rsa_key, "Deeper", leaf_key)
    ed_key = ed25519.Ed25519PrivateKey.generate()
    big_key = ec.generate_private_key(ec.SECP521R1())
    constrained = certificate("Narrow", inter_key, "Root", root_key, ca=0, extensions=CONSTRAINED)
    files = {
        "root.crt": [root],
        "inter.crt": [inter],
        "leaf.crt": [leaf],
        "chain.crt": [leaf, inter],
        "leaf-below-leaf.crt": [below_leaf, leaf, inter],
        "too-long.crt": [below_deeper, deeper, inter],
        "constrained.crt": [constrained],
        "rsa.crt": [certificate("rsa.test", rsa_key, "rsa.test", rsa_key, ca=1)],
        "ed.crt": [certificate("ed.test", ed_key, "ed.test", ed_key)],
        "p521.crt": [certificate("big.test", big_key, "big.test", big_key)],
        "nosan.crt": [certificate("nosan.test", leaf_key, "nosan.test", leaf_key)],
    }
    for name, chain in files.items():
        (folder / name).write_bytes(b"".join(one.public_bytes(Encoding.PEM) for one in chain))
    full, plain, empty = (
        request("csr.test", rsa_key, LEAF[:2]),
        request("plain.test", leaf_key, ()),
        request("", leaf_key, ()),
    )
    for name, csr in (("rsa.csr", full), ("plain.csr", plain), ("empty.csr", empty)):
        (folder / name).write_bytes(csr.public_bytes(Encoding.PEM))
    (folder / "csr.der").write_bytes(plain.public_bytes(Encoding.DER))
    (folder / "leaf.der").write_bytes(leaf.public_bytes(Encoding.DER))
    key = leaf_key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    (folder / "rsa.key").write_bytes(key)
    (folder / "mixed.pem").write_bytes(plain.public_bytes(Encoding.PEM) + key + leaf.public_bytes(Encoding.PEM))
    (folder / "empty").write_bytes(b"")


LEAF: Sequence[Extension] = (
    (
        x509.SubjectAlternativeName(
            [
                x509.DNSName("leaf.test"),
                x509.DNSName("*.wild.test"),
                x509.RFC822Name("a@b.test"),
                x509.IPAddress(ipaddress.ip_address("10.0.0.1")),
                x509.IPAddress(ipaddress.ip_address("2001:db8::1")),
                x509.UniformResourceIdentifier("spiffe://test/x"),
            ]
        ),
        False,
    ),
    (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.OCSP_SIGNING]), True),
    (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4.5"), b"\x0c\x05hello"), False),
)
CONSTRAINED: Sequence[Extension] = (
    (
        x509.NameConstraints(
            permitted_subtrees=[
                x509.DNSName(".in.test"),
                x509.IPAddress(ipaddress.ip_network("10.0.0.0/8")),
                x509.RFC822Name("in.test"),
            ],
            excluded_subtrees=[x509.DNSName("out.test"), x509.UniformResourceIdentifier("out.test")],
        ),
        True,
    ),
    (
        x509.CRLDistributionPoints(
            [x509.DistributionPoint([x509.UniformResourceIdentifier("http://crl.test/1")], None, None, None)]
        ),
        False,
    ),
    (
        x509.AuthorityInformationAccess(
            [
                x509.AccessDescription(
                    x509.oid.AuthorityInformationAccessOID.OCSP, x509.UniformResourceIdentifier("http://ocsp.test")
                ),
                x509.AccessDescription(
                    x509.oid.AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.test")
                ),
            ]
        ),
        False,
    ),
    (x509.CertificatePolicies([x509.PolicyInformation(x509.ObjectIdentifier("2.23.140.1.2.1"), None)]), False),
)


def name_of(common_name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)] if common_name else [])


def certificate(
    subject: str,
    key: Key,
    issuer: str,
    issuer_key: Key,
    *,
    ca: int | None = None,
    extensions: Sequence[Extension] = (),
    ends_in: timedelta = timedelta(days=30),
) -> x509.Certificate:
    """`ca` is the path length of an authority, None for a leaf."""
    now = datetime.now(UTC).replace(microsecond=0)
    builder = (
        x509.CertificateBuilder()
        .subject_name(name_of(subject))
        .issuer_name(name_of(issuer))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + ends_in)
        .add_extension(x509.BasicConstraints(ca is not None, ca), critical=True)
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(issuer_key, _digest(issuer_key))


def request(subject: str, key: Key, extensions: Sequence[Extension]) -> x509.CertificateSigningRequest:
    builder = x509.CertificateSigningRequestBuilder().subject_name(name_of(subject))
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(key, _digest(key))


def _digest(key: Key) -> hashes.SHA256 | None:
    return None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
