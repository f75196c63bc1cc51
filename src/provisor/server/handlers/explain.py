"""/explain: what /sign would answer, and why."""

from __future__ import annotations

from typing import Final

import msgspec

from provisor.authority.explain import Explanation, explain_sign
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation, X509Ask
from provisor.errors import BadRequest
from provisor.server.context import Context
from provisor.server.faults import message_of, status_of
from provisor.server.handlers.x509 import csr_of, user_data_of
from provisor.server.request import Request, Response
from provisor.wire.api import ExplainResponse, ExplainStep, SignRequest
from provisor.wire.gojson import decode_json

_encode: Final = msgspec.json.Encoder(enc_hook=str).encode


async def explain(ca: Snapshot, request: Request, context: Context) -> Response:
    """For provisioners that allow it; everybody else is told nothing."""
    return await _explain(ca, request, context, everybody=False)


async def explain_for_operator(ca: Snapshot, request: Request, context: Context) -> Response:
    """Anybody's request, on the administrator's socket."""
    return await _explain(ca, request, context, everybody=True)


async def _explain(ca: Snapshot, request: Request, context: Context, *, everybody: bool) -> Response:
    body = await request.body()
    asked = decode_json(body, SignRequest, max_depth=context.limits.json_depth)
    csr = csr_of(ca, asked.csr, context)
    if not asked.ott:
        raise BadRequest("missing ott")
    trail = context.trail(ca, request, Operation.SIGN, body)
    ask = X509Ask(csr, asked.not_before, asked.not_after, user_data_of(asked.template_data))
    enriching = request.query("enrich") == "true"
    found = await explain_sign(ca, asked.ott, ask, trail, enriching=enriching, everybody=everybody)
    return Response(200, _encode(_response(found)) + b"\n")


def _response(found: Explanation) -> ExplainResponse:
    error = found.error
    return ExplainResponse(
        allowed=error is None,
        status=201 if error is None else status_of(error),
        message="" if error is None else message_of(error),
        step=found.stopped,
        steps=tuple(ExplainStep(step.n, step.name, step.verdict, _grouped(step.facts)) for step in found.steps),
    )


def _grouped(facts: tuple[tuple[str, object], ...]) -> dict[str, object]:
    """What was noted once stands alone; what was noted more often, such as a policy's rules, is a list."""
    grouped: dict[str, list[object]] = {}
    for name, fact in facts:
        grouped.setdefault(name, []).append(fact)
    many = ("policy", "webhook")
    return {name: found if name in many else found[-1] for name, found in grouped.items()}
