"""Partitions made ahead and dropped when they are over: tokens by the day they expire, events by month.

Both take a lock on the whole table, which everybody behind it waits for: so they wait for it only a moment
themselves, give up, and try again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Final

from asyncpg import exceptions  # type: ignore[import-untyped]
from msgspec import Struct

from provisor.storage.postgresql.connect import Connection

DAY: Final = 86400
EVENTS_DROPPED: Final = "events_dropped"
"""Meta: up to this place of the log events may be gone. Their hashes are in the log's tree."""
DAYS_AHEAD: Final = 3
MONTHS_AHEAD: Final = 1

_LOCK_PATIENCE: Final = "100ms"
_ATTEMPTS: Final = 10
_PAUSE_SECONDS: Final = 0.2
_LIST: Final = (
    "SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = $1::text::regclass"
)

KNOWN: Final = (
    "least(coalesce((SELECT max(size) FROM provisor.log_heads), 0),"
    " coalesce((SELECT value::bigint FROM provisor.meta WHERE key = 'projected'), 0))"
)
"""SQL: the place up to which the log is under a signed head and in the index."""

# An event without a place that does not wait for one either is a sign of tampering: it stays.
_NEEDED: Final = """
SELECT EXISTS (SELECT FROM provisor.{name} e JOIN provisor.certificates c
        ON c.issuer_n = e.issuer_n AND c.serial = e.serial)
    OR EXISTS (SELECT FROM provisor.{name} e WHERE NOT EXISTS
        (SELECT FROM provisor.log_entries l WHERE l.id = e.id AND l.n <= {known})),
    (SELECT coalesce(max(l.n), 0) FROM provisor.{name} e JOIN provisor.log_entries l ON l.id = e.id)
"""
_DROP_EVENTS: Final = """
BEGIN;
INSERT INTO provisor.meta AS m (key, value) VALUES ('{key}', '{last}')
    ON CONFLICT (key) DO UPDATE SET value = greatest(m.value::bigint, excluded.value::bigint)::text;
DROP TABLE IF EXISTS provisor.{name};
COMMIT
"""


class Over(Struct, frozen=True):
    """What is to be dropped: tokens and events of before these times (unix seconds), None for none."""

    tokens: int | None = None
    events: int | None = None


def token_partition(day: int) -> tuple[str, str, str]:
    """Name and bounds, as SQL, of the partition for tokens that expire on this day since 1970."""
    return f"tokens_{day}", str(day * DAY), str((day + 1) * DAY)


def event_partition(year: int, month: int) -> tuple[str, str, str]:
    """Name and bounds, as SQL, of the partition for events of this month."""
    following = (year + month // 12, month % 12 + 1)
    return f"events_{year}_{month:02}", _first_id(year, month), _first_id(*following)


def _first_id(year: int, month: int) -> str:
    moment = datetime(year, month, 1, tzinfo=UTC)
    return f"'\\x{int(moment.timestamp() * 1000):012x}{0:020x}'"


def wanted_partitions(now: int) -> Iterator[tuple[str, str, str, str]]:
    """Table, name and bounds of every partition that ought to be there."""
    today = now // DAY
    for day in range(today, today + DAYS_AHEAD + 1):
        yield ("tokens", *token_partition(day))
    moment = datetime.fromtimestamp(now, UTC)
    for months in range(MONTHS_AHEAD + 1):
        ahead = moment.month - 1 + months
        yield ("events", *event_partition(moment.year + ahead // 12, ahead % 12 + 1))


async def make_ahead(connection: Connection, now: int) -> bool:
    """Make what is missing; whether all of it is there now. Raises `FAULTS`."""
    present = await _present(connection, "tokens") | await _present(connection, "events")
    done = True
    for table, name, low, high in wanted_partitions(now):
        if name not in present:
            statement = (
                f"CREATE TABLE IF NOT EXISTS provisor.{name} PARTITION OF provisor.{table}"
                f" FOR VALUES FROM ({low}) TO ({high})"
            )
            try:
                done &= await _try_briefly(connection, statement)
            except exceptions.CheckViolationError:
                # Rows of its range lie in the default partition already, and stay there.
                continue
    return done


async def drop_over(connection: Connection, over: Over) -> bool:
    """Drop the partitions of tokens that ended before this time, and the oldest of events; whether they are gone.

    Of events one at a time: to look whether anybody needs a month takes a while. Raises `FAULTS`.
    """
    done = True
    if over.tokens is not None:
        for name in await days_over(connection, over.tokens):
            done &= await _try_briefly(connection, f"DROP TABLE IF EXISTS provisor.{name}")
    if over.events is not None:
        month = await find_month_over(connection, over.events)
        if month is not None:
            name, last = month
            done &= await _try_briefly(connection, _DROP_EVENTS.format(name=name, key=EVENTS_DROPPED, last=last))
    return done


async def days_over(connection: Connection, before: int) -> list[str]:
    """Partitions of tokens that ended before this time."""
    days = ((name, name.removeprefix("tokens_")) for name in await _present(connection, "tokens"))
    return sorted(name for name, day in days if day.isdecimal() and (int(day) + 1) * DAY <= before)


async def find_month_over(connection: Connection, before: int) -> tuple[str, int] | None:
    """The oldest partition of events from before this time, if nobody needs it any more, and its last place."""
    over = sorted(name for name in await _present(connection, "events") if _month_is_over(name, before))
    last = await _last_place(connection, over[0]) if over else None
    return None if last is None else (over[0], last)


def _month_is_over(name: str, before: int) -> bool:
    match name.split("_"):
        case ["events", year, month] if year.isdecimal() and month.isdecimal():
            following = datetime(int(year) + int(month) // 12, int(month) % 12 + 1, 1, tzinfo=UTC)
            return following.timestamp() <= before
        case _:
            return False


async def _last_place(connection: Connection, name: str) -> int | None:
    """The last place in the log of a month's events; None while they are needed.

    They are as long as one has no place or none in a signed head and in the index, or its certificate is there.
    """
    await connection.execute("SET statement_timeout = '10min'")
    needed, last = await connection.fetchrow(_NEEDED.format(name=name, known=KNOWN))
    return None if needed else int(last)


async def _present(connection: Connection, table: str) -> set[str]:
    return {row["relname"] for row in await connection.fetch(_LIST, f"provisor.{table}")}


async def _try_briefly(connection: Connection, statement: str) -> bool:
    await connection.execute(f"SET lock_timeout = '{_LOCK_PATIENCE}'")
    for attempt in range(_ATTEMPTS):
        if attempt:
            await asyncio.sleep(_PAUSE_SECONDS)
        try:
            await connection.execute(statement)
        except (exceptions.LockNotAvailableError, exceptions.DeadlockDetectedError):
            await connection.execute("ROLLBACK")
            continue
        except (exceptions.DuplicateTableError, exceptions.UniqueViolationError):
            # Another replica has just made it.
            return True
        return True
    return False
