"""The sequencer of the audit log: events get their place in one tree, and the tree a signed head.

It runs beside issuance, about twice a second while there is something new. The tiles of the tree are
committed first and a head is signed over them afterwards, so that no signature exists over an order of
events that did not come to pass. One sequencer has the lease; that the tree has the size it went on from
guards every step beside it.

An event that is gone when its turn comes does not stop the log: whoever took one event away would otherwise keep all
later ones out of it. Its place gets a leaf that says so, for ever; an alarm is raised, and the log goes on.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from typing import Final, final

from provisor.authority.snapshot import Snapshot
from provisor.core import merkle
from provisor.core.merkle import Edge
from provisor.core.tree_head import TreeHead, encode_head
from provisor.errors import ProvisorError, Unavailable
from provisor.ports import (
    FARTHEST,
    AppendLog,
    DropHeads,
    Entry,
    EntryID,
    Guard,
    HeadRecord,
    JobRecord,
    LeaseHeld,
    LogArchive,
    LogTile,
    PutHead,
    TakeLease,
    WakeJob,
    Write,
)

LOG_JOB: Final = "sequence"
_LOG_KEY: Final = "log"

BATCH: Final = 1000
"""Events of one commit: issuance waits for it a few milliseconds."""

_BATCHES: Final = 20
"""Commits before other jobs have their turn."""

_PACE_SECONDS: Final = 0.5
_LEASE_SECONDS: Final = 5
_COMPLAINT_SECONDS: Final = 60
_THINNING_SECONDS: Final = 3600
_PAGE: Final = 1000


def log_due(at: int) -> WakeJob:
    """The write that makes the sequencer's job known; it stays due from then on."""
    return WakeJob(LOG_JOB, _LOG_KEY, at)


def leaf_data(entry: EntryID, body: bytes) -> bytes:
    """What an event's leaf hash is over: the 16 octets of its id, and its canonical JSON."""
    return entry + body


def gap_data(place: int) -> bytes:
    """What the leaf hash is over at a place whose event was missing when its turn came.

    No event's is the same: its 17th octet is that of an object in JSON, an opening brace.
    """
    return b"provisor-log-gap-v1\n%d\n" % place


def extend(edge: Edge, events: Sequence[tuple[EntryID, bytes | None]]) -> tuple[Edge, AppendLog]:
    """The tree with these events, as `LogArchive.unsequenced` gives them, behind its last; and what records that."""
    leaves = [
        gap_data(place) if body is None else leaf_data(entry, body)
        for place, (entry, body) in enumerate(events, start=edge.size + 1)
    ]
    extended, tiles = merkle.append(edge, [merkle.hash_leaf(leaf) for leaf in leaves])
    return extended, AppendLog(
        size=edge.size,
        ids=tuple(entry for entry, _ in events),
        tiles=tuple(LogTile(tile.level, tile.index, tile.hashes) for tile in tiles),
        gaps=tuple(place for place, (_, body) in enumerate(events, start=edge.size + 1) if body is None),
    )


@final
class Sequencer:
    """One process's part in it. `report` hears, once a minute, why the log does not go on."""

    def __init__(self, report: Callable[[str], None]) -> None:
        self._report = report
        self._edge: Edge | None = None
        self._fence = -1
        self._ran_at: datetime | None = None
        self._thinned_at: datetime | None = None
        self._complained_at: datetime | None = None

    async def run(self, ca: Snapshot, job: JobRecord) -> None:
        """Take in what is new, if the lease is ours or free. Never raises for a store or a key that is away."""
        now, archive = ca.clock(), ca.archive
        if archive is None:
            return
        if job.leased_until > int(now.timestamp()) and job.fence != self._fence:
            return
        if self._ran_at is not None and abs((now - self._ran_at).total_seconds()) < _PACE_SECONDS:
            return
        self._ran_at = now
        try:
            await self._sequence(ca, archive, job)
        except ProvisorError as error:
            self._edge = None
            self._complain(now, error.detail)

    async def _sequence(self, ca: Snapshot, archive: LogArchive, job: JobRecord) -> None:
        edge = await self._find_edge(archive)
        gaps: list[int] = []
        for _ in range(_BATCHES):
            events = await archive.unsequenced(edge.size, BATCH)
            if not events:
                await self._look_at_end(ca, archive, edge)
                break
            extended, append = extend(edge, events)
            if not await self._append(ca, job, append):
                return
            self._edge = edge = extended
            gaps += append.gaps
        if gaps:
            missing = _count(len(gaps), gaps[0], gaps[-1])
            self._report(f"audit log: {missing}: gone before the log got there; it goes on with gaps in their places")
        if edge.size:
            await self._sign(ca, archive, edge)
        await self._thin(ca, archive)

    async def _find_edge(self, archive: LogArchive) -> Edge:
        """What is remembered, unless the tree has grown elsewhere. Raises `Unavailable` for tiles that do not fit."""
        size = await archive.log_size()
        if self._edge is None or self._edge.size != size:
            spans = [span for span in merkle.edge_spans(size) if span.count]
            self._edge = await _read_edge(archive, size, spans)
        return self._edge

    async def _append(self, ca: Snapshot, job: JobRecord, append: AppendLog) -> bool:
        """Record them; False if somebody else was faster."""
        now = ca.clock()
        guards, writes = self._lease(job, int(now.timestamp()))
        outcome = await ca.notary.submit(Entry(id=ca.generate_id(now), guards=guards, writes=(*writes, append)))
        if outcome.status in ("unavailable", "rejected"):
            raise Unavailable(f"audit log not extended: {outcome.reason}")
        if not outcome.committed:
            self._edge = None
            return False
        self._fence = max(self._fence, job.fence + len(writes))
        return True

    async def _look_at_end(self, ca: Snapshot, archive: LogArchive, edge: Edge) -> None:
        """Complain of events that the tree has and the store no more, and of those that it never will have."""
        end = max(await archive.log_end(), await archive.events_dropped())
        for event in await archive.events(max(end, edge.size) + FARTHEST, 1):
            self._complain(ca.clock(), f"event {event.n} stands far away from all others: somebody moved it there")
        if end < edge.size:
            self._complain(ca.clock(), f"{_count(edge.size - end, end + 1, edge.size)}: gone from the database")

    def _lease(self, job: JobRecord, now: int) -> tuple[tuple[Guard, ...], tuple[Write, ...]]:
        """The guard that the lease is ours, or free, when it is taken in the same commit."""
        if self._fence > job.fence or (self._fence == job.fence and job.leased_until > now):
            return (LeaseHeld(job.kind, job.key, self._fence),), ()
        return (LeaseHeld(job.kind, job.key, job.fence),), (TakeLease(job.kind, job.key, now + _LEASE_SECONDS),)

    async def _sign(self, ca: Snapshot, archive: LogArchive, edge: Edge) -> None:
        """A head over what is committed, unless there is one. A costly key does not sign each time it is asked."""
        newest = await archive.newest_head()
        if newest is not None and newest.size >= edge.size:
            return
        now = ca.clock()
        at = int(now.timestamp())
        authority = await archive.authority_id()
        text = encode_head(TreeHead(authority, edge.size, edge.root(), at, ca.issuer.id))
        signature = await ca.notary.sign_head(ca.issuer.id, text)
        if not signature:
            return
        outcome = await ca.notary.submit(
            Entry(id=ca.generate_id(now), writes=(PutHead(edge.size, at, text, signature),))
        )
        if outcome.status in ("unavailable", "rejected"):
            raise Unavailable(f"head of the audit log not recorded: {outcome.reason}")

    async def _thin(self, ca: Snapshot, archive: LogArchive) -> None:
        """Once an hour."""
        now = ca.clock()
        if self._thinned_at is not None and abs((now - self._thinned_at).total_seconds()) < _THINNING_SECONDS:
            return
        self._thinned_at = now
        sizes = await find_spare_heads(archive, int(now.timestamp()))
        for first in range(0, len(sizes), _PAGE):
            write = DropHeads(tuple(sizes[first : first + _PAGE]))
            await ca.notary.submit(Entry(id=ca.generate_id(now), writes=(write,)))

    def _complain(self, now: datetime, text: str) -> None:
        last = self._complained_at
        if last is None or abs((now - last).total_seconds()) >= _COMPLAINT_SECONDS:
            self._complained_at = now
            self._report(f"audit log: {text.removeprefix('audit log: ')}")


def _count(count: int, first: int, last: int) -> str:
    """`event 7 is missing`."""
    return f"event {first} is missing" if count == 1 else f"{count} events are missing, {first} to {last}"


async def _read_edge(archive: LogArchive, size: int, spans: Sequence[merkle.Span]) -> Edge:
    tiles: dict[tuple[int, int], bytes] = {}
    for span in spans:
        for tile in await archive.tiles(span.level, span.index, 1):
            tiles[tile.level, tile.index] = tile.hashes
    try:
        return merkle.read_edge(size, tiles)
    except KeyError as error:
        raise Unavailable(f"audit log: tile {error.args[0]} of the tree is missing or short") from error


async def find_spare_heads(archive: LogArchive, now: int) -> list[int]:
    """The sizes of heads that are kept no longer: see `spare_heads`."""
    spare: list[int] = []
    size = 0
    kept: HeadRecord | None = None
    while page := await archive.heads(size, _PAGE):
        heads = [kept, *page] if kept is not None else list(page)
        spare += spare_heads(heads, now)
        kept, size = page[-1], page[-1].size + 1
    return spare


def spare_heads(heads: Sequence[HeadRecord], now: int) -> list[int]:
    """Of heads in their order, the sizes of those to forget: of each hour the last stays, and all of the last hour."""
    return [
        head.size
        for head, following in pairwise(heads)
        if following.at <= now - _THINNING_SECONDS and head.at // 3600 == following.at // 3600
    ]
