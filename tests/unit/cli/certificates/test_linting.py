"""`certificate lint`: the rules of RFC 5280, by an extra package."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from provisor.cli.certificates.linting import Finding, Report, Severity
from support.command_line import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    words = "certificate create under_score x.crt x.key --profile self-signed --subtle --no-password --insecure"
    assert desk.run(words).status == 0
    return desk


def test_without_the_extra_it_is_named(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pkilint", None)
    for name in [name for name in sys.modules if name.startswith("pkilint.")]:
        monkeypatch.delitem(sys.modules, name)
    ended = desk.run("certificate lint x.crt")
    assert (ended.status, ended.stdout) == (1, "")
    assert "provisor[lint]" in ended.stderr


def test_findings_are_told_rule_by_rule(desk: Desk) -> None:
    pytest.importorskip("pkilint")
    ended = desk.run("certificate lint x.crt")
    assert ended.status == 0
    shown = json.loads(ended.stdout)
    assert (shown["version"], shown["errors_present"], shown["fatals_present"]) == (3, True, False)
    assert shown["lints"]["pkix.invalid_domain_name_syntax"]["result"] == "error"
    assert shown["lints"]["itu.invalid_asn1_syntax"] == {"result": "pass"}


def test_a_person_reads_only_what_was_found(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pkilint")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    ended = desk.run("certificate lint x.crt")
    assert 'ERROR  pkix.invalid_domain_name_syntax (Invalid domain name syntax: "under_score")' in " ".join(
        line for line in ended.stdout.splitlines()
    ).replace("certificate.tbsCertificate.extensions.3.extnValue.subjectAltName.0.dNSName: ", "")


@pytest.mark.parametrize("name", ["pw", "x.key", "nofile"])
def test_other_files_are_refused(desk: Desk, name: str) -> None:
    assert desk.run(f"certificate lint {name}").status == 1


def test_the_worst_of_several_findings_counts() -> None:
    report = Report(
        frozenset({"a", "b"}),
        (Finding("a", Severity.INFO, "here"), Finding("a", Severity.FATAL, "there", "why")),
    )
    assert report.results() == {"a": {"result": "fatal", "details": "there: why"}, "b": {"result": "pass"}}
