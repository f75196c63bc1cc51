"""A TCP proxy before a PostgreSQL server that cuts the connection at COMMIT, as a network may."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Final, final

_COMMIT: Final = b"COMMIT\x00"


@final
class CuttingProxy:
    """`cut` says what happens at the next COMMIT: "before" it reaches the server, "after" it without its answer, or
    "silence", where the connection stays open and says nothing more. `away`: nobody gets through.
    """

    def __init__(self, port: int) -> None:
        self._server_port = port
        self.cut = ""
        self.away = False
        self.cuts = 0
        self.port = 0
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if self.away:
                return
            theirs, to_server = await asyncio.open_connection("127.0.0.1", self._server_port)
            back = asyncio.ensure_future(self._pass_back(theirs, writer))
            try:
                await self._pass_on(reader, to_server, back)
            finally:
                back.cancel()
                to_server.close()
        except OSError:
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def _pass_on(
        self, reader: asyncio.StreamReader, to_server: asyncio.StreamWriter, back: asyncio.Future[None]
    ) -> None:
        while data := await reader.read(65536):
            if self.cut and _COMMIT in data:
                how, self.cut = self.cut, ""
                self.cuts += 1
                if how != "before":
                    back.cancel()
                    to_server.write(data)
                    await to_server.drain()
                    await asyncio.sleep(0.2)  # the server has done it by then
                if how == "silence":
                    await asyncio.sleep(60)
                return
            to_server.write(data)
            await to_server.drain()

    async def _pass_back(self, theirs: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await theirs.read(65536):
                writer.write(data)
                await writer.drain()
        writer.close()

    async def stop(self) -> None:
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def cutting_proxy(port: int) -> AsyncIterator[CuttingProxy]:
    proxy = CuttingProxy(port)
    server = await asyncio.start_server(proxy.serve, "127.0.0.1", 0)
    proxy.port = server.sockets[0].getsockname()[1]
    try:
        yield proxy
    finally:
        server.close()
        await proxy.stop()
