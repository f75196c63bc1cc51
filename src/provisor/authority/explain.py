"""What would come of a request, and why: steps 1 to 7 of the same path. Nothing is spent, signed or recorded.

No authorizing webhook is asked; enriching ones only where that is wanted, told that it is a rehearsal.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

from msgspec import Struct

from provisor.authority.audit import Trail
from provisor.authority.authenticate import authenticate_token
from provisor.authority.issue import Case, Hooks, authorize, decide
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation, X509Ask
from provisor.core.template.errors import TemplateError
from provisor.errors import ProvisorError, Unauthenticated

STEPS: Final = ("authenticate", "authorize", "match", "enrich", "build", "check", "consent", "notarize", "notify")
"""By their numbers in docs/issuance.md, from 1."""


class Step(Struct, frozen=True):
    """`verdict` is `passed`, `refused`, `not reached`, or `not tried` for what an explanation never does."""

    n: int
    name: str
    verdict: str
    facts: tuple[tuple[str, object], ...] = ()


class Explanation(Struct, frozen=True):
    """`error` is what the request would be refused with, None for a yes; `stopped` the step that does it, else 0."""

    error: ProvisorError | None
    stopped: int
    steps: tuple[Step, ...]


async def explain_sign(
    ca: Snapshot, token: str, ask: X509Ask, trail: Trail, *, enriching: bool, everybody: bool
) -> Explanation:
    """Raises `Unauthenticated`, that says nothing, until the caller is proven; and always, unless `everybody` may ask,

    where the provisioner does not allow explanations.
    """
    trail.facts = []
    trail.enter(1)
    try:
        who, provisioner = await authenticate_token(ca, token, Operation.SIGN, trail)
    except ProvisorError as error:
        if not everybody:
            raise Unauthenticated(f"explain: {error.detail}") from error
        return _explained(trail, error)
    if not (everybody or provisioner.options.explain):
        raise Unauthenticated(f'explain: provisioner "{provisioner.ref.name}" does not allow it (provisor.explain)')
    ref = provisioner.ref
    trail.note("provisioner", {"name": ref.name, "type": ref.kind, "id": ref.id})
    if who.claims is not None:
        trail.note("claims", dict(who.claims))
    hooks = Hooks(enriching=enriching and ca.caller is not None, authorizing=False, rehearsal=True)
    try:
        trail.enter(2)
        grant = authorize(provisioner, who, ask, ca)
        trail.note("grant", {"subject": grant.subject, "names": [str(name.value) for name in grant.names]})
        await decide(ca, ca.issuer, Case(provisioner, who, grant, ask), trail, ask_hooks=hooks)
    except ProvisorError as error:
        return _explained(trail, error)
    return _explained(trail, None)


def _explained(trail: Trail, error: ProvisorError | None) -> Explanation:
    stopped = trail.step if error is not None else 0
    facts = list(trail.facts or ())
    if error is not None:
        facts.append((stopped, "reason", error.detail))
        cause = error.__cause__
        if isinstance(cause, TemplateError) and cause.line:
            where = {"line": cause.line, "column": cause.column, "expression": cause.expression}
            facts.append((stopped, "template", where))
    steps = (
        Step(n, name, _verdict(n, stopped), tuple((key, masked(fact)) for at, key, fact in facts if at == n))
        for n, name in enumerate(STEPS, 1)
    )
    return Explanation(error, stopped, tuple(steps))


def _verdict(n: int, stopped: int) -> str:
    if stopped and n >= stopped:
        return "refused" if n == stopped else "not reached"
    return "passed" if n <= len(STEPS) - 2 else "not tried"


_SECRET: Final = re.compile(
    r"pass(word|phrase|wd)?$|secret|token|bearer|credential|private_?-?key|api_?-?key|^ott$|^pin$", re.IGNORECASE
)
_KEY: Final = re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL)
_JWS: Final = re.compile(r"\beyJ[\w-]+\.[\w-]*\.[\w-]*")
MASK: Final = "***"


def masked(fact: object) -> object:
    """Without what looks like a secret: members of such names, private keys, tokens."""
    if isinstance(fact, str):
        return _JWS.sub(MASK, _KEY.sub(MASK, fact.replace("\\n", "\n") if "PRIVATE KEY" in fact else fact))
    if isinstance(fact, Mapping):
        return {
            str(name): MASK if _SECRET.search(str(name)) and value else masked(value) for name, value in fact.items()
        }
    if isinstance(fact, Iterable) and not isinstance(fact, bytes):
        return [masked(item) for item in fact]
    return fact
