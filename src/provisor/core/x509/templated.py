"""From the JSON a template renders to the parts of a certificate (templates 2.2, 2.3).

The order of attributes and extensions, their string types and their criticality are those of the
reference, octet for octet.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.utils import CryptographyDeprecationWarning
from msgspec import Struct

from provisor.core.der import (
    OCTET_STRING,
    PRINTABLE_STRING,
    SET,
    UTF8_STRING,
    element,
    encode_integer,
    encode_object_id,
    sequence,
)
from provisor.core.idna_names import IDNAError, to_ascii
from provisor.core.keys import KeyInfo, subject_key_id
from provisor.core.names import Name, NameKind, classify_san, parse_ip
from provisor.core.template.errors import FunctionError
from provisor.core.template.functions.asn1 import marshal_specification
from provisor.core.url import URLError, parse_url
from provisor.core.x509 import algorithms, oids
from provisor.core.x509.der import TBSCertificate, encoded, split_list
from provisor.core.x509.draft import assemble
from provisor.core.x509.extensions import (
    Extension,
    KeyUsage,
    encode_authority_key_id,
    encode_ext_key_usage,
    encode_key_usage,
    encode_subject_alt_name,
)
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.name import EMPTY_NAME, parse_name
from provisor.core.x509.name import Subject as SubjectDefaults
from provisor.core.x509.schema import (
    CertificateShape,
    Literal,
    Mismatch,
    NameConstraintsShape,
    OutputError,
    Pairs,
    SANShape,
    SubjectShape,
    fold,
    is_encodable,
    members,
    object_id,
    parse_json,
    read_octets,
    read_subject,
    wrong,
)
from provisor.errors import Unencodable

AUTHORITY_INFORMATION: Final = "1.3.6.1.5.5.7.1.1"
CRL_POINTS: Final = "2.5.29.31"
_EMAIL: Final = "1.2.840.113549.1.9.1"
_PRINTABLE: Final = re.compile(r"[A-Za-z0-9 '()+,\-./:=?]*")


def failed(reason: str) -> Unencodable:
    """What the reference says of a certificate it cannot encode."""
    return Unencodable(f"error creating certificate: {reason}")


def _oid(dotted: str) -> bytes:
    if not is_encodable(dotted):
        raise failed("asn1: structure error: invalid object identifier")
    try:
        return encode_object_id(dotted)
    except ValueError as error:
        raise failed("asn1: structure error: invalid object identifier") from error


# -- subject -------------------------------------------------------------------------------------

_ORDER: Final = (
    ("country", oids.COUNTRY),
    ("province", oids.PROVINCE),
    ("locality", oids.LOCALITY),
    ("streetAddress", oids.STREET_ADDRESS),
    ("postalCode", oids.POSTAL_CODE),
    ("organization", oids.ORGANIZATION),
    ("organizationalUnit", oids.ORGANIZATIONAL_UNIT),
)


def encode_subject(subject: SubjectShape) -> bytes:
    """One set for all values of an attribute; an extra attribute takes the place of the standard one."""
    extra = {oid for oid, _ in subject.extra}
    sets: list[bytes] = []
    for name, oid in _ORDER:
        if (values := subject.lists.get(name)) and oid not in extra:
            sets.append(_set(oid, [_text(value) for value in values]))
    for oid, value in ((oids.COMMON_NAME, subject.common_name), (oids.SERIAL_NUMBER, subject.serial_number)):
        if value and oid not in extra:
            sets.append(_set(oid, [_text(value)]))
    sets += [_set(oid, [_any(oid, value)]) for oid, value in subject.extra]
    return sequence(*sets)


def _set(oid: str, values: Sequence[bytes]) -> bytes:
    identifier = _oid(oid)
    return element(SET, b"".join(sorted(sequence(identifier, value) for value in values)))


def _text(value: str) -> bytes:
    return element(PRINTABLE_STRING if _PRINTABLE.fullmatch(value) else UTF8_STRING, value.encode())


def _any(oid: str, value: Any) -> bytes:
    """An attribute value of any JSON kind; only strings end up in a certificate that can be read again."""
    if type(value) is str:
        if oid == _EMAIL:
            if not value.isascii():
                raise _unreadable("invalid RDNSequence: invalid attribute value: invalid IA5String")
            return element(b"\x16", value.encode())
        return _text(value)
    _check_marshals(value)
    number = 1 if isinstance(value, bool) else 48
    raise _unreadable(f"invalid RDNSequence: invalid attribute value: unsupported string type: {number}")


def _check_marshals(value: Any) -> None:
    if value is None:
        raise failed("asn1: cannot marshal nil value")
    if isinstance(value, Literal):
        raise failed("asn1: structure error: unknown Go type: float64")
    if isinstance(value, Pairs):
        raise failed("asn1: structure error: unknown Go type: map[string]interface {}")
    if isinstance(value, list):
        for item in value:
            _check_marshals(item)


def _unreadable(reason: str) -> Unencodable:
    return Unencodable(f"error parsing certificate: x509: {reason}")


# -- names ---------------------------------------------------------------------------------------

_SIMPLE_KINDS: Final = frozenset({"dns", "email", "ip", "uri", "auto", ""})


def has_extended_names(shape: CertificateShape) -> bool:
    """Whether a name is of a kind that Go's library does not know, so that the whole list is encoded differently."""
    return any(san.kind not in _SIMPLE_KINDS for san in shape.sans)


def _has_raw_names(shape: CertificateShape) -> bool:
    return any(oid == oids.SUBJECT_ALT_NAME for oid, _, _ in shape.extensions)


def _classified(value: str, kind: str) -> Name | None:
    if kind in ("auto", ""):
        return classify_san(value)
    if kind == "dns":
        return Name(NameKind.DNS, value)
    if kind == "email":
        return Name(NameKind.EMAIL, value)
    if kind == "ip":
        address = parse_ip(value)
        return Name(NameKind.IP, address) if address else None
    try:
        return Name(NameKind.URI, str(parse_url(value)))
    except URLError:
        return None


def structured_names(shape: CertificateShape) -> tuple[Name, ...]:
    """The names that the structured lists say, in the order dns, email, ip, uri."""
    by_kind: dict[NameKind, list[Name]] = {
        NameKind.DNS: [Name(NameKind.DNS, value) for value in shape.dns],
        NameKind.EMAIL: [Name(NameKind.EMAIL, value) for value in shape.emails],
        NameKind.IP: [Name(NameKind.IP, str(address)) for address in shape.ips],
        NameKind.URI: [Name(NameKind.URI, value) for value in shape.uris],
    }
    for san in shape.sans:
        if san.value and (name := _classified(san.value, san.kind)):
            by_kind[name.kind].append(name)
    order = (NameKind.DNS, NameKind.EMAIL, NameKind.IP, NameKind.URI)
    return tuple(name for kind in order for name in by_kind[kind])


def _extended_names(shape: CertificateShape) -> bytes:
    """The whole list, in the given order. Raises `OutputError`."""
    parts = [_dns(value) for value in shape.dns if value]
    parts += [_ia5(0x81, value) for value in shape.emails if value]
    parts += [element(b"\x87", address.packed) for address in shape.ips]
    parts += [_ia5(0x86, value) for value in shape.uris if value]
    parts += [_extended_name(san) for san in shape.sans if san.value or san.asn1_value is not None]
    return sequence(*parts)


def _dns(value: str) -> bytes:
    try:
        ascii_name = to_ascii(value)
    except IDNAError:
        raise OutputError(f'error converting "{value}" to ia5: server name contains invalid character') from None
    return element(b"\x82", ascii_name.encode())


def _ia5(tag: int, value: str) -> bytes:
    if not value.isascii():
        raise OutputError(f'error converting "{value}" to ia5')
    return element(bytes((tag,)), value.encode())


def _extended_name(san: SANShape) -> bytes:
    kind = san.kind
    if kind in ("auto", ""):
        name = classify_san(san.value)
        if name is None:
            return b""
        kind = str(name.kind)
    if kind == "dns":
        return _dns(san.value)
    if kind == "email":
        return _ia5(0x81, san.value)
    if kind == "uri":
        return _ia5(0x86, san.value)
    if kind == "ip":
        return _address(san.value)
    maker = _EXTENDED.get(kind)
    if maker is not None:
        return maker(san)
    if kind in ("x400Address", "ediPartyName"):
        raise OutputError(f"unimplemented SAN type {kind}")
    if re.fullmatch(r"[0-9]+(\.[0-9]+)*", kind):
        return _other_text(kind, san.value)
    raise OutputError(f"unsupported SAN type {kind}")


def _address(value: str) -> bytes:
    import ipaddress  # only here

    text = parse_ip(value)
    if not text:
        raise OutputError(f'error converting "{value}" to IP')
    return element(b"\x87", ipaddress.ip_address(text).packed)


def _other(oid: str, value: bytes) -> bytes:
    """An otherName; `value` is encoded already, without the [0] around it."""
    return element(b"\xa0", encode_object_id(oid) + element(b"\xa0", value))


def _san_oid(dotted: str, what: str) -> bytes:
    if not is_encodable(dotted):
        raise OutputError(f"error marshaling {what} SAN: asn1: structure error: invalid object identifier")
    return encode_object_id(dotted)


def _registered_id(san: SANShape) -> bytes:
    if not san.value:
        raise OutputError("error parsing OID for RegisteredID SAN: empty value is not allowed")
    try:
        dotted = object_id(san.value)
    except Mismatch as error:
        raise OutputError(f"error parsing OID for RegisteredID SAN: {error}") from None
    return element(b"\x88", _san_oid(dotted, "RegisteredID")[2:])


def _json_of(san: SANShape, what: str) -> Any:
    if san.asn1_value is not None:
        return san.asn1_value
    try:
        return parse_json(san.value)
    except OutputError as error:
        raise OutputError(f"error unmarshaling {what} SAN: {_whole(str(error))}") from None


def _whole(text: str) -> str:
    return "unexpected end of JSON input" if text in ("EOF", "unexpected EOF") else text


_PERMANENT_FIELDS: Final = fold("identifier", "assigner")
_HARDWARE_FIELDS: Final = fold("type", "serialNumber")


def _shaped(value: Any, go: str, fields: Mapping[str, str]) -> dict[str, Any]:
    if not isinstance(value, Pairs):
        raise OutputError(f"error unmarshaling {go} SAN: {wrong(value, f'value of type x509util.{go}')}")
    return members(value, fields)


def _permanent_identifier(san: SANShape) -> bytes:
    go = "PermanentIdentifier"
    if san.asn1_value is None:
        return _other("1.3.6.1.5.5.7.8.3", sequence(element(UTF8_STRING, san.value.encode())))
    parts = _shaped(san.asn1_value, go, _PERMANENT_FIELDS)
    identifier, assigner = parts.get("identifier", ""), parts.get("assigner", "")
    if type(identifier) is not str:
        raise OutputError(
            f"error unmarshaling {go} SAN: {wrong(identifier, f'struct field {go}.identifier of type string')}"
        )
    dotted = _member_oid(assigner, go)
    content = element(UTF8_STRING, identifier.encode()) if identifier else b""
    content += _san_oid(dotted, go) if dotted else b""
    return _other("1.3.6.1.5.5.7.8.3", sequence(content))


def _member_oid(value: Any, go: str) -> str:
    if type(value) is not str:
        raise OutputError(
            f"error unmarshaling {go} SAN: error unmarshaling json: {wrong(value, 'value of type string')}"
        )
    try:
        return object_id(value)
    except Mismatch as error:
        raise OutputError(f"error unmarshaling {go} SAN: {error}") from None


def _hardware_module(san: SANShape) -> bytes:
    go = "HardwareModuleName"
    parts = _shaped(_json_of(san, go), go, _HARDWARE_FIELDS)
    dotted = _member_oid(parts.get("type", ""), go)
    try:
        serial = read_octets(parts.get("serialNumber", ""), f"struct field {go}.serialNumber of type []uint8")
    except Mismatch as error:
        raise OutputError(f"error unmarshaling {go} SAN: {error}") from None
    # the reference tags the serial number with 4
    return _other("1.3.6.1.5.5.7.8.4", sequence(_san_oid(dotted, go), element(b"\x84", serial)))


def _directory_name(san: SANShape) -> bytes:
    value = _json_of(san, "DirectoryName")
    try:
        subject = read_subject(value)
    except Mismatch as error:
        raise OutputError(f"error unmarshaling DirectoryName SAN: {error}") from None
    if subject.is_empty:
        raise OutputError("error parsing DirectoryName SAN: empty or malformed asn1Value")
    try:
        return element(b"\xa4", encode_subject(subject))
    except Unencodable as error:
        raise OutputError(f"error marshaling DirectoryName SAN: {error.detail}") from None


def _principal_name(san: SANShape) -> bytes:
    if not san.value:
        raise OutputError("error parsing UserPrincipalName SAN: empty value is not allowed")
    return _other("1.3.6.1.4.1.311.20.2.3", element(UTF8_STRING, san.value.encode()))


def _other_text(oid: str, value: str) -> bytes:
    try:
        der = marshal_specification(value)
    except FunctionError as error:
        raise OutputError(f'error marshaling ASN1 value "{value}": {error}') from None
    identifier = _san_oid(oid, "otherName")
    raw = value.partition(":")[0].split(",")[-1] == "raw" and ":" in value
    return element(b"\xa0", identifier + (der if raw else element(b"\xa0", der)))


_EXTENDED: Final = {
    "permanentIdentifier": _permanent_identifier,
    "hardwareModuleName": _hardware_module,
    "dn": _directory_name,
    "userPrincipalName": _principal_name,
    "registeredID": _registered_id,
}


# -- other extensions ----------------------------------------------------------------------------


def _basic_constraints(is_ca: bool, length: int) -> Extension:
    value = b""
    if is_ca:
        value = b"\x01\x01\xff" + (encode_integer(length) if length >= 0 else b"")
    return Extension(oids.BASIC_CONSTRAINTS, critical=True, value=sequence(value))


def _information(shape: CertificateShape) -> Extension:
    parts = []
    for oid, urls in (("1.3.6.1.5.5.7.48.1", shape.ocsp_servers), ("1.3.6.1.5.5.7.48.2", shape.issuing_urls)):
        parts += [sequence(encode_object_id(oid), element(b"\x86", url.encode())) for url in urls]
    return Extension(AUTHORITY_INFORMATION, critical=False, value=sequence(*parts))


def _policies(dotted: Iterable[str]) -> Extension:
    return Extension(
        oids.CERTIFICATE_POLICIES, critical=False, value=sequence(*(sequence(_oid(oid)) for oid in dotted))
    )


def _crl_points(urls: Iterable[str]) -> Extension:
    points = (sequence(element(b"\xa0", element(b"\xa0", element(b"\x86", url.encode())))) for url in urls)
    return Extension(CRL_POINTS, critical=False, value=sequence(*points))


_SUBTREES: Final = (
    ("DNSDomains", 0x82),
    ("IPRanges", 0x87),
    ("EmailAddresses", 0x81),
    ("URIDomains", 0x86),
)


def _name_constraints(shape: NameConstraintsShape) -> Extension | None:
    if not any(shape.lists.values()):
        return None
    parts = b""
    for word, tag in (("permitted", b"\xa0"), ("excluded", b"\xa1")):
        subtrees = b""
        for kind, name_tag in _SUBTREES:
            for value in shape.lists.get(word + kind, ()):
                subtrees += sequence(element(bytes((name_tag,)), _subtree(value)))
        if subtrees:
            parts += element(tag, subtrees)
    return Extension(oids.NAME_CONSTRAINTS, shape.critical, sequence(parts))


def _subtree(value: Any) -> bytes:
    if not isinstance(value, str):
        network: bytes = value.network_address.packed + value.netmask.packed
        return network
    if not value.isascii():
        raise failed(f'x509: "{value}" cannot be encoded as an IA5String')
    return value.encode()


# -- all of it -----------------------------------------------------------------------------------


class Parts(Struct, frozen=True):
    """What a template decides of a certificate.

    `names` are those that its structured lists show; `all_names` those that stand in the certificate, and
    `common_names` every common name in its subject, wherever a template hid them.
    """

    subject: bytes
    extensions: tuple[Extension, ...]
    names: tuple[Name, ...]
    common_name: str
    serial: int | None


def build_parts(shape: CertificateShape, spki: bytes, authority_key_id: bytes, defaults: SubjectDefaults) -> Parts:
    """Raises `OutputError` for names that cannot be written, `Unencodable` for the rest.

    `authority_key_id` is the issuer's, empty if it has none; `defaults` fill attributes the subject lacks.
    """
    made: tuple[bytes, bool] | None = None
    if has_extended_names(shape) and not _has_raw_names(shape):
        made = _extended_names(shape), shape.subject.is_empty
    _fill(shape.subject, defaults)
    subject = _raw_subject(shape.raw_subject) if shape.raw_subject else encode_subject(shape.subject)
    names = () if made or _has_raw_names(shape) else structured_names(shape)
    given = {oid for oid, _, _ in shape.extensions}
    extensions = [
        extension
        for extension in _standard(shape, spki, authority_key_id, names, lone=subject == EMPTY_NAME)
        if extension.oid not in given and not (made and extension.oid == oids.SUBJECT_ALT_NAME)
    ]
    if made:
        extensions.append(Extension(oids.SUBJECT_ALT_NAME, critical=made[1], value=made[0]))
    for oid, critical, value in shape.extensions:
        _oid(oid)
        extensions.append(Extension(oid, critical, value))
    if shape.serial is not None and shape.serial < 0:
        raise failed("x509: serial number must be positive")
    return Parts(subject, tuple(extensions), names, shape.subject.common_name, shape.serial)


def _raw_subject(der: bytes) -> bytes:
    try:
        parse_name(der)
    except ValueError as error:
        raise _unreadable("malformed issuer") from error
    return der


def _fill(subject: SubjectShape, defaults: SubjectDefaults) -> None:
    for name, value in (
        ("country", defaults.country),
        ("organization", defaults.organization),
        ("organizationalUnit", defaults.organizational_unit),
        ("locality", defaults.locality),
        ("province", defaults.province),
        ("streetAddress", defaults.street_address),
        ("postalCode", defaults.postal_code),
    ):
        if value and not subject.lists.get(name):
            subject.lists[name] = [value]
    subject.common_name = subject.common_name or defaults.common_name
    subject.serial_number = subject.serial_number or defaults.serial_number


def _standard(
    shape: CertificateShape, spki: bytes, authority_key_id: bytes, names: Sequence[Name], *, lone: bool
) -> Iterable[Extension]:
    """The extensions that members of the template stand for, in their order."""
    if shape.key_usage:
        yield encode_key_usage(KeyUsage(shape.key_usage))
    if shape.ext_key_usage or shape.unknown_ext_key_usage:
        for oid in shape.unknown_ext_key_usage:
            _oid(oid)
        yield encode_ext_key_usage((*shape.ext_key_usage, *shape.unknown_ext_key_usage))
    if shape.basic_constraints is not None:
        yield _basic_constraints(*shape.basic_constraints)
    key_id = subject_key_id(spki) if shape.subject_key_id is None else shape.subject_key_id
    if key_id:
        yield Extension(oids.SUBJECT_KEY_ID, critical=False, value=element(OCTET_STRING, key_id))
    issuer_id = authority_key_id or shape.authority_key_id
    if issuer_id:
        yield encode_authority_key_id(issuer_id)
    if shape.ocsp_servers or shape.issuing_urls:
        yield _information(shape)
    if names:
        try:
            yield encode_subject_alt_name(names, critical=lone)
        except Unencodable as error:
            raise failed(error.detail) from error
    if shape.policies:
        yield _policies(shape.policies)
    if shape.name_constraints is not None and (constraints := _name_constraints(shape.name_constraints)):
        yield constraints
    if shape.crl_points:
        yield _crl_points(shape.crl_points)


# -- what the certificate is signed with, and whether it can be read ---------------------------------

_ALGORITHMS: Final[Mapping[str, tuple[str, bytes]]] = {
    "SHA256-RSA": ("RSA", algorithms.RSA_SHA256),
    "SHA384-RSA": ("RSA", algorithms.RSA_SHA384),
    "SHA512-RSA": ("RSA", algorithms.RSA_SHA512),
    "SHA256-RSAPSS": ("RSA", algorithms.PSS_SHA256),
    "SHA384-RSAPSS": ("RSA", algorithms.PSS_SHA384),
    "SHA512-RSAPSS": ("RSA", algorithms.PSS_SHA512),
    "ECDSA-SHA256": ("EC", algorithms.ECDSA_SHA256),
    "ECDSA-SHA384": ("EC", algorithms.ECDSA_SHA384),
    "ECDSA-SHA512": ("EC", algorithms.ECDSA_SHA512),
    "Ed25519": ("Ed25519", algorithms.ED25519),
}


def algorithm_for(name: str, key: KeyInfo, default: bytes) -> bytes:
    """The AlgorithmIdentifier for a template's `signatureAlgorithm` and the issuer's key; `default` without one.

    SHA-1 is refused, which the reference is not. Raises `Unencodable`.
    """
    if not name:
        return default
    if name == "MD2-RSA":
        raise failed("x509: unknown SignatureAlgorithm")
    if name == "MD5-RSA" and key.kind == "RSA":
        raise failed("x509: signing with MD5 is not supported")
    if name in ("SHA1-RSA", "ECDSA-SHA1") and key.kind == {"SHA1-RSA": "RSA"}.get(name, "EC"):
        raise failed(f"x509: signing with SHA-1 is not supported ({name})")
    kind, algorithm = _ALGORITHMS.get(name, ("", b""))
    if kind != key.kind:
        raise failed("x509: requested SignatureAlgorithm does not match private key type")
    return algorithm


_BROKEN: Final = {
    oids.KEY_USAGE: "invalid key usage",
    oids.SUBJECT_ALT_NAME: "invalid subject alternative names",
    oids.BASIC_CONSTRAINTS: "invalid basic constraints",
    oids.EXT_KEY_USAGE: "invalid extended key usages",
    oids.NAME_CONSTRAINTS: "invalid NameConstraints extension",
    oids.SUBJECT_KEY_ID: "invalid subject key identifier",
    oids.AUTHORITY_KEY_ID: "invalid authority key identifier",
    oids.CERTIFICATE_POLICIES: "invalid certificate policies",
    CRL_POINTS: "invalid CRL distribution points",
    AUTHORITY_INFORMATION: "invalid authority info access",
}


_USUAL_USAGES: Final = KeyUsage.ENCIPHER_ONLY - 1


def is_usual(shape: CertificateShape, names: Iterable[Name]) -> bool:
    """Whether all of it was encoded here, from values that every reader can read: then nobody needs to try."""
    subject = shape.subject
    return not (
        shape.raw_subject
        or shape.extensions
        or shape.unknown_ext_key_usage
        or shape.basic_constraints
        or shape.name_constraints
        or shape.ocsp_servers
        or shape.issuing_urls
        or shape.crl_points
        or shape.policies
        or subject.extra
        or subject.lists
        or subject.serial_number
        or shape.subject_key_id is not None
        or shape.serial is not None
        or shape.key_usage & ~_USUAL_USAGES
        or has_extended_names(shape)
        or any(name.kind not in (NameKind.DNS, NameKind.IP) for name in names)
    )


def check_readable(tbs: bytes, issuer: Issuer) -> None:
    """What no reader could read is not signed. Raises `Unencodable`."""
    try:
        # What the library only warns of, such as the serial number zero, is readable.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CryptographyDeprecationWarning)
            certificate = x509.load_der_x509_certificate(assemble(tbs, issuer.signature_algorithm, b""))
        list(certificate.subject)
        found = certificate.extensions
    except x509.DuplicateExtension as error:
        raise _unreadable(f'certificate contains duplicate extension with OID "{error.oid.dotted_string}"') from error
    except (ValueError, x509.UnsupportedGeneralNameType) as error:
        raise _unreadable(_broken(tbs, issuer) or str(error)) from error
    for extension in found:
        if isinstance(extension.value, x509.SubjectAlternativeName):
            for uri in extension.value.get_values_for_type(x509.UniformResourceIdentifier):
                _check_uri(uri)


def _check_uri(uri: str) -> None:
    try:
        url = parse_url(uri)
    except URLError as error:
        raise _unreadable(f'cannot parse URI "{uri}": {error}') from None
    if url.host and not url.hostname.isascii():
        raise _unreadable(f'cannot parse URI "{uri}": invalid domain')


def _broken(tbs: bytes, issuer: Issuer) -> str:
    """Which extension it is that cannot be read, in the reference's words."""
    try:
        extensions = asn1.decode_der(TBSCertificate, tbs).extensions or []
    except ValueError:
        return ""
    for extension in extensions:
        text = _BROKEN.get(extension.oid.dotted_string)
        if text is None:
            continue
        alone = sequence(
            sequence(encode_object_id(extension.oid.dotted_string), element(OCTET_STRING, extension.value))
        )
        try:
            _ = x509.load_der_x509_certificate(_minimal(tbs, alone, issuer)).extensions
        except (ValueError, x509.UnsupportedGeneralNameType):
            return text
    return ""


def _minimal(tbs: bytes, extensions: bytes, issuer: Issuer) -> bytes:
    """The same certificate with these extensions only."""
    items = split_list(tbs)
    kept = b"".join(encoded(item) for item in items[:-1])
    return assemble(sequence(kept, element(b"\xa3", extensions)), issuer.signature_algorithm, b"")
