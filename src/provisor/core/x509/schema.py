"""The JSON that a template renders, read as a certificate (templates 2.2, 2.3).

Reading follows Go's decoder: keys match in any case, unknown ones are ignored, of two the last counts,
`null` is as good as absent, and of several faults the first is reported.
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, NoReturn

from provisor.core.json_text import find_syntax_error
from provisor.core.template.errors import FunctionError
from provisor.core.template.functions.encoding import decode_base64
from provisor.core.template.parser import read_integer
from provisor.core.template.times import RFC3339, GoTime, parse_time
from provisor.core.url import URLError, parse_url
from provisor.core.x509.template_data import ATTRIBUTES, KEY_USAGES, PURPOSES

LONGEST: Final = 1 << 20
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class OutputError(Exception):
    """What a template rendered is no certificate. The text is the reference's, for the log.

    `position` is the octet at which it is no JSON, None for JSON of another shape.
    """

    def __init__(self, text: str, position: int | None = None) -> None:
        super().__init__(text)
        self.position = position


# -- Go's decoder --------------------------------------------------------------------------------


class Literal(str):
    """A number as it is written."""

    __slots__ = ()


class Pairs(list[tuple[str, Any]]):
    """An object: its members in order, repeated ones too."""


def parse_json(text: str) -> Any:
    """The first value of a text; what stands behind it is ignored. Raises `OutputError`."""
    try:
        value, _end = _DECODER.raw_decode(text.lstrip(" \t\r\n"))
    except RecursionError:
        raise OutputError("exceeded max depth") from None
    except ValueError:
        error = find_syntax_error(text.encode("utf-8", "surrogateescape"))
        raise OutputError(str(error or "unexpected EOF"), error.position if error else None) from None
    return value


def _no_constant(_text: str) -> NoReturn:
    raise ValueError("not JSON")


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=Pairs, parse_int=Literal, parse_float=Literal, parse_constant=_no_constant
)


class Mismatch(Exception):
    """A value of the wrong kind. The text is complete but for what the caller wraps around it."""


def kind_of(value: Any) -> str:
    if isinstance(value, Literal):
        return "number"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    return "object" if isinstance(value, Pairs) else "array"


def wrong(value: Any, where: str, *, shown: bool = False) -> Mismatch:
    kind = f"number {value}" if shown else kind_of(value)
    return Mismatch(f"json: cannot unmarshal {kind} into Go {where}")


def members(value: Any, fields: Mapping[str, str]) -> dict[str, Any]:
    """The members of an object by Go's names for them; `fields` maps folded keys to those."""
    found: dict[str, Any] = {}
    for key, item in value:
        name = fields.get(key) or fields.get(key.casefold())
        if name is not None and item is not None:
            found[name] = clean(item)
    return found


def clean(value: Any) -> Any:
    """Halves of surrogate pairs become U+FFFD, as Go reads them."""
    if type(value) is str and not value.isascii():
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    return value


def fold(*names: str) -> dict[str, str]:
    return {name.casefold(): name for name in names}


# -- scalars -------------------------------------------------------------------------------------


def _wrapped(error: Exception) -> Mismatch:
    return Mismatch(f"error unmarshaling json: {error}")


def multi(value: Any) -> list[str]:
    """A string, or a list of them."""
    if type(value) is str:
        return [value]
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise _wrapped(wrong(value, "value of type []string"))
    found: list[str] = []
    for item in value:
        if item is None:
            found.append("")
        elif type(item) is not str:
            raise _wrapped(wrong(item, "value of type string"))
        else:
            found.append(clean(item))
    return found


def _multi_of(value: Any, each: Callable[[str], Any], *, twice: bool = True) -> list[Any]:
    try:
        texts = multi(value)
    except Mismatch as error:
        raise (_wrapped(error) if twice else error) from None
    try:
        return [each(text) for text in texts]
    except ValueError as error:
        raise _wrapped(error) from None


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        if "%" in text:
            raise ValueError
        address = ipaddress.ip_address(text)
    except ValueError:
        raise ValueError(f"ip {text} is not valid") from None
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def _network(text: str) -> _Network:
    try:
        if "/" not in text or not text.rpartition("/")[2].isdecimal():
            raise ValueError
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        raise ValueError(f"invalid CIDR address: {text}") from None


def _uri(text: str) -> str:
    return str(parse_url(text))


_ARC: Final = re.compile(r"[+-]?[0-9]{1,18}")


def object_id(text: str) -> str:
    """Dotted numbers, whether or not they can be encoded. Raises `Mismatch`."""
    if text and not all(_ARC.fullmatch(part) for part in text.split(".")):
        raise Mismatch(f"error unmarshaling json: {text} is not an ASN1 object identifier")
    return text


def is_encodable(oid: str) -> bool:
    """Whether a dotted text is an object identifier that DER can hold."""
    parts = oid.split(".")
    if len(parts) < 2 or not all(part.isdecimal() for part in parts):
        return False
    return (int(parts[0]) < 2 and int(parts[1]) < 40) or int(parts[0]) == 2


def strict_object_id(text: str) -> str:
    if not is_encodable(text):
        raise ValueError("invalid oid")
    return text


def read_octets(value: Any, where: str) -> bytes:
    if type(value) is not str:
        raise wrong(value, where)
    try:
        return decode_base64(value)
    except FunctionError as error:
        raise Mismatch(str(error)) from None


def _time(value: Any) -> GoTime:
    if type(value) is not str:
        raise Mismatch("Time.UnmarshalJSON: input is not a JSON string")
    try:
        return parse_time(RFC3339, value)
    except FunctionError as error:
        raise Mismatch(str(error)) from None


def _serial(value: Any) -> int:
    if value is None:
        return 0
    if type(value) is str:
        number = read_integer(value)
        if number is None:
            raise Mismatch(f"error unmarshaling json: serialNumber {value} is not valid")
        return number
    if isinstance(value, Literal):
        if not re.fullmatch("-?[0-9]+", value) or not -(2**63) <= int(value) < 2**63:
            raise _wrapped(wrong(value, "value of type int64", shown=True))
        return int(value)
    raise _wrapped(wrong(value, "value of type int64"))


def _folded(text: str) -> str:
    return text.replace("_", "").lower()


_USAGE_BITS: Final = {name.lower(): 1 << bit for bit, name in enumerate(KEY_USAGES)} | {"nonrepudiation": 2}
_PURPOSE_OIDS: Final = {name.lower(): oid for name, oid in PURPOSES.items()}
SIGNATURE_ALGORITHMS: Final = {
    name.lower(): name
    for name in [
        "MD2-RSA",
        "MD5-RSA",
        "SHA1-RSA",
        "SHA256-RSA",
        "SHA384-RSA",
        "SHA512-RSA",
        "DSA-SHA1",
        "DSA-SHA256",
        "ECDSA-SHA1",
        "ECDSA-SHA256",
        "ECDSA-SHA384",
        "ECDSA-SHA512",
        "SHA256-RSAPSS",
        "SHA384-RSAPSS",
        "SHA512-RSAPSS",
        "Ed25519",
    ]
}


def _key_usage(value: Any) -> int:
    usage = 0
    for name in _multi_of(value, str):
        bit = _USAGE_BITS.get(_folded(name))
        if bit is None:
            raise Mismatch(f"unsupported keyUsage {name}")
        usage |= bit
    return usage


def _ext_key_usage(value: Any) -> list[str]:
    found = []
    for name in _multi_of(value, str):
        oid = _PURPOSE_OIDS.get(_folded(name))
        if oid is None:
            raise Mismatch(f"unsupported extKeyUsage {name}")
        found.append(oid)
    return found


def _signature_algorithm(value: Any) -> str:
    if type(value) is not str:
        raise _wrapped(wrong(value, "value of type string"))
    name = SIGNATURE_ALGORITHMS.get(value.lower()) if value else ""
    if name is None:
        raise Mismatch(f"unsupported signatureAlgorithm {value}")
    return name


def _unknown_purposes(value: Any) -> list[str]:
    try:
        texts = multi(value)
    except Mismatch as error:
        raise _wrapped(_wrapped(error)) from None
    try:
        return [object_id(text) for text in texts]
    except Mismatch as error:
        raise _wrapped(error) from None


def _policies(value: Any) -> list[str]:
    try:
        texts = multi(value)
    except Mismatch as error:
        raise _wrapped(_wrapped(error)) from None
    try:
        return [strict_object_id(text) for text in texts]
    except ValueError as error:
        raise _wrapped(error) from None


def _urls(value: Any) -> list[str]:
    try:
        return multi(value)
    except Mismatch as error:
        raise _wrapped(error) from None


# -- parts ---------------------------------------------------------------------------------------


class SubjectShape:
    """A distinguished name: lists by attribute, and attributes of other types, with any JSON as value."""

    def __init__(self) -> None:
        self.lists: dict[str, list[str]] = {}
        self.common_name = ""
        self.serial_number = ""
        self.extra: list[tuple[str, Any]] = []

    @property
    def is_empty(self) -> bool:
        return not (any(self.lists.values()) or self.common_name or self.serial_number or self.extra)


_NAME_FIELDS: Final = fold(*(key for _, key, _ in ATTRIBUTES), "serialNumber", "commonName", "extraNames")
_EXTRA_FIELDS: Final = fold("type", "value")


def read_subject(value: Any) -> SubjectShape:
    """A common name, or attributes by name. Raises `Mismatch`."""
    subject = SubjectShape()
    if type(value) is str:
        subject.common_name = value
        return subject
    if not isinstance(value, Pairs):
        raise _wrapped(wrong(value, "value of type x509util.nameAlias"))
    for name, item in members(value, _NAME_FIELDS).items():
        if name in ("commonName", "serialNumber"):
            if type(item) is not str:
                raise _wrapped(wrong(item, f"struct field nameAlias.{name} of type string"))
            if name == "commonName":
                subject.common_name = item
            else:
                subject.serial_number = item
        elif name == "extraNames":
            subject.extra = _extra_names(item)
        else:
            try:
                subject.lists[name] = multi(item)
            except Mismatch as error:
                raise _wrapped(error) from None
    return subject


def _extra_names(value: Any) -> list[tuple[str, Any]]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise _wrapped(wrong(value, "struct field nameAlias.extraNames of type []x509util.DistinguishedName"))
    found: list[tuple[str, Any]] = []
    for item in value:
        if not isinstance(item, Pairs):
            raise _wrapped(wrong(item, "struct field nameAlias.extraNames of type x509util.DistinguishedName"))
        parts = members(item, _EXTRA_FIELDS)
        oid = parts.get("type", "")
        if type(oid) is not str:
            raise _wrapped(wrong(oid, "value of type string"))
        try:
            found.append((object_id(oid), parts.get("value")))
        except Mismatch as error:
            raise _wrapped(error) from None
    return found


class SANShape:
    """One entry of `sans`. `asn1_value` is decoded JSON; None when there is none."""

    __slots__ = ("asn1_value", "kind", "value")

    def __init__(self, kind: str, value: str, asn1_value: Any) -> None:
        self.kind = kind
        self.value = value
        self.asn1_value = asn1_value


_SAN_FIELDS: Final = fold("type", "value", "asn1Value")


def _sans(value: Any) -> list[SANShape]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise wrong(value, "struct field Certificate.sans of type []x509util.SubjectAlternativeName")
    found = []
    for item in value:
        if item is None:
            found.append(SANShape("", "", None))
            continue
        if not isinstance(item, Pairs):
            raise wrong(item, "struct field Certificate.sans of type x509util.SubjectAlternativeName")
        parts = members(item, _SAN_FIELDS)
        for name in ("type", "value"):
            if name in parts and type(parts[name]) is not str:
                raise wrong(parts[name], f"struct field SubjectAlternativeName.sans.{name} of type string")
        found.append(SANShape(parts.get("type", ""), parts.get("value", ""), parts.get("asn1Value")))
    return found


_EXTENSION_FIELDS: Final = fold("id", "critical", "value")


def _extensions(value: Any) -> list[tuple[str, bool, bytes]]:
    if not isinstance(value, list) or isinstance(value, Pairs):
        raise wrong(value, "struct field Certificate.extensions of type []x509util.Extension")
    found = []
    for item in value:
        if item is None:
            continue
        if not isinstance(item, Pairs):
            raise wrong(item, "struct field Certificate.extensions of type x509util.Extension")
        parts = members(item, _EXTENSION_FIELDS)
        oid = parts.get("id", "")
        if type(oid) is not str:
            raise _wrapped(wrong(oid, "value of type string"))
        oid = object_id(oid)
        critical = parts.get("critical", False)
        if not isinstance(critical, bool):
            raise wrong(critical, "struct field Extension.extensions.critical of type bool")
        octets = read_octets(parts.get("value", ""), "struct field Extension.extensions.value of type []uint8")
        if oid:
            found.append((oid, critical, octets))
    return found


_CONSTRAINT_FIELDS: Final = fold("isCA", "maxPathLen")


def _basic_constraints(value: Any) -> tuple[bool, int]:
    if not isinstance(value, Pairs):
        raise wrong(value, "struct field Certificate.basicConstraints of type x509util.BasicConstraints")
    parts = members(value, _CONSTRAINT_FIELDS)
    is_ca = parts.get("isCA", False)
    if not isinstance(is_ca, bool):
        raise wrong(is_ca, "struct field BasicConstraints.basicConstraints.isCA of type bool")
    length = parts.get("maxPathLen", Literal("0"))
    where = "struct field BasicConstraints.basicConstraints.maxPathLen of type int"
    if not isinstance(length, Literal):
        raise wrong(length, where)
    if not re.fullmatch("-?[0-9]+", length) or not -(2**63) <= int(length) < 2**63:
        raise wrong(length, where, shown=True)
    return is_ca, int(length)


class NameConstraintsShape:
    def __init__(self) -> None:
        self.critical = False
        self.lists: dict[str, list[Any]] = {}


_RANGES: Final = ("permittedIPRanges", "excludedIPRanges")
_CONSTRAINT_LISTS: Final = (
    "permittedDNSDomains",
    "excludedDNSDomains",
    *_RANGES,
    "permittedEmailAddresses",
    "excludedEmailAddresses",
    "permittedURIDomains",
    "excludedURIDomains",
)
_NAME_CONSTRAINT_FIELDS: Final = fold("critical", *_CONSTRAINT_LISTS)


def _name_constraints(value: Any) -> NameConstraintsShape:
    if not isinstance(value, Pairs):
        raise wrong(value, "struct field Certificate.nameConstraints of type x509util.NameConstraints")
    shape = NameConstraintsShape()
    for name, item in members(value, _NAME_CONSTRAINT_FIELDS).items():
        if name == "critical":
            if not isinstance(item, bool):
                raise wrong(item, "struct field NameConstraints.nameConstraints.critical of type bool")
            shape.critical = item
        elif name in _RANGES:
            shape.lists[name] = _multi_of(item, _network)
        else:
            shape.lists[name] = multi(item)
    return shape


# -- the certificate -----------------------------------------------------------------------------


class CertificateShape:
    """What a rendered template says. Absent is None or empty."""

    def __init__(self) -> None:
        self.subject = SubjectShape()
        self.raw_subject = b""
        self.serial: int | None = None
        self.dns: list[str] = []
        self.emails: list[str] = []
        self.ips: list[ipaddress.IPv4Address | ipaddress.IPv6Address] = []
        self.uris: list[str] = []
        self.sans: list[SANShape] = []
        self.not_before: GoTime | None = None
        self.not_after: GoTime | None = None
        self.extensions: list[tuple[str, bool, bytes]] = []
        self.key_usage = 0
        self.ext_key_usage: list[str] = []
        self.unknown_ext_key_usage: list[str] = []
        self.basic_constraints: tuple[bool, int] | None = None
        self.name_constraints: NameConstraintsShape | None = None
        self.ocsp_servers: list[str] = []
        self.issuing_urls: list[str] = []
        self.crl_points: list[str] = []
        self.policies: list[str] = []
        self.subject_key_id: bytes | None = None
        self.authority_key_id: bytes | None = None
        self.signature_algorithm = ""


def _version(value: Any) -> int:
    where = "struct field Certificate.version of type int"
    if not isinstance(value, Literal):
        raise wrong(value, where)
    if not re.fullmatch("-?[0-9]+", value) or not -(2**63) <= int(value) < 2**63:
        raise wrong(value, where, shown=True)
    return int(value)


_FIELDS: Final[Mapping[str, tuple[str, Callable[[Any], Any]]]] = {
    "version": ("", _version),
    "subject": ("subject", read_subject),
    "rawSubject": (
        "raw_subject",
        lambda value: read_octets(value, "struct field Certificate.rawSubject of type []uint8"),
    ),
    "issuer": ("", read_subject),
    "serialNumber": ("serial", _serial),
    "dnsNames": ("dns", multi),
    "emailAddresses": ("emails", multi),
    "ipAddresses": ("ips", lambda value: _multi_of(value, _address)),
    "uris": ("uris", lambda value: _multi_of(value, _uri)),
    "sans": ("sans", _sans),
    "notBefore": ("not_before", _time),
    "notAfter": ("not_after", _time),
    "extensions": ("extensions", _extensions),
    "keyUsage": ("key_usage", _key_usage),
    "extKeyUsage": ("ext_key_usage", _ext_key_usage),
    "unknownExtKeyUsage": ("unknown_ext_key_usage", _unknown_purposes),
    "basicConstraints": ("basic_constraints", _basic_constraints),
    "nameConstraints": ("name_constraints", _name_constraints),
    "ocspServer": ("ocsp_servers", _urls),
    "issuingCertificateURL": ("issuing_urls", _urls),
    "crlDistributionPoints": ("crl_points", _urls),
    "policyIdentifiers": ("policies", _policies),
    "subjectKeyId": (
        "subject_key_id",
        lambda value: read_octets(value, "struct field Certificate.subjectKeyId of type x509util.SubjectKeyID"),
    ),
    "authorityKeyId": (
        "authority_key_id",
        lambda value: read_octets(value, "struct field Certificate.authorityKeyId of type x509util.AuthorityKeyID"),
    ),
    "signatureAlgorithm": ("signature_algorithm", _signature_algorithm),
}
_KEYS: Final = {name: name for name in _FIELDS} | fold(*_FIELDS)
_PREFIX: Final = "error unmarshaling certificate: "


def read_certificate(text: str) -> CertificateShape:
    """Raises `OutputError`."""
    shape = CertificateShape()
    try:
        value = parse_json(text)
    except OutputError as error:
        raise OutputError(_PREFIX + str(error), error.position) from None
    if value is None:
        return shape
    if not isinstance(value, Pairs):
        raise OutputError(f"{_PREFIX}{wrong(value, 'value of type x509util.Certificate')}")
    fault: Mismatch | None = None
    for key, item in value:
        name = _KEYS.get(key) or _KEYS.get(key.casefold())
        if name is None or (item is None and name != "serialNumber"):
            continue
        attribute, read = _FIELDS[name]
        try:
            found = read(clean(item))
        except Mismatch as error:
            fault = fault or error
            continue
        except URLError as error:
            fault = fault or _wrapped(error)
            continue
        if attribute:
            setattr(shape, attribute, found)
    if fault is not None:
        raise OutputError(_PREFIX + str(fault))
    return shape
