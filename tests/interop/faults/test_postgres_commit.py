"""The connection breaks at COMMIT: what became of the entries is looked up before anybody is answered."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import pytest
from msgspec.structs import replace

from provisor.notary.keyring import GateRules
from provisor.notary.notary import UNKNOWN, NotaryCore
from provisor.ports import Entry, Unspent
from provisor.storage.base import StoreFailed
from provisor.storage.postgresql.dsn import Target, Timeouts
from provisor.storage.postgresql.store import PostgreSQLStore
from support.cutting import CuttingProxy, cutting_proxy
from support.entries import NOW, entry, spend
from support.postgres import Database, new_database

FAST = Timeouts(connect=1.0, statement=1.5, pause=1.0)
Scenario = Callable[[NotaryCore, PostgreSQLStore, CuttingProxy], Awaitable[None]]


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as made:
        yield made


def play(database: Database, scenario: Scenario) -> None:
    async def on_stage() -> None:
        async with asyncio.timeout(60), cutting_proxy(database.cluster.port) as proxy, opened(database, proxy) as store:
            core = NotaryCore(store, clock=lambda: datetime.fromtimestamp(NOW, UTC), random=lambda n: bytes(n))
            await core.install({}, GateRules())
            await scenario(core, store, proxy)

    asyncio.run(on_stage())


@asynccontextmanager
async def opened(database: Database, proxy: CuttingProxy) -> AsyncIterator[PostgreSQLStore]:
    target = database.cluster.target(database.name, timeouts=FAST)
    store = await PostgreSQLStore.open(replace(target, ports=(proxy.port,)))
    yield store
    await store.close()


def spending(key: str) -> Entry:
    return entry(spend(key), guards=(Unspent(key),))


@pytest.mark.parametrize(
    ("cut", "status"), [("after", "committed"), ("before", "unavailable"), ("silence", "committed")]
)
def test_the_outcome_is_looked_up(database: Database, cut: str, status: str) -> None:
    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        entries = [spending(f"t{n}") for n in range(20)]
        proxy.cut = cut
        began = time.monotonic()
        outcomes = await core.commit(entries, [None] * 20)
        assert time.monotonic() - began < 20
        assert {outcome.status for outcome in outcomes} == {status}
        assert proxy.cuts == 1
        assert await store.ledger.is_spent("t7") == (status == "committed")
        # It goes on, and what was not written can still be.
        again = await core.commit([replace(each, id=each.id[:-1] + b"\xff") for each in entries[:1]], [None])
        assert again[0].status == ("refused" if status == "committed" else "committed")

    play(database, scenario)


def test_while_the_server_stays_away_nobody_says_what_he_does_not_know(database: Database) -> None:
    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        asked = spending("t")
        proxy.cut, proxy.away = "after", True
        (outcome,) = await core.commit([asked], [None])
        assert outcome.status == UNKNOWN
        (outcome,) = await core.commit([spending("u")], [None])
        assert outcome.status == "unavailable"
        assert not (await core.health()).writable
        proxy.away = False
        # The same entry again: it was committed, and is not done twice.
        await asyncio.sleep(0.6)
        (outcome,) = await core.commit([asked], [None])
        assert outcome.status == "committed"
        assert (await core.health()).writable

    play(database, scenario)


def test_a_commit_that_is_still_under_way_at_the_server_is_waited_for(database: Database) -> None:
    """The connection is cut while COMMIT waits, as for a standby: only when it is over its outcome is looked up."""

    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        # A constraint that is checked at COMMIT and takes its time stands for a slow one.
        for statement in (
            "CREATE FUNCTION public.be_slow() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_catalog.pg_sleep(1.2); RETURN NULL; END $$",
            "CREATE CONSTRAINT TRIGGER slow AFTER INSERT ON provisor.receipts DEFERRABLE INITIALLY DEFERRED"
            " FOR EACH ROW EXECUTE FUNCTION public.be_slow()",
        ):
            database.query(statement)
        proxy.cut = "after"
        began = time.monotonic()
        (outcome,) = await core.commit([replace(spending("t"), event=None)], [None])
        assert outcome.status == "committed"
        assert time.monotonic() - began > 1.1

    play(database, scenario)


def test_a_connection_that_broke_between_two_commits_costs_nobody_an_answer(database: Database) -> None:
    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        for n in range(5):
            database.query(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            (outcome,) = await core.commit([spending(f"t{n}")], [None])
            assert outcome.status == "committed"
            assert await store.ledger.is_spent(f"t{n}")

    play(database, scenario)


def test_a_server_that_takes_no_writes_is_left(database: Database) -> None:
    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        database.query(f"ALTER DATABASE {database.name} SET default_transaction_read_only = on")
        database.query(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        (outcome,) = await core.commit([spending("t")], [None])
        assert outcome.status == "unavailable"
        assert "no server takes writes" in outcome.reason
        with pytest.raises(StoreFailed):
            await store.touch(now=NOW)

    play(database, scenario)


def test_a_role_that_may_no_longer_come_in_is_a_failure_like_any_other(database: Database) -> None:
    async def scenario(core: NotaryCore, store: PostgreSQLStore, proxy: CuttingProxy) -> None:
        database.query_elsewhere(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS false")
        database.query_elsewhere(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{database.name}'"
        )
        (outcome,) = await core.commit([spending("t")], [None])
        assert outcome.status == "unavailable"
        assert "not currently accepting connections" in outcome.reason
        database.query_elsewhere(f"ALTER DATABASE {database.name} ALLOW_CONNECTIONS true")
        await asyncio.sleep(0.6)
        assert (await core.commit([spending("t")], [None]))[0].committed

    play(database, scenario)


def test_a_target_shows_no_password() -> None:
    target = Target(hosts=("db",), ports=(0,), user="ca", database="x")
    assert repr(target) == "Target(postgresql://ca@db/x)"
