"""`template render` and `template check`: a CA's templates without the CA. Commands of our own."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from provisor.authority.templates import LARGEST_FILE, Outside
from provisor.cli import files, output, userdata
from provisor.cli.commands.ca_certificate import read_csr
from provisor.cli.commands.common import SET, SET_FILE
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.core.template.errors import ParseError, TemplateError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import SSH_FUNCTIONS, X509_FUNCTIONS
from provisor.core.template.values import Value, from_plain
from provisor.core.x509.template_data import RequestData, Subject, TemplateData, sans_of

FAULTS_FOUND = 2
SSH = switch("ssh", help="with the functions of templates for SSH certificates")


@command(
    "template render",
    usage="<file>",
    flags=(
        text("data", metavar="file", help="JSON file with what the template sees: Subject, SANs, Token, Webhooks ..."),
        text("csr", metavar="file", help="certificate signing request that the template sees"),
        SET,
        SET_FILE,
        SSH,
    ),
    least=1,
    most=1,
    own=True,
)
def render(call: Call) -> None:
    """print what a template makes of data

    The template sees the members of the data file. Of a request it sees `.Insecure.CR`, and its names as `.Subject` and
    `.SANs` where the data has none; values of --set and --set-file are `.Insecure.User`.
    """
    (path,) = call.arguments
    template = _parse(_read(path), path, ssh=call.switch("ssh"))
    outside = Outside(datetime.now(UTC), os.urandom)
    try:
        output.data(template.render(_data(call), outside))
    except TemplateFailed as error:
        raise CommandError(f"{path}: the template refuses: {error.message}") from error
    except TemplateError as error:
        raise CommandError(f"{path}: {error}") from error


def _data(call: Call) -> TemplateData:
    data = TemplateData(_object(call.text("data")))
    insecure = dict(data["Insecure"]) if isinstance(data.get("Insecure"), dict) else {}
    if call.text("csr"):
        request = read_csr(call.text("csr"))
        data.setdefault("Subject", Subject(request.common_name))
        data.setdefault("SANs", sans_of(request.names))
        insecure["CR"] = RequestData(request)
    if call.is_set("set") or call.is_set("set-file"):
        insecure["User"] = from_plain(userdata.user_data(call))
    if insecure:
        data["Insecure"] = TemplateData(insecure)
    return data


def _object(path: str) -> Mapping[str, Value]:
    if not path:
        return {}
    try:
        value = from_plain(msgspec.json.decode(files.read_file(path)))
    except (msgspec.MsgspecError, ValueError) as error:
        raise CommandError(f"error unmarshaling {path}: {error}") from error
    if not isinstance(value, dict):
        raise CommandError(f"error unmarshaling {path}: the data must be an object")
    return value


def _read(path: str) -> str:
    content = files.read_file(path)
    if len(content) > LARGEST_FILE:
        raise CommandError(f"{path} is larger than {LARGEST_FILE} bytes")
    return content.decode("utf-8", "surrogateescape")


def _parse(content: str, path: str, *, ssh: bool) -> Template:
    try:
        return Template(content, SSH_FUNCTIONS if ssh else X509_FUNCTIONS)
    except ParseError as error:
        raise CommandError(f"{path}: {error}") from error


@command(
    "template check",
    usage="<file> ...",
    flags=(SSH, switch("json", help="the verdicts as JSON")),
    least=1,
    most=None,
    own=True,
)
def check(call: Call) -> None:
    """check whether templates can be parsed

    The status is 0 when all of them can, 2 when one cannot.
    """
    verdicts = [(path, _fault(path, ssh=call.switch("ssh"))) for path in call.arguments]
    if call.switch("json"):
        found = [{"path": path, "ok": not fault, "fault": fault} for path, fault in verdicts]
        output.data(json.dumps(found, indent=2, ensure_ascii=False))
    else:
        output.data("\n".join(fault or f"{path}: ok" for path, fault in verdicts))
    count = sum(bool(fault) for _, fault in verdicts)
    if count:
        raise CommandError(f"{count} of {len(verdicts)} cannot be used", status=FAULTS_FOUND)


def _fault(path: str, *, ssh: bool) -> str:
    try:
        _parse(_read(path), path, ssh=ssh)
    except CommandError as error:
        return str(error)
    return ""
