"""The writing half on PostgreSQL: one connection that writes, one that reads, any number of replicas beside.

A commit is one transaction: take the locks of its entries in order (`locks`), load what the database knows of
them (`facts`), judge and sign, write the rows sorted by key (`writing`), COMMIT. Because everything that a guard
looks at is locked before it is read, whatever a replica decides holds until its commit is durable.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Callable, Sequence
from functools import partial
from time import time
from typing import Final, final

from asyncpg import exceptions  # type: ignore[import-untyped]

from provisor.errors import ConfigError, Unavailable
from provisor.ports import (
    Archive,
    DropEvents,
    DropSpentTokens,
    Entry,
    EntryID,
    IssuerID,
    IssuerRecord,
    Ledger,
    Outcome,
    StoreHealth,
)
from provisor.storage.base import Sign, StoreFailed
from provisor.storage.judging import Batch, Surprise
from provisor.storage.postgresql import partitions
from provisor.storage.postgresql.archive import PostgreSQLArchive
from provisor.storage.postgresql.connect import (
    AGAIN,
    FAULTS,
    LOST,
    POOLED,
    Connection,
    check_unpooled,
    connect,
    connect_or_create,
    explain,
    is_pooling_fault,
)
from provisor.storage.postgresql.dsn import Target
from provisor.storage.postgresql.facts import LoadedFacts, Needs, Step
from provisor.storage.postgresql.ledger import PostgreSQLLedger
from provisor.storage.postgresql.locks import find_locks, lock_number
from provisor.storage.postgresql.migrate import prepare
from provisor.storage.postgresql.partitions import Over
from provisor.storage.postgresql.reader import Reader
from provisor.storage.postgresql.steps import take_steps
from provisor.storage.postgresql.storable import find_unstorable
from provisor.storage.postgresql.writing import EPOCH_CHANNEL, write_changes, write_rows

WRITER: Final = "provisor notary"
READER: Final = "provisor notary (reading)"

_ATTEMPTS: Final = 4
"""How often a batch is judged before the store gives up: others were faster each time."""
_CLOCK_SLOTS: Final = 1024
_MARGIN_SECONDS: Final = 2.0

_ENTRY_FAULTS: Final = (
    exceptions.DataError,
    exceptions.IntegrityConstraintViolationError,
    exceptions.ProgramLimitExceededError,
    exceptions.UntranslatableCharacterError,
    OverflowError,
    TypeError,
    ValueError,
)
"""What an entry's own values can cause; anything else is the database failing."""


class _Overtaken(Exception):
    """Another replica was faster than this transaction."""


@final
class PostgreSQLStore:
    """See `storage.base.Store`. Belongs to the loop it was opened on."""

    def __init__(self, target: Target, writer: Connection, reader: Reader, numbers: dict[IssuerID, int]) -> None:
        self._target = target
        self._writer: Connection | None = writer
        self._reader = reader
        self._numbers = numbers
        self._process = 0
        self._mark = _random_number()
        self._doubtful: int | None = None
        self._attended: int | None = None
        self._slot = secrets.randbelow(_CLOCK_SLOTS)
        self._high_water = 0
        self._committing = False
        self._committed_part = False
        self._tended_until = 0
        self._tending: asyncio.Task[None] | None = None
        self._over_next: Over | None = None
        self.warnings: tuple[str, ...] = ()
        self.ledger: Ledger = PostgreSQLLedger(reader)
        self.archive: Archive = PostgreSQLArchive(reader, target.shown)

    @staticmethod
    async def open(
        target: Target, *, upgrade: bool = False, heard: Callable[[], None] | None = None
    ) -> PostgreSQLStore:
        """Connect, and make the tables if there are none. `heard` is told that a replica has changed the epoch.

        Raises `ConfigError` for what an operator has to change, also for a server that cannot be reached.
        """
        reader = Reader(target, name=READER)
        if heard is not None:
            reader.listen(EPOCH_CHANNEL, lambda _: heard())
        writer: Connection | None = None
        try:
            writer = await connect_or_create(target, name=WRITER)
            await reader.ask(partial(check_unpooled, writer))
            await prepare(writer, where=target.shown, upgrade=upgrade)
            facts = LoadedFacts({})
            await facts.load_issuers(writer)
            store = PostgreSQLStore(target, writer, reader, facts.numbers)
            await store._begin()
        except (Unavailable, *FAULTS) as error:
            if writer is not None:
                writer.terminate()
            reader.drop()
            reason = (
                POOLED
                if is_pooling_fault(error)
                else error.detail
                if isinstance(error, Unavailable)
                else explain(error)
            )
            raise ConfigError("ca.json: $.db", f"{target.shown}: {reason}") from error
        except BaseException:
            if writer is not None:
                writer.terminate()
            reader.drop()
            raise
        return store

    async def _begin(self) -> None:
        writer = self._get_writer()
        self._process = await writer.fetchval("SELECT pg_backend_pid()")
        self._high_water = (await self.ledger.health()).high_water
        if await writer.fetchval("SELECT current_setting('fsync')") != "on":
            self.warnings = (f"{self._target.shown}: the server runs with fsync=off: what is committed may be lost",)
        await self._tend(int(time()), Over())

    # -- committing -----------------------------------------------------------------------------

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        """See `Store.precheck`."""
        verdicts: dict[int, Outcome | None] = {}
        sound = _sort_out(entries, verdicts.__setitem__)
        if sound:
            facts = LoadedFacts(self._numbers)
            needs = Needs([entry for _, entry in sound])

            async def load(connection: Connection) -> None:
                await facts.load(connection, needs, strict=True)

            try:
                await self._reader.ask(load)
            except Unavailable as error:
                raise StoreFailed(error.detail, uncertain=False) from error
            batch = self._batch(facts, now, optimistic=False)
            verdicts |= {index: _judge(batch, entry) for index, entry in sound}
        return [verdicts[index] for index in range(len(entries))]

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        """See `Store.commit`. Together; in halves only if a value of one of them cannot be held."""
        outcomes: dict[int, Outcome] = {}
        sound = _sort_out(entries, outcomes.__setitem__)
        self._committed_part = False
        self._tend_in_time(now)
        timeouts = self._target.timeouts
        try:
            async with asyncio.timeout(timeouts.statement + _MARGIN_SECONDS):
                await self._commit_all(sound, sign, now, outcomes)
        except TimeoutError as error:
            raise self._fail("no answer in time") from error
        except (ConfigError, *FAULTS) as error:
            raise self._fail(POOLED if is_pooling_fault(error) else explain(error)) from error
        except asyncio.CancelledError:
            self._fail("interrupted")
            raise
        return [outcomes[index] for index in range(len(entries))]

    async def _commit_all(
        self, sound: Sequence[tuple[int, Entry]], sign: Sign, now: int, outcomes: dict[int, Outcome]
    ) -> None:
        if not sound:
            return
        try:
            outcomes |= await self._commit_together(sound, sign, now)
            self._committed_part = True
        except _ENTRY_FAULTS as error:
            if len(sound) == 1:
                outcomes[sound[0][0]] = _reject(sound[0][1], error)
                return
            half = len(sound) // 2
            await self._commit_all(sound[:half], sign, now, outcomes)
            await self._commit_all(sound[half:], sign, now, outcomes)

    async def _commit_together(self, sound: Sequence[tuple[int, Entry]], sign: Sign, now: int) -> dict[int, Outcome]:
        """One transaction, again if others were faster; once on a new connection if this one is broken."""
        entries = [entry for _, entry in sound]
        locks = _lock_statement(find_locks(entries), self._mark)
        needs = Needs(entries)
        reconnected = False
        for attempt in range(_ATTEMPTS):
            try:
                return await self._transact(sound, sign, now, locks, needs, strict=attempt > 0)
            except (_Overtaken, *AGAIN):
                await self._roll_back()
            except _ENTRY_FAULTS:
                await self._roll_back()
                raise
            except LOST:
                if self._committing or reconnected:
                    raise
                reconnected = True
                await self._reconnect()
                locks = _lock_statement(find_locks(entries), self._mark)
        raise StoreFailed("other replicas were faster each time", uncertain=self._committed_part)

    async def _transact(
        self, sound: Sequence[tuple[int, Entry]], sign: Sign, now: int, locks: str, needs: Needs, *, strict: bool
    ) -> dict[int, Outcome]:
        writer = self._get_writer()
        self._committing = False
        await writer.execute(locks)
        facts = LoadedFacts(self._numbers)
        await facts.load(writer, needs, strict=strict)
        if facts.process != self._process:
            raise ConfigError("ca.json: $.db", POOLED)
        if (facts.spent or facts.serials) and not strict:
            await facts.load_strictly(writer, needs)
            strict = True
        batch = self._batch(facts, now, optimistic=not strict)
        try:
            outcomes = {index: _admit(batch, entry, sign, index) for index, entry in sound}
        except Surprise as error:
            raise _Overtaken from error
        clock = (self._slot, now) if now > self._high_water else None
        await write_rows(writer, batch.rows, clock)
        await write_changes(writer, facts)
        await take_steps(writer, facts.steps, facts.numbers)
        self._committing = True
        if await writer.execute("COMMIT") != "COMMIT":
            self._committing = False
            raise _Overtaken
        self._committing = False
        self._high_water = max(self._high_water, now)
        self._numbers = facts.numbers
        self._drop_over(facts.steps, now)
        return outcomes

    def _drop_over(self, steps: Sequence[Step], now: int) -> None:
        """Whole tables of what these writes forget, beside."""
        tokens = max((step.before for step in steps if isinstance(step, DropSpentTokens)), default=None)
        events = max((step.before for step in steps if isinstance(step, DropEvents)), default=None)
        if tokens is not None or events is not None:
            self._start_tending(now, Over(tokens, events))

    def _batch(self, facts: LoadedFacts, now: int, *, optimistic: bool) -> Batch:
        high_water = self._high_water if facts.high_water is None else max(self._high_water, facts.high_water)
        return Batch(facts, facts.apply, now=now, high_water=high_water, optimistic=optimistic)

    async def touch(self, *, now: int) -> None:
        """See `Store.touch`."""
        query = (
            "INSERT INTO provisor.clock AS c (slot, at) VALUES ($1, $2)"
            " ON CONFLICT (slot) DO UPDATE SET at = greatest(c.at, excluded.at)"
        )
        self._committing = self._committed_part = False
        try:
            async with asyncio.timeout(self._target.timeouts.statement):
                await self._get_writer().execute(query, self._slot, max(now, self._high_water))
        except FAULTS as error:
            raise self._fail(explain(error)) from error
        self._high_water = max(self._high_water, now)

    # -- reading --------------------------------------------------------------------------------

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        """See `Store.find_outcome`."""
        try:
            return await self.ledger.find_outcome(entry)
        except Unavailable as error:
            raise StoreFailed(error.detail, uncertain=False) from error

    async def issuers(self) -> list[IssuerRecord]:
        """See `Store.issuers`."""
        try:
            return list(await self.ledger.issuers())
        except Unavailable as error:
            raise StoreFailed(error.detail, uncertain=False) from error

    async def health(self) -> StoreHealth:
        """See `Store.health`."""
        try:
            return await self.ledger.health()
        except Unavailable as error:
            raise StoreFailed(error.detail, uncertain=False) from error

    # -- failing and coming back ----------------------------------------------------------------

    def _fail(self, reason: str) -> StoreFailed:
        """After any fault the connection is given up: nobody knows how far its transaction got."""
        if self._committing:
            self._doubtful = self._mark
        uncertain = self._committing or self._committed_part
        self._committing = False
        self._drop_writer()
        return StoreFailed(f"database cannot be written: {reason}", uncertain=uncertain)

    async def reopen(self) -> None:
        """See `Store.reopen`. After a COMMIT without an answer, first wait until it is over at the server too."""
        self._drop_writer()
        self._reader.drop()
        try:
            async with asyncio.timeout(self._target.timeouts.connect + _MARGIN_SECONDS):
                await self._reconnect()
        except (ConfigError, *FAULTS) as error:
            self._drop_writer()
            reason = error.reason if isinstance(error, ConfigError) else explain(error)
            raise StoreFailed(f"database cannot be opened: {reason}", uncertain=False) from error

    async def _reconnect(self) -> None:
        self._drop_writer()
        writer = await connect(self._target, name=WRITER)
        try:
            if self._doubtful is not None:
                # Its transaction holds this lock as long as it lives. Another server has none of its locks, and all
                # of its commits that count.
                await writer.execute(f"SELECT pg_advisory_lock({self._doubtful})")
                await writer.execute(f"SELECT pg_advisory_unlock({self._doubtful})")
                self._doubtful = None
            self._process = await writer.fetchval("SELECT pg_backend_pid()")
        except BaseException:
            writer.terminate()
            raise
        self._mark = _random_number()
        self._writer = writer
        if self._attended is not None:
            await writer.execute("SELECT pg_advisory_lock_shared($1)", self._attended)

    async def _roll_back(self) -> None:
        writer = self._get_writer()
        if writer.is_closed():
            raise exceptions.ConnectionDoesNotExistError("the connection is closed")
        await writer.execute("ROLLBACK")

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.terminate()

    def _get_writer(self) -> Connection:
        if self._writer is None:
            raise StoreFailed("database is closed", uncertain=False)
        return self._writer

    async def close(self) -> None:
        """Let go of the connections."""
        if self._tending is not None:
            self._tending.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._tending
        writer, self._writer = self._writer, None
        if writer is not None:
            try:
                await writer.close(timeout=1)
            except FAULTS:
                writer.terminate()
        self._reader.drop()

    # -- other replicas -------------------------------------------------------------------------

    async def was_in_force(self, configuration: str) -> bool:
        """Whether the digest is that of a configuration which was the CA's once. Raises `Unavailable`."""
        query = "SELECT 1 FROM provisor.meta WHERE key = $1"
        return await self._reader.fetchval(query, f"configuration/{configuration}") is not None

    async def is_attended(self, configuration: str) -> bool:
        """Whether another replica is connected that serves this configuration. Raises `Unavailable`."""

        async def look(connection: Connection) -> bool:
            number = lock_number(b"attended", configuration.encode())
            free: bool = await connection.fetchval("SELECT pg_try_advisory_lock($1)", number)
            if free:
                await connection.execute("SELECT pg_advisory_unlock($1)", number)
            return not free

        return await self._reader.ask(look)

    async def attend(self, configuration: str) -> None:
        """Serve this configuration, visibly for the others as long as the writing connection lasts."""
        number = lock_number(b"attended", configuration.encode())
        before, self._attended = self._attended, number
        if before == number:
            return
        with contextlib.suppress(*FAULTS):  # a connection that broke takes the lock again when it is back
            writer = self._get_writer()
            await writer.execute("SELECT pg_advisory_lock_shared($1)", number)
            if before is not None:
                await writer.execute("SELECT pg_advisory_unlock_shared($1)", before)

    # -- growth ---------------------------------------------------------------------------------

    def _tend_in_time(self, now: int) -> None:
        """Partitions for the days to come, if nobody made them: looked after once a day at least."""
        if now // partitions.DAY > self._tended_until // partitions.DAY:
            self._start_tending(now, Over())

    def _start_tending(self, now: int, over: Over) -> None:
        """What comes while it is at work is done behind that."""
        if self._tending is None or self._tending.done():
            self._tending = asyncio.get_running_loop().create_task(self._tend(now, over))
        elif over != Over():
            self._over_next = over

    async def _tend(self, now: int, over: Over) -> None:
        """On a connection of its own: a commit never waits behind it. What does not work now works the next time."""
        with contextlib.suppress(ConfigError, *FAULTS):
            connection = await connect(self._target, name="provisor notary (partitions)")
            try:
                if await partitions.make_ahead(connection, now):
                    self._tended_until = now
                await partitions.drop_over(connection, over)
                while (following := self._over_next) is not None:
                    self._over_next = None
                    await partitions.drop_over(connection, following)
            finally:
                connection.terminate()


def _random_number() -> int:
    return secrets.randbits(63)


def _lock_statement(locks: dict[int, bool], mark: int) -> str:
    """BEGIN, and all locks in the order of their numbers, in one round trip. `mark` is the transaction's own."""
    numbers = sorted(locks)
    exclusive = ",".join("t" if locks[number] else "f" for number in numbers)
    return (
        f"BEGIN; SELECT pg_advisory_xact_lock({mark}); "
        "SELECT count(CASE WHEN x THEN pg_advisory_xact_lock(n)::text ELSE pg_advisory_xact_lock_shared(n)::text END) "
        f"FROM unnest('{{{','.join(map(str, numbers))}}}'::bigint[], '{{{exclusive}}}'::bool[]) AS u(n, x)"
    )


def _sort_out(entries: Sequence[Entry], decide: Callable[[int, Outcome], None]) -> list[tuple[int, Entry]]:
    """Entries that a row can be made of; the others get their verdict."""
    sound: list[tuple[int, Entry]] = []
    for index, entry in enumerate(entries):
        objection = find_unstorable(entry)
        if objection:
            decide(index, Outcome(entry.id, "rejected", reason=f"the store cannot hold it: {objection}"))
        else:
            sound.append((index, entry))
    return sound


def _admit(batch: Batch, entry: Entry, sign: Sign, index: int) -> Outcome:
    return batch.admit(entry, lambda: sign(index))


def _judge(batch: Batch, entry: Entry) -> Outcome | None:
    try:
        return batch.judge(entry)
    except _ENTRY_FAULTS as error:
        return _reject(entry, error)


def _reject(entry: Entry, error: Exception) -> Outcome:
    return Outcome(entry.id, "rejected", reason=f"the store cannot hold it: {explain(error)}")
