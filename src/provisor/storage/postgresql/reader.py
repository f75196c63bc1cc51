"""The connection for questions: opened when it is needed, again when it broke, one question at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any, Final, TypeVar, final

from provisor.errors import ConfigError, Unavailable
from provisor.storage.postgresql.connect import FAULTS, LOST, Connection, connect, explain
from provisor.storage.postgresql.dsn import Target

T = TypeVar("T")

_HOLD_OFF_SECONDS: Final = 0.5
"""After a failure to connect, questions fail at once for so long: nobody queues behind a server that is away."""


@final
class Reader:
    """`listen` are channels whose notifications `heard` is told of, with the payload."""

    def __init__(self, target: Target, *, name: str) -> None:
        self._target = target
        self._name = name
        self._connection: Connection | None = None
        self._lock = asyncio.Lock()
        self._failed_at = -_HOLD_OFF_SECONDS
        self._failure = ""
        self._listeners: dict[str, Callable[[str], None]] = {}

    def listen(self, channel: str, heard: Callable[[str], None]) -> None:
        """Before the first question, and again by itself after every break."""
        self._listeners[channel] = heard

    async def ask(self, question: Callable[[Connection], Awaitable[T]]) -> T:
        """What `question` makes of the connection; asked once more if the connection turns out to be broken.

        Raises `Unavailable`.
        """
        async with self._lock:
            for again in (True, False):
                fresh = self._connection is None
                connection = await self._connect()
                try:
                    async with asyncio.timeout(self._target.timeouts.statement + 2):
                        return await question(connection)
                except FAULTS as error:
                    if isinstance(error, LOST) or connection.is_closed():
                        self.drop()
                    if fresh or not again or not isinstance(error, LOST):
                        raise Unavailable(f"database cannot be read: {explain(error)}") from error
        raise AssertionError

    async def fetch(self, query: str, *values: Any) -> list[Any]:
        """Rows. Raises `Unavailable`."""
        return await self.ask(lambda connection: connection.fetch(query, *values))

    async def fetchval(self, query: str, *values: Any) -> Any:
        """The first value of the first row, None without a row. Raises `Unavailable`."""
        return await self.ask(lambda connection: connection.fetchval(query, *values))

    async def _connect(self) -> Connection:
        if self._connection is not None and not self._connection.is_closed():
            return self._connection
        if monotonic() - self._failed_at < _HOLD_OFF_SECONDS:
            raise Unavailable(self._failure)
        try:
            connection = await connect(self._target, name=self._name)
            for channel, heard in self._listeners.items():
                await connection.add_listener(channel, _told(heard))
        except (ConfigError, *FAULTS) as error:
            self._failed_at = monotonic()
            reason = error.reason if isinstance(error, ConfigError) else explain(error)
            self._failure = f"database cannot be reached: {reason}"
            raise Unavailable(self._failure) from error
        self._connection = connection
        return connection

    def drop(self) -> None:
        """Let go of the connection; the next question opens another one."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    async def close(self) -> None:
        self.drop()


def _told(heard: Callable[[str], None]) -> Callable[[Any, int, str, object], None]:
    def callback(_connection: Any, _process: int, _channel: str, payload: object) -> None:
        heard(str(payload))

    return callback
