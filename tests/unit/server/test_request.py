"""Requests as the handlers see them: body, ids, headers, query, client certificate."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from provisor.errors import TooLarge
from provisor.server.request import Message, Request, Response, raw_path, text, unescape
from support.authority import NOW
from support.credentials import make_party


def make(
    headers: Iterable[tuple[bytes, bytes]] = (),
    *,
    messages: Iterable[Message] = (),
    query: bytes = b"",
    body_limit: int = 10,
    trace_header: bytes = b"x-smallstep-id",
    **scope: Any,
) -> Request:
    incoming = iter(messages)

    async def receive() -> Message:
        return next(incoming)

    return Request(
        {"type": "http", "method": "GET", "path": "/", "query_string": query, "headers": list(headers), **scope},
        receive,
        trace_header=trace_header,
        body_limit=body_limit,
    )


def part(body: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.request", "body": body, "more_body": more}


# -- request ids --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([(b"x-request-id", b"a")], b"a"),
        ([(b"x-request-id", b"a"), (b"x-request-id", b"b")], b"a"),
        ([(b"x-smallstep-id", b"t"), (b"x-request-id", b"a")], b"a"),
        ([(b"x-smallstep-id", b"t")], b"t"),
        ([(b"x-request-id", b""), (b"x-smallstep-id", b"t")], b"t"),
        ([(b"x-request-id", b" b \xff ")], b" b \xff "),
        ([(b"x-request-id", b"x" * 300)], b"x" * 300),
    ],
)
def test_the_id_is_the_clients_as_it_came(headers: list[tuple[bytes, bytes]], expected: bytes) -> None:
    assert make(headers).request_id == expected


def test_the_trace_header_has_a_name_of_the_configuration() -> None:
    headers = [(b"x-smallstep-id", b"no"), (b"traceparent", b"yes")]
    assert make(headers, trace_header=b"traceparent").request_id == b"yes"


def test_without_one_the_id_is_new_and_random() -> None:
    first, second = make().request_id, make().request_id
    assert first != second
    assert re.fullmatch(rb"[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}", first)


# -- body -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("parts", "body"),
    [
        ([b""], b""),
        ([b"0123456789"], b"0123456789"),
        ([b"01234", b"56789"], b"0123456789"),
        ([b"", b"x", b""], b"x"),
    ],
)
def test_a_body_within_the_limit_is_read_whole(parts: list[bytes], body: bytes) -> None:
    messages = [part(each, more=index < len(parts) - 1) for index, each in enumerate(parts)]
    request = make(messages=messages)
    assert asyncio.run(_read_twice(request)) == (body, body)


async def _read_twice(request: Request) -> tuple[bytes, bytes]:
    """A request that is run once more on a new configuration reads its body again."""
    return await request.body(), await request.body()


@pytest.mark.parametrize("parts", [[b"0123456789x"], [b"01234", b"56789", b"x"], [b"x" * 1000] * 1000])
def test_a_body_over_the_limit_is_refused_before_it_is_all_there(parts: list[bytes]) -> None:
    taken = iter([part(each, more=True) for each in parts])
    request = make(messages=taken)
    with pytest.raises(TooLarge) as refusal:
        asyncio.run(request.body())
    assert refusal.value.public == "request body is larger than 10 bytes"
    assert len(list(taken)) == max(0, len(parts) - 3) or len(parts) == 1000


def test_a_client_that_leaves_ends_its_body() -> None:
    request = make(messages=[part(b"abc", more=True), {"type": "http.disconnect"}])
    assert asyncio.run(request.body()) == b"abc"


# -- query, headers, paths --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "value"),
    [
        (b"", None),
        (b"limit=5", "5"),
        (b"limit=", ""),
        (b"limit", ""),
        (b"limit=2&limit=3", "2"),
        (b"LIMIT=2", None),
        (b"limit=%2B3", "+3"),
        (b"limit=+3", " 3"),
        (b"x=1&limit=2", "2"),
        (b"limit=%zz", "%zz"),
        (b"limit=\xff", "\xff"),
    ],
)
def test_a_query_parameter_is_the_first_of_its_name(query: bytes, value: str | None) -> None:
    assert make(query=query).query("limit") == value


def test_a_header_is_the_first_of_its_name() -> None:
    request = make([(b"a", b"1"), (b"b", b"2"), (b"a", b"3")])
    assert (request.header(b"a"), request.header(b"c")) == (b"1", b"")


@pytest.mark.parametrize(
    ("scope", "path"),
    [
        ({"raw_path": b"/a%2fb", "path": "/a/b"}, "/a%2fb"),
        ({"raw_path": b"/\xff", "path": "/x"}, "/\xff"),
        ({"raw_path": b"", "path": "/x"}, "/x"),
        ({"raw_path": None, "path": "/x"}, "/x"),
        ({"path": "/x"}, "/x"),
    ],
)
def test_a_path_is_taken_as_it_was_written(scope: dict[str, Any], path: str) -> None:
    assert raw_path(scope) == path


@pytest.mark.parametrize(
    ("part_", "plain"),
    [
        ("a%20b", "a b"),
        ("%FF", "\ufffd"),
        ("%21", "!"),
        ("!", "!"),
        ("a+b", "a+b"),
        ("%zz", "%zz"),
        ("a%2Fb", "a%2Fb"),
        ("%61", "%61"),
        ("%c3%a4", "%c3%a4"),
    ],
)
def test_a_parameter_is_unescaped_if_it_had_to_be_escaped(part_: str, plain: str) -> None:
    assert unescape(part_) == plain


@pytest.mark.parametrize(("client", "source"), [(("192.0.2.7", 5), "192.0.2.7"), (None, ""), (("::1", 5), "::1")])
def test_the_source_is_the_address_of_the_connection(client: tuple[str, int] | None, source: str) -> None:
    assert make([(b"x-forwarded-for", b"203.0.113.9")], client=client).source == source


# -- client certificates ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "extensions",
    [{}, {"tls": None}, {"tls": {}}, {"tls": {"client_cert_chain": []}}, {"tls": {"client_cert_der": None}}],
    ids=str,
)
def test_without_a_certificate_there_is_none(extensions: Mapping[str, object]) -> None:
    assert make(extensions=extensions).client_certificate is None


def test_a_certificate_comes_as_der_or_as_the_pem_of_the_asgi_extension() -> None:
    leaf = make_party("a.test", None, now=NOW)
    assert make(extensions={"tls": {"client_cert_der": leaf.der}}).client_certificate == leaf.der
    assert make(extensions={"tls": {"client_cert_chain": [leaf.pem, "other"]}}).client_certificate == leaf.der


def test_a_certificate_in_a_header_is_nobodys() -> None:
    leaf = make_party("a.test", None, now=NOW)
    headers = [(b"x-client-cert", leaf.der), (b"ssl-client-cert", leaf.pem.encode()), (b"x-ssl-client-cert", b"x")]
    assert make(headers).client_certificate is None


# -- answers ------------------------------------------------------------------------------------------------------


def test_an_answer_is_json_unless_it_says_otherwise() -> None:
    assert Response(200).headers == ((b"content-type", b"application/json"),)
    assert dict(text(404, "404 page not found\n").headers) == {
        b"content-type": b"text/plain; charset=utf-8",
        b"x-content-type-options": b"nosniff",
    }
