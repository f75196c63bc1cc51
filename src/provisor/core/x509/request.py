"""Certificate signing requests (RFC 2986): read from strangers, and proven to be signed by their own key.

Only the key, the subject and the names are looked at. Everything else a request asks for is ignored,
as the reference does, so what is broken there does not matter either.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.keys import KeyInfo
from provisor.core.names import Name
from provisor.core.pem import find_der
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import find_scheme, is_signature_valid
from provisor.core.x509.der import LenientExtension, Signed, encoded, object_id, read
from provisor.core.x509.extensions import parse_subject_alt_name
from provisor.core.x509.name import parse_common_name
from provisor.core.x509.spki import describe_spki
from provisor.errors import BadCSR

_UNREADABLE = "error decoding json"
_UNPROVEN = "invalid csr"
_EXTENSION_REQUEST = object_id(oids.EXTENSION_REQUEST)
_SUBJECT_ALT_NAME = object_id(oids.SUBJECT_ALT_NAME)


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
class _ExtensionRequest:
    """The attribute of RFC 2985 section 5.4.2; others may have the same shape."""

    type: x509.ObjectIdentifier
    values: asn1.SetOf[list[LenientExtension]]


@asn1.sequence
class _UsualInfo:
    """The same for what most requests are: attributes that ask for extensions, or none."""

    version: int
    subject: asn1.TLV
    spki: asn1.TLV
    attributes: Annotated[list[_ExtensionRequest], asn1.Implicit(0)]


class CertificateRequest(Struct, frozen=True):
    """A request that was read; that it is signed by its own key is for `verify_csr` to say.

    `subject` is the DER of a Name, `names` are those of its subject alternative name extension. `signed` is
    what the signature is over, `algorithm` a DER AlgorithmIdentifier; `signature` is empty if it is not a
    whole number of octets.
    """

    der: bytes
    spki: bytes
    key: KeyInfo
    common_name: str
    subject: bytes
    names: tuple[Name, ...]
    signed: bytes = b""
    algorithm: bytes = b""
    signature: bytes = b""


def parse_csr_pem(text: str) -> CertificateRequest:
    """The request in the first PEM block of `text`, whatever its label. Raises `BadCSR`."""
    der = find_der(text.encode("utf-8", "surrogatepass"), "CERTIFICATE REQUEST")
    if der is None:
        raise BadCSR("certificate request: no PEM block", public=_UNREADABLE)
    return parse_csr(der)


def parse_csr(der: bytes) -> CertificateRequest:
    """Read a request. Raises `BadCSR`, also for a key on a curve nobody knows, and for one name extension too many."""
    try:
        signed = asn1.decode_der(Signed, der)
        info, names = _read_info(signed.content)
        spki, subject = encoded(info.spki), encoded(info.subject)
        return CertificateRequest(
            der=der,
            spki=spki,
            key=describe_spki(spki),
            common_name=parse_common_name(subject),
            subject=subject,
            names=names,
            signed=encoded(signed.content),
            algorithm=encoded(signed.algorithm),
            signature=b"" if signed.signature.padding_bits() else signed.signature.as_bytes(),
        )
    except ValueError as error:
        raise BadCSR(f"certificate request: {error}", public=_UNREADABLE) from error


def _read_info(content: asn1.TLV) -> tuple[_UsualInfo | _RequestInfo, tuple[Name, ...]]:
    try:
        usual = read(content, _UsualInfo)
    except ValueError:
        info = read(content, _RequestInfo)
        return info, _requested_names(map(_requested_extensions, info.attributes))
    return usual, _requested_names(map(_extensions_of, usual.attributes))


def _requested_names(attributes: Iterable[list[LenientExtension]]) -> tuple[Name, ...]:
    requests = [
        extension for extensions in attributes for extension in extensions if extension.oid == _SUBJECT_ALT_NAME
    ]
    if len(requests) > 1:
        raise ValueError("more than one subject alternative name extension")
    return parse_subject_alt_name(requests[0].value) if requests else ()


def _requested_extensions(element: asn1.TLV) -> list[LenientExtension]:
    try:
        request = read(element, _ExtensionRequest)
    except ValueError:
        # step-ca: an attribute that is no attribute is passed over, a request for extensions that is none is not.
        if _is_extension_request(element):
            raise
        return []
    return _extensions_of(request)


def _extensions_of(request: _ExtensionRequest) -> list[LenientExtension]:
    values = request.values.as_list()
    return values[0] if values and request.type == _EXTENSION_REQUEST else []


def _is_extension_request(element: asn1.TLV) -> bool:
    try:
        return read(element, _Attribute).type == _EXTENSION_REQUEST
    except ValueError:
        return False


def read_extensions(request: CertificateRequest) -> list[LenientExtension]:
    """Every extension the request asks for, in its order; they were read once before, so this cannot fail."""
    content = asn1.decode_der(Signed, request.der).content
    try:
        attributes: Iterable[list[LenientExtension]] = map(_extensions_of, read(content, _UsualInfo).attributes)
        return [extension for extensions in attributes for extension in extensions]
    except ValueError:
        found = map(_requested_extensions, read(content, _RequestInfo).attributes)
        return [extension for extensions in found for extension in extensions]


def verify_csr(request: CertificateRequest, *, allow_sha1: bool = False) -> None:
    """Raises `BadCSR` unless the request is signed by the key in it: ECDSA, RSA, RSA-PSS or Ed25519."""
    scheme = find_scheme(request.algorithm)
    if scheme is None or not request.signature:
        raise BadCSR("certificate request: unknown signature algorithm", public=_UNPROVEN)
    if scheme.is_sha1 and not allow_sha1:
        raise BadCSR("certificate request: signed with SHA-1", public=_UNPROVEN)
    if not is_signature_valid(request.spki, scheme, request.signature, request.signed):
        raise BadCSR("certificate request: its signature is not its own", public=_UNPROVEN)
