"""A certificate or request as JSON. The members are those of the recordings, without the parameters of curves."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from collections.abc import Callable, Mapping

from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

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
from provisor.core.names import NameKind
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
        "self_signed": document.is_self_signed,
    }
    for digest in ("md5", "sha1", "sha256"):
        members[f"fingerprint_{digest}"] = document.digest(digest).hex()
    members["spki_subject_fingerprint"] = hashlib.sha256(document.spki + document.subject).hexdigest()
    members["tbs_fingerprint"] = hashlib.sha256(document.tbs).hexdigest()
    return members


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
        }
        return {"key_algorithm": {"name": "ECDSA"}, "ecdsa_public_key": public, **fingerprint}
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        modulus = numbers.n.to_bytes((key.key_size + 7) // 8, "big")
        public = {"exponent": numbers.e, "modulus": _base64(modulus), "length": key.key_size}
        return {"key_algorithm": {"name": "RSA"}, "rsa_public_key": public, **fingerprint}
    name = "Ed25519" if isinstance(key, ed25519.Ed25519PublicKey) else "unknown_algorithm"
    return {"key_algorithm": {"name": name}, **fingerprint}


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
