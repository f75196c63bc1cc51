"""`ca explain`: what the CA would answer to a request for a certificate, and why. A command of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator

from msgspec import UNSET

from provisor.cli import files, output, tokens, userdata
from provisor.cli.admin import ADMIN_SOCKET, find_paths, open_admin, plain_json
from provisor.cli.commands.common import CA_CONFIG, CA_URL, CONTEXT, NOT_AFTER, NOT_BEFORE, ROOT, SET, SET_FILE
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.rows import printable
from provisor.cli.times import time_flag
from provisor.wire.api import ExplainResponse, ExplainStep, SignRequest

NOT_ALLOWED = 2


@command(
    "ca explain",
    usage="",
    flags=(
        text("token", metavar="token", help="the one-time token; it is not spent"),
        text("csr", metavar="file", help="the certificate signing request"),
        NOT_BEFORE,
        NOT_AFTER,
        SET,
        SET_FILE,
        switch("enrich", help="ask enriching webhooks too, which are told that it is a rehearsal"),
        switch("local", help="by the admin socket of the server on this machine, for every provisioner"),
        switch("json", help="the whole answer as JSON"),
        CA_URL,
        ROOT,
        ADMIN_SOCKET,
        CA_CONFIG,
        CONTEXT,
    ),
    own=True,
)
def explain(call: Call) -> None:
    """say what the CA would answer to a request, and why

    Walks the steps of an issuance with this token and this request: nothing is spent, nothing is signed, no authorizing
    webhook is asked. Over HTTPS the provisioner has to allow it (`"provisor": {"explain": true}`); with --local, on the
    machine of the CA, every request can be explained. The status is 0 when the certificate would be issued, 2 when not.
    """
    for flag in ("token", "csr"):
        if not call.text(flag):
            raise CommandError(f"flag '--{flag}' is required")
    data = userdata.encode_user_data(call)
    request = SignRequest(
        csr=files.read_file(call.text("csr")).decode("utf-8", "replace"),
        ott=call.text("token"),
        not_after=time_flag(call, "not-after"),
        not_before=time_flag(call, "not-before"),
        template_data=UNSET if data is None else data,
    )
    found = _ask(call, request)
    output.data(plain_json(found) if call.switch("json") else "\n".join(_lines(found)))
    if not found.allowed:
        raise CommandError(f"step {found.step} would refuse it with {found.status}", status=NOT_ALLOWED)


def _ask(call: Call, request: SignRequest) -> ExplainResponse:
    if call.switch("local") or call.text("admin-socket"):
        if call.switch("enrich"):
            raise CommandError("flag '--enrich' needs the CA's HTTPS port: webhooks are asked by its workers")
        with open_admin(call, find_paths(call)) as admin:
            return admin.explain(request)
    with tokens.client_for(call, tokens.read_credential(request.ott)) as client:
        return client.explain(request, enrich=call.switch("enrich"))


def _lines(found: ExplainResponse) -> Iterator[str]:
    for step in found.steps:
        yield _heading(step)
        for name, fact in step.facts.items():
            for line in _fact(name, fact):
                yield f"      {printable(line)}"
    yield ""
    yield "allowed: a certificate would be issued" if found.allowed else f"refused: {found.status} {found.message}"


def _heading(step: ExplainStep) -> str:
    label = f"{step.n} {step.name}"
    match step.verdict:
        case "passed":
            return output.marked("✔", "\033[32m", label, step.verdict, sys.stdout)
        case "refused":
            return output.marked("✗", "\033[31m", label, step.verdict, sys.stdout)
    return f"  {label}: {step.verdict}"


def _fact(name: str, fact: object) -> Iterator[str]:
    if isinstance(fact, str) and "\n" in fact:
        yield f"{name}:"
        yield from (f"  {line}" for line in fact.splitlines())
    elif isinstance(fact, list):
        yield from (f"{name}: {json.dumps(item, ensure_ascii=False)}" for item in fact)
    else:
        yield f"{name}: {fact if isinstance(fact, str) else json.dumps(fact, ensure_ascii=False)}"
