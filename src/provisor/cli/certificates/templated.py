"""Certificates that are made on this machine from a template."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from provisor.authority.templates import LARGEST_FILE, Outside
from provisor.cli import files
from provisor.cli.certificates.making import SERIAL_OCTETS, IssuingPair
from provisor.cli.certificates.validity import Window
from provisor.cli.exits import CommandError
from provisor.core.keys import describe_key
from provisor.core.names import Name
from provisor.core.template.errors import ParseError, TemplateError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import X509_FUNCTIONS
from provisor.core.template.values import from_plain
from provisor.core.x509.algorithms import default_algorithm
from provisor.core.x509.draft import Draft, assemble, encode_tbs
from provisor.core.x509.issuer import make_issuer, signature_algorithm_for
from provisor.core.x509.name import Subject as NoDefaults
from provisor.core.x509.request import CertificateRequest
from provisor.core.x509.schema import OutputError, read_certificate
from provisor.core.x509.template_data import RequestData, Subject, TemplateData, sans_of
from provisor.core.x509.templated import algorithm_for, build_parts, check_readable
from provisor.kms.soft import SoftSigner


def make_from_template(
    path: str,
    *,
    subject: str,
    names: Sequence[Name],
    user: Mapping[str, object],
    request: CertificateRequest,
    window: Window,
    issuer: IssuingPair,
) -> bytes:
    """The DER of the signed certificate. Its window is the one given: times of the template do not count.

    Raises `CommandError` for a template that cannot be used, `Unencodable` for a certificate that cannot be made.
    """
    data = TemplateData(
        {
            "Subject": Subject(subject),
            "SANs": sans_of(names),
            "Insecure": TemplateData({"User": from_plain(dict(user)), "CR": RequestData(request)}),
        }
    )
    parent = issuer.certificate
    key = describe_key(issuer.key.public_key())
    usual = default_algorithm(key) if parent is None else signature_algorithm_for(parent)
    try:
        shape = read_certificate(_render(_read(path), data))
        parts = build_parts(shape, request.spki, b"" if parent is None else parent.skid, NoDefaults())
    except OutputError as error:
        raise CommandError(str(error)) from error
    algorithm = algorithm_for(shape.signature_algorithm, key, usual)
    draft = Draft(
        serial=parts.serial or int.from_bytes(secrets.token_bytes(SERIAL_OCTETS), "big") or 1,
        issuer=parts.subject if parent is None else parent.subject,
        signature_algorithm=algorithm,
        subject=parts.subject,
        not_before=window.not_before,
        not_after=window.not_after,
        spki=request.spki,
        extensions=parts.extensions,
        names=parts.names,
    )
    tbs = encode_tbs(draft)
    der = assemble(tbs, algorithm, SoftSigner(issuer.key).sign(tbs, algorithm))
    check_readable(tbs, make_issuer([der if parent is None else parent.der]))
    return der


def _read(path: str) -> str:
    content = files.read_file(path)
    if len(content) > LARGEST_FILE:
        raise CommandError(f"{path} is larger than {LARGEST_FILE} bytes")
    return content.decode("utf-8", "surrogateescape")


def _render(text: str, data: TemplateData) -> str:
    try:
        return Template(text, X509_FUNCTIONS).render(data, Outside(datetime.now(UTC), os.urandom))
    except TemplateFailed as error:
        raise CommandError(error.message) from error
    except TemplateError as error:
        what = "parsing" if isinstance(error, ParseError) else "executing"
        raise CommandError(f"error {what} template: {error}") from error
