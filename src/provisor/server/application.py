"""The ASGI application: route, answer, log, count. Mountable in any ASGI program and testable in process."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final, final

from provisor.authority.snapshot import Snapshot
from provisor.errors import ProvisorError, StaleEpoch, Unavailable
from provisor.server import faults
from provisor.server.context import Context
from provisor.server.request import Message, Receive, Request, Response, Scope, Send, raw_path, text
from provisor.server.routes import API, Match, Router

_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})
_RELOAD_PATIENCE: Final = 5.0
"""Seconds a request waits for the configuration that overtook it."""
_OVERTAKEN_AT_MOST: Final = 5
"""Reloads that one request lives through."""


@final
class Authority:
    """The snapshot in force, and a way to wait for the one after it."""

    def __init__(self, snapshot: Snapshot, refresh: Callable[[], Awaitable[None]] | None = None) -> None:
        """`refresh` fetches the configuration in force and calls `replace`; without it somebody else does."""
        self._snapshot = snapshot
        self._refresh = refresh
        self._changed = asyncio.Event()
        self._following = asyncio.Lock()

    @property
    def current(self) -> Snapshot:
        return self._snapshot

    def replace(self, snapshot: Snapshot) -> None:
        """Requests that begin from here on use `snapshot`; those under way keep theirs."""
        self._snapshot = snapshot
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def after(self, epoch: int) -> Snapshot:
        """A snapshot newer than `epoch`. Raises `Unavailable` if none comes in time."""
        try:
            async with asyncio.timeout(_RELOAD_PATIENCE):
                if self._refresh is not None:
                    await self._follow(self._refresh, epoch)
                while self._snapshot.epoch <= epoch:
                    await self._changed.wait()
        except TimeoutError as error:
            raise Unavailable("the configuration changed and this process has not got the new one") from error
        return self._snapshot

    async def _follow(self, refresh: Callable[[], Awaitable[None]], epoch: int) -> None:
        """One asks for all that were overtaken together: each for itself would wait for those before it."""
        async with self._following:
            if self._snapshot.epoch <= epoch:
                await refresh()


@final
class Application:
    """One router over one authority."""

    def __init__(self, authority: Authority, context: Context, router: Router = API) -> None:
        self.authority = authority
        self.context = context
        self._router = router

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _lifespan(receive, send)
            return
        if scope["type"] != "http":
            return
        began = perf_counter()
        ca = self.authority.current
        request = Request(
            scope,
            receive,
            trace_header=ca.trace_header,
            body_limit=self.context.limits.body_bytes,
        )
        match = self._router.find(request.method, raw_path(scope))
        request.params = match.params
        error: ProvisorError | None = None
        try:
            response = await self._answer(ca, request, match)
        except ProvisorError as caught:
            error = caught
            response = faults.answer(caught)
        await _send(send, request, response)
        self.context.observer.observe(ca, request, response, error, perf_counter() - began)

    async def _answer(self, ca: Snapshot, request: Request, match: Match) -> Response:
        if match.route is None:
            if request.method not in _KNOWN_METHODS:
                return Response(405, headers=())
            if not match.allowed:
                return text(404, "404 page not found\n")
            return Response(405, headers=tuple((b"allow", method.encode()) for method in match.allowed))
        for _ in range(_OVERTAKEN_AT_MOST):
            try:
                return await match.route.handler(ca, request, self.context)
            except StaleEpoch:
                ca = await self.authority.after(ca.epoch)
        return await match.route.handler(ca, request, self.context)


async def _send(send: Send, request: Request, response: Response) -> None:
    headers = [*response.headers, (b"x-request-id", request.request_id)]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


async def _lifespan(receive: Receive, send: Send) -> None:
    """Nothing to start or stop: whoever builds the application owns what it uses."""
    while True:
        message: Message = await receive()
        if message["type"] == "lifespan.startup":
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await send({"type": "lifespan.shutdown.complete"})
            return
