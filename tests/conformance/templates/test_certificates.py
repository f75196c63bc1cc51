"""From a template to the octets that are to be signed."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from conformance.templates.tables import Document, RealWorld, cases, table
from conformance.templates.test_data import names
from provisor.core.template.errors import ExecutionError, ParseError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.times import GoTime
from provisor.core.template.values import Value, from_plain
from provisor.core.x509.defaults import DEFAULTS
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.issuer import Issuer, make_issuer
from provisor.core.x509.name import Subject as SubjectDefaults
from provisor.core.x509.request import parse_csr_pem
from provisor.core.x509.schema import OutputError, read_certificate
from provisor.core.x509.template_data import RequestData, Subject, TemplateData, sans_of
from provisor.core.x509.templated import algorithm_for, build_parts, check_readable
from provisor.errors import Unencodable
from support.cases import grouped

_NO_USAGE: Final = "invalid key usage"
KNOWN: Final[Mapping[str, str]] = {
    "extended-sans/046": "invalid subject alternative names",
    "keyUsage/008": _NO_USAGE,
    "keyUsage/009": _NO_USAGE,
    "signatureAlgorithm-ec/005": "signing with SHA-1 is not supported",
    "signatureAlgorithm-rsa/008": "signing with SHA-1 is not supported",
}
"""Cases that are refused here, and why; the same rows stand in docs/compatibility.md."""


@cache
def issuer(name: str) -> Issuer:
    text = table("x509-requests")["authorities"][name]["certificate"]
    return make_issuer([x509.load_pem_x509_certificate(text.encode()).public_bytes(Encoding.DER)])


def rendered(case: Document, data: TemplateData) -> str:
    text: str = case["template"]
    if text.startswith("default:"):
        name = text.removeprefix("default:")
        if name.endswith("-no-sans"):
            name = name.removesuffix("-no-sans")
            del data["SANs"]
        if name in ("intermediate", "root"):
            data["Subject"] = Subject("A CA", {"Organization": ["Org"]})
            data.pop("SANs", None)
        text = DEFAULTS[name]
    try:
        return Template(text, X509_FUNCTIONS).render(data, RealWorld())
    except TemplateFailed as error:
        raise OutputError(str(error)) from error
    except ParseError as error:
        raise OutputError(f"error parsing template: {error}") from error
    except ExecutionError as error:
        raise OutputError(f"error executing template: {error}") from error


def instant(time: GoTime | None, default: datetime) -> datetime:
    if time is None or time.seconds == -62135596800:
        return default
    return datetime.fromtimestamp(time.seconds, UTC)


def answer(case: Document) -> tuple[str, str]:
    request = parse_csr_pem(table("x509-requests")["requests"][case["csr"]]["pem"])
    sans = names("subj.example.com", "10.1.2.3", "a@b.c", "https://x.y/z")
    token: Value = from_plain({"sub": "subj.example.com", "nbf": 1700000000.0})
    data = TemplateData(
        {
            "Subject": Subject("subj.example.com"),
            "SANs": sans_of(sans),
            "Token": token,
            "Insecure": TemplateData({"CR": RequestData(request)}),
        }
    )
    by = issuer(case["ca"])
    try:
        shape = read_certificate(rendered(case, data))
        parts = build_parts(shape, request.spki, by.certificate.skid, SubjectDefaults())
        draft = Draft(
            serial=0x1122334455667788 if parts.serial is None else parts.serial,
            issuer=by.certificate.subject,
            signature_algorithm=algorithm_for(shape.signature_algorithm, by.certificate.key, by.signature_algorithm),
            subject=parts.subject,
            not_before=instant(shape.not_before, datetime(2026, 1, 1, tzinfo=UTC)),
            not_after=instant(shape.not_after, datetime(2026, 1, 2, tzinfo=UTC)),
            spki=request.spki,
            extensions=parts.extensions,
            names=parts.names,
        )
        tbs = encode_tbs(draft)
        check_readable(tbs, by)
    except OutputError as error:
        return "certificate", str(error)
    except Unencodable as error:
        return "create", error.detail
    return "", base64.b64encode(tbs).decode()


def test_every_certificate_is_the_recorded_one_to_the_octet() -> None:
    different = []
    for case in cases("x509-certificates"):
        if case["template"] == "default:none":
            continue
        wanted = case.get("stage", ""), case["error"] if "error" in case else case["tbs"]
        found = answer(case)
        if case["id"] in KNOWN:
            assert found != wanted, f"{case['id']} is no longer different: take it off the table"
            assert KNOWN[case["id"]] in found[1]
        elif found != wanted:
            different.append((case["id"], case["template"], wanted, found))
    assert not different, grouped(different)
