"""What a template for X.509 certificates sees: the request, the subject, names, certificates (templates 1.4, 2.4)."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from provisor.core.names import Name, NameKind
from provisor.core.template.go_json import json_string
from provisor.core.template.times import from_datetime
from provisor.core.template.values import (
    INTERFACE,
    Bytes,
    Field,
    Int64,
    Map,
    Method,
    NilPointer,
    Number,
    Slice,
    Struct,
    Value,
)
from provisor.core.url import URL, URLError, parse_url
from provisor.core.x509 import oids
from provisor.core.x509.der import LenientExtension
from provisor.core.x509.extensions import (
    KeyUsage,
    parse_basic_constraints,
    parse_ext_key_usage,
    parse_key_usage,
    parse_subject_alt_name,
)
from provisor.core.x509.name import EMPTY_NAME, parse_name
from provisor.core.x509.request import CertificateRequest, read_extensions

KEY_USAGES: Final = (
    "digitalSignature",
    "contentCommitment",
    "keyEncipherment",
    "dataEncipherment",
    "keyAgreement",
    "certSign",
    "crlSign",
    "encipherOnly",
    "decipherOnly",
)
PURPOSES: Final[Mapping[str, str]] = {
    "any": "2.5.29.37.0",
    "serverAuth": "1.3.6.1.5.5.7.3.1",
    "clientAuth": "1.3.6.1.5.5.7.3.2",
    "codeSigning": "1.3.6.1.5.5.7.3.3",
    "emailProtection": "1.3.6.1.5.5.7.3.4",
    "ipsecEndSystem": "1.3.6.1.5.5.7.3.5",
    "ipsecTunnel": "1.3.6.1.5.5.7.3.6",
    "ipsecUser": "1.3.6.1.5.5.7.3.7",
    "timeStamping": "1.3.6.1.5.5.7.3.8",
    "ocspSigning": "1.3.6.1.5.5.7.3.9",
    "microsoftServerGatedCrypto": "1.3.6.1.4.1.311.10.3.3",
    "netscapeServerGatedCrypto": "2.16.840.1.113730.4.1",
    "microsoftCommercialCodeSigning": "1.3.6.1.4.1.311.2.1.22",
    "microsoftKernelCodeSigning": "1.3.6.1.4.1.311.61.1.1",
}
_PURPOSE_NAMES: Final = {oid: name for name, oid in PURPOSES.items()}
ATTRIBUTES: Final = (
    ("Country", "country", oids.COUNTRY),
    ("Organization", "organization", oids.ORGANIZATION),
    ("OrganizationalUnit", "organizationalUnit", oids.ORGANIZATIONAL_UNIT),
    ("Locality", "locality", oids.LOCALITY),
    ("Province", "province", oids.PROVINCE),
    ("StreetAddress", "streetAddress", oids.STREET_ADDRESS),
    ("PostalCode", "postalCode", oids.POSTAL_CODE),
)
_LISTS: Final = {oid: name for name, _, oid in ATTRIBUTES}


class _Lazy(dict[str, Any]):
    """Members that are made when they are first looked at."""

    def __init__(self, makers: Mapping[str, Callable[[], Value]]) -> None:
        super().__init__()
        self._makers = makers

    def __missing__(self, key: str) -> Value:
        self[key] = value = self._makers[key]()
        return value


# -- small types ---------------------------------------------------------------------------------


def _strings(items: Iterable[str], go: str = "x509util.MultiString") -> Slice:
    found = list(items)
    return Slice(found, "string", go, nil=not found)


class ObjectID(Slice):
    """An object identifier: prints as its numbers, dotted in JSON."""

    def __init__(self, dotted: str) -> None:
        super().__init__(
            [int(part) for part in dotted.split(".")] if dotted else [], "int", "x509util.ObjectIdentifier"
        )
        self.dotted = dotted

    def json(self) -> str:
        return f'"{self.dotted}"'


class IP(Bytes):
    go = "net.IP"

    def __init__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
        packed = b"" if address is None else address.packed
        super().__init__(b"\0" * 10 + b"\xff\xff" + packed if len(packed) == 4 else packed, nil=address is None)
        self.address = address

    def text(self) -> str:
        return "<nil>" if self.address is None else str(self.address)

    def json(self) -> str:
        return '""' if self.address is None else f'"{self.address}"'


def _flag(name: str) -> Method:
    return Method((), lambda ip: ip.address is not None and bool(getattr(ip.address, name)))


def _to_ipv4(ip: IP) -> IP:
    return _Short(ip.address) if isinstance(ip.address, ipaddress.IPv4Address) else IP(None)


class _Short(IP):
    """An IPv4 address of four octets."""

    def __init__(self, address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> None:
        super().__init__(address)
        self.octets = b"" if address is None else address.packed


IP.methods = {
    "String": Method((), lambda ip: ip.text()),
    "To4": Method((), _to_ipv4),
    "To16": Method((), lambda ip: IP(ip.address)),
    "IsLoopback": _flag("is_loopback"),
    "IsPrivate": Method((), lambda ip: _is_private(ip.address)),
    "IsMulticast": _flag("is_multicast"),
    "IsUnspecified": _flag("is_unspecified"),
    "IsLinkLocalUnicast": Method(
        (), lambda ip: ip.address is not None and ip.address.is_link_local and not ip.address.is_multicast
    ),
    "Equal": Method(("net.IP",), lambda ip, other: ip.address == other.address),
}
_PRIVATE: Final = tuple(map(ipaddress.ip_network, ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7")))


def _is_private(address: ipaddress.IPv4Address | ipaddress.IPv6Address | None) -> bool:
    """RFC 1918 and RFC 4193."""
    return address is not None and any(address.version == net.version and address in net for net in _PRIVATE)


class GoURL(Struct):
    go = "url.URL"
    pointer = True
    members = tuple(
        map(
            Field,
            (
                *("Scheme", "Opaque", "User", "Host", "Path", "Fragment"),
                *("RawQuery", "RawPath", "RawFragment", "ForceQuery", "OmitHost"),
            ),
        )
    )

    def __init__(self, url: URL) -> None:
        user = NilPointer("*url.Userinfo", text="") if url.user is None else UserInfo(url)
        super().__init__(
            {
                "Scheme": url.scheme,
                "Opaque": url.opaque,
                "User": user,
                "Host": url.host,
                "Path": url.path,
                "Fragment": url.fragment,
                "RawQuery": url.query,
                "RawPath": url.written_path if url.written_path != url.path else "",
                "RawFragment": url.written_fragment if url.written_fragment != url.fragment else "",
                "ForceQuery": url.ends_in_question,
                "OmitHost": url.omits_host,
            }
        )
        self.url = url

    def text(self) -> str:
        return str(self.url)

    def json(self) -> str:
        return json_string(str(self.url))


class UserInfo(Struct):
    go = "url.Userinfo"
    pointer = True

    def __init__(self, url: URL) -> None:
        super().__init__({})
        self.url = url

    def text(self) -> str:
        return self.url.user_text or ""


UserInfo.methods = {
    "String": Method((), lambda user: user.text()),
    "Username": Method((), lambda user: user.url.user),
}


def _query(url: GoURL) -> Map:
    """The parameters of a query, each a list."""
    from urllib.parse import parse_qs  # seldom used

    found = parse_qs(url.url.query, keep_blank_values=True)
    return Map({key: _strings(values, "[]string") for key, values in found.items()}, "[]string", "url.Values")


GoURL.methods = {
    "String": Method((), lambda url: url.text()),
    "Hostname": Method((), lambda url: url.url.hostname),
    "Port": Method((), lambda url: url.url.port),
    "IsAbs": Method((), lambda url: bool(url.url.scheme)),
    "EscapedPath": Method((), lambda url: url.url.escaped_path),
    "EscapedFragment": Method((), lambda url: url.url.escaped_fragment),
    "RequestURI": Method(
        (), lambda url: (url.url.opaque or url.url.escaped_path or "/") + (f"?{url.url.query}" if url.url.query else "")
    ),
    "Query": Method((), _query),
}


class ExtraName(Struct):
    go = "x509util.DistinguishedName"
    members = (Field("Type", "type"), Field("Value", "value", static=INTERFACE))

    def __init__(self, oid: str, value: Value) -> None:
        super().__init__({"Type": ObjectID(oid), "Value": value})


class Subject(Struct):
    """A distinguished name by attribute. Empty lists are nil."""

    go = "x509util.Subject"
    members = (
        *(Field(name, key, True) for name, key, _ in ATTRIBUTES),
        Field("SerialNumber", "serialNumber", True),
        Field("CommonName", "commonName", True),
        Field("ExtraNames", "extraNames", True),
    )

    def __init__(
        self,
        common_name: str = "",
        lists: Mapping[str, Sequence[str]] = {},
        serial_number: str = "",
        extra: Sequence[tuple[str, Value]] = (),
    ) -> None:
        values: dict[str, Value] = {name: _strings(lists.get(name, ())) for name, _, _ in ATTRIBUTES}
        values["SerialNumber"] = serial_number
        values["CommonName"] = common_name
        names = [ExtraName(oid, value) for oid, value in extra]
        values["ExtraNames"] = Slice(names, "x509util.DistinguishedName", nil=not names)
        super().__init__(values)

    def is_empty(self) -> bool:
        return not any(self.values.values())


Subject.methods = {"IsEmpty": Method((), lambda subject: subject.is_empty())}


def subject_of(name: bytes) -> Subject:
    """A DER name as templates see it: standard attributes by name, the others in `ExtraNames`."""
    lists: dict[str, list[str]] = {}
    common_name = serial = ""
    extra: list[tuple[str, Value]] = []
    for oid, text in parse_name(name):
        value = text or ""
        if oid in _LISTS:
            lists.setdefault(_LISTS[oid], []).append(value)
        elif oid == oids.COMMON_NAME:
            common_name = value
        elif oid == oids.SERIAL_NUMBER:
            serial = value
        else:
            extra.append((oid, value))
    return Subject(common_name, lists, serial, extra)


class SAN(Struct):
    """A subject alternative name: `{"type", "value"}`."""

    go = "x509util.SubjectAlternativeName"
    members = (Field("Type", "type"), Field("Value", "value"), Field("ASN1Value", "asn1Value", True))

    def __init__(self, kind: str, value: str) -> None:
        super().__init__({"Type": kind, "Value": value, "ASN1Value": _NO_JSON})


class _RawJSON(Bytes):
    go = "json.RawMessage"

    def json(self) -> str:
        return self.octets.decode() or "null"


_NO_JSON: Final = _RawJSON(nil=True)


def sans_of(names: Iterable[Name]) -> Slice:
    return Slice([SAN(str(name.kind), name.value) for name in names], "x509util.SubjectAlternativeName")


class TemplateExtension(Struct):
    go = "x509util.Extension"
    members = (Field("ID", "id"), Field("Critical", "critical"), Field("Value", "value"))

    def __init__(self, oid: str, critical: bool, value: bytes) -> None:
        super().__init__({"ID": ObjectID(oid), "Critical": critical, "Value": Bytes(value)})


class KeyUsageBits(Number):
    """Bits in the order of RFC 5280, the first the lowest; a list of names in JSON."""

    go = "x509util.KeyUsage"
    kind = "int"

    def json(self) -> str:
        names = [f'"{name}"' for bit, name in enumerate(KEY_USAGES) if self >> bit & 1]
        return f"[{','.join(names)}]" if names else "null"


class CertificateKeyUsage(KeyUsageBits):
    """The same where Go's library holds it."""

    go = "x509.KeyUsage"

    def text(self) -> str:
        return _USAGE_NAMES.get(int(self), f"KeyUsage({int(self)})")

    def json(self) -> str:
        return str(int(self))


_GO_USAGES: Final = (*KEY_USAGES[:5], "keyCertSign", "cRLSign", *KEY_USAGES[7:])
_USAGE_NAMES: Final = {1 << bit: name for bit, name in enumerate(_GO_USAGES)}


class Purpose(Number):
    """An extended key usage of Go's library, by its number there."""

    go = "x509.ExtKeyUsage"
    kind = "int"

    def text(self) -> str:
        return _PURPOSES_SHOWN[self] if 0 <= self < len(_PURPOSES_SHOWN) else f"ExtKeyUsage({int(self)})"


_PURPOSES_BY_NUMBER: Final = tuple(PURPOSES)
_PURPOSES_SHOWN: Final = tuple("OCSPSigning" if name == "ocspSigning" else name for name in PURPOSES)


class ExtKeyUsage(Slice):
    def __init__(self, purposes: Iterable[str]) -> None:
        numbers = [Purpose(_PURPOSES_BY_NUMBER.index(_PURPOSE_NAMES[oid])) for oid in purposes]
        super().__init__(numbers, "x509.ExtKeyUsage", "x509util.ExtKeyUsage")

    def json(self) -> str:
        return f"[{','.join(json_string(_PURPOSES_BY_NUMBER[number]) for number in self)}]"


class BasicConstraints(Struct):
    go = "x509util.BasicConstraints"
    pointer = True
    members = (Field("IsCA", "isCA"), Field("MaxPathLen", "maxPathLen"))

    def __init__(self, is_ca: bool, path_length: int) -> None:
        super().__init__({"IsCA": is_ca, "MaxPathLen": path_length})


_NO_CONSTRAINTS: Final = NilPointer("*x509util.BasicConstraints", frozenset({"IsCA", "MaxPathLen"}))


class SignatureAlgorithm(Number):
    go = "x509util.SignatureAlgorithm"
    kind = "int"

    def json(self) -> str:
        return '""'


# -- keys ----------------------------------------------------------------------------------------


class BigInt(Struct):
    go = "big.Int"
    pointer = True

    def __init__(self, number: int) -> None:
        super().__init__({})
        self.number = number

    def text(self) -> str:
        return str(self.number)

    def json(self) -> str:
        return str(self.number)


BigInt.methods = {
    "String": Method((), lambda big: str(big.number)),
    "BitLen": Method((), lambda big: big.number.bit_length()),
    "Int64": Method((), lambda big: Int64((big.number + 2**63) % 2**64 - 2**63)),
    "Sign": Method((), lambda big: (big.number > 0) - (big.number < 0)),
    "IsInt64": Method((), lambda big: -(2**63) <= big.number < 2**63),
}


class CurveParams(Struct):
    go = "elliptic.CurveParams"
    pointer = True
    members = (Field("BitSize"), Field("Name"))


class Curve(Struct):
    go = "elliptic.nistCurve"
    pointer = True

    def __init__(self, name: str, bits: int) -> None:
        super().__init__({})
        self.params = CurveParams({"Name": name, "BitSize": bits})


class RSAKey(Struct):
    go = "rsa.PublicKey"
    pointer = True
    members = (Field("N"), Field("E"))


class ECKey(Struct):
    go = "ecdsa.PublicKey"
    pointer = True
    members = (Field("Curve", static=INTERFACE), Field("X"), Field("Y"))


class Ed25519Key(Bytes):
    go = "ed25519.PublicKey"


class KeyAlgorithm(Number):
    go = "x509.PublicKeyAlgorithm"
    kind = "int"

    def text(self) -> str:
        return {1: "RSA", 2: "DSA", 3: "ECDSA", 4: "Ed25519"}.get(int(self), str(int(self)))


RSAKey.methods = {"Size": Method((), lambda key: (key.values["N"].number.bit_length() + 7) // 8)}
Curve.methods = {"Params": Method((), lambda curve: curve.params)}
ECKey.methods = {"Params": Method((), lambda key: key.values["Curve"].params)}


def key_value(spki: bytes) -> tuple[Value, KeyAlgorithm]:
    """A public key and its algorithm, from a SubjectPublicKeyInfo."""
    key = load_der_public_key(spki)
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return RSAKey({"N": BigInt(numbers.n), "E": numbers.e}), KeyAlgorithm(1)
    if isinstance(key, ec.EllipticCurvePublicKey):
        point = key.public_numbers()
        names = {"secp256r1": "P-256", "secp384r1": "P-384", "secp521r1": "P-521", "secp224r1": "P-224"}
        curve = Curve(names.get(key.curve.name, key.curve.name), key.curve.key_size)
        return ECKey({"Curve": curve, "X": BigInt(point.x), "Y": BigInt(point.y)}), KeyAlgorithm(3)
    if isinstance(key, ed25519.Ed25519PublicKey):
        return Ed25519Key(key.public_bytes(Encoding.Raw, PublicFormat.Raw)), KeyAlgorithm(4)
    return None, KeyAlgorithm(2 if isinstance(key, dsa.DSAPublicKey) else 0)


def lazy_key(request: CertificateRequest) -> Value:
    """The key of a request. Most templates ask for its type and no more: the rest is read when it is looked at."""
    kind = {"EC": ECKey, "RSA": RSAKey}.get(request.key.kind)
    if kind is None:
        return key_value(request.spki)[0]
    read: list[Mapping[str, Value]] = []

    def member(name: str) -> Callable[[], Value]:
        def make() -> Value:
            if not read:
                key = key_value(request.spki)[0]
                assert isinstance(key, Struct)
                read.append(key.values)
            return read[0][name]

        return make

    return kind(_Lazy({field.name: member(field.name) for field in kind.members}))


# -- requests ------------------------------------------------------------------------------------


class RequestData(Struct):
    """The signing request, as `.Insecure.CR`."""

    go = "x509util.CertificateRequest"
    pointer = True
    members = (
        Field("Version", "version"),
        Field("Subject", "subject"),
        Field("RawSubject", "rawSubject"),
        Field("DNSNames", "dnsNames"),
        Field("EmailAddresses", "emailAddresses"),
        Field("IPAddresses", "ipAddresses"),
        Field("URIs", "uris"),
        Field("SANs", "sans"),
        Field("Extensions", "extensions"),
        Field("KeyUsage", "keyUsage"),
        Field("ExtKeyUsage", "extKeyUsage"),
        Field("UnknownExtKeyUsage", "unknownExtKeyUsage"),
        Field("BasicConstraints", "basicConstraints"),
        Field("SignatureAlgorithm", "signatureAlgorithm"),
        Field("ChallengePassword"),
        Field("PublicKey", static=INTERFACE),
        Field("PublicKeyAlgorithm"),
        Field("Signature"),
    )

    def __init__(self, request: CertificateRequest) -> None:
        self.request = request
        self._read: list[LenientExtension] | None = None
        super().__init__(
            _Lazy(
                {
                    "Version": lambda: 0,
                    "Subject": lambda: subject_of(request.subject),
                    "RawSubject": lambda: Bytes(request.subject),
                    "DNSNames": lambda: _strings(self._names(NameKind.DNS)),
                    "EmailAddresses": lambda: _strings(self._names(NameKind.EMAIL)),
                    "IPAddresses": lambda: _multi_ip(self._names(NameKind.IP)),
                    "URIs": lambda: _multi_url(self._names(NameKind.URI)),
                    "SANs": lambda: Slice(element="x509util.SubjectAlternativeName", nil=True),
                    "Extensions": self._extensions,
                    "KeyUsage": lambda: KeyUsageBits(self._parsed(oids.KEY_USAGE, parse_key_usage, KeyUsage(0))),
                    "ExtKeyUsage": lambda: ExtKeyUsage(oid for oid in self._purposes() if oid in _PURPOSE_NAMES),
                    "UnknownExtKeyUsage": self._unknown_purposes,
                    "BasicConstraints": self._basic_constraints,
                    "SignatureAlgorithm": lambda: SignatureAlgorithm(0),
                    "ChallengePassword": lambda: "",
                    "PublicKey": lambda: lazy_key(request),
                    "PublicKeyAlgorithm": lambda: key_value(request.spki)[1],
                    "Signature": lambda: Bytes(request.signature),
                }
            )
        )

    def _names(self, kind: NameKind) -> list[str]:
        return [name.value for name in self.request.names if name.kind is kind]

    def _asked(self) -> list[LenientExtension]:
        if self._read is None:
            self._read = read_extensions(self.request)
        return self._read

    def _extensions(self) -> Slice:
        # the reference marks the names critical where they are all there is of a subject
        lone = self.request.subject == EMPTY_NAME
        found = [
            TemplateExtension(oid, bool(e.critical) or (lone and oid == oids.SUBJECT_ALT_NAME), e.value)
            for e in self._asked()
            for oid in (e.oid.dotted_string,)
        ]
        return Slice(found, "x509util.Extension", nil=not found)

    def _parsed(self, oid: str, parse: Callable[[bytes], Any], absent: Any) -> Any:
        """What an extension says; what is broken says nothing."""
        for extension in self._asked():
            if extension.oid.dotted_string == oid:
                try:
                    return parse(extension.value)
                except ValueError:
                    return absent
        return absent

    def _purposes(self) -> Sequence[str]:
        found: Sequence[str] = self._parsed(oids.EXT_KEY_USAGE, parse_ext_key_usage, ())
        return found

    def _unknown_purposes(self) -> Slice:
        found = [ObjectID(oid) for oid in self._purposes() if oid not in _PURPOSE_NAMES]
        return Slice(found, "asn1.ObjectIdentifier", "x509util.UnknownExtKeyUsage", nil=not found)

    def _basic_constraints(self) -> Value:
        found = self._parsed(oids.BASIC_CONSTRAINTS, parse_basic_constraints, None)
        if found is None:
            return _NO_CONSTRAINTS
        length = -1 if found.path_length is None else found.path_length
        return BasicConstraints(found.is_ca, length)


class _LeafOf(Struct):
    """What the built-in choices make of a request: usages of a leaf over the names of the request."""

    go = "x509util.Certificate"
    pointer = True
    members = RequestData.members

    def __init__(self, values: Mapping[str, Value]) -> None:
        super().__init__(values)


def _leaf(data: RequestData, *, as_leaf: bool) -> _LeafOf:
    values = {member.name: data.values[member.name] for member in RequestData.members}
    if as_leaf:
        usage = 5 if data.request.key.kind == "RSA" else 1
        values["KeyUsage"] = KeyUsageBits(usage)
        values["ExtKeyUsage"] = ExtKeyUsage((oids.SERVER_AUTH, oids.CLIENT_AUTH))
    return _LeafOf(values)


RequestData.methods = {
    "GetCertificate": Method((), lambda data: _leaf(data, as_leaf=False)),
    "GetLeafCertificate": Method((), lambda data: _leaf(data, as_leaf=True)),
}


def _multi_ip(values: Iterable[str]) -> Slice:
    found = [IP(ipaddress.ip_address(value)) for value in values]
    return Slice(found, "net.IP", "x509util.MultiIP", nil=not found)


def _multi_url(values: Iterable[str]) -> Slice:
    found = []
    for value in values:
        try:
            found.append(GoURL(parse_url(value)))
        except URLError:
            continue
    return Slice(found, "*url.URL", "x509util.MultiURL", nil=not found)


# -- certificates --------------------------------------------------------------------------------


class DistinguishedName(Struct):
    """`pkix.Name`"""

    go = "pkix.Name"
    members = (*(Field(name) for name, _, _ in ATTRIBUTES), Field("SerialNumber"), Field("CommonName"))

    def __init__(self, name: bytes, text: str) -> None:
        values = subject_of(name).values
        plain = {member.name: values[member.name] for member in self.members}
        for key, _, _ in ATTRIBUTES:
            plain[key] = Slice(values[key], "string", nil=not values[key])
        super().__init__(plain)
        self._text = text

    def text(self) -> str:
        return self._text


DistinguishedName.methods = {"String": Method((), lambda name: name.text())}


class CertificateData(Struct):
    """A certificate, as `.AuthorizationCrt`."""

    go = "x509.Certificate"
    pointer = True
    members = tuple(
        Field(name, static=INTERFACE if name == "PublicKey" else "")
        for name in (
            *("Raw", "RawSubject", "RawIssuer", "SignatureAlgorithm", "PublicKeyAlgorithm", "PublicKey", "Version"),
            *("SerialNumber", "Issuer", "Subject", "NotBefore", "NotAfter", "KeyUsage", "Extensions", "IsCA"),
            *("BasicConstraintsValid", "MaxPathLen", "SubjectKeyId", "AuthorityKeyId"),
            *("DNSNames", "EmailAddresses", "IPAddresses", "URIs"),
        )
    )

    def __init__(self, der: bytes) -> None:
        certificate = x509.load_der_x509_certificate(der)
        spki = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        found = {e.oid.dotted_string: e.value.public_bytes() for e in certificate.extensions}
        names = parse_subject_alt_name(found[oids.SUBJECT_ALT_NAME]) if oids.SUBJECT_ALT_NAME in found else ()
        constraints = (
            parse_basic_constraints(found[oids.BASIC_CONSTRAINTS]) if oids.BASIC_CONSTRAINTS in found else None
        )
        usage = parse_key_usage(found[oids.KEY_USAGE]) if oids.KEY_USAGE in found else KeyUsage(0)

        def kind(of: NameKind) -> list[str]:
            return [name.value for name in names if name.kind is of]

        super().__init__(
            _Lazy(
                {
                    "Raw": lambda: Bytes(der),
                    "RawSubject": lambda: Bytes(certificate.subject.public_bytes()),
                    "RawIssuer": lambda: Bytes(certificate.issuer.public_bytes()),
                    "SignatureAlgorithm": lambda: _SignedWith(certificate),
                    "PublicKeyAlgorithm": lambda: key_value(spki)[1],
                    "PublicKey": lambda: key_value(spki)[0],
                    "Version": lambda: 3,
                    "SerialNumber": lambda: BigInt(certificate.serial_number),
                    "Issuer": lambda: _pkix(certificate.issuer),
                    "Subject": lambda: _pkix(certificate.subject),
                    "NotBefore": lambda: from_datetime(certificate.not_valid_before_utc),
                    "NotAfter": lambda: from_datetime(certificate.not_valid_after_utc),
                    "KeyUsage": lambda: CertificateKeyUsage(int(usage)),
                    "Extensions": lambda: _pkix_extensions(certificate),
                    "IsCA": lambda: constraints is not None and constraints.is_ca,
                    "BasicConstraintsValid": lambda: constraints is not None,
                    "MaxPathLen": lambda: (
                        -1 if constraints is None or constraints.path_length is None else constraints.path_length
                    ),
                    "SubjectKeyId": lambda: Bytes(found.get(oids.SUBJECT_KEY_ID, b"")[2:]),
                    "AuthorityKeyId": lambda: Bytes(found.get(oids.AUTHORITY_KEY_ID, b"")[4:]),
                    "DNSNames": lambda: _strings(kind(NameKind.DNS), "[]string"),
                    "EmailAddresses": lambda: _strings(kind(NameKind.EMAIL), "[]string"),
                    "IPAddresses": lambda: Slice(_multi_ip(kind(NameKind.IP)), "net.IP", nil=not kind(NameKind.IP)),
                    "URIs": lambda: Slice(_multi_url(kind(NameKind.URI)), "*url.URL", nil=not kind(NameKind.URI)),
                }
            )
        )


class _SignedWith(Struct):
    """A signature algorithm: prints as Go names it."""

    go = "x509.SignatureAlgorithm"

    def __init__(self, certificate: x509.Certificate) -> None:
        super().__init__({})
        hash_name = certificate.signature_hash_algorithm.name.upper() if certificate.signature_hash_algorithm else ""
        name = certificate.signature_algorithm_oid._name  # the library has no other name for it
        if "ecdsa" in name.lower():
            self._text = f"ECDSA-{hash_name}"
        elif "rsassa" in name.lower():
            self._text = f"{hash_name}-RSAPSS"
        elif "rsa" in name.lower():
            self._text = f"{hash_name}-RSA"
        else:
            self._text = "Ed25519"

    def text(self) -> str:
        return self._text


class _PKIXExtension(Struct):
    go = "pkix.Extension"
    members = (Field("Id"), Field("Critical"), Field("Value"))


def _pkix_extensions(certificate: x509.Certificate) -> Slice:
    found = [
        _PKIXExtension({"Id": ObjectID(oid), "Critical": e.critical, "Value": Bytes(e.value.public_bytes())})
        for e in certificate.extensions
        for oid in (e.oid.dotted_string,)
    ]
    return Slice(found, "pkix.Extension", nil=not found)


_SHORT: Final = {
    oids.COUNTRY: "C",
    oids.ORGANIZATION: "O",
    oids.ORGANIZATIONAL_UNIT: "OU",
    oids.COMMON_NAME: "CN",
    oids.SERIAL_NUMBER: "SERIALNUMBER",
    oids.LOCALITY: "L",
    oids.PROVINCE: "ST",
    oids.STREET_ADDRESS: "STREET",
    oids.POSTAL_CODE: "POSTALCODE",
}


def _pkix(name: x509.Name) -> DistinguishedName:
    """A name and its text by RFC 2253: last attribute first."""
    parts = ["+".join(f"{_short(a.oid.dotted_string)}={_escaped(a.value)}" for a in rdn) for rdn in reversed(name.rdns)]
    return DistinguishedName(name.public_bytes(), ",".join(parts))


def _short(oid: str) -> str:
    return _SHORT.get(oid, oid)


def _escaped(value: str | bytes) -> str:
    if isinstance(value, bytes):
        return "#" + value.hex()
    text = "".join(f"\\{character}" if character in ',+"\\<>;' else character for character in value)
    if text[:1] in (" ", "#"):
        text = "\\" + text
    return text[:-1] + "\\ " if text.endswith(" ") and len(text) > 1 else text


# -- all of it -----------------------------------------------------------------------------------


class TemplateData(Map):
    """The data of a template. Its Go type has methods, so these names are no keys."""

    def __init__(self, items: Mapping[str, Value] = {}) -> None:
        super().__init__(items, INTERFACE, "x509util.TemplateData")


def _setter(name: str, *parameters: str) -> Method:
    return Method(parameters, None, f"function {name} has 0 return values; should be 1 or 2")


TemplateData.methods = {
    "Set": _setter("Set", "string", INTERFACE),
    "SetInsecure": _setter("SetInsecure", "string", INTERFACE),
    "SetSubject": _setter("SetSubject", "x509util.Subject"),
    "SetCommonName": _setter("SetCommonName", "string"),
    "SetSANs": _setter("SetSANs", "[]string"),
    "SetSubjectAlternativeNames": _setter("SetSubjectAlternativeNames", "[]x509util.SubjectAlternativeName"),
    "SetToken": _setter("SetToken", INTERFACE),
    "SetUserData": _setter("SetUserData", INTERFACE),
    "SetAuthorizationCertificate": _setter("SetAuthorizationCertificate", INTERFACE),
    "SetAuthorizationCertificateChain": _setter("SetAuthorizationCertificateChain", INTERFACE),
    "SetCertificateRequest": _setter("SetCertificateRequest", "*x509.CertificateRequest"),
    "SetWebhook": _setter("SetWebhook", "string", INTERFACE),
}
