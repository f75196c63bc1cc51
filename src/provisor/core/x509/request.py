"""Certificate signing requests (RFC 2986): read from strangers, and proven to be signed by their own key.

Only the key, the subject and the names are looked at. Everything else a request asks for is ignored,
as the reference does, so what is broken there does not matter either.
"""

from __future__ import annotations

from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.keys import KeyInfo
from provisor.core.names import Name
from provisor.core.pem import parse_blocks
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import find_scheme, is_signature_valid
from provisor.core.x509.der import LenientExtension, Signed, read
from provisor.core.x509.extensions import parse_subject_alt_name
from provisor.core.x509.name import parse_common_name
from provisor.core.x509.spki import describe_spki
from provisor.errors import BadCSR

_UNREADABLE = "error decoding json"
_UNPROVEN = "invalid csr"


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


class CertificateRequest(Struct, frozen=True):
    """A request that was read; that it is signed by its own key is for `verify_csr` to say.

    `subject` is the DER of a Name, `names` are those of its subject alternative name extension.
    """

    der: bytes
    spki: bytes
    key: KeyInfo
    common_name: str
    subject: bytes
    names: tuple[Name, ...]


def parse_csr_pem(text: str) -> CertificateRequest:
    """The request in the first PEM block of `text`, whatever its label. Raises `BadCSR`."""
    blocks = parse_blocks(text.encode("utf-8", "surrogatepass"))
    if not blocks:
        raise BadCSR("certificate request: no PEM block", public=_UNREADABLE)
    return parse_csr(blocks[0].der)


def parse_csr(der: bytes) -> CertificateRequest:
    """Read a request. Raises `BadCSR`, also for a key on a curve nobody knows, and for one name extension too many."""
    try:
        info = read(asn1.decode_der(Signed, der).content, _RequestInfo)
        spki, subject = asn1.encode_der(info.spki), asn1.encode_der(info.subject)
        return CertificateRequest(
            der=der,
            spki=spki,
            key=describe_spki(spki),
            common_name=parse_common_name(subject),
            subject=subject,
            names=_requested_names(info.attributes),
        )
    except ValueError as error:
        raise BadCSR(f"certificate request: {error}", public=_UNREADABLE) from error


def _requested_names(attributes: list[asn1.TLV]) -> tuple[Name, ...]:
    requests = [
        extension
        for element in attributes
        for extension in _requested_extensions(element)
        if extension.oid.dotted_string == oids.SUBJECT_ALT_NAME
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
    values = request.values.as_list()
    return values[0] if values and request.type.dotted_string == oids.EXTENSION_REQUEST else []


def _is_extension_request(element: asn1.TLV) -> bool:
    try:
        return read(element, _Attribute).type.dotted_string == oids.EXTENSION_REQUEST
    except ValueError:
        return False


def verify_csr(request: CertificateRequest, *, allow_sha1: bool = False) -> None:
    """Raises `BadCSR` unless the request is signed by the key in it: ECDSA, RSA, RSA-PSS or Ed25519."""
    try:
        signed = asn1.decode_der(Signed, request.der)
    except ValueError as error:
        raise BadCSR(f"certificate request: {error}", public=_UNPROVEN) from error
    scheme = find_scheme(asn1.encode_der(signed.algorithm))
    if scheme is None or signed.signature.padding_bits():
        raise BadCSR("certificate request: unknown signature algorithm", public=_UNPROVEN)
    if scheme.is_sha1 and not allow_sha1:
        raise BadCSR("certificate request: signed with SHA-1", public=_UNPROVEN)
    content = asn1.encode_der(signed.content)
    if not is_signature_valid(request.spki, scheme, signed.signature.as_bytes(), content):
        raise BadCSR("certificate request: its signature is not its own", public=_UNPROVEN)
