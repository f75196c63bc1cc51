"""One connection to the server: made safe for what we do with it, and errors put into our words."""

from __future__ import annotations

import contextlib
import re
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from typing import Any, Final, Protocol

import asyncpg  # type: ignore[import-untyped]  # the driver brings no types; `Connection` says what is used of it
from asyncpg import exceptions
from msgspec.structs import replace

from provisor.errors import ConfigError
from provisor.storage.postgresql.dsn import Target


class Connection(Protocol):
    """Of `asyncpg.Connection`, what is used here."""

    async def execute(self, query: str, *values: Any) -> str: ...

    async def fetch(self, query: str, *values: Any) -> list[Any]: ...

    async def fetchrow(self, query: str, *values: Any) -> Any: ...

    async def fetchval(self, query: str, *values: Any) -> Any: ...

    async def add_listener(self, channel: str, callback: Callable[..., object]) -> None: ...

    async def close(self, *, timeout: float | None = None) -> None: ...

    def transaction(self) -> AbstractAsyncContextManager[object]: ...

    def get_server_version(self) -> Any: ...

    def is_closed(self) -> bool: ...

    def terminate(self) -> None: ...


FAULTS: Final = (exceptions.PostgresError, exceptions.InterfaceError, exceptions.InternalClientError, OSError)
"""What a server, a network or the driver may raise."""

AGAIN: Final = (
    exceptions.SerializationError,
    exceptions.DeadlockDetectedError,
    exceptions.LockNotAvailableError,
    exceptions.UniqueViolationError,
)
"""Somebody else was faster: roll back and judge again."""

LOST: Final = (
    exceptions.PostgresConnectionError,
    exceptions.OperatorInterventionError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.ReadOnlySQLTransactionError,
    exceptions.InterfaceError,
    OSError,
)
"""The connection is of no more use: another one may find a server that works."""

OLDEST_SERVER: Final = 12
POOLED: Final = (
    "the connection is shared by a pooler (pgbouncer in transaction or statement mode?): Provisor needs one of its "
    "own; use pool_mode=session for it, or connect to the server itself"
)
MAINTENANCE_DATABASE: Final = "postgres"

_STRONG: Final = ("on", "remote_apply")
_ALIVE: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)
_IDENTIFIER: Final = re.compile(r"[\x20-\x7e\x80-\U0010ffff]{1,63}")


async def connect(target: Target, *, name: str) -> Connection:
    """A connection that takes writes, set up for us. `name` is what the server calls it by.

    Raises `ConfigError` for what only an operator can change, else one of `FAULTS`.
    """
    try:
        connection: Connection = await asyncpg.connect(
            **target.arguments(),
            timeout=target.timeouts.connect,
            command_timeout=target.timeouts.statement + 1,
            max_cached_statement_lifetime=0,
        )
    except (exceptions.ClientConfigurationError, exceptions.InvalidAuthorizationSpecificationError) as error:
        raise ConfigError("ca.json: $.db", f"{target.shown}: {error}") from error
    except exceptions.TargetServerAttributeNotMatched as error:
        raise OSError(f"{target.shown}: no server takes writes") from error
    try:
        _keep_alive(connection, target)
        await _prepare_session(connection, target, name)
    except BaseException:
        connection.terminate()
        raise
    return connection


async def connect_or_create(target: Target, *, name: str) -> Connection:
    """The same; a database that is not there is created, where the role may. Raises `ConfigError` and `FAULTS`."""
    try:
        return await connect(target, name=name)
    except exceptions.InvalidCatalogNameError as error:
        if not _IDENTIFIER.fullmatch(target.database):
            raise ConfigError("ca.json: $.db.database", f"{target.shown}: there is no such database") from error
    try:
        other = await connect(replace(target, database=MAINTENANCE_DATABASE), name=name)
    except (ConfigError, *FAULTS) as error:
        raise _not_created(target, error) from error
    quoted = target.database.replace('"', '""')
    try:
        # Another replica may do the same at this moment.
        with contextlib.suppress(exceptions.DuplicateDatabaseError, exceptions.UniqueViolationError):
            await other.execute(f"CREATE DATABASE \"{quoted}\" ENCODING 'UTF8' TEMPLATE template0")
    except exceptions.PostgresError as error:
        raise _not_created(target, error) from error
    finally:
        other.terminate()
    return await connect(target, name=name)


def _not_created(target: Target, error: Exception) -> ConfigError:
    reason = error.reason if isinstance(error, ConfigError) else str(error)
    return ConfigError(
        "ca.json: $.db.database",
        f'database "{target.database}" does not exist and cannot be created: {reason}; '
        f'CREATE DATABASE "{target.database}" OWNER "{target.user or "the role"}" as an administrator',
    )


async def _prepare_session(connection: Connection, target: Target, name: str) -> None:
    version = connection.get_server_version()
    if version.major < OLDEST_SERVER:
        reason = f"the server is PostgreSQL {version.major}.{version.minor}: {OLDEST_SERVER} or newer is needed"
        raise ConfigError("ca.json: $.db", f"{target.shown}: {reason}")
    timeouts = target.timeouts
    settings = {
        "application_name": name,
        "search_path": "pg_catalog",
        "statement_timeout": f"{int(timeouts.statement * 1000)}ms",
        "lock_timeout": f"{int(timeouts.statement * 1000)}ms",
        "idle_in_transaction_session_timeout": f"{int(timeouts.pause * 1000)}ms",
        "default_transaction_isolation": "read committed",
        # Every question of ours goes by a key; statistics of a table that was empty must not say otherwise.
        "enable_seqscan": "off",
        "jit": "off",
        "tcp_keepalives_idle": "5",
        "tcp_keepalives_interval": "2",
        "tcp_keepalives_count": "3",
        "tcp_user_timeout": f"{int(timeouts.statement * 1000)}",
    }
    await connection.execute("; ".join(f"SET {key} = '{value}'" for key, value in settings.items()))
    encoding, durable = await connection.fetchrow(
        "SELECT current_setting('server_encoding'), current_setting('synchronous_commit')"
    )
    if encoding != "UTF8":
        raise ConfigError("ca.json: $.db", f"{target.shown}: its encoding is {encoding}: UTF8 is needed")
    if durable not in _STRONG:
        await connection.execute("SET synchronous_commit = 'on'")


def _keep_alive(connection: Connection, target: Target) -> None:
    """Notice a server that is gone without a word; the driver has no option for it."""
    transport = getattr(connection, "_transport", None)
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family == socket.AF_UNIX:
        return
    user_timeout = int(target.timeouts.statement * 1000)
    for level, option, value in (*_ALIVE, (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, user_timeout)):
        with contextlib.suppress(OSError):
            sock.setsockopt(level, option, value)


async def check_unpooled(first: Connection, second: Connection) -> None:
    """That each of these has a server process of its own, for as long as it lasts. Raises `ConfigError`, `FAULTS`.

    A pooler that lends processes by the transaction lends to the second what the first has just given back.
    """
    own: set[int] = set()
    for _ in range(3):
        async with _pooled(first.transaction()):
            own.add(await first.fetchval("SELECT pg_backend_pid()"))
        async with _pooled(second.transaction()):
            theirs = await second.fetchval("SELECT pg_backend_pid()")
            own.add(await first.fetchval("SELECT pg_backend_pid()"))
        if theirs in own or len(own) != 1:
            raise ConfigError("ca.json: $.db", POOLED)


@contextlib.asynccontextmanager
async def _pooled(transaction: AbstractAsyncContextManager[object]) -> AsyncIterator[None]:
    try:
        async with transaction:
            yield
    except (
        exceptions.InvalidSQLStatementNameError,
        exceptions.DuplicatePreparedStatementError,
        exceptions.ProtocolViolationError,
        exceptions.NoActiveSQLTransactionError,
    ) as error:
        raise ConfigError("ca.json: $.db", POOLED) from error


def is_pooling_fault(error: BaseException | None) -> bool:
    """Errors that only a pooler between us and the server makes, or one that was raised from such."""
    if error is None:
        return False
    prepared = isinstance(error, exceptions.InvalidSQLStatementNameError | exceptions.DuplicatePreparedStatementError)
    return prepared or "pooling mode" in str(error) or is_pooling_fault(error.__cause__)


def explain(error: BaseException) -> str:
    """In a line, for the log. A server tells no password, and neither do we."""
    text = (error.reason if isinstance(error, ConfigError) else str(error)) or type(error).__name__
    if isinstance(error, TimeoutError):
        text = "no answer in time"
    return text.splitlines()[0]
