"""What is wrong with a certificate by the rules of RFC 5280, found by pkilint (the extra `lint`)."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from msgspec import Struct

from provisor.cli.exits import CommandError


class Severity(StrEnum):
    """The worst first; PASS: the rule was looked at and kept, or does not apply."""

    FATAL = "fatal"
    ERROR = "error"
    WARNING = "warn"
    NOTICE = "notice"
    INFO = "info"
    PASS = "pass"


class Finding(Struct, frozen=True):
    """One breach of a rule: where, and what the linter says beyond the rule's name."""

    rule: str
    severity: Severity
    place: str
    details: str = ""


class Report(Struct, frozen=True):
    """`rules` are all that were looked at."""

    rules: frozenset[str]
    findings: tuple[Finding, ...]

    def has(self, severity: Severity) -> bool:
        return any(finding.severity is severity for finding in self.findings)

    def results(self) -> Mapping[str, Mapping[str, str]]:
        """The worst result of each rule by its name, in the order of the names."""
        worst: dict[str, Finding] = {}
        for finding in sorted(self.findings, key=lambda one: list(Severity).index(one.severity)):
            worst.setdefault(finding.rule, finding)
        return {rule: _result(worst.get(rule)) for rule in sorted(self.rules | worst.keys())}


def _result(finding: Finding | None) -> Mapping[str, str]:
    if finding is None:
        return {"result": Severity.PASS}
    details = ": ".join(part for part in (finding.place, finding.details) if part)
    return {"result": finding.severity, "details": details}


def lint_certificate(der: bytes) -> Report:
    """Raises `CommandError` without pkilint, and for what it cannot read."""
    loader, report = _module("pkilint.loader"), _module("pkilint.report")
    validator = _validator()
    try:
        document = loader.RFC5280CertificateDocumentLoader().load_der_document(der)
    except Exception as error:  # the parser below raises its own, of no common kind
        raise CommandError(f"the certificate cannot be read by the linter: {error}") from error
    findings = tuple(
        Finding(
            rule=one.finding.code,
            severity=Severity[one.finding.severity.name],
            place=str(result.node.path),
            details=one.message or "",
        )
        for result in validator.validate(document.root)
        for one in result.finding_descriptions
    )
    rules = frozenset(rule.code for rule in report.get_included_validations(validator))
    return Report(rules, findings)


def _validator() -> Any:
    certificate = _module("pkilint.pkix.certificate")
    name, extension = _module("pkilint.pkix.name"), _module("pkilint.pkix.extension")
    decoding = certificate.create_decoding_validators(name.ATTRIBUTE_TYPE_MAPPINGS, extension.EXTENSION_MAPPINGS)
    return certificate.create_pkix_certificate_validator_container(
        decoding,
        [
            certificate.create_issuer_validator_container([]),
            certificate.create_validity_validator_container(),
            certificate.create_subject_validator_container([]),
            certificate.create_extensions_validator_container([]),
            certificate.create_spki_validator_container([]),
        ],
    )


def _module(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CommandError(
            "linting needs the package pkilint, which is not installed: install Provisor with the extra 'lint', "
            "as in pip install 'provisor[lint]'"
        ) from error
