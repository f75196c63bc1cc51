"""Steps 4 and 7: webhooks add data for the template, and have a veto over what is about to be signed (core-api 9).

In the order of the list; the first refusal ends it. A webhook that is away, slow, huge, or says what is no
answer, refuses.
"""

from __future__ import annotations

import asyncio
import json
import urllib.parse
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from provisor.authority.audit import Trail
from provisor.authority.snapshot import Snapshot
from provisor.authority.templates import Outside, compile_url
from provisor.core.durations import format_rfc3339
from provisor.core.json_text import find_syntax_error
from provisor.core.template.errors import TemplateError
from provisor.core.template.values import Value, from_plain
from provisor.core.webhook import (
    CertificateType,
    Webhook,
    WebhookKind,
    WebhookRefused,
    read_answer,
    webhook_headers,
)
from provisor.core.x509.schema import CertificateShape
from provisor.core.x509.shape_json import certificate_json, request_json
from provisor.core.x509.template_data import RequestData, TemplateData
from provisor.errors import CallFailed
from provisor.ports import Caller, CallReply

DEADLINE: Final = 10.0
RETRY_AFTER: Final = 1.0
REHEARSAL: Final = "X-Provisor-Rehearsal"


async def enrich(
    ca: Snapshot,
    hooks: Sequence[Webhook],
    kind: CertificateType,
    body: Mapping[str, object],
    data: TemplateData,
    trail: Trail,
    *,
    rehearsal: bool = False,
) -> dict[str, Value]:
    """The data of each webhook by its name; of two with one name the later counts. Raises `WebhookRefused`.

    A `rehearsal` is marked as one: nothing will be signed.
    """
    found: dict[str, Value] = {}
    for hook in hooks:
        if hook.is_for(WebhookKind.ENRICHING, kind):
            found[hook.name] = await _ask(ca, hook, body, data, trail, hidden=None, rehearsal=rehearsal)
    return found


async def consent(
    ca: Snapshot,
    hooks: Sequence[Webhook],
    kind: CertificateType,
    body: Mapping[str, object],
    data: TemplateData,
    trail: Trail,
    *,
    public: str,
) -> None:
    """All of them must allow it; the caller is told no more than `public`. Raises `WebhookRefused`."""
    for hook in hooks:
        if hook.is_for(WebhookKind.AUTHORIZING, kind):
            await _ask(ca, hook, body, data, trail, hidden=public)


async def _ask(
    ca: Snapshot,
    hook: Webhook,
    body: Mapping[str, object],
    data: TemplateData,
    trail: Trail,
    *,
    hidden: str | None,
    rehearsal: bool = False,
) -> Value:
    def refused(cause: str, answered: tuple[str, str] | None = None) -> WebhookRefused:
        trail.note("webhook", {"name": hook.name, "kind": str(hook.kind), "verdict": "refused", "cause": cause})
        public = cause if hidden is None else hidden
        return WebhookRefused(hook.name, f"webhook {hook.name}: {cause}", public=public, answered=answered)

    if ca.caller is None:
        raise refused("this process asks no webhooks")
    url = _url(hook.url, data, Outside(trail.now, ca.random), refused)
    octets = encode_body(body)
    headers = webhook_headers(hook, octets, trail.request_id)
    if rehearsal:
        headers = {**headers, REHEARSAL: "true"}
    try:
        reply = await _send(ca.caller, hook, url, headers, octets)
    except CallFailed as error:
        raise refused(error.detail) from error
    # No redirect is followed: where a webhook is, ca.json says.
    if reply.status >= 300:
        raise refused(f"Webhook server responded with {reply.status}")
    try:
        answer = read_answer(_first_value(reply.body))
        data_of_answer = from_plain(answer.data)
    except ValueError as error:
        raise refused(str(error)) from error
    if not answer.allow:
        raise refused(answer.text, answer.error)
    trail.note("webhook", {"name": hook.name, "kind": str(hook.kind), "verdict": "allowed", "data": answer.data})
    return data_of_answer


def _url(written: str, data: TemplateData, outside: Outside, refused: Any) -> str:
    """The URL is a template too. A value in it that is no URL is not sent anywhere."""
    if "{{" not in written:
        return written
    try:
        url = compile_url(written).render(data, outside)
    except TemplateError as error:
        text = (
            str(error)
            .replace("template: template:", "template: url:")
            .replace('executing "template"', 'executing "url"')
        )
        raise refused(text) from error
    parts, meant = urllib.parse.urlsplit(url), urllib.parse.urlsplit(written)
    if any(ord(character) <= 0x20 or ord(character) == 0x7F for character in url):
        raise refused("the URL that its template renders contains a blank or control character")
    if (
        parts.scheme.lower() != "https"
        or "@" in parts.netloc
        or ("{{" not in meant.netloc and parts.netloc != meant.netloc)
    ):
        raise refused("the URL that its template renders leads elsewhere")
    return url


async def _send(caller: Caller, hook: Webhook, url: str, headers: Mapping[str, str], octets: bytes) -> CallReply:
    """Once more, with the same octets, after a failure that may pass; not after a deadline or a refusal."""
    for is_last in (False, True):
        try:
            reply = await caller.post(
                url, headers, octets, seconds=DEADLINE, with_certificate=not hook.without_client_certificate
            )
        except CallFailed as error:
            if is_last or error.final:
                raise
        else:
            if is_last or reply.status < 500:
                return reply
        await asyncio.sleep(RETRY_AFTER)
    raise AssertionError("a second attempt is the last one")


def _first_value(body: bytes) -> object:
    """The first JSON value of an answer. Raises `ValueError` in the words of the reference."""
    if (fault := find_syntax_error(body)) is not None:
        raise ValueError(str(fault))
    try:
        value, _end = json.JSONDecoder().raw_decode(body.decode("utf-8", "replace").lstrip(" \t\r\n"))
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the answer cannot be read: {error}") from error
    return value


# -- bodies --------------------------------------------------------------------------------------

_MARKUP: Final = str.maketrans(
    {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}
)


def encode_body(body: Mapping[str, object]) -> bytes:
    return json.dumps(body, ensure_ascii=False, separators=(",", ":")).translate(_MARKUP).encode("utf-8", "replace")


def request_body(request: RequestData, outside: Outside) -> dict[str, object]:
    return {"timestamp": format_rfc3339(outside.now), "x509CertificateRequest": request_json(request, outside)}


def certificate_body(
    shape: CertificateShape, request: RequestData, window: tuple[datetime, datetime], outside: Outside
) -> dict[str, object]:
    asked = request.request
    certificate = certificate_json(shape, asked.spki, asked.key, *window)
    return {"timestamp": format_rfc3339(outside.now), "x509Certificate": certificate}
