"""`ca check`: would the CA start? A command of our own."""

from __future__ import annotations

import json
import sys
from datetime import UTC, datetime

from provisor.checking import Check, Report, check_configuration
from provisor.cli import files, output, prompt
from provisor.cli.commands.common import CONTEXT, PASSWORD
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch
from provisor.cli.prompt import NoTerminal
from provisor.config.load import Fault
from provisor.core.secret import Secret

FAULTS_FOUND = 2


@command(
    "ca check",
    usage="[<config>]",
    flags=(
        PASSWORD,
        switch("strict", help="faults instead of warnings, for members nobody knows too"),
        switch("json", help="the report as JSON"),
        CONTEXT,
    ),
    most=1,
    own=True,
)
def check(call: Call) -> None:
    """check the configuration of a CA

    Does what a start would do, without serving: reads ca.json, opens the key, follows the chain to a root,
    looks at dates, names and the store. The status is 0 when it would start, 2 with faults, which are all shown.
    """
    path = call.arguments[0] if call.arguments else call.paths.ca_config
    password = Secret(files.read_password(call.text("password-file"))) if call.text("password-file") else None
    report = _report(path, password, strict=call.switch("strict"))
    if report.password_for and password is None and not call.switch("json"):
        asked = _ask(report.password_for)
        report = _report(path, asked, strict=call.switch("strict")) if asked else report
    output.data(_as_json(report) if call.switch("json") else _as_text(report))
    if report.faults:
        count = len(report.faults)
        raise CommandError(f"{path}: {count} {'fault' if count == 1 else 'faults'}", status=FAULTS_FOUND)


def _report(path: str, password: Secret | None, *, strict: bool) -> Report:
    return check_configuration(path, password=password or None, now=datetime.now(UTC), strict=strict)


def _ask(key: str) -> Secret | None:
    """None without a terminal: the report says what is missing."""
    try:
        return Secret(prompt.ask_password(f"Please enter the password to decrypt {key}", flag="password-file"))
    except NoTerminal:
        return None


def _as_text(report: Report) -> str:
    lines = [line for check in report.checks for line in _check_lines(check)]
    if report.warnings:
        lines += ["", "Warnings:", *(f"  {_said(warning)}" for warning in report.warnings)]
    return "\n".join(lines)


def _check_lines(check: Check) -> list[str]:
    if check.passed:
        return [output.marked("✔", "\033[32m", check.name, check.detail, sys.stdout)]
    return [output.marked("✗", "\033[31m", check.name, _said(fault), sys.stdout) for fault in check.faults]


def _said(fault: Fault) -> str:
    return f"{fault.pointer}: {fault.text}" if fault.pointer else fault.text


def _as_json(report: Report) -> str:
    document = {
        "path": report.path,
        "ok": not report.faults,
        "checks": [{"name": one.name, "ok": one.passed, "detail": one.detail} for one in report.checks],
        "faults": [{"pointer": fault.pointer, "text": fault.text} for fault in report.faults],
        "warnings": [{"pointer": fault.pointer, "text": fault.text} for fault in report.warnings],
    }
    return json.dumps(document, indent=2, ensure_ascii=False)
