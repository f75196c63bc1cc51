"""HTTP over real sockets, byte for byte where step-ca's answers were recorded."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct

import pytest

from provisor.server.exchange import Receive, Scope, Send
from provisor.server.limits import ConnectionLimits
from support.serving import echo, eventually, parse_answer, response, run, serving

JSON = (b"content-type", b"application/json")
CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"

QUICK = ConnectionLimits(
    header_bytes=2048,
    header_count=10,
    body_bytes=1000,
    header_seconds=0.1,
    body_seconds=0.1,
    idle_seconds=0.1,
    write_seconds=0.1,
)


def names(data: bytes) -> list[str]:
    return [name.decode() for name, _ in parse_answer(data)[1]]


def test_a_small_answer_has_the_headers_of_the_reference_in_its_order() -> None:
    async def scenario() -> None:
        async with serving(response(200, b'{"status":"ok"}\n', JSON, (b"x-request-id", b"7"))) as server:
            answer = await server.exchange(CLOSING)
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nX-Request-Id: 7\r\nDate: ")
        assert answer.endswith(b" GMT\r\nContent-Length: 16\r\nConnection: close\r\n\r\n" + b'{"status":"ok"}\n')

    run(scenario())


@pytest.mark.parametrize(("size", "framing"), [(0, "Content-Length"), (2048, "Content-Length")])
def test_a_body_of_up_to_2048_bytes_has_its_length(size: int, framing: str) -> None:
    async def scenario() -> None:
        async with serving(response(200, b"x" * size, JSON)) as server:
            answer = await server.exchange(CLOSING)
        assert names(answer) == ["Content-Type", "Date", framing, "Connection"]
        assert parse_answer(answer)[2] == b"x" * size

    run(scenario())


def test_a_larger_body_is_one_chunk() -> None:
    async def scenario() -> None:
        async with serving(response(201, b"x" * 2049, JSON)) as server:
            answer = await server.exchange(CLOSING)
        assert names(answer) == ["Content-Type", "Date", "Connection", "Transfer-Encoding"]
        assert parse_answer(answer)[2] == b"801\r\n" + b"x" * 2049 + b"\r\n0\r\n\r\n"

    run(scenario())


def test_http_1_0_gets_a_large_body_without_framing() -> None:
    async def scenario() -> None:
        async with serving(response(201, b"x" * 3000, JSON)) as server:
            answer = await server.exchange(b"GET / HTTP/1.0\r\n\r\n")
        assert answer.startswith(b"HTTP/1.0 201 Created\r\n")
        assert names(answer) == ["Content-Type", "Date"]
        assert parse_answer(answer)[2] == b"x" * 3000

    run(scenario())


def test_http_1_0_is_kept_alive_when_it_asks() -> None:
    request = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n"

    async def scenario() -> None:
        async with serving(response(200, b"ok", JSON)) as server:
            answer = await server.exchange(request, b"GET / HTTP/1.0\r\n\r\n")
        assert answer.count(b"HTTP/1.0 200 OK") == 2
        assert answer.count(b"Connection: keep-alive") == 1

    run(scenario())


def test_head_has_the_length_of_get_and_no_body() -> None:
    async def scenario() -> None:
        async with serving(response(200, b"x" * 16, JSON)) as server:
            answer = await server.exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert b"Content-Length: 16\r\n" in answer
        assert parse_answer(answer)[2] == b""

    run(scenario())


def test_head_without_a_body_has_no_length() -> None:
    async def scenario() -> None:
        async with serving(response(405, b"", (b"allow", b"POST"), (b"x-request-id", b"7"))) as server:
            answer = await server.exchange(b"HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert names(answer) == ["Allow", "X-Request-Id", "Date", "Connection"]

    run(scenario())


def test_an_answer_in_pieces_is_chunked() -> None:
    async def pieces(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ab", "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": True})
        await send({"type": "http.response.body", "body": b"c"})

    async def scenario() -> None:
        async with serving(pieces) as server:
            answer = await server.exchange(CLOSING)
        assert parse_answer(answer)[2] == b"2\r\nab\r\n1\r\nc\r\n0\r\n\r\n"

    run(scenario())


def test_a_body_of_megabytes_arrives_whole() -> None:
    size = 3_000_001

    async def scenario() -> None:
        async with serving(response(200, b"x" * size, (b"content-length", b"%d" % size))) as server:
            answer = await server.exchange(CLOSING)
        assert len(parse_answer(answer)[2]) == size

    run(scenario())


@pytest.mark.parametrize(
    ("request_bytes", "answer"),
    [
        (
            b"GET / HTTP/1.1\r\nConnection: close\r\n\r\n",
            b"HTTP/1.1 400 Bad Request: missing required Host header\r\nContent-Type: text/plain; charset=utf-8\r\n"
            b"Connection: close\r\n\r\n400 Bad Request: missing required Host header",
        ),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", b"HTTP/1.1 400 Bad Request: too many Host headers\r\n"),
        (b"GET / HTTP/2.0\r\nHost: a\r\n\r\n", b"HTTP/1.1 505 HTTP Version Not Supported"),
        (b"GET /\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET / HTTP/1.1\r\nHost : a\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"GET / HTTP/1.1\r\nHost: a\r\nX: b\r\n c\r\n\r\n", b"HTTP/1.1 400 Bad Request\r\n"),
        (b"\x16\x03\x01\x00\x05hello", b"HTTP/1.1 400 Bad Request\r\n"),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\n",
        ),
        (
            b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n",
            b"HTTP/1.1 501 Not Implemented",
        ),
        (b"POST / HTTP/1.1\r\nHost: a\r\nExpect: much\r\nContent-Length: 1\r\n\r\n", b"HTTP/1.1 417 "),
    ],
)
def test_what_is_not_http_is_answered_below_the_application(request_bytes: bytes, answer: bytes) -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            assert (await server.exchange(request_bytes)).startswith(answer)
            assert sum(server.refusals.values()) == 1

    run(scenario())


def test_options_star_is_answered_as_recorded() -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            answer = await server.exchange(b"OPTIONS * HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nDate: ")
        assert answer.endswith(b" GMT\r\nConnection: close\r\n\r\n")

    run(scenario())


@pytest.mark.parametrize("method", ["FOO", "TRACE", "CONNECT", "get", "PROPFIND"])
def test_any_method_reaches_the_application(method: str) -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            answer = await server.exchange(
                f"{method} /health HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n".encode()
            )
        assert parse_answer(answer)[2] == f"{method} /health ".encode()

    run(scenario())


def test_an_offer_of_http_2_without_tls_is_not_taken() -> None:
    request = b"GET /x HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n"

    async def scenario() -> None:
        async with serving(echo) as server:
            assert parse_answer(await server.exchange(request))[2] == b"GET /x "

    run(scenario())


@pytest.mark.parametrize(
    ("target", "path", "raw", "query"),
    [
        ("/a%20b?x=%20", "/a b", b"/a%20b", b"x=%20"),
        ("/%68ealth", "/health", b"/%68ealth", b""),
        ("/%ff", "/�", b"/%ff", b""),
        ("//health", "//health", b"//health", b""),
        ("http://a/b?c", "/b", b"/b", b"c"),
    ],
)
def test_the_scope_tells_path_and_query(target: str, path: str, raw: bytes, query: bytes) -> None:
    seen: list[Scope] = []

    async def look(scope: Scope, receive: Receive, send: Send) -> None:
        seen.append(scope)
        await echo(scope, receive, send)

    async def scenario() -> None:
        async with serving(look, state={"epoch": 1}) as server:
            await server.exchange(
                f"GET {target} HTTP/1.1\r\nHost: a\r\nX-Some: B\r\nConnection: close\r\n\r\n".encode()
            )
            assert seen[0]["server"] == ("127.0.0.1", server.port)

    run(scenario())
    scope = seen[0]
    assert (scope["path"], scope["raw_path"], scope["query_string"]) == (path, raw, query)
    assert (scope["type"], scope["scheme"], scope["http_version"]) == ("http", "http", "1.1")
    assert (b"x-some", b"B") in scope["headers"]
    assert scope["client"][0] == "127.0.0.1"
    assert scope["state"] == {"epoch": 1}
    assert "tls" not in scope["extensions"]


def test_requests_sent_ahead_are_answered_in_order_one_at_a_time() -> None:
    working = 0

    async def careful(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal working
        working += 1
        assert working == 1
        await asyncio.sleep(0)
        working -= 1
        await echo(scope, receive, send)

    async def scenario() -> None:
        requests = b"".join(b"POST /%d HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nb" % i for i in range(3000))
        async with serving(careful) as server:
            answer = await server.exchange(requests + CLOSING)
            assert not server.reports
        paths = [part.split(b" ")[1] for part in answer.split(b"POST ")[1:]]
        bodies = [part.partition(b" b")[0] for part in answer.split(b"POST /")[1:]]
        assert [int(body) for body in bodies] == list(range(3000)), paths

    run(scenario())


def test_a_request_may_come_byte_by_byte() -> None:
    request = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc"

    async def scenario() -> None:
        async with serving(echo) as server:
            answer = await server.exchange(*(request[i : i + 1] for i in range(len(request))))
        assert parse_answer(answer)[2] == b"POST /x abc"

    run(scenario())


def test_a_chunked_body_is_put_together_and_its_trailers_are_dropped() -> None:
    request = (
        b"POST /x HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
        b"1\r\na\r\n2;ext=1\r\nbc\r\n0\r\nHost: evil\r\n\r\n"
    )

    async def scenario() -> None:
        async with serving(echo) as server:
            assert parse_answer(await server.exchange(request))[2] == b"POST /x abc"

    run(scenario())


def test_a_client_that_expects_to_continue_is_told_to() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\nConnection: close\r\n\r\n"

    async def scenario() -> None:
        async with serving(echo) as server:
            reader, writer = await server.open()
            writer.write(head)
            assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
            writer.write(b"abc")
            assert (await reader.read()).endswith(b"POST /x abc")
            writer.close()

    run(scenario())


def test_a_client_that_expects_to_continue_with_too_much_is_refused_at_once() -> None:
    head = b"POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\nExpect: 100-continue\r\n\r\n"

    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            assert (await server.exchange(head)).startswith(b"HTTP/1.1 413 Request Entity Too Large\r\n")

    run(scenario())


@pytest.mark.parametrize(
    ("pieces", "status", "reason"),
    [
        ([b"GET /" + b"x" * 3000 + b" HTTP/1.1\r\nHost: a\r\n\r\n"], b"431", "header-bytes"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"x" * 3000 + b"\r\n\r\n"], b"431", "header-bytes"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"x" * 3000, b"x" * 3000, b"x" * 3000], b"431", "header-bytes"),
        (
            [b"GET / HTTP/1.1\r\nHost: a\r\n" + b"".join(b"X%d: %s\r\n" % (i, b"y" * 600) for i in range(5))],
            b"431",
            "header-bytes",
        ),
        ([b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 10 + b"\r\n"], b"431", "header-count"),
        ([b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 400_000], b"431", "header-count"),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1001\r\n\r\n" + b"x" * 1001], b"413", "body-bytes"),
        ([b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 4000000\r\n\r\n" + b"x" * 4_000_000], b"413", "body-bytes"),
        (
            [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + b"64\r\n%b\r\n" % (b"x" * 100) * 11],
            b"413",
            "body-bytes",
        ),
        (
            [b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"T: x\r\n" * 11],
            b"431",
            "header-count",
        ),
    ],
)
def test_too_much_is_answered_and_closed(pieces: list[bytes], status: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            assert (await server.exchange(*pieces)).startswith(b"HTTP/1.1 " + status)
            assert server.refusals == {reason: 1}

    run(scenario())


def test_what_is_just_allowed_is_served() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nConnection: close\r\nX: %b\r\n\r\n"
    fixed = len(b"/") + sum(len(line) + 2 for line in head.split(b"\r\n")[1:-2]) - 2
    request = head % (b"x" * (2048 - fixed)) + b"b" * 1000

    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            assert (await server.exchange(request)).startswith(b"HTTP/1.1 200 OK")
            assert (await server.exchange(request.replace(b"X: ", b"X: y"))).startswith(b"HTTP/1.1 431 ")

    run(scenario())


def test_bodies_of_all_connections_together_are_bounded() -> None:
    limits = ConnectionLimits(body_bytes=1000, buffered_bytes=1500)
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 1000\r\nConnection: close\r\n\r\n"

    async def scenario() -> None:
        async with serving(echo, limits) as server:
            reader, writer = await server.open()
            writer.write(head + b"x" * 999)
            await eventually(lambda: server.connections.buffered == 999)
            refused = await server.exchange(head + b"x" * 999)
            assert refused.startswith(b"HTTP/1.1 503 Service Unavailable\r\n")
            assert b"Retry-After: 1\r\n" in refused
            writer.write(b"x")
            assert (await reader.read()).startswith(b"HTTP/1.1 200 OK")
            assert server.connections.buffered == 0
            writer.close()

    run(scenario())


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"", "idle"),
        (b"GET / HTTP/1.1\r\nHo", "slow"),
        (b"GET / HTTP/1.1\r\nHost: a\r\n", "slow"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nab", "slow"),
        (b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab", "slow"),
    ],
)
def test_what_does_not_come_in_time_is_closed_without_an_answer(sent: bytes, reason: str) -> None:
    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            assert await server.exchange(sent) == b""
            assert server.refusals == {reason: 1}
            assert server.connections.buffered == 0

    run(scenario())


@pytest.mark.parametrize(
    "head", [b"GET / HTTP/1.1\r\nHost: a\r\nX: ", b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 900\r\n\r\n"]
)
def test_a_drip_of_bytes_does_not_extend_the_time(head: bytes) -> None:
    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            reader, writer = await server.open()
            began = asyncio.get_running_loop().time()
            writer.write(head)
            while not reader.at_eof() and asyncio.get_running_loop().time() - began < 2:
                writer.write(b"x")
                try:
                    async with asyncio.timeout(0.01):
                        assert await reader.read(1) == b""
                except TimeoutError:
                    continue
                except ConnectionError:
                    break
            assert asyncio.get_running_loop().time() - began < 0.5
            assert server.refusals == {"slow": 1}
            writer.close()

    run(scenario())


def test_an_idle_connection_is_closed_after_its_answer() -> None:
    async def scenario() -> None:
        async with serving(echo, QUICK) as server:
            assert (await server.exchange(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")).endswith(b"GET / ")
            assert server.refusals == {"idle": 1}

    run(scenario())


def test_the_time_of_the_application_is_not_the_clients() -> None:
    async def slow(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(0.3)
        await echo(scope, receive, send)

    async def scenario() -> None:
        async with serving(slow, QUICK) as server:
            answer = await server.exchange(CLOSING + b"GET / HTT")
            assert answer.startswith(b"HTTP/1.1 200 OK")

    run(scenario())


def test_a_client_that_does_not_read_is_cut_off() -> None:
    finished = asyncio.Event()

    async def large(scope: Scope, receive: Receive, send: Send) -> None:
        await response(200, b"x" * 30_000_000)(scope, receive, send)
        finished.set()

    async def scenario() -> None:
        async with serving(large, QUICK) as server:
            _, writer = await server.open()
            writer.transport.pause_reading()  # type: ignore[attr-defined]  # asyncio's transport has it
            writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually(lambda: server.connections.admitted == 0)
            assert server.refusals == {"slow": 1}
            await asyncio.wait_for(finished.wait(), 5)
            writer.close()

    run(scenario())


def test_a_client_that_ends_its_side_gets_its_answer() -> None:
    async def scenario() -> None:
        async with serving(echo) as server:
            reader, writer = await server.open()
            writer.write(b"GET /a HTTP/1.1\r\nHost: a\r\n\r\nGET /b HTTP/1.1\r\nHost: a\r\n\r\n")
            writer.write_eof()
            answer = await asyncio.wait_for(reader.read(), 5)
            assert answer.endswith(b"GET /b ")
            assert b"GET /a " in answer
            writer.close()

    run(scenario())


def test_the_application_finishes_when_the_client_has_gone() -> None:
    entered = asyncio.Event()
    proceed = asyncio.Event()
    finished = asyncio.Event()
    disconnected: list[str] = []

    async def stubborn(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        entered.set()
        disconnected.append((await receive())["type"])
        await proceed.wait()
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"nobody reads this"})
        finished.set()

    async def scenario() -> None:
        async with serving(stubborn) as server:
            _, writer = await server.open()
            writer.write(CLOSING)
            await entered.wait()
            connection = writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
            await eventually(lambda: server.connections.admitted == 0)
            assert len(server.connections.in_flight) == 1
            proceed.set()
            await asyncio.wait_for(finished.wait(), 5)
            assert disconnected == ["http.disconnect"]
            await eventually(lambda: not server.connections.in_flight)
            assert not server.reports

    run(scenario())


GENERIC = (
    b'{"status":500,"message":"The certificate authority encountered an Internal Server Error. '
    b'Please see the certificate authority logs for more info."}\n'
)


def test_an_exception_of_the_application_is_the_generic_answer_and_the_connection_lives() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/ok":
            await echo(scope, receive, send)
        elif scope["path"] == "/split":
            await response(200, b"", (b"x-request-id", b"1\r\nSet-Cookie: a"))(scope, receive, send)
        elif scope["path"] == "/silent":
            return
        else:
            raise RuntimeError("secret detail")

    async def scenario() -> None:
        async with serving(broken) as server:
            requests = b"".join(
                b"GET /%b HTTP/1.1\r\nHost: a\r\n\r\n" % path for path in (b"", b"split", b"silent", b"ok")
            )
            answer = await server.exchange(requests + CLOSING)
            assert answer.count(b"HTTP/1.1 500 Internal Server Error") == 4
            assert answer.count(GENERIC) == 4
            assert b"GET /ok " in answer
            assert b"secret" not in answer
            assert b"Set-Cookie" not in answer
            assert [type(error) for error in server.reports] == [RuntimeError, ValueError, RuntimeError, RuntimeError]

    run(scenario())


def test_an_answer_that_breaks_off_is_not_ended_properly() -> None:
    async def broken(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise RuntimeError

    async def scenario() -> None:
        async with serving(broken) as server:
            reader, writer = await server.open()
            writer.write(CLOSING)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readuntil(b"0\r\n\r\n")
            writer.close()

    run(scenario())


def test_one_connection_too_many_is_closed_at_once_and_the_others_live() -> None:
    limits = ConnectionLimits(connections=2, connections_per_address=2)

    async def scenario() -> None:
        async with serving(echo, limits) as server:
            held = [await server.open() for _ in range(2)]
            await eventually(lambda: server.connections.admitted == 2)
            with contextlib.suppress(ConnectionError):
                assert await server.exchange(CLOSING) == b""
            assert server.refusals == {"connections": 1}
            for reader, writer in held:
                writer.write(CLOSING)
                assert (await reader.read()).endswith(b"GET / ")
                writer.close()
            await eventually(lambda: server.connections.admitted == 0)
            assert (await server.exchange(CLOSING)).endswith(b"GET / ")

    run(scenario())


def test_draining_finishes_what_is_in_work_and_closes_what_is_idle() -> None:
    proceed = asyncio.Event()

    async def waiting(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["path"] == "/wait":
            await proceed.wait()
        await echo(scope, receive, send)

    async def scenario() -> None:
        async with serving(waiting) as server:
            idle_reader, idle_writer = await server.open()
            idle_writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
            await idle_reader.readuntil(b"GET / ")
            reader, writer = await server.open()
            writer.write(b"GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
            await eventually(lambda: len(server.connections.in_flight) == 1)
            server.listener.stop()
            drained = asyncio.ensure_future(server.connections.drain())
            assert await idle_reader.read() == b""
            assert not drained.done()
            proceed.set()
            answer = await reader.read()
            assert b"Connection: close\r\n" in answer
            assert answer.endswith(b"GET /wait ")
            for each in (writer, idle_writer):
                each.close()
            assert await drained

    run(scenario())


def test_draining_ends_at_its_deadline() -> None:
    async def never(scope: Scope, receive: Receive, send: Send) -> None:
        await asyncio.sleep(3600)

    async def scenario() -> None:
        async with serving(never, ConnectionLimits(drain_seconds=0.05)) as server:
            reader, writer = await server.open()
            writer.write(CLOSING)
            await eventually(lambda: len(server.connections.in_flight) == 1)
            server.listener.stop()
            assert not await server.connections.drain()
            assert await reader.read() == b""
            writer.close()

    run(scenario())
