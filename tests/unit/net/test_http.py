"""What the CA sends, and what it makes of servers that lie, stall, redirect or vanish. Real sockets, real TLS."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from provisor.core.addresses import parse_allowed
from provisor.errors import CallFailed
from provisor.net.address import AddressRule
from provisor.net.http import Outgoing, Reply, check_url
from provisor.testing import CA
from support.peers import free_port

Answer = Callable[[asyncio.StreamReader, asyncio.StreamWriter, int], Awaitable[None]]
LOOPBACK = (parse_allowed("127.0.0.0/8"), parse_allowed("::1"))


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA() as made:
        yield made


class Receiver:
    """An HTTPS server that does with the n-th request what it was told."""

    def __init__(self, port: int, trusting: ssl.SSLContext) -> None:
        self.port = port
        self.trusting = trusting
        self.requests: list[bytes] = []
        self.connections = 0

    def url(self, path: str = "/hook", host: str = "localhost") -> str:
        return f"https://{host}:{self.port}{path}"


@asynccontextmanager
async def receiver(
    ca: CA, answer: Answer, names: Sequence[str] = ("localhost", "127.0.0.1")
) -> AsyncIterator[Receiver]:
    serving = ca.server_context(names)
    here = Receiver(0, ca.client_context())

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        here.connections += 1
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                size = next(
                    (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
                )
                here.requests.append(head + await reader.readexactly(size))
                await answer(reader, writer, len(here.requests))
        except (asyncio.IncompleteReadError, ConnectionError, ssl.SSLError):
            pass
        finally:
            writer.transport.abort()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=serving)
    here.port = server.sockets[0].getsockname()[1]
    async with server:
        yield here


def says(octets: bytes) -> Answer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _count: int) -> None:
        writer.write(octets)
        await writer.drain()

    return answer


def http(body: bytes = b"", status: int = 200, extra: bytes = b"") -> bytes:
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body), extra, body)


async def send(
    outgoing: Outgoing, to: Receiver, url: str | None = None, *, seconds: float = 5, most: int = 1000
) -> Reply:
    return await outgoing.send(
        "POST",
        url or to.url(),
        headers={"X-Request-Id": "r"},
        body=b'{"a":1}',
        tls=to.trusting,
        seconds=seconds,
        most_bytes=most,
    )


def play(ca: CA, answer: Answer, **options: Any) -> Reply:
    async def run() -> Reply:
        async with receiver(ca, answer) as there, Outgoing(AddressRule(LOOPBACK)) as outgoing:
            return await send(outgoing, there, **options)

    return asyncio.run(run())


def test_the_request_is_these_octets_and_no_header_more(ca: CA) -> None:
    async def run() -> None:
        async with receiver(ca, says(http(b"{}", 201))) as there, Outgoing(AddressRule(LOOPBACK)) as outgoing:
            reply = await send(outgoing, there, there.url("/hook?a=%20b"))
            assert (reply.status, reply.body) == (201, b"{}")
            assert there.requests == [
                b"POST /hook?a=%20b HTTP/1.1\r\nHost: localhost:" + str(there.port).encode() + b"\r\n"
                b'X-Request-Id: r\r\nContent-Length: 7\r\n\r\n{"a":1}'
            ]

    asyncio.run(run())


def test_connections_are_kept_and_used_again(ca: CA) -> None:
    async def run() -> None:
        async with receiver(ca, says(http(b"{}"))) as there, Outgoing(AddressRule(LOOPBACK)) as outgoing:
            for _ in range(5):
                await send(outgoing, there)
            assert (there.connections, len(there.requests)) == (1, 5)

    asyncio.run(run())


def test_a_kept_connection_that_was_closed_is_replaced_at_once(ca: CA) -> None:
    async def closes_each(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _count: int) -> None:
        writer.write(http(b"{}"))
        await writer.drain()
        writer.transport.abort()

    async def run() -> None:
        async with receiver(ca, closes_each) as there, Outgoing(AddressRule(LOOPBACK)) as outgoing:
            for _ in range(3):
                assert (await send(outgoing, there)).status == 200
            assert there.connections == 3

    asyncio.run(run())


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_no_redirect_is_followed(ca: CA, status: int) -> None:
    reply = play(ca, says(http(b"", status, b"Location: /other\r\n")))
    assert (reply.status, reply.headers["location"]) == (status, "/other")


@pytest.mark.parametrize(
    ("octets", "text"),
    [
        (b"", "EOF"),
        (b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: nine\r\n\r\n", "the answer is not HTTP"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nshort", "unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "the answer is not HTTP|unexpected EOF"),
        (b"HTTP/1.1 200 OK\r\n" + b"X: %s\r\n" % (b"y" * 100_000) + b"\r\n", "the answer is not HTTP"),
        (http(b"x" * 1001), "the answer is larger than 1000 bytes"),
        (
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n",
            "the answer is larger than 1000 bytes",
        ),
    ],
    ids=["closed", "ssh", "length", "short", "chunks", "header", "large", "large-chunks"],
)
def test_a_liar_is_a_failure_with_its_reason(ca: CA, octets: bytes, text: str) -> None:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _count: int) -> None:
        writer.write(octets)
        await writer.drain()
        writer.close()

    with pytest.raises(CallFailed, match=rf'^Post "https://localhost:\d+/hook": ({text})'):
        play(ca, answer)


def test_a_body_that_is_compressed_stays_as_it_is(ca: CA) -> None:
    assert play(ca, says(http(b"\x1f\x8b", 200, b"Content-Encoding: gzip\r\n"))).body == b"\x1f\x8b"


@pytest.mark.parametrize("begun", [b"", b"HTTP/1.1 200 OK\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nab"])
def test_silence_ends_at_the_deadline(ca: CA, begun: bytes) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, _count: int) -> None:
        writer.write(begun)
        await reader.read()

    with pytest.raises(CallFailed, match="context deadline exceeded") as caught:
        play(ca, answer, seconds=0.2)
    assert caught.value.final


def test_the_rule_is_asked_about_the_address_that_is_connected_to(ca: CA) -> None:
    async def run() -> None:
        async with receiver(ca, says(http())) as there, Outgoing(AddressRule()) as outgoing:
            for host in ("localhost", "127.0.0.1", "2130706433", "0x7f.1"):
                with pytest.raises(CallFailed) as caught:
                    await send(outgoing, there, there.url(host=host))
                assert re.search("is a loopback address|no such host|the URL cannot be used", str(caught.value))
            assert there.connections == 0

    asyncio.run(run())


def test_one_address_of_several_that_is_allowed_is_enough(ca: CA) -> None:
    async def run() -> None:
        async with receiver(ca, says(http())) as there:
            rule = AddressRule([parse_allowed(f"127.0.0.1:{there.port}")])
            async with Outgoing(rule) as outgoing:
                assert (await send(outgoing, there)).status == 200

    asyncio.run(run())


def test_nobody_listens() -> None:
    port = free_port()

    async def run() -> None:
        there = Receiver(port, ssl.create_default_context())
        async with Outgoing(AddressRule(LOOPBACK)) as outgoing:
            with pytest.raises(CallFailed) as caught:
                await send(outgoing, there, there.url(host="127.0.0.1"))
        where = f"127.0.0.1:{port}"
        assert str(caught.value) == f'Post "https://{where}/hook": dial tcp {where}: connect: connection refused'

    asyncio.run(run())


def test_an_unknown_authority_and_a_wrong_name_are_refused(ca: CA) -> None:
    async def run() -> None:
        serving = receiver(ca, says(http()), ["elsewhere.example"])
        async with serving as there, Outgoing(AddressRule(LOOPBACK)) as outgoing:
            with pytest.raises(CallFailed, match="x509: certificate is not valid for this name"):
                await send(outgoing, there)
            there.trusting = ssl.create_default_context()
            with pytest.raises(CallFailed) as caught:
                await send(outgoing, there)
            assert str(caught.value).endswith(
                "tls: failed to verify certificate: x509: certificate signed by unknown authority"
            )
            assert there.requests == []

    asyncio.run(run())


def test_a_proxy_in_the_environment_is_ignored_unless_allowed(ca: CA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTPS_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)

    async def run() -> None:
        async with receiver(ca, says(http())) as there:
            async with Outgoing(AddressRule(LOOPBACK)) as direct:
                assert (await send(direct, there)).status == 200
            async with Outgoing(AddressRule(LOOPBACK), proxy_from_environment=True) as by_proxy:
                with pytest.raises(CallFailed):
                    await send(by_proxy, there)

    asyncio.run(run())


@pytest.mark.parametrize(
    "url",
    [
        *("http://a/", "https:///x", "https://u:p@a/", "https://u@a/", "https://a/ b", "https://a/\r\nX: y"),
        *("https://a:x/", "ftp://a/", "", "//a/b", "https://a/\x7f", "https://[::1/"),
    ],
)
def test_urls_that_are_not_sent_to(url: str) -> None:
    with pytest.raises(CallFailed):
        check_url(url)


def test_urls_that_are() -> None:
    for url in ("https://a.example/x?y=z", "https://10.0.0.1:8443", "https://[2001:db8::1]/é"):
        check_url(url)
