"""A rendered template and a signing request as JSON once more: what webhooks are told (core-api 9, templates 5a)."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from datetime import datetime

from provisor.core.durations import format_rfc3339
from provisor.core.keys import KeyInfo
from provisor.core.template.go_json import encode
from provisor.core.template.limits import Budget, World
from provisor.core.x509.schema import (
    CertificateShape,
    Literal,
    NameConstraintsShape,
    Pairs,
    SubjectShape,
)
from provisor.core.x509.template_data import ATTRIBUTES, KEY_USAGES, PURPOSES, RequestData

_PURPOSE_NAMES = {oid: name for name, oid in PURPOSES.items()}
_ALGORITHMS = {"RSA": "RSA", "EC": "ECDSA", "Ed25519": "Ed25519", "DSA": "DSA"}
_CONSTRAINTS = tuple(
    word + kind
    for kind in ("DNSDomains", "IPRanges", "EmailAddresses", "URIDomains")
    for word in ("permitted", "excluded")
)


def _base64(octets: bytes | None) -> str | None:
    return base64.b64encode(octets).decode() if octets else None


def _or_null(items: Sequence[object]) -> list[object] | None:
    return list(items) or None


def plain_json(value: object) -> object:
    """Decoded JSON with its numbers as numbers."""
    if isinstance(value, Literal):
        return float(value) if set(value) & set(".eE") else int(value)
    if isinstance(value, Pairs):
        return {key: plain_json(item) for key, item in value}
    return [plain_json(item) for item in value] if isinstance(value, list) else value


def subject_json(subject: SubjectShape) -> dict[str, object]:
    found: dict[str, object] = {key: subject.lists[key] for _, key, _ in ATTRIBUTES if subject.lists.get(key)}
    if subject.serial_number:
        found["serialNumber"] = subject.serial_number
    if subject.common_name:
        found["commonName"] = subject.common_name
    if subject.extra:
        found["extraNames"] = [{"type": oid, "value": plain_json(value)} for oid, value in subject.extra]
    return found


def certificate_json(
    shape: CertificateShape, spki: bytes, key: KeyInfo, not_before: datetime, not_after: datetime
) -> dict[str, object]:
    """The template's result with the window it will have: every member, in the recorded order."""
    usages = [name for bit, name in enumerate(KEY_USAGES) if shape.key_usage >> bit & 1]
    constraints = shape.basic_constraints
    return {
        "version": 0,
        "subject": subject_json(shape.subject),
        "rawSubject": _base64(shape.raw_subject),
        "issuer": {},
        "serialNumber": shape.serial,
        "dnsNames": _or_null(shape.dns),
        "emailAddresses": _or_null(shape.emails),
        "ipAddresses": _or_null([str(address) for address in shape.ips]),
        "uris": _or_null(shape.uris),
        "sans": _or_null([_san_json(san.kind, san.value, san.asn1_value) for san in shape.sans]),
        "extensions": _or_null([_extension_json(*extension) for extension in shape.extensions]),
        "keyUsage": _or_null(usages),
        "extKeyUsage": [_PURPOSE_NAMES[oid] for oid in shape.ext_key_usage],
        "unknownExtKeyUsage": _or_null(shape.unknown_ext_key_usage),
        "subjectKeyId": _base64(shape.subject_key_id),
        "authorityKeyId": _base64(shape.authority_key_id),
        "ocspServer": _or_null(shape.ocsp_servers),
        "issuingCertificateURL": _or_null(shape.issuing_urls),
        "crlDistributionPoints": _or_null(shape.crl_points),
        "policyIdentifiers": _or_null(shape.policies),
        "basicConstraints": None if constraints is None else {"isCA": constraints[0], "maxPathLen": constraints[1]},
        "nameConstraints": None if shape.name_constraints is None else _constraints_json(shape.name_constraints),
        "signatureAlgorithm": shape.signature_algorithm,
        "publicKey": _base64(spki),
        "publicKeyAlgorithm": _ALGORITHMS.get(key.kind, key.kind),
        "notBefore": format_rfc3339(not_before),
        "notAfter": format_rfc3339(not_after),
        "raw": None,
    }


def _san_json(kind: str, value: str, asn1_value: object) -> dict[str, object]:
    found: dict[str, object] = {"type": kind, "value": value}
    if asn1_value is not None:
        found["asn1Value"] = plain_json(asn1_value)
    return found


def _extension_json(oid: str, critical: bool, value: bytes) -> dict[str, object]:
    return {"id": oid, "critical": critical, "value": base64.b64encode(value).decode()}


def _constraints_json(shape: NameConstraintsShape) -> dict[str, object]:
    lists = {name: _or_null([str(value) for value in shape.lists.get(name, ())]) for name in _CONSTRAINTS}
    return {"critical": shape.critical, **lists}


def request_json(data: RequestData, world: World) -> dict[str, object]:
    """The signing request: what templates see of it, its key, and all of its octets."""
    request = data.request
    found: dict[str, object] = json.loads(encode(data, Budget(world)))
    found["publicKey"] = _base64(request.spki)
    found["publicKeyAlgorithm"] = _ALGORITHMS.get(request.key.kind, request.key.kind)
    found["raw"] = _base64(request.der)
    return found
