"""Octets from the network, in whatever pieces: the application sees requests, and the client answers."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.server.limits import ConnectionLimits
from support.fuzzing import brief, fuzz, mutated, pieces
from support.wire_tap import Conversation, converse

HOST = b"Host: ca.test\r\n"
JSON = b'{"csr":"x","ott":"y"}'
SEEDS = [
    b"GET /health HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET /long?limit=3&cursor=a HTTP/1.1\r\n" + HOST + b"X-Request-Id: 1\r\nAccept: */*\r\n\r\n",
    b"HEAD /root/%41b%2Fc HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /sign HTTP/1.1\r\n" + HOST + b"Content-Length: 21\r\nContent-Type: application/json\r\n\r\n" + JSON,
    b"POST /long HTTP/1.1\r\n"
    + HOST
    + b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6;x=y\r\n world\r\n0\r\nT: r\r\n\r\n",
    b"POST /sign HTTP/1.1\r\n" + HOST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n{}",
    b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n",
    b"GET /long HTTP/1.0\r\n\r\n",
    b"GET http://ca.test:9000/health?x HTTP/1.1\r\n" + HOST + b"Connection: close\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\n" + HOST + b"\r\n",
    b"CONNECT ca.test:443 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"GET / HTTP/1.1\r\n" + HOST + b"Upgrade: h2c\r\nConnection: Upgrade, HTTP2-Settings\r\nHTTP2-Settings: AA\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"BREW /pot HTTP/1.1\r\n" + HOST + b"\r\n",
    b"POST /x HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    b"GET /\xc3\xa9 HTTP/1.1\r\n" + HOST + b"\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64),
]
PIPELINED = [b"".join(SEEDS[:6]), SEEDS[0] * 20, SEEDS[3] + SEEDS[7] + SEEDS[0]]
HEADERS = [
    *(b"Content-Length: 5", b"Content-Length: +5", b"Content-Length: 5, 5", b"Content-Length: 0x5", b"Content-Length:"),
    *(b"Content-Length: 18446744073709551616", b"Content-Length: -1", b"content-length: 5", b"Content-Length : 5"),
    *(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity", b"Transfer-Encoding: chunked, gzip"),
    *(b"Transfer-Encoding: gzip, chunked", b"Transfer-Encoding:\x0bchunked", b"Transfer-Encoding: xchunked"),
    *(b"Transfer-Encoding: Chunked", b"transfer_encoding: chunked", b" folded", b"\tfolded", b"X: a\r\n b", b"X: a\rb"),
    *(b"X: a\nY: b", b"X: \x00", b"X: \xff\xfe", b": x", b"X", b"X Y: z", b"Host: other", b"Host:", b"host: a, b"),
    *(b"Connection: close", b"Connection: keep-alive, close", b"Connection: upgrade", b"Upgrade: websocket"),
    *(b"Expect: 100-continue", b"Expect: x", b"X-Request-Id: \xe9\x7f", b"X: " + b"a" * 9000, b"Y" * 9000 + b": x"),
]
BODIES = [b"", b"hello", b"5\r\nhello\r\n0\r\n\r\n", b"0\r\n\r\n", b"5;" + b"x" * 70 + b"\r\nhello\r\n0\r\n\r\n"]
BODIES += [
    b"FFFFFFFFFFFFFFFFF\r\n",
    b"5\nhello\n0\n\n",
    b"-5\r\n",
    b"5\r\nhelloXX0\r\n\r\n",
    b"0\r\nContent-Length: 9\r\n\r\n",
]
BODIES += [SEEDS[0], b"5\r\nhello\r\n0\r\n\r\n" + SEEDS[0], b"x" * 20_000]

SMALL = ConnectionLimits(header_bytes=2000, header_count=12, body_bytes=5000, buffered_bytes=6000)
TOKEN = re.compile(r"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
METHODS = re.compile(rb"(?<!\S)(\S+) +\S+ +HTTP/")
KNOWN = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"}


@pytest.fixture(scope="module")
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as each:
        yield each


def talk(runner: asyncio.Runner, sent: Sequence[bytes], limits: ConnectionLimits | None = None) -> Conversation:
    """Every promise about a connection that holds whatever was sent."""
    with brief(1):
        seen = runner.run(converse(sent, limits))
    assert seen.reports == ()
    for request in seen.requests:
        assert TOKEN.fullmatch(request.method)
        names = [name for name, _ in request.headers]
        assert all(TOKEN.fullmatch(name.decode("ascii")) and name == name.lower() for name in names)
        assert not any(set(value) & set(b"\r\n\0") for _, value in request.headers)
        assert request.version == "1.0" or names.count(b"host") == 1
        assert names.count(b"content-length") + names.count(b"transfer-encoding") <= 1
        assert not set(request.target) & set(b" \r\n\t")
        assert len(request.body) <= (limits or ConnectionLimits()).body_bytes
    # A request is answered once; what is refused below the application at most once more, and that is the last.
    # `OPTIONS *` is answered without it.
    stars = sum(piece.count(b"OPTIONS") for piece in [b"".join(sent)])
    assert len(seen.requests) <= len(seen.answers) <= len(seen.requests) + stars + 1
    refused = [answer for answer in seen.answers if answer.status != 200]
    assert refused == [answer for answer in seen.answers[-1:] if answer.status != 200]
    assert all(answer.status < 500 or answer.status in (501, 503, 505) for answer in refused)
    if refused:
        assert seen.closed
        assert seen.refusals
    return seen


def test_the_seeds_are_understood(runner: asyncio.Runner) -> None:
    answered = [len(talk(runner, [seed]).requests) for seed in SEEDS]
    assert answered == [1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 1, 0, 1, 0, 0, 0]
    assert [len(talk(runner, [seed]).requests) for seed in PIPELINED] == [6, 20, 2]


@fuzz(500)
@given(data=mutated([*SEEDS, *PIPELINED]), cuts=st.lists(st.integers(0, 1 << 16), max_size=5))
def test_changed_octets_in_any_pieces(runner: asyncio.Runner, data: bytes, cuts: list[int]) -> None:
    compare(runner, data, pieces(data, cuts))


@fuzz(400)
@given(
    line=st.sampled_from([b"POST /a HTTP/1.1", b"GET /a HTTP/1.0", b"HEAD /a HTTP/1.1", b"POST /long HTTP/1.1"]),
    headers=st.lists(st.sampled_from([HOST[:-2], *HEADERS]), max_size=5),
    end=st.sampled_from([b"\r\n", b"\r\n", b"\r\n", b"\n", b"\r"]),
    body=st.sampled_from(BODIES),
    cuts=st.lists(st.integers(0, 1 << 16), max_size=5),
)
def test_headers_that_two_readers_would_read_differently(
    runner: asyncio.Runner, line: bytes, headers: list[bytes], end: bytes, body: bytes, cuts: list[int]
) -> None:
    data = end.join([line, HOST[:-2], *headers, b""]) + end + body
    seen = compare(runner, data, pieces(data, cuts))
    raw = b"\r\n".join(headers).lower()
    if b"transfer-encoding:" in raw and b"content-length:" in raw:
        assert seen.requests == () or b"transfer-encoding:\x0b" in raw


@fuzz(200)
@given(data=mutated([*SEEDS, *PIPELINED]), cuts=st.lists(st.integers(0, 1 << 16), max_size=5))
def test_small_limits_hold(runner: asyncio.Runner, data: bytes, cuts: list[int]) -> None:
    seen = talk(runner, pieces(data, cuts), SMALL)
    for request in seen.requests:
        assert sum(len(name) + len(value) + 4 for name, value in request.headers) + len(request.target) <= 2000


def test_one_octet_at_a_time(runner: asyncio.Runner) -> None:
    for data in (*SEEDS[:12], *PIPELINED):
        compare(runner, data, [bytes((octet,)) for octet in data])


@pytest.mark.parametrize("number", [0, 3, 9])
def test_what_follows_a_request_does_not_make_it_run_again(runner: asyncio.Runner, number: int) -> None:
    """A method nobody knows is read once more under another name; a request before it must not be."""
    seen = talk(runner, [SEEDS[number] + b"hello"])
    assert [answer.status for answer in seen.answers] == [200, 400]
    assert len(seen.requests) == (number != 9)


def compare(runner: asyncio.Runner, data: bytes, sent: Sequence[bytes]) -> Conversation:
    """How the network cut the octets makes no difference; only a method nobody knows has to come in one piece."""
    whole = talk(runner, [data])
    cut = talk(runner, sent)
    if all(method.decode("latin-1") in KNOWN for method in METHODS.findall(data)):
        assert cut.requests == whole.requests
        assert [answer.status for answer in cut.answers] == [answer.status for answer in whole.answers]
    else:
        both = min(len(cut.requests), len(whole.requests))
        assert cut.requests[:both] == whole.requests[:both]
    return cut
