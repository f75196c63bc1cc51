"""`policy test`: a policy's verdict on names, without the CA. A command of our own."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping

import msgspec
from msgspec import Struct

from provisor.cli import files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.rows import printable
from provisor.core.names import classify_san
from provisor.core.policy import Match, Policies, PolicyError, Reason, Refusal, read_policies

NOT_ALLOWED = 2
_KINDS = ("x509", "user", "host")


class Verdict(Struct, frozen=True):
    """`verdict` is allowed, denied or error; `rule` the one that matched, empty for none."""

    name: str
    kind: str
    verdict: str
    rule: str
    reason: str


@command(
    "policy test",
    usage="<name> ...",
    flags=(
        text("policy", metavar="file", help="JSON file with a policy, or a ca.json that has one"),
        text("type", metavar="type", help="of what certificates: x509, user or host", default="x509"),
        switch("json", help="the verdicts as JSON"),
    ),
    least=1,
    most=None,
    own=True,
)
def test(call: Call) -> None:
    """say what a policy thinks of names

    Every name is judged on its own, as a subject alternative name or an SSH principal. The status is 0 when all of them
    are allowed, 2 when one is not.
    """
    kind = call.text("type")
    if kind not in _KINDS:
        raise CommandError(f"flag '--type {kind}' must be one of {', '.join(_KINDS)}")
    policies = _read(call)
    verdicts = [_judge(policies, kind, name) for name in call.arguments]
    if call.switch("json"):
        output.data(json.dumps([msgspec.structs.asdict(each) for each in verdicts], indent=2, ensure_ascii=False))
    else:
        output.data("\n".join(_lines(verdicts)))
    count = sum(each.verdict != "allowed" for each in verdicts)
    if count:
        raise CommandError(f"{count} of {len(verdicts)} not allowed", status=NOT_ALLOWED)


def _read(call: Call) -> Policies:
    path = call.text("policy")
    if not path:
        raise CommandError("flag '--policy' is required")
    try:
        document = msgspec.json.decode(files.read_file(path))
        authority = document.get("authority") if isinstance(document, dict) else None
        return read_policies(authority.get("policy") if isinstance(authority, Mapping) else document)
    except msgspec.MsgspecError as error:
        raise CommandError(f"error unmarshaling {path}: {error}") from error
    except PolicyError as error:
        raise CommandError(f"{path}: {error}") from error


def _judge(policies: Policies, kind: str, name: str) -> Verdict:
    matches: list[Match] = []
    refusal: Refusal | None
    shown = kind
    if kind == "x509":
        san = classify_san(name)
        if san is None:
            return Verdict(name, kind, "error", "", "not a name that a certificate can have")
        shown = str(san.kind)
        refusal = policies.x509.check_names([san], matches.append) if policies.x509 else None
    else:
        refusal = policies.check_ssh([name], host=kind == "host")
    rule = matches[-1].rule or "" if matches else ""
    if refusal is None:
        return Verdict(name, shown, "allowed", _written(rule), "")
    verdict = "denied" if refusal.reason is Reason.NOT_ALLOWED else "error"
    return Verdict(name, shown, verdict, _written(rule), refusal.detail or refusal.text)


def _written(rule: str) -> str:
    return f"*{rule}" if rule.startswith(".") else rule


def _lines(verdicts: list[Verdict]) -> Iterator[str]:
    for each in verdicts:
        good = each.verdict == "allowed"
        why = each.reason or (f"by {each.rule}" if each.rule else "no rule is against it")
        mark, colour = ("✔", "\033[32m") if good else ("✗", "\033[31m")
        yield output.marked(
            mark, colour, printable(each.name), printable(f"{each.verdict} ({each.kind}): {why}"), sys.stdout
        )
