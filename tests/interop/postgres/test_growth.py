"""What grows is dropped by the day and the month, without holding up a commit."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from time import monotonic, time

import asyncpg  # type: ignore[import-untyped]
import pytest

from provisor.ports import AppendLog, DropEvents, DropExpired, DropSpentTokens, Entry, IndexTerms, LogTile, PutHead
from provisor.storage.base import SignedCertificate
from provisor.storage.postgresql.partitions import DAY, DAYS_AHEAD, event_partition, make_ahead
from provisor.storage.postgresql.store import PostgreSQLStore
from support.entries import ISSUER, entry, known_issuers, spend, to_sign
from support.postgres import Database, new_database

Scenario = Callable[[PostgreSQLStore, Database, int], Awaitable[None]]


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as made:
        yield made


def play(database: Database, scenario: Scenario) -> None:
    async def on_stage() -> None:
        store = await PostgreSQLStore.open(database.cluster.target(database.name))
        try:
            now = int(time())
            assert await commit(store, now, known_issuers()) == ["committed"]
            await scenario(store, database, now)
        finally:
            await store.close()

    asyncio.run(on_stage())


async def commit(store: PostgreSQLStore, now: int, *entries: Entry) -> list[str]:
    """Certificates end with the time of the commit."""
    outcomes = await store.commit(entries, lambda _: SignedCertificate(b"der", now - 1, now), now=now)
    return [outcome.guard or outcome.status for outcome in outcomes]


async def tended(store: PostgreSQLStore) -> None:
    if store._tending is not None:
        await store._tending


def partitions_of(database: Database, table: str) -> set[str]:
    return {
        row[0]
        for row in database.query(
            "SELECT relname FROM pg_class WHERE relname LIKE $1 AND relkind = 'r'", f"{table}\\_%"
        )
    }


def test_tokens_lie_in_the_partition_of_the_day_they_end(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        today = now // DAY
        await commit(store, now, *(entry(spend(f"t{n}", now + n * DAY)) for n in range(DAYS_AHEAD + 1)))
        await commit(store, now, entry(spend("far", now + 99 * DAY)), entry(spend("never", None)))
        found = database.query(
            "SELECT c.relname, count(*) FROM provisor.tokens t JOIN pg_class c ON c.oid = t.tableoid GROUP BY 1"
        )
        expected = {f"tokens_{today + n}": 1 for n in range(DAYS_AHEAD + 1)}
        assert dict(map(tuple, found)) == {**expected, "tokens_other": 1, "tokens_kept": 1}

    play(database, scenario)


def test_days_that_are_over_are_dropped_and_the_next_are_made(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        await commit(store, now, *(entry(spend(f"t{n}", now + n * DAY)) for n in range(DAYS_AHEAD + 1)))
        later = now + 2 * DAY
        assert await commit(store, later, entry(DropSpentTokens(later, 10), event=None)) == ["committed"]
        await tended(store)
        assert await commit(store, later, entry(DropSpentTokens(later, 10), event=None)) == ["committed"]
        await tended(store)
        days = {int(name.removeprefix("tokens_")) for name in partitions_of(database, "tokens") if name[7:].isdecimal()}
        assert days == set(range(later // DAY, later // DAY + DAYS_AHEAD + 1))
        assert [await store.ledger.is_spent(f"t{n}") for n in range(4)] == [False, False, True, True]

    play(database, scenario)


def test_a_commit_does_not_wait_for_a_drop_that_cannot_have_its_lock(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        reader = await asyncpg.connect(
            host=str(database.cluster.folder), port=database.cluster.port, user="provisor", database=database.name
        )
        later = now + 2 * DAY
        async with reader.transaction():  # a backup, say, that reads for long
            await reader.fetch("SELECT count(*) FROM provisor.tokens")
            await commit(store, later, entry(DropSpentTokens(later, 10), event=None))
            slowest = 0.0
            for n in range(60):
                began = monotonic()
                assert await commit(store, later, entry(spend(f"t{n}", later + 300))) == ["committed"]
                slowest = max(slowest, monotonic() - began)
                await asyncio.sleep(0.01)
            assert slowest < 0.6
        await tended(store)
        await reader.close()
        await commit(store, later, entry(DropSpentTokens(later, 10), event=None))
        await tended(store)
        await commit(store, later, entry(DropSpentTokens(later, 10), event=None))
        await tended(store)
        assert f"tokens_{now // DAY}" not in partitions_of(database, "tokens")

    play(database, scenario)


def test_what_waits_for_its_drop_is_nothing_that_cleaning_runs_again_for(database: Database) -> None:
    """Else it would commit six times a second as long as somebody reads."""

    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        reader = await asyncpg.connect(
            host=str(database.cluster.folder), port=database.cluster.port, user="provisor", database=database.name
        )
        later = now + 70 * DAY
        async with reader.transaction():
            await reader.fetch("SELECT count(*) FROM provisor.tokens")
            await reader.fetch("SELECT count(*) FROM provisor.events")
            left = await store.archive.leftovers(tokens=later, receipts=0, events=later - DAY)
            assert (left.tokens, left.events) == (False, False)
        await reader.close()
        await commit(store, now, entry(spend("t", now - 9 * DAY)))
        assert (await store.archive.leftovers(tokens=later, receipts=0, events=None)).tokens

    play(database, scenario)


def test_days_and_months_are_dropped_behind_one_commit(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        await tended(store)
        ids = tuple(each for each, _ in await store.archive.unsequenced(0, 99))
        log = AppendLog(0, ids, (LogTile(0, 0, b"\x00" * 32 * len(ids)),))
        head = PutHead(len(ids), now, b"text", b"signature")
        words = await commit(store, now, *(entry(each, event=None) for each in (log, head, IndexTerms(len(ids), ()))))
        assert words == ["committed"] * 3
        later = now + 70 * DAY
        await commit(store, later, entry(DropSpentTokens(later, 10), DropEvents(later - DAY, 9), event=None))
        await tended(store)
        names = partitions_of(database, "tokens") | partitions_of(database, "events")
        assert f"tokens_{now // DAY}" not in names
        assert event_partition(*datetime.fromtimestamp(now, UTC).timetuple()[:2])[0] not in names

    play(database, scenario)


def test_two_replicas_make_partitions_at_once(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        async def make() -> bool:
            connection = await asyncpg.connect(
                host=str(database.cluster.folder), port=database.cluster.port, user="provisor", database=database.name
            )
            try:
                return await make_ahead(connection, now + 400 * DAY)
            finally:
                await connection.close()

        assert all(await asyncio.gather(*(make() for _ in range(4))))

    play(database, scenario)


@pytest.mark.parametrize(
    ("year", "month", "name", "high"),
    [(2026, 5, "events_2026_05", (2026, 6)), (2026, 12, "events_2026_12", (2027, 1))],
)
def test_a_month_of_events_is_a_range_of_ids(year: int, month: int, name: str, high: tuple[int, int]) -> None:
    found, first, last = event_partition(year, month)
    assert found == name
    bounds = [int(datetime(*each, 1, tzinfo=UTC).timestamp() * 1000) for each in ((year, month), high)]
    assert [first, last] == [f"'\\x{each:012x}{'0' * 20}'" for each in bounds]


def test_a_month_of_events_goes_when_nobody_needs_it_any_more(database: Database) -> None:
    async def scenario(store: PostgreSQLStore, database: Database, now: int) -> None:
        def events(at: int, *, serial: int | None = None) -> Entry:
            made = entry(sign=None if serial is None else to_sign(serial))
            return Entry((at * 1000).to_bytes(6, "big") + made.id[6:], made.guards, made.writes, b"{}", made.sign)

        assert await commit(store, now, events(now), events(now, serial=1 << 100)) == ["committed"] * 2
        month = next(
            n for n in partitions_of(database, "events") if n == f"events_{datetime.fromtimestamp(now, UTC):%Y_%m}"
        )
        later = now + 70 * DAY

        async def drop() -> bool:
            assert await commit(store, later, entry(DropEvents(later - DAY, 9), event=None)) == ["committed"]
            await tended(store)
            return month not in partitions_of(database, "events")

        await commit(store, later, entry(DropSpentTokens(0, 0), event=None))
        await tended(store)
        assert not await drop(), "its events have no place in the log"
        ids = tuple(each for each, _ in await store.archive.unsequenced(0, 99))
        log = AppendLog(0, ids, (LogTile(0, 0, b"\x00" * 32 * len(ids)),))
        head = PutHead(len(ids), later, b"text", b"signature")
        assert await commit(store, later, entry(log, event=None), entry(head, event=None)) == ["committed"] * 2
        assert not await drop(), "they are not in the index"
        assert await commit(store, later, entry(IndexTerms(len(ids), ()), event=None)) == ["committed"]
        assert not await drop(), "a certificate is there"
        place = ids.index(next(e.id for e in await store.archive.events(1, 99) if e.serial)) + 1
        over = DropExpired(ISSUER, later - DAY, ((1 << 100, place),), ())
        assert await commit(store, later, entry(over, event=None)) == ["committed"]
        assert await drop()
        assert await store.archive.events_dropped() == len(ids)
        assert await store.archive.log_size() == len(ids)

    play(database, scenario)
