"""A certificate or request as JSON. The members are those that step prints."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping
from contextlib import suppress

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509 import load_der_x509_certificate

from provisor.cli.inspection.document import Document, algorithm_name
from provisor.cli.inspection.extensions import (
    AUTHORITY_INFO_ACCESS,
    CRL_DISTRIBUTION_POINTS,
    access_urls,
    crl_urls,
    policy_ids,
)
from provisor.cli.inspection.words import PROVISIONERS, PURPOSES, attributes, name_text, signature_name
from provisor.core.durations import format_rfc3339
from provisor.core.keys import describe_key, parse_spki
from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.extensions import (
    parse_authority_key_id,
    parse_basic_constraints,
    parse_ext_key_usage,
    parse_key_usage,
    parse_provisioner,
    parse_subject_alt_name,
    parse_subject_key_id,
)
from provisor.errors import BadKey, Malformed

_ATTRIBUTES = {
    oids.COMMON_NAME: "common_name",
    oids.SERIAL_NUMBER: "serial_number",
    oids.COUNTRY: "country",
    oids.LOCALITY: "locality",
    oids.PROVINCE: "province",
    oids.STREET_ADDRESS: "street_address",
    oids.ORGANIZATION: "organization",
    oids.ORGANIZATIONAL_UNIT: "organizational_unit",
    oids.POSTAL_CODE: "postal_code",
    "0.9.2342.19200300.100.1.25": "domain_component",
    "1.2.840.113549.1.9.1": "email_address",
    "2.5.4.42": "given_name",
    "2.5.4.4": "surname",
}
_USAGES = (
    "digital_signature",
    "content_commitment",
    "key_encipherment",
    "data_encipherment",
    "key_agreement",
    "certificate_sign",
    "crl_sign",
    "encipher_only",
    "decipher_only",
)
_PURPOSES = {
    "Server Authentication": "server_auth",
    "Client Authentication": "client_auth",
    "Code Signing": "code_signing",
    "E-mail Protection": "email_protection",
    "IPSec End System": "ipsec_end_system",
    "IPSec Tunnel": "ipsec_tunnel",
    "IPSec User": "ipsec_user",
    "Time Stamping": "time_stamping",
    "OCSP Signing": "ocsp_signing",
    "Any Usage": "any",
}
_KINDS = {
    NameKind.DNS: "dns_names",
    NameKind.EMAIL: "email_addresses",
    NameKind.IP: "ip_addresses",
    NameKind.URI: "uniform_resource_identifiers",
}

Members = dict[str, object]

_CURVES = {
    "P-224": (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF000000000000000000000001,
        0xB4050A850C04B3ABF54132565044B0B7D7BFD8BA270B39432355FFB4,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFF16A2E0B8F03E13DD29455C5C2A3D,
        0xB70E0CBD6BB4BF7F321390B94A03C1D356C21122343280D6115C1D21,
        0xBD376388B5F723FB4C22DFE6CD4375A05A07476444D5819985007E34,
    ),
    "P-256": (
        0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF,
        0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B,
        0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551,
        0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
        0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
    ),
    "P-384": (
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEFFFFFFFF0000000000000000FFFFFFFF,
        0xB3312FA7E23EE7E4988E056BE3F82D19181D9C6EFE8141120314088F5013875AC656398D8A2ED19D2A85C8EDD3EC2AEF,
        0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFC7634D81F4372DDF581A0DB248B0A77AECEC196ACCC52973,
        0xAA87CA22BE8B05378EB1C71EF320AD746E1D3B628BA79B9859F741E082542A385502F25DBF55296C3A545E3872760AB7,
        0x3617DE4A96262C6F5D9E98BF9292DC29F8F41DBD289A147CE9DA3113B5F0B8C00A60B1CE1D7E819D7A431D7C90EA0E5F,
    ),
    "P-521": (
        2**521 - 1,
        (0x51953EB9618E1C9A1F929A21A0B68540EEA2DA725B99B315F3B8B489918EF109E1 << 256)
        + 0x56193951EC7E937B1652C0BD3BB1BF073573DF883D2C34F1EF451FD46B503F00,
        2**521 - 2**264 + 0xFA51868783BF2F966B7FCC0148F709A5D03BB5C9B8899C47AEBB6FB71E91386409,
        (0xC6858E06B70404E9CD9E3ECB662395B4429C648139053FB521F828AF606B4D3DBA << 256)
        + 0xA14B5E77EFE75928FE1DC127A2FFA8DE3348B3C1856A429BF97E7E31C2E5BD66,
        (0x11839296A789A3BC0045C8A5FB42C7D1BD998F54449579B446817AFBD17273E662C << 256)
        + 0x97EE72995EF42640C550B9013FAD0761353C7086A272C24088BE94769FD16650,
    ),
}
"""p, b, n, Gx and Gy of the curves of FIPS 186."""
_TIMESTAMPS = "1.3.6.1.4.1.11129.2.4.2"
_VALIDATION = {"2.23.140.1.2.1": "DV", "2.23.140.1.2.2": "OV", "2.23.140.1.1": "EV"}
"""By the policies of the CA/Browser Forum."""


def json_members(document: Document) -> Members:
    """The members of one certificate or request."""
    extensions, unknown = _extensions(document)
    algorithm = {"name": signature_name(document.signature_algorithm), "oid": _oid(document.signature_algorithm)}
    members: Members = {"version": document.version + (0 if document.is_request else 1)}
    if document.serial is not None:
        members["serial_number"] = str(document.serial)
    members["signature_algorithm"] = algorithm
    if document.not_before and document.not_after:
        members["issuer"] = _name(document.issuer)
        members["issuer_dn"] = name_text(document.issuer, ", ")
        members["validity"] = {
            "start": format_rfc3339(document.not_before),
            "end": format_rfc3339(document.not_after),
            "length": int((document.not_after - document.not_before).total_seconds()),
        }
    members["subject"] = _name(document.subject)
    if name := name_text(document.subject, ", "):
        members["subject_dn"] = name
    members["subject_key_info"] = _key(document.spki)
    members["extensions"] = extensions
    if unknown:
        members["unknown_extensions"] = unknown
    members["signature"] = {
        "signature_algorithm": algorithm,
        "value": _base64(document.signature),
        # step: nothing is verified here
        "valid": False,
        "self_signed": document.is_self_signed,
    }
    for digest in ("md5", "sha1", "sha256"):
        members[f"fingerprint_{digest}"] = document.digest(digest).hex()
    if not document.is_request:
        members["tbs_noct_fingerprint"] = hashlib.sha256(_without_transparency(document)).hexdigest()
    members["spki_subject_fingerprint"] = hashlib.sha256(document.spki + document.subject).hexdigest()
    members["tbs_fingerprint"] = hashlib.sha256(document.tbs).hexdigest()
    if not document.is_request:
        members["validation_level"] = _validation_level(document)
        names = _names(document)
        if names:
            members["names"] = names
        members["redacted"] = any(name.startswith("?") for name in names)
    return members


def _without_transparency(document: Document) -> bytes:
    """What was signed, without the list of Signed Certificate Timestamps (RFC 6962 section 3.3)."""
    if not any(extension.oid == _TIMESTAMPS for extension in document.extensions):
        return document.tbs
    try:
        return load_der_x509_certificate(document.der).tbs_precertificate_bytes
    except ValueError:
        return document.tbs


def _validation_level(document: Document) -> str:
    for extension in document.extensions:
        if extension.oid == oids.CERTIFICATE_POLICIES:
            with suppress(ValueError, Malformed):
                return next((_VALIDATION[oid] for oid in policy_ids(extension.value) if oid in _VALIDATION), "unknown")
    return "unknown"


def _names(document: Document) -> list[str]:
    """Whom the certificate is for: the common name and the names of its extension, each once."""
    found = [text for oid, text in attributes(document.subject) if oid == oids.COMMON_NAME and text and "." in text]
    for extension in document.extensions:
        if extension.oid == oids.SUBJECT_ALT_NAME:
            with suppress(ValueError, Malformed):
                names = parse_subject_alt_name(extension.value)
                found += [name.value for name in names if _is_place(name)]
    return list(dict.fromkeys(found))


def _is_place(name: Name) -> bool:
    """step: counts what a browser would go to."""
    match name.kind:
        case NameKind.DNS:
            return True
        case NameKind.IP:
            return ":" not in name.value
        case NameKind.URI:
            return name.value.startswith(("http://", "https://", "ftp://"))
        case _:
            return False


def _oid(algorithm: bytes) -> str:
    try:
        return algorithm_name(algorithm)
    except ValueError:
        return ""


def _base64(octets: bytes) -> str:
    return b64encode(octets).decode()


def _name(name: bytes) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for word in _ATTRIBUTES.values():
        if texts := [text for oid, text in attributes(name) if _ATTRIBUTES.get(oid) == word and text is not None]:
            found[word] = texts
    return found


def _key(spki: bytes) -> Members:
    fingerprint = {"fingerprint_sha256": hashlib.sha256(spki).hexdigest()}
    try:
        key = parse_spki(spki)
    except BadKey:
        return {"key_algorithm": {"name": "unknown_algorithm"}, **fingerprint}
    if isinstance(key, ec.EllipticCurvePublicKey):
        point, size = key.public_numbers(), (key.key_size + 7) // 8
        x, y = point.x.to_bytes(size, "big"), point.y.to_bytes(size, "big")
        public = {
            "curve": describe_key(key).curve,
            "length": key.key_size,
            "pub": _base64(b"\x04" + x + y),
            "x": _base64(x.lstrip(b"\0")),
            "y": _base64(y.lstrip(b"\0")),
            **_curve(describe_key(key).curve),
        }
        public = {name: public[name] for name in sorted(public)}
        return {"key_algorithm": {"name": "ECDSA"}, "ecdsa_public_key": public, **fingerprint}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        modulus = numbers.n.to_bytes((key.key_size + 7) // 8, "big")
        public = {"exponent": numbers.e, "modulus": _base64(modulus), "length": key.key_size}
        return {"key_algorithm": {"name": "RSA"}, "rsa_public_key": public, **fingerprint}
    name = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "unknown_algorithm"
    return {"key_algorithm": {"name": name}, **fingerprint}


def _curve(name: str) -> Members:
    numbers = zip(("p", "b", "n", "gx", "gy"), _CURVES.get(name, ()), strict=False)
    return {member: _base64(number.to_bytes((number.bit_length() + 7) // 8, "big")) for member, number in numbers}


def _extensions(document: Document) -> tuple[Members, list[Members]]:
    """The ones with a form of their own, and the others as octets."""
    known: Members = {}
    unknown: list[Members] = []
    for extension in document.extensions:
        name, show = _KNOWN.get(extension.oid, ("", None))
        try:
            if show is not None:
                known[name] = show(extension.value)
                continue
        except (ValueError, Malformed):
            pass
        value = _base64(extension.value)
        unknown.append({"id": extension.oid, "critical": extension.critical, "value": value})
    return {name: known[name] for name, _ in _KNOWN.values() if name in known}, unknown


def _key_usage(value: bytes) -> object:
    usage = parse_key_usage(value)
    bits = {word: True for bit, word in enumerate(_USAGES) if usage & (1 << bit)}
    return {**bits, "value": int(usage)}


def _basic_constraints(value: bytes) -> object:
    constraints = parse_basic_constraints(value)
    limit = {} if constraints.path_length is None else {"max_path_len": constraints.path_length}
    return {"is_ca": constraints.is_ca, **limit}


def _alternative_names(value: bytes) -> object:
    names = parse_subject_alt_name(value)
    texts = {word: [name.value for name in names if name.kind is kind] for kind, word in _KINDS.items()}
    return {word: of_kind for word, of_kind in texts.items() if of_kind}


def _purposes(value: bytes) -> object:
    purposes = parse_ext_key_usage(value)
    unknown = [oid for oid in purposes if oid not in PURPOSES]
    words = {_PURPOSES[PURPOSES[oid]]: True for oid in purposes if oid in PURPOSES}
    return {**dict(sorted(words.items())), **({"unknown": unknown} if unknown else {})}


def _policies(value: bytes) -> object:
    return [{"id": oid} for oid in policy_ids(value)]


def _information_access(value: bytes) -> object:
    urls = access_urls(value)
    named = {"ocsp_urls": urls["OCSP"], "issuer_urls": urls["CA Issuers"]}
    return {name: found for name, found in named.items() if found}


def _provisioner(value: bytes) -> object:
    provisioner = parse_provisioner(value)
    number = provisioner.type
    kind = PROVISIONERS[number] if 0 <= number < len(PROVISIONERS) else f"Unknown ({number:#x})"
    members = {"name": provisioner.name, "type": kind}
    if provisioner.credential_id:
        members["credentialID"] = provisioner.credential_id
    pairs = dict(zip(provisioner.pairs[::2], provisioner.pairs[1::2], strict=False))
    return dict(sorted((pairs | members).items()))


_KNOWN: Mapping[str, tuple[str, Callable[[bytes], object]]] = {
    oids.KEY_USAGE: ("key_usage", _key_usage),
    oids.BASIC_CONSTRAINTS: ("basic_constraints", _basic_constraints),
    oids.SUBJECT_ALT_NAME: ("subject_alt_name", _alternative_names),
    "2.5.29.18": ("issuer_alt_name", _alternative_names),
    CRL_DISTRIBUTION_POINTS: ("crl_distribution_points", crl_urls),
    oids.AUTHORITY_KEY_ID: ("authority_key_id", lambda value: parse_authority_key_id(value).hex()),
    oids.SUBJECT_KEY_ID: ("subject_key_id", lambda value: parse_subject_key_id(value).hex()),
    oids.EXT_KEY_USAGE: ("extended_key_usage", _purposes),
    oids.CERTIFICATE_POLICIES: ("certificate_policies", _policies),
    AUTHORITY_INFO_ACCESS: ("authority_info_access", _information_access),
    oids.PROVISIONER: ("step_provisioner", _provisioner),
}
