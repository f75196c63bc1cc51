"""What a template sees of a request, a token, a webhook and an authorizing certificate."""

from __future__ import annotations

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from conformance.templates.tables import Document, RealWorld, cases, table
from provisor.core.names import Name, classify_san
from provisor.core.template.errors import ExecutionError, ParseError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.values import from_plain
from provisor.core.x509.request import parse_csr_pem
from provisor.core.x509.template_data import CertificateData, RequestData, Subject, TemplateData, sans_of
from support.cases import grouped


def names(*texts: str) -> tuple[Name, ...]:
    return tuple(name for text in texts if (name := classify_san(text)) is not None)


def data_of(case: Document) -> TemplateData:
    requests = table("x509-requests")
    authority = x509.load_pem_x509_certificate(requests["authorities"]["ed25519"]["certificate"].encode())
    request = parse_csr_pem(requests["requests"][case["data"]]["pem"])
    token = {
        "sub": "s",
        "nbf": 1700000000.0,
        "iat": 1700000000.0,
        "email": "e@f.g",
        "aud": ["x", "y"],
        "sans": ["foo.com"],
        "step": {"ra": None},
    }
    return TemplateData(
        {
            "Subject": Subject("subj"),
            "SANs": sans_of(names("foo.com", "1.2.3.4", "a@b.c", "https://x.y")),
            "Token": from_plain(token),
            "Insecure": TemplateData({"CR": RequestData(request), "User": from_plain({"x": 1.0, "list": ["p", "q"]})}),
            "Webhooks": {"wh": from_plain({"role": "admin", "n": 5.0})},
            "AuthorizationCrt": CertificateData(authority.public_bytes(Encoding.DER)),
        }
    )


def answer(case: Document) -> tuple[str, str]:
    try:
        return "", Template(case["template"], X509_FUNCTIONS).render(data_of(case), RealWorld())
    except TemplateFailed as error:
        return "error", str(error)
    except ParseError as error:
        return "error", f"error parsing template: {error}"
    except ExecutionError as error:
        return "error", f"error executing template: {error}"


def test_every_template_sees_what_was_recorded() -> None:
    different = []
    for case in cases("template-data"):
        wanted = case.get("stage", ""), case.get("error") or case.get("output")
        if (found := answer(case)) != wanted:
            different.append((case["id"], case["template"], wanted, found))
    assert not different, grouped(different)
