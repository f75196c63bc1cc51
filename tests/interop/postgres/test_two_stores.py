"""Two notaries' stores on one PostgreSQL database: whatever they do at the same time, one of them decides."""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from itertools import count

import pytest

from provisor.ports import (
    AppendLog,
    Entry,
    Epoch,
    LeaseHeld,
    LogTile,
    MetaIs,
    NotRevoked,
    Outcome,
    PutCRL,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    Unspent,
)
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.store import PostgreSQLStore
from support.entries import ISSUER, NOW, entry, known_issuers, revocation, signed, spend, spending, to_sign
from support.postgres import shared_cluster

DAY = 86400
Scenario = Callable[[PostgreSQLStore, PostgreSQLStore], Awaitable[None]]


@pytest.fixture
def target() -> Iterator[Target]:
    cluster = shared_cluster()
    name = cluster.create_database()
    yield cluster.target(name)
    cluster.drop_database(name)


@asynccontextmanager
async def two_stores(target: Target) -> AsyncIterator[tuple[PostgreSQLStore, PostgreSQLStore]]:
    one, other = await asyncio.gather(PostgreSQLStore.open(target), PostgreSQLStore.open(target))
    assert (await commit(one, known_issuers()))[0] == "committed"
    try:
        yield one, other
    finally:
        await one.close()
        await other.close()


def play(target: Target, scenario: Scenario) -> None:
    async def on_stage() -> None:
        async with asyncio.timeout(100), two_stores(target) as stores:
            await scenario(*stores)

    asyncio.run(on_stage())


async def commit(store: PostgreSQLStore, *entries: Entry, now: int = NOW) -> list[str]:
    outcomes = await store.commit(entries, lambda index: signed(f"der-{entries[index].sign}"), now=now)
    return [word(outcome) for outcome in outcomes]


async def at_once(stores: Sequence[PostgreSQLStore], make: Callable[[], Sequence[Entry]]) -> list[tuple[str, ...]]:
    """The same kind of batch by each store at the same time; for each place in it, the words of both."""
    return list(zip(*await asyncio.gather(*(commit(store, *make()) for store in stores)), strict=True))


def appending(step: AppendLog) -> list[Entry]:
    return [entry(step, event=None)]


def word(outcome: Outcome) -> str:
    return outcome.guard or outcome.status


def test_a_new_database_may_be_opened_by_many_at_once(target: Target) -> None:
    async def scenario() -> None:
        stores = await asyncio.gather(*(PostgreSQLStore.open(target) for _ in range(5)))
        healths = [await store.health() for store in stores]
        assert len({health.authority for health in healths}) == 1
        for store in stores:
            await store.close()

    asyncio.run(scenario())


def test_of_twins_of_a_token_one_wins(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(20):
            # The keys of a batch in any order: locks are taken in their own.
            keys = [f"t{n}-{i}" for i in range(30)]
            words = await at_once(stores, lambda keys=keys: [spending(key) for key in random.sample(keys, 30)])  # type: ignore[misc]
            assert Counter(w for pair in words for w in pair) == {"committed": 30, "unspent": 30}

    play(target, scenario)


@pytest.mark.parametrize("ends", [(NOW + 300, NOW + 3 * DAY), (NOW + 300, None), (None, 0)])
def test_of_twins_that_end_on_different_days_one_wins(target: Target, ends: tuple[int | None, int | None]) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(20):
            twins = (entry(spend(f"t{n}", end), guards=(Unspent(f"t{n}"),)) for end in ends)
            words = await asyncio.gather(*(commit(store, twin) for store, twin in zip(stores, twins, strict=True)))
            assert sorted(w for (w,) in words) == ["committed", "unspent"]

    play(target, scenario)


def test_of_twins_of_a_serial_one_wins(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(20):
            serials = [1 << 100 | n << 8 | i for i in range(20)]
            words = await at_once(
                stores,
                lambda serials=serials: [entry(sign=to_sign(s)) for s in random.sample(serials, 20)],  # type: ignore[misc]
            )
            assert Counter(w for pair in words for w in pair) == {"committed": 20, "fresh-serial": 20}

    play(target, scenario)


def test_an_entry_that_is_given_to_both_is_committed_once(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(20):
            same = [entry(spend(f"t{n}-{i}"), sign=to_sign(1 << 90 | n << 8 | i)) for i in range(10)]
            words = await at_once(stores, lambda same=same: same)  # type: ignore[misc]
            assert {w for pair in words for w in pair} == {"committed"}
        rows = shared_cluster().query("SELECT count(*) FROM provisor.certificates", database=target.database)
        assert rows[0][0] == 200

    play(target, scenario)


def test_a_renewal_and_the_revocation_of_its_predecessor_know_of_each_other(target: Target) -> None:
    async def scenario(one: PostgreSQLStore, other: PostgreSQLStore) -> None:
        for n in range(60):
            old, new = 1 << 90 | n << 8, 1 << 90 | n << 8 | 1
            await commit(one, entry(sign=to_sign(old)))
            renew = entry(sign=to_sign(new, predecessor=old), guards=(NotRevoked(ISSUER, old),))
            (renewed,), (revoked,) = await asyncio.gather(
                commit(one, renew), commit(other, entry(revocation(old), guards=(NotRevoked(ISSUER, old),)))
            )
            assert revoked == "committed"
            assert renewed in ("committed", "not-revoked")
            again = entry(sign=to_sign(new + 1, predecessor=old), guards=(NotRevoked(ISSUER, old),))
            assert await commit(one, again) == ["not-revoked"]

    play(target, scenario)


def test_nothing_is_committed_under_an_epoch_that_is_over(target: Target) -> None:
    async def scenario(one: PostgreSQLStore, other: PostgreSQLStore) -> None:
        await commit(one, entry(PutMeta("epoch", "1")))
        over = asyncio.Event()
        late: list[str] = []

        async def issue() -> None:
            while not over.is_set():
                began_after = (await other.health()).epoch
                (said,) = await commit(other, entry(guards=(Epoch(1),)))
                if began_after > 1:
                    late.append(said)

        task = asyncio.ensure_future(issue())
        await asyncio.sleep(0.2)
        assert await commit(one, entry(PutMeta("epoch", "2"), guards=(MetaIs("epoch", "1"),))) == ["committed"]
        await asyncio.sleep(0.2)
        over.set()
        await task
        assert late
        assert set(late) == {"epoch"}

    play(target, scenario)


def test_of_two_changes_of_one_value_one_wins(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(40):
            before = str(n) if n else None
            words = await at_once(
                stores,
                lambda n=n, before=before: [entry(PutMeta("m", str(n + 1)), guards=(MetaIs("m", before),))],  # type: ignore[misc]
            )
            assert sorted(words[0]) == ["committed", "meta-is"]

    play(target, scenario)


def test_one_of_two_takes_a_lease_and_its_fence_ends_with_the_next(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(20):
            at = NOW + 100 * n
            await commit(stores[0], entry(ScheduleJob("crl", "a", at)), now=at)
            words = await asyncio.gather(
                *(commit(store, entry(TakeLease("crl", "a", at + 30)), now=at) for store in stores)
            )
            assert sorted(w for (w,) in words) == ["committed", "lease-free"]
            assert await commit(stores[1], entry(guards=(LeaseHeld("crl", "a", n),)), now=at) == ["lease-held"]
            assert await commit(stores[1], entry(guards=(LeaseHeld("crl", "a", n + 1),)), now=at) == ["committed"]

    play(target, scenario)


def test_a_crl_number_is_used_once(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        for n in range(30):
            words = await at_once(
                stores,
                lambda n=n: [entry(PutCRL(ISSUER, n, NOW, NOW + 9, b"crl"))],  # type: ignore[misc]
            )
            assert sorted(words[0]) == ["committed", "newer-crl"]

    play(target, scenario)


def test_the_log_has_each_event_once_in_one_order(target: Target) -> None:
    async def scenario(*stores: PostgreSQLStore) -> None:
        size = 0
        for n in range(10):
            await asyncio.gather(*(commit(store, *(entry() for _ in range(5))) for store in stores))
            waiting = await stores[0].archive.unsequenced(size, 100)
            ids = tuple(id_ for id_, _ in waiting)
            tile = LogTile(0, 0, b"\x00" * 32 * (size + len(ids)))
            words = await at_once(stores, partial(appending, AppendLog(size, ids, (tile,))))
            assert sorted(words[0]) == ["committed", "log-size-is"]
            size += len(ids)
            assert await stores[1].archive.log_size() == size
            assert [event.n for event in await stores[1].archive.events(1, 1000)] == list(range(1, size + 1)), n
            assert not await stores[1].archive.unsequenced(size, 100)

    play(target, scenario)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(4))
def test_any_mixture_ends_as_if_one_had_come_after_the_other(target: Target, seed: int) -> None:
    """Tokens, serials, revocations and renewals at random; at the end the tables say what the answers said."""
    chance = random.Random(seed)
    serials = count(1 << 100)
    said: Counter[str] = Counter()
    issued: list[int] = []
    revoked: set[int] = set()
    spent: Counter[str] = Counter()

    def note(entry_: Entry) -> None:
        for write in entry_.writes:
            if isinstance(write, SpendToken):
                spent[write.key] += 1
            elif isinstance(write, RecordRevocation):
                revoked.add(write.serial)
        if entry_.sign is not None:
            issued.append(entry_.sign.serial)

    def make() -> Entry:
        kind = chance.choice(("sign", "sign", "renew", "revoke"))
        if kind == "sign" or not issued:
            key = f"t{chance.randrange(400)}"
            return entry(spend(key), sign=to_sign(next(serials)), guards=(Unspent(key),))
        old = chance.choice(issued[-20:])
        if kind == "renew":
            return entry(sign=to_sign(next(serials), predecessor=old), guards=(NotRevoked(ISSUER, old),))
        return entry(revocation(old), guards=(NotRevoked(ISSUER, old),))

    async def scenario(*stores: PostgreSQLStore) -> None:
        async def work(store: PostgreSQLStore) -> None:
            for _ in range(60):
                batch = [make() for _ in range(chance.randrange(1, 12))]
                for each, said_of_it in zip(batch, await commit(store, *batch), strict=True):
                    said[said_of_it] += 1
                    if said_of_it == "committed":
                        note(each)
                await asyncio.sleep(chance.random() * 0.004)

        await asyncio.gather(*map(work, stores))
        assert set(said) <= {"committed", "unspent", "not-revoked"}
        assert len(issued) == len(set(issued))
        assert set(spent.values()) == {1}
        reader = stores[0].archive
        found = {row.certificate.serial for row in await reader.issued_revoked(None, 10_000)}
        assert found == revoked
        for serial in issued:
            assert await stores[1].ledger.find_certificate(ISSUER, serial) is not None
        for key in spent:
            assert await stores[1].ledger.is_spent(key)

    play(target, scenario)
