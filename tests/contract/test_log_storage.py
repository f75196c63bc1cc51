"""What every store promises of the audit log: its order, its tree's tiles, its heads."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from msgspec.structs import replace

from provisor.authority.log import extend, gap_data
from provisor.core import merkle
from provisor.core.merkle import Edge
from provisor.ports import (
    AppendLog,
    Archive,
    DropEvents,
    DropExpired,
    DropHeads,
    Entry,
    IndexTerms,
    Outcome,
    Placeless,
    PutHead,
    PutMeta,
    RevocationTrace,
)
from provisor.storage.archive import SQLiteArchive
from provisor.storage.base import Store
from provisor.storage.sqlite import MEMORY, SQLiteStore
from support.entries import ISSUER, NOW, OTHER_ISSUER, entry, known_issuers, revocation, signed, signing, to_sign
from support.postgres_store import AnyLoopStore, postgres_store

T = TypeVar("T")
SERIAL = (NOW * 1000 << 80) + 5
"""As the authority makes them: they begin with the millisecond."""


def ask(question: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(question)


AnyStore = SQLiteStore | AnyLoopStore


@pytest.fixture(params=["file", "file, read by another process", "memory", "postgresql"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[AnyStore]:
    with opened(kind, tmp_path) as made:
        assert commit(made, known_issuers())[0].committed
        yield made


@contextmanager
def opened(kind: str, folder: Path) -> Iterator[AnyStore]:
    if kind == "postgresql":
        with postgres_store() as server:
            yield server
        return
    file = SQLiteStore.open(MEMORY if kind == "memory" else folder / "provisor.db")
    yield file
    ask(file.close())


@pytest.fixture
def archive(kind: str, store: AnyStore, tmp_path: Path) -> Archive:
    return SQLiteArchive.open(tmp_path / "provisor.db") if "another" in kind else store.archive


def tamper(store: AnyStore, statement: str, *values: object, sqlite: str = "") -> None:
    """As somebody who can write to the database. The statement is PostgreSQL's, its names without the schema."""
    if isinstance(store, AnyLoopStore):
        store.execute(re.sub(r"\b(events|unsequenced|log_entries)\b", r"provisor.\1", statement), *values)
    else:
        store._get_connection().execute(re.sub(r"\$(\d)", r"?\1", sqlite or statement), values)


def commit(store: Store, *entries: Entry, now: int = NOW) -> list[Outcome]:
    certificates = [signed(f"der-{e.sign.serial}") if e.sign else None for e in entries]
    return ask(store.commit(entries, signing(*certificates), now=now))


def status(outcome: Outcome) -> str:
    return outcome.guard or outcome.status


def extension(archive: Archive, edge: Edge, limit: int = 1000) -> tuple[Edge, AppendLog]:
    """What the sequencer would write next."""
    return extend(edge, ask(archive.unsequenced(edge.size, limit)))


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
        wrong = [good.ids[1:], (*good.ids, b"x" * 16), (b"x" * 16, *good.ids[1:])]
        if isinstance(store, SQLiteStore):  # elsewhere the sequencer makes the order
            wrong.append(tuple(reversed(good.ids)))
        for ids in wrong:
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


def test_every_authority_has_an_id_of_its_own(store: AnyStore, archive: Archive) -> None:
    mine = ask(archive.authority_id())
    assert mine == ask(store.health()).authority
    other = SQLiteStore.open(MEMORY)
    assert ask(other.archive.authority_id()) not in ("", mine)
    ask(other.close())


class TestGaps:
    """Events that somebody took away before they had their leaf."""

    @pytest.fixture
    def entries(self, store: AnyStore) -> list[Entry]:
        made = [entry(event=b"e%d" % number) for number in range(5)]
        commit(store, *made)
        return made

    def take_away(self, store: AnyStore, *entries: Entry) -> None:
        for each in entries:
            tamper(store, "DELETE FROM events WHERE id = $1", each.id)

    def test_a_missing_event_is_handed_on_as_missing(
        self, store: AnyStore, archive: Archive, entries: list[Entry]
    ) -> None:
        self.take_away(store, entries[1], entries[2])
        assert [body for _, body in ask(archive.unsequenced(0, 9))] == [b"{}", b"e0", None, None, b"e3", b"e4"]
        assert [body for _, body in ask(archive.unsequenced(0, 3))] == [b"{}", b"e0", None]

    def test_its_place_gets_a_gap_and_the_log_goes_on(
        self, store: AnyStore, archive: Archive, entries: list[Entry]
    ) -> None:
        self.take_away(store, entries[1])
        edge = sequence(store, archive)
        assert (edge.size, ask(archive.log_size()), ask(archive.log_end()), ask(archive.log_gaps())) == (6, 6, 6, 1)
        (tile,) = ask(archive.tiles(0, 0, 1))
        assert tile.hashes[2 * 32 : 3 * 32] == merkle.hash_leaf(gap_data(3))
        assert [event.n for event in ask(archive.events(1, 9))] == [1, 2, 4, 5, 6]
        later = entry(event=b"later")
        commit(store, later)
        assert list(ask(archive.unsequenced(6, 9))) == [(later.id, b"later")]
        self.take_away(store, later)
        commit(store, entry(event=b"the last"))
        sequence(store, archive, edge)

    def test_an_event_that_is_there_gets_no_gap(self, store: AnyStore, archive: Archive, entries: list[Entry]) -> None:
        """Nor does the place of one that is to come."""
        _, good = extension(archive, Edge())
        ids = ("", *(each.hex() for each in good.ids))
        for place, kept in ((3, b""), (3, good.ids[2]), (6, b""), (6, good.ids[5]), (0, b""), (7, b"")):
            written = tuple(kept if n == place else bytes.fromhex(ids[n]) for n in range(1, 7))
            bad = AppendLog(0, written, good.tiles, (place,))
            assert status(commit(store, entry(bad, event=None))[0]) == "rejected", (place, kept)
        assert (ask(archive.log_size()), ask(archive.log_gaps())) == (0, 0)

    def test_whoever_asks_the_count_of_gaps_and_forks_stay_the_stores_own(self, store: AnyStore) -> None:
        for key in ("log_gaps", "log_forks"):
            assert status(commit(store, entry(PutMeta(key, "0"), event=None))[0]) == "rejected"

    def test_a_place_of_the_tree_is_given_once(self, store: AnyStore, archive: Archive, entries: list[Entry]) -> None:
        """Though the newest event is gone, and its number with it."""
        edge = sequence(store, archive)
        self.take_away(store, *entries[3:])
        commit(store, entry(event=b"new"))
        assert [body for _, body in ask(archive.unsequenced(edge.size, 9))] == [b"new"]
        sequence(store, archive, edge)
        assert [(event.n, event.body) for event in ask(archive.events(4, 9))] == [(4, b"e2"), (7, b"new")]

    @pytest.mark.parametrize("kind", ["file", "memory"], indirect=True)
    @pytest.mark.parametrize("far", [2_000_000, 2**62, 2**63 - 1])
    def test_an_event_that_was_moved_far_away_leads_nobody_there(
        self, store: AnyStore, archive: Archive, entries: list[Entry], far: int
    ) -> None:
        edge = sequence(store, archive)
        commit(store, entry(event=b"moved"), entry(event=b"after"))
        tamper(store, "UPDATE events SET n = $1 WHERE n = 7", far)
        assert (ask(archive.log_end()), ask(archive.index_reach()).end) == (8, 8)
        assert [body for _, body in ask(archive.unsequenced(edge.size, 9))] == [None, b"after"]
        commit(store, entry(event=b"new"))
        assert ask(archive.unindexed(0, 99)).upto == 9
        assert sequence(store, archive, edge).size == 9
        assert ask(archive.unsequenced(9, 9)) == []
        commit(store, entry(event=b"newer"))
        assert ask(archive.events(10, 1))[0].body == b"newer"


class TestWaiting:
    """Events that have no place yet, where places are given later."""

    def test_they_come_by_id_with_their_certificates(self, kind: str, store: AnyStore, archive: Archive) -> None:
        sequence(store, archive)
        made = [entry(event=b"a"), entry(sign=to_sign(SERIAL), event=b"b"), entry(event=b"c")]
        commit(store, *made)
        if kind != "postgresql":
            assert (ask(archive.count_waiting()), list(ask(archive.waiting(b"", 9))), ask(archive.log_end())) == (
                0,
                [],
                4,
            )
            return
        assert (ask(archive.count_waiting()), ask(archive.log_end())) == (3, 1)
        first, second, third = ask(archive.waiting(b"", 9))
        assert [(each.n, each.id, each.body) for each in (first, second, third)] == [
            (0, each.id, each.event) for each in made
        ]
        assert (second.issuer, second.serial, second.der) == (ISSUER, SERIAL, b"der-%d" % SERIAL)
        assert list(ask(archive.waiting(b"", 1))) == [first]
        assert list(ask(archive.waiting(first.id, 9))) == [second, third]
        tamper(store, "DELETE FROM events WHERE id = $1", first.id)
        assert next(iter(ask(archive.waiting(b"", 9)))).body == b""

    def test_what_does_not_even_wait_is_found(self, kind: str, store: AnyStore, archive: Archive) -> None:
        sequence(store, archive)
        made = [entry(event=b"e%d" % number) for number in range(5)]
        commit(store, *made)
        assert ask(archive.placeless(b"", 9)) == Placeless((), None)
        if kind != "postgresql":
            return
        for each in made[1:3]:
            tamper(store, "DELETE FROM unsequenced WHERE id = $1", each.id)
        assert ask(archive.placeless(b"", 9)) == Placeless((made[1].id, made[2].id), None)
        assert ask(archive.placeless(b"", 3)) == Placeless((made[1].id,), made[1].id)
        assert ask(archive.placeless(made[1].id, 3)) == Placeless((made[2].id,), made[4].id)
        assert ask(archive.placeless(made[4].id, 3)) == Placeless((), None)

    def test_who_has_a_place_does_not_wait_whoever_says_so(self, kind: str, store: AnyStore, archive: Archive) -> None:
        made = entry(event=b"a")
        commit(store, made)
        edge = sequence(store, archive)
        if kind == "postgresql":
            tamper(store, "INSERT INTO unsequenced VALUES ($1)", made.id)
        assert list(ask(archive.unsequenced(edge.size, 9))) == []
        commit(store, entry(event=b"b"))
        assert sequence(store, archive, edge).size == 3


@pytest.mark.parametrize("kind", ["postgresql"], indirect=True)
class TestForeignPlaces:
    """Rows that somebody has written into the order of the log, which is a table of its own there."""

    @pytest.mark.parametrize("far", [3, 4, 2**62])
    def test_they_are_in_nobodys_way(self, store: AnyStore, archive: Archive, far: int) -> None:
        made = [entry(event=b"e%d" % number) for number in range(4)]
        commit(store, made[0])
        edge = sequence(store, archive)
        commit(store, *made[1:])
        tamper(store, "INSERT INTO log_entries VALUES ($1, $2)", far, made[2].id)
        assert (ask(archive.log_end()), ask(archive.index_reach()).end, ask(archive.unindexed(0, 9)).upto) == (2, 2, 2)
        assert [body for _, body in ask(archive.unsequenced(edge.size, 9))] == [b"e1", b"e2", b"e3"]
        assert sequence(store, archive, edge).size == 5
        assert [event.body for event in ask(archive.events(1, 9))] == [b"{}", b"e0", b"e1", b"e2", b"e3"]

    def test_an_event_that_only_they_name_is_one_without_a_place(self, store: AnyStore, archive: Archive) -> None:
        made = entry(event=b"hidden")
        commit(store, made)
        tamper(store, "DELETE FROM unsequenced WHERE id = $1", made.id)
        tamper(store, "INSERT INTO log_entries VALUES (7, $1)", made.id)
        assert ask(archive.placeless(b"", 9)).ids == (made.id,)


class TestForgetting:
    """Old events, a few at a time."""

    OLD = NOW - 3 * 365 * 24 * 3600
    """Before every month that has a table of its own."""

    LATER = NOW + 2 * 24 * 3600

    @pytest.fixture
    def made(self, store: AnyStore, archive: Archive) -> list[Entry]:
        """Old events, one of them with a certificate, under a head and in the index; and new ones."""
        entries = [entry(event=b"e%d" % number) for number in range(6)]
        entries.insert(3, entry(sign=to_sign(SERIAL)))
        entries = [replace(each, id=(self.OLD * 1000 + 1).to_bytes(6, "big") + each.id[6:]) for each in entries]
        commit(store, *entries, entry(event=b"new"))
        sequence(store, archive)
        commit(store, entry(PutHead(9, NOW, b"text", b"signature"), event=None))
        commit(store, entry(IndexTerms(9, ()), event=None))
        return entries

    def drop(self, store: AnyStore, limit: int) -> None:
        write = DropEvents(NOW + 1, limit)
        assert status(commit(store, entry(write, event=None), now=self.LATER)[0]) == "committed"

    def left(self, archive: Archive, made: list[Entry]) -> list[int]:
        there = {event.id for event in ask(archive.events(1, 99))}
        return [n for n, each in enumerate(made) if each.id in there]

    def has_more(self, archive: Archive) -> bool:
        return ask(archive.leftovers(tokens=0, receipts=0, events=NOW + 1)).events

    def test_no_more_than_asked_for_at_once(self, store: AnyStore, archive: Archive, made: list[Entry]) -> None:
        for limit in (-1, 0):
            self.drop(store, limit)
            assert len(self.left(archive, made)) == 7
        before = 7
        for _ in range(8):
            self.drop(store, 2)
            assert before - 2 <= len(self.left(archive, made)) <= before
            before = len(self.left(archive, made))
        assert self.left(archive, made) == [3], "its certificate is there"
        assert not self.has_more(archive)
        assert ask(archive.log_size()) == 9

    def test_there_is_more_until_all_were_looked_at(self, store: AnyStore, archive: Archive, made: list[Entry]) -> None:
        rounds = 0
        while self.has_more(archive):
            self.drop(store, 2)
            rounds += 1
        assert rounds in (4, 5)
        assert self.left(archive, made) == [3]

    def test_the_rest_goes_with_the_certificate(self, store: AnyStore, archive: Archive, made: list[Entry]) -> None:
        self.drop(store, 99)
        place = next(event.n for event in ask(archive.events(1, 99)) if event.id == made[3].id)
        over = DropExpired(ISSUER, self.LATER - 24 * 3600, ((SERIAL, place),), (), NOW + 1)
        assert status(commit(store, entry(over, event=None), now=self.LATER)[0]) == "committed"
        assert self.left(archive, made) == []
        assert ask(archive.events_dropped()) >= 8

    def test_what_is_in_no_signed_head_stays(self, store: AnyStore, archive: Archive, made: list[Entry]) -> None:
        late = replace(entry(event=b"late"), id=(self.OLD * 1000).to_bytes(6, "big") + b"late".rjust(10))
        commit(store, late)
        sequence(store, archive, edge_of(archive))
        for _ in range(3):
            self.drop(store, 99)
        assert late.id in {event.id for event in ask(archive.events(1, 99))}

    def test_a_place_that_was_forgotten_is_not_given_again(
        self, store: AnyStore, archive: Archive, made: list[Entry]
    ) -> None:
        """Though the newest event is forgotten."""
        self.drop(store, 99)
        commit(store, entry(event=b"next"))
        assert [body for _, body in ask(archive.unsequenced(9, 9))] == [b"next"]
        sequence(store, archive, edge_of(archive))
        assert ask(archive.events_before(None, 1))[0].n == 10


def edge_of(archive: Archive) -> Edge:
    size = ask(archive.log_size())
    return merkle.read_edge(size, {(0, 0): ask(archive.tiles(0, 0, 1))[0].hashes})
