"""The words that inspections use for algorithms, attributes, purposes and kinds of provisioner."""

from __future__ import annotations

from cryptography.hazmat import asn1

from provisor.cli.inspection.document import Attributes, algorithm_name
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import find_scheme
from provisor.core.x509.name import parse_name

_SIGNATURES = {
    "1.2.840.113549.1.1.2": "MD2-RSA",
    "1.2.840.113549.1.1.4": "MD5-RSA",
    "1.2.840.113549.1.1.5": "SHA1-RSA",
    "1.2.840.113549.1.1.11": "SHA256-RSA",
    "1.2.840.113549.1.1.12": "SHA384-RSA",
    "1.2.840.113549.1.1.13": "SHA512-RSA",
    "1.2.840.10040.4.3": "DSA-SHA1",
    "2.16.840.1.101.3.4.3.2": "DSA-SHA256",
    "1.2.840.10045.4.1": "ECDSA-SHA1",
    "1.2.840.10045.4.3.2": "ECDSA-SHA256",
    "1.2.840.10045.4.3.3": "ECDSA-SHA384",
    "1.2.840.10045.4.3.4": "ECDSA-SHA512",
    "1.3.101.112": "Ed25519",
}

_ATTRIBUTES = {
    oids.COUNTRY: "C",
    oids.ORGANIZATION: "O",
    oids.ORGANIZATIONAL_UNIT: "OU",
    oids.COMMON_NAME: "CN",
    oids.SERIAL_NUMBER: "SERIALNUMBER",
    oids.LOCALITY: "L",
    oids.PROVINCE: "ST",
    oids.STREET_ADDRESS: "STREET",
    oids.POSTAL_CODE: "POSTALCODE",
    "0.9.2342.19200300.100.1.25": "DC",
    "0.9.2342.19200300.100.1.1": "UID",
    "1.2.840.113549.1.9.1": "emailAddress",
}

PURPOSES = {
    "1.3.6.1.5.5.7.3.1": "Server Authentication",
    "1.3.6.1.5.5.7.3.2": "Client Authentication",
    "1.3.6.1.5.5.7.3.3": "Code Signing",
    "1.3.6.1.5.5.7.3.4": "E-mail Protection",
    "1.3.6.1.5.5.7.3.5": "IPSec End System",
    "1.3.6.1.5.5.7.3.6": "IPSec Tunnel",
    "1.3.6.1.5.5.7.3.7": "IPSec User",
    "1.3.6.1.5.5.7.3.8": "Time Stamping",
    "1.3.6.1.5.5.7.3.9": "OCSP Signing",
    "2.5.29.37.0": "Any Usage",
}

USAGES = (
    "Digital Signature",
    "Content Commitment",
    "Key Encipherment",
    "Data Encipherment",
    "Key Agreement",
    "Certificate Sign",
    "CRL Sign",
    "Encipher Only",
    "Decipher Only",
)
"""By the bit of the key usage."""

PROVISIONERS = ("NOOP", "JWK", "OIDC", "GCP", "AWS", "Azure", "ACME", "X5C", "K8sSA", "SSHPOP", "SCEP", "Nebula")
"""By the number in the provisioner extension."""


def signature_name(algorithm: bytes) -> str:
    """`ECDSA-SHA256`, or the dotted identifier of an algorithm without a word."""
    scheme = find_scheme(algorithm)
    if scheme is not None and scheme.pss and scheme.hash is not None:
        return f"{scheme.hash.name.upper()}-RSAPSS"
    try:
        oid = algorithm_name(algorithm)
    except ValueError:
        return "unknown"
    return _SIGNATURES.get(oid, oid)


def name_text(name: bytes, separator: str = ",") -> str:
    """`O=Lab,CN=Lab Root CA`: the attributes in their order."""
    return separator.join(
        f"{_ATTRIBUTES.get(oid, oid)}={'?' if text is None else text}" for oid, text in attributes(name)
    )


def attributes(name: bytes) -> Attributes:
    """Those of a DER Name that was read before."""
    return parse_name(name)


def common_name(name: bytes) -> str:
    """The last one, empty if there is none."""
    return next((text for oid, text in reversed(attributes(name)) if oid == oids.COMMON_NAME and text), "")


def octets_text(octets: bytes) -> str:
    """Printable ASCII as it is, everything else as a dot."""
    return "".join(chr(octet) if 0x20 <= octet < 0x7F else "." for octet in octets)


def integer(der: bytes) -> int:
    """An INTEGER. Raises `ValueError`."""
    return asn1.decode_der(int, der)
