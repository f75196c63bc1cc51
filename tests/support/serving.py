"""A server on an ephemeral port of 127.0.0.1, in the loop of the test."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from typing import Any

import uvloop

from provisor.server.exchange import ASGIApp, Receive, Scope, Send, Site
from provisor.server.limits import ConnectionLimits, Connections
from provisor.server.listener import Listener
from provisor.server.tls import TLSEndpoint

PATIENCE = 5.0


def run(scenario: Coroutine[Any, Any, None]) -> None:
    """Run a test's coroutine on the loop that serves in production."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(scenario)


def response(status: int, body: bytes, *headers: tuple[bytes, bytes]) -> ASGIApp:
    """An application that always answers this."""

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        await receive()
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return application


async def echo(scope: Scope, receive: Receive, send: Send) -> None:
    """Answers with method, path and body."""
    body = (await receive())["body"]
    answer = f"{scope['method']} {scope['path']} ".encode() + body
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
    await send({"type": "http.response.body", "body": answer})


class Served:
    """What a test sees of the running server."""

    def __init__(self, connections: Connections, listener: Listener, context: ssl.SSLContext | None) -> None:
        self.connections = connections
        self.listener = listener
        self.port = listener.address[1]
        self.client_context = context
        self.refusals: Counter[str] = Counter()
        self.reports: list[BaseException] = []

    async def open(self, context: ssl.SSLContext | None = None) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        context = context or self.client_context
        name = "localhost" if context else None
        return await asyncio.open_connection("127.0.0.1", self.port, ssl=context, server_hostname=name)

    async def exchange(self, *pieces: bytes, context: ssl.SSLContext | None = None) -> bytes:
        """Send these bytes and read until the server closes."""
        reader, writer = await self.open(context)
        try:
            for piece in pieces:
                writer.write(piece)
                await writer.drain()
            async with asyncio.timeout(PATIENCE):
                return await reader.read()
        finally:
            writer.close()


@asynccontextmanager
async def serving(
    application: ASGIApp,
    limits: ConnectionLimits | None = None,
    *,
    endpoint: TLSEndpoint | None = None,
    client_context: ssl.SSLContext | None = None,
    state: dict[str, object] | None = None,
) -> AsyncIterator[Served]:
    """Serve for the length of a test."""
    served: Served

    def count(reason: str) -> None:
        served.refusals[reason] += 1

    def report(error: BaseException, scope: Scope) -> None:
        served.reports.append(error)

    connections = Connections(limits or ConnectionLimits(), on_refusal=count)
    sock = socket.socket()
    sock.bind(("127.0.0.1", 0))
    listener = Listener(sock, Site(application, connections, state=state, report=report), endpoint)
    served = Served(connections, listener, client_context)
    await listener.start()
    try:
        yield served
    finally:
        listener.stop()
        for connection in list(connections.open):
            connection.abort()
        await eventually(lambda: connections.admitted == 0)


async def eventually(condition: Callable[[], bool]) -> None:
    """Wait until this holds."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - what is waited for does not tell
            await asyncio.sleep(0.005)


def parse_answer(data: bytes) -> tuple[bytes, list[tuple[bytes, bytes]], bytes]:
    """Status line, headers in order, the rest."""
    head, _, rest = data.partition(b"\r\n\r\n")
    line, *lines = head.split(b"\r\n")
    headers = [(name, value) for name, _, value in (item.partition(b": ") for item in lines)]
    return line, headers, rest
