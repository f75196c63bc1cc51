"""What every store promises of the audit log: its order, its tree's tiles, its heads."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import pytest

from provisor.core import merkle
from provisor.core.merkle import Edge
from provisor.errors import Unavailable
from provisor.ports import AppendLog, Archive, DropHeads, Entry, LogTile, Outcome, PutHead, PutMeta, RevocationTrace
from provisor.storage.archive import SQLiteArchive
from provisor.storage.base import Store
from provisor.storage.sqlite import MEMORY, SQLiteStore
from support.entries import ISSUER, NOW, OTHER_ISSUER, entry, known_issuers, revocation, signed, signing, to_sign

T = TypeVar("T")
SERIAL = (NOW * 1000 << 80) + 5
"""As the authority makes them: they begin with the millisecond."""


def ask(question: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(question)


@pytest.fixture(params=["file", "memory"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[SQLiteStore]:
    opened = SQLiteStore.open(tmp_path / "provisor.db" if request.param == "file" else MEMORY)
    assert commit(opened, known_issuers())[0].committed
    yield opened
    ask(opened.close())


@pytest.fixture(params=["own", "reader"])
def archive(request: pytest.FixtureRequest, store: SQLiteStore, tmp_path: Path) -> Archive:
    path = tmp_path / "provisor.db"
    return SQLiteArchive.open(path) if request.param == "reader" and path.exists() else store.archive


def commit(store: Store, *entries: Entry, now: int = NOW) -> list[Outcome]:
    certificates = [signed(f"der-{e.sign.serial}") if e.sign else None for e in entries]
    return ask(store.commit(entries, signing(*certificates), now=now))


def status(outcome: Outcome) -> str:
    return outcome.guard or outcome.status


def extension(archive: Archive, edge: Edge, limit: int = 1000) -> tuple[Edge, AppendLog]:
    """What the sequencer would write next."""
    events = ask(archive.unsequenced(edge.size, limit))
    longer, tiles = merkle.append(edge, [merkle.hash_leaf(id_ + body) for id_, body in events])
    written = tuple(LogTile(tile.level, tile.index, tile.hashes) for tile in tiles)
    return longer, AppendLog(edge.size, tuple(id_ for id_, _ in events), written)


def sequence(store: Store, archive: Archive, edge: Edge | None = None, limit: int = 1000) -> Edge:
    longer, write = extension(archive, edge or Edge(), limit)
    (outcome,) = commit(store, entry(write, event=None))
    assert outcome.committed, outcome
    return longer


def sizes(heads: Sequence[Any]) -> list[int]:
    return [head.size for head in heads]


class TestOrder:
    def test_events_come_in_the_order_of_their_commits(self, store: Store, archive: Archive) -> None:
        entries = [entry(event=b"e%d" % number) for number in range(7)]
        commit(store, *entries[:3])
        commit(store, entry(event=None), *entries[3:])
        sequence(store, archive)
        events = ask(archive.events(2, 100))
        assert [(event.id, event.body) for event in events] == [(each.id, each.event) for each in entries]
        assert [event.n for event in events] == list(range(2, 9))
        assert [event.n for event in ask(archive.events_before(None, 3))] == [8, 7, 6]
        assert [event.n for event in ask(archive.events_before(3, 10))] == [2, 1]
        assert ask(archive.log_end()) == 8

    def test_what_is_not_committed_has_no_place(self, store: Store, archive: Archive) -> None:
        commit(store, entry(PutMeta("m", "1"), event=b"kept"))
        refused = Entry(entry().id, entry(revocation(5)).guards, (revocation(5, issuer=b"?" * 32),), b"lost")
        commit(store, refused)
        assert [body for _, body in ask(archive.unsequenced(0, 9))] == [b"{}", b"kept"]

    def test_of_events_without_an_end_only_so_many_are_given(self, store: Store, archive: Archive) -> None:
        commit(store, *(entry(event=b"e%d" % number) for number in range(5)))
        assert [body for _, body in ask(archive.unsequenced(0, 2))] == [b"{}", b"e0"]
        edge = sequence(store, archive, limit=2)
        assert [body for _, body in ask(archive.unsequenced(edge.size, 2))] == [b"e1", b"e2"]

    def test_an_event_leads_to_its_certificate_and_back(self, store: Store, archive: Archive) -> None:
        commit(store, entry(sign=to_sign(SERIAL)), entry(sign=to_sign(7, issuer=OTHER_ISSUER)))
        sequence(store, archive)
        _, first, second = ask(archive.evidence(1, 10))
        assert (first.issuer, first.serial, first.der) == (ISSUER, SERIAL, b"der-%d" % SERIAL)
        assert (second.issuer, second.serial, second.der) == (OTHER_ISSUER, 7, b"der-7")
        assert ask(archive.find_place(ISSUER, SERIAL)) == 2
        assert ask(archive.find_place(OTHER_ISSUER, 7)) == 3
        for issuer, serial in ((OTHER_ISSUER, SERIAL), (ISSUER, SERIAL + 1), (b"?" * 32, SERIAL)):
            assert ask(archive.find_place(issuer, serial)) is None

    def test_a_certificate_numbered_by_others_is_a_candidate_for_having_no_event(
        self, store: Store, archive: Archive
    ) -> None:
        commit(store, entry(sign=to_sign(SERIAL)), entry(sign=to_sign(7)))
        sequence(store, archive)
        assert list(ask(archive.eventless(10))) == [(ISSUER, 7)]


class TestTree:
    def test_it_grows_by_tiles(self, store: Store, archive: Archive) -> None:
        assert ask(archive.log_size()) == 0
        commit(store, *(entry(event=b"e%d" % number) for number in range(300)))
        edge = sequence(store, archive, limit=200)
        assert ask(archive.log_size()) == 200
        edge = sequence(store, archive, edge)
        assert ask(archive.log_size()) == 301
        tiles = {(tile.level, tile.index): tile.hashes for level in (0, 1) for tile in ask(archive.tiles(level, 0, 9))}
        assert sorted((*key, len(hashes) // 32) for key, hashes in tiles.items()) == [
            (0, 0, 256),
            (0, 1, 45),
            (1, 0, 1),
        ]
        assert merkle.read_edge(301, tiles) == edge
        assert [tile.index for tile in ask(archive.tiles(0, 1, 1))] == [1]
        assert list(ask(archive.tiles(0, 2, 1))) == []

    def test_two_sequencers_do_not_both_extend_it(self, store: Store, archive: Archive) -> None:
        _, write = extension(archive, Edge())
        assert [status(each) for each in commit(store, entry(write, event=None), entry(write, event=None))] == [
            "committed",
            "log-size-is",
        ]
        assert status(commit(store, entry(write, event=None))[0]) == "log-size-is"

    def test_events_that_are_not_the_next_ones_are_not_taken(self, store: Store, archive: Archive) -> None:
        commit(store, entry(event=b"a"), entry(event=b"b"))
        _, good = extension(archive, Edge())
        for ids in (good.ids[1:], tuple(reversed(good.ids)), (*good.ids, b"x" * 16), (b"x" * 16, *good.ids[1:])):
            bad = AppendLog(0, ids, good.tiles)
            assert status(commit(store, entry(bad, event=None))[0]) == "rejected"
        assert ask(archive.log_size()) == 0
        assert status(commit(store, entry(AppendLog(0, good.ids, ()), event=None))[0]) == "rejected"
        assert ask(archive.log_size()) == 0

    def test_a_bad_extension_does_not_hurt_its_batch(self, store: Store, archive: Archive) -> None:
        _, good = extension(archive, Edge())
        bad = entry(AppendLog(0, (b"x" * 16,), good.tiles), event=None)
        assert [status(each) for each in commit(store, bad, entry(event=b"a"))] == ["rejected", "committed"]


class TestHeads:
    @pytest.fixture(autouse=True)
    def _ten_events(self, store: Store, archive: Archive) -> None:
        commit(store, *(entry(event=b"e%d" % number) for number in range(9)))
        sequence(store, archive)

    def put(self, store: Store, size: int) -> str:
        write = PutHead(size, NOW + size, b"text %d" % size, b"signature")
        return status(commit(store, entry(write, event=None))[0])

    def test_the_newest_is_the_largest(self, store: Store, archive: Archive) -> None:
        assert ask(archive.newest_head()) is None
        assert [self.put(store, size) for size in (3, 10)] == ["committed", "committed"]
        newest = ask(archive.newest_head())
        assert newest is not None
        assert (newest.size, newest.at, newest.text, newest.signature) == (10, NOW + 10, b"text 10", b"signature")
        assert sizes(ask(archive.heads(0, 10))) == [3, 10]
        assert sizes(ask(archive.heads(4, 10))) == [10]
        assert sizes(ask(archive.heads(0, 1))) == [3]

    def test_none_is_older_than_the_newest_or_ahead_of_the_tree(self, store: Store) -> None:
        assert self.put(store, 11) == "rejected"
        assert [self.put(store, size) for size in (5, 5, 4)] == ["committed", "newer-head", "newer-head"]

    def test_the_newest_is_never_forgotten(self, store: Store, archive: Archive) -> None:
        for size in (2, 4, 6):
            self.put(store, size)
        commit(store, entry(DropHeads((2, 6, 99)), event=None))
        assert sizes(ask(archive.heads(0, 10))) == [4, 6]


class TestRevocations:
    def test_they_come_in_one_order_page_by_page(self, store: Store, archive: Archive) -> None:
        for serial in (9, 5):
            commit(store, entry(revocation(serial)), entry(revocation(serial, issuer=OTHER_ISSUER, expires=NOW)))
        traces = list(ask(archive.revocation_traces(None, 10)))
        assert [(trace.issuer, trace.serial) for trace in traces] == [
            (ISSUER, 5),
            (ISSUER, 9),
            (OTHER_ISSUER, 5),
            (OTHER_ISSUER, 9),
        ]
        paged: list[RevocationTrace] = []
        after: tuple[bytes, int] | None = None
        while page := ask(archive.revocation_traces(after, 3)):
            paged += page
            after = page[-1].issuer, page[-1].serial
        assert paged == traces
        assert list(ask(archive.revocation_of(9))) == [traces[1], traces[3]]
        assert (traces[3].reason_code, traces[3].revoked_at, traces[3].expires) == (1, NOW, NOW)

    def test_when_a_certificate_ends(self, store: Store, archive: Archive) -> None:
        commit(store, entry(sign=to_sign(SERIAL)))
        assert ask(archive.certificate_end(SERIAL)) == NOW + 3600
        assert ask(archive.certificate_end(SERIAL + 1)) is None


def test_every_authority_has_an_id_of_its_own(store: SQLiteStore, archive: Archive) -> None:
    mine = ask(archive.authority_id())
    assert mine == ask(store.health()).authority
    other = SQLiteStore.open(MEMORY)
    assert ask(other.archive.authority_id()) not in ("", mine)
    ask(other.close())


def test_an_event_that_is_missing_stops_the_log(store: SQLiteStore, archive: Archive) -> None:
    commit(store, entry(event=b"a"), entry(event=b"b"))
    store._get_connection().execute("DELETE FROM events WHERE n = 2")
    with pytest.raises(Unavailable, match="event 2 is missing"):
        ask(archive.unsequenced(0, 10))
