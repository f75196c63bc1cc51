"""New keys and the requests for certificates that they sign (RFC 2986)."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Sequence
from typing import Annotated, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

from provisor.core.keys import PrivateKey, curve_for, describe_key, spki_der
from provisor.core.names import Name
from provisor.core.pem import encode_pem
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import default_algorithm
from provisor.core.x509.der import ExtensionSyntax, Signed, embed, object_id, unframe
from provisor.core.x509.extensions import encode_subject_alt_name
from provisor.core.x509.name import encode_common_name

KEY_TYPES: Final = ("RSA", "EC", "OKP")
CURVES: Final = ("P-256", "P-384", "P-521")
MIN_RSA_BITS: Final = 2048
_RSA_EXPONENT = 65537
_HASHES: dict[str, hashes.HashAlgorithm] = {"P-384": hashes.SHA384(), "P-521": hashes.SHA512()}


@asn1.sequence
class _RequestInfo:
    """CertificationRequestInfo (RFC 2986 section 4.1)."""

    version: int
    subject: asn1.TLV
    spki: asn1.TLV
    attributes: Annotated[list[asn1.TLV], asn1.Implicit(0)]


@asn1.sequence
class _Attribute:
    type: x509.ObjectIdentifier
    values: asn1.SetOf[asn1.TLV]


@asn1.sequence
class _Extensions:
    extensions: list[ExtensionSyntax]


def generate_key(kind: str = "EC", *, curve: str = "P-256", bits: int = MIN_RSA_BITS) -> PrivateKey:
    """A new key: `kind` is EC, RSA or OKP (Ed25519). Raises `BadKey` for an unknown curve."""
    if kind == "RSA":
        return rsa.generate_private_key(_RSA_EXPONENT, bits)
    if kind == "OKP":
        return ed25519.Ed25519PrivateKey.generate()
    return ec.generate_private_key(curve_for(curve))


def make_csr(key: PrivateKey, common_name: str, names: Sequence[Name] = ()) -> bytes:
    """The DER of a request, signed by `key`; without names it asks for no extension. Raises `Unencodable`."""
    public = key.public_key()
    info = asn1.encode_der(
        _RequestInfo(
            version=0,
            subject=embed(encode_common_name(common_name)),
            spki=embed(spki_der(public)),
            attributes=[embed(_names_attribute(names))] if names else [],
        )
    )
    algorithm = default_algorithm(describe_key(public))
    signature = asn1.BitString(_sign(key, info), 0)
    return asn1.encode_der(Signed(content=embed(info), algorithm=embed(algorithm), signature=signature))


def _names_attribute(names: Sequence[Name]) -> bytes:
    extension = encode_subject_alt_name(names, critical=False)
    syntax = ExtensionSyntax(oid=object_id(extension.oid), critical=extension.critical, value=extension.value)
    requested = unframe(asn1.encode_der(_Extensions(extensions=[syntax])))
    return asn1.encode_der(_Attribute(type=object_id(oids.EXTENSION_REQUEST), values=asn1.SetOf([embed(requested)])))


def _sign(key: PrivateKey, content: bytes) -> bytes:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        return key.sign(content, ec.ECDSA(_HASHES.get(describe_key(key.public_key()).curve, hashes.SHA256())))
    if isinstance(key, rsa.RSAPrivateKey):
        return key.sign(content, padding.PKCS1v15(), hashes.SHA256())
    return key.sign(content)


def csr_pem(der: bytes) -> str:
    """A `CERTIFICATE REQUEST` block."""
    return encode_pem("CERTIFICATE REQUEST", der)


def csr_fingerprint(der: bytes) -> str:
    """What `cnf` of a token says of a request: SHA-256 of its DER, base64url without padding."""
    return base64.urlsafe_b64encode(hashlib.sha256(der).digest()).rstrip(b"=").decode()
