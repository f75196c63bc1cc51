"""What every archive promises of its inventory, run on each: SQLite in a file, in memory and read from elsewhere."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Iterator
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec import Struct

from provisor.core.terms import lineage_term, name_term
from provisor.ports import (
    Entry,
    IndexTerms,
    InventoryRow,
    IssuerID,
    MetaIs,
    Outcome,
    PutMeta,
    RevocationDetail,
    TermPlace,
)
from provisor.ports import Inventory as Archive
from provisor.storage.archive import SQLiteArchive
from provisor.storage.base import Store
from provisor.storage.sqlite import MEMORY, SQLiteStore
from support.entries import ISSUER, NOW, OTHER_ISSUER, entry, known_issuers, revocation, signed, signing, to_sign

T = TypeVar("T")
UNKNOWN: IssuerID = b"\x09" * 32


def ask(question: Coroutine[None, None, T]) -> T:
    return asyncio.run(question)


class World(Struct):
    """A store, and an archive that reads it."""

    store: Store
    archive: Archive

    def commit(self, *entries: Entry) -> list[Outcome]:
        certificates = [signed(f"der-{each.sign.serial}") if each.sign else None for each in entries]
        return ask(self.store.commit(entries, signing(*certificates), now=NOW))

    def issue(self, *serials: int, issuer: IssuerID = ISSUER, lineage: int = 0, predecessor: int | None = None) -> None:
        for serial in serials:
            sign = to_sign(serial, issuer=issuer, lineage=lineage, predecessor=predecessor)
            assert self.commit(entry(sign=sign, event=b"event of %d" % serial))[0].committed

    def index(self, upto: int, *terms: tuple[bytes, int]) -> Outcome:
        return self.commit(entry(IndexTerms(upto, terms), event=None))[0]


@pytest.fixture(params=["file", "memory", "reader"])
def world(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[World]:
    """The first event, at place 1, makes the issuers known."""
    path = tmp_path / "db" / "provisor.db"
    store = SQLiteStore.open(MEMORY if request.param == "memory" else path)
    archive = SQLiteArchive.open(path) if request.param == "reader" else store.archive
    made = World(store, archive)
    assert made.commit(known_issuers())[0].committed
    yield made
    if request.param == "reader":
        archive.close()
    ask(store.close())


def serials(rows: object) -> list[int]:
    assert isinstance(rows, list | tuple)
    return [row.certificate.serial for row in rows]


class TestIndexing:
    def test_an_empty_index_reaches_nowhere(self, world: World) -> None:
        reach = ask(world.archive.index_reach())
        assert (reach.indexed, reach.end) == (0, 1)

    def test_it_reaches_where_it_was_written_to(self, world: World) -> None:
        world.issue(5, 6)
        assert world.index(2, (b"nd5", 2)).committed
        reach = ask(world.archive.index_reach())
        assert (reach.indexed, reach.end) == (2, 3)

    def test_what_was_indexed_is_not_indexed_again(self, world: World) -> None:
        world.issue(5)
        assert world.index(2, (b"nd5", 2)).committed
        late = world.index(2, (b"other", 2))
        assert (late.status, late.guard) == ("refused", "not-indexed")
        assert not ask(world.archive.issued_with_term(b"other", None, 10))

    def test_a_term_that_is_there_may_come_again(self, world: World) -> None:
        world.issue(5)
        assert world.index(1, (b"t", 2), (b"t", 2)).committed
        assert world.index(2, (b"t", 2)).committed
        assert serials(ask(world.archive.issued_with_term(b"t", None, 10))) == [5]

    def test_nobody_else_moves_it(self, world: World) -> None:
        assert world.commit(entry(PutMeta("projected", "9")))[0].status == "rejected"
        assert world.commit(entry(guards=(MetaIs("projected", None),)))[0].committed

    def test_the_log_is_given_in_pieces_with_the_certificates_in_them(self, world: World) -> None:
        world.issue(5)
        world.commit(entry(event=b"a refusal"))
        world.issue(6)
        first = ask(world.archive.unindexed(0, 2))
        assert (first.upto, serials(first.certificates)) == (2, [5])
        row = first.certificates[0]
        assert (row.place, row.event, row.certificate.der) == (2, b"event of 5", b"der-5")
        second = ask(world.archive.unindexed(2, 10))
        assert (second.upto, serials(second.certificates)) == (4, [6])
        assert ask(world.archive.unindexed(4, 10)).upto == 4


class TestNewest:
    def test_they_come_newest_first_in_pages(self, world: World) -> None:
        world.issue(*range(10, 17))
        seen: list[int] = []
        before: int | None = None
        while rows := ask(world.archive.issued_newest(before, 3)):
            seen += serials(rows)
            before = rows[-1].place
        assert seen == list(range(16, 9, -1))

    def test_what_comes_meanwhile_disturbs_no_page(self, world: World) -> None:
        world.issue(10, 11, 12, 13)
        first = ask(world.archive.issued_newest(None, 2))
        world.issue(14)
        second = ask(world.archive.issued_newest(first[-1].place, 2))
        assert serials([*first, *second]) == [13, 12, 11, 10]

    def test_events_without_certificate_are_none_of_them(self, world: World) -> None:
        world.issue(5)
        world.commit(entry(event=b"a refusal"))
        assert serials(ask(world.archive.issued_newest(None, 10))) == [5]

    def test_a_row_is_complete(self, world: World) -> None:
        world.issue(5)
        world.issue(7, lineage=5, predecessor=5)
        (row,) = ask(world.archive.issued_newest(None, 1))
        record = row.certificate
        assert (record.issuer, record.serial, record.lineage, record.predecessor) == (ISSUER, 7, 5, 5)
        assert (record.not_before, record.not_after, record.der) == (NOW, NOW + 3600, b"der-7")
        assert (record.provisioner_id, record.provisioner_name, record.provisioner_kind) == ("jwk/ci", "ci", "JWK")
        assert (row.place, row.event, row.revocation) == (3, b"event of 7", None)


class TestTerms:
    def test_one_term_newest_first(self, world: World) -> None:
        world.issue(5, 6, 7, 8)
        world.index(5, (b"a", 2), (b"b", 3), (b"a", 4), (b"a", 5))
        assert serials(ask(world.archive.issued_with_term(b"a", None, 2))) == [8, 7]
        assert serials(ask(world.archive.issued_with_term(b"a", 4, 2))) == [5]

    def test_a_longer_or_shorter_term_is_another(self, world: World) -> None:
        world.issue(5)
        world.index(2, (b"ab", 2))
        for term in (b"a", b"abc", b"aB", b"ab\x00", b""):
            assert not ask(world.archive.issued_with_term(term, None, 10))

    def test_a_range_in_the_order_of_terms_then_places(self, world: World) -> None:
        world.issue(5, 6, 7, 8)
        world.index(5, (b"nb", 2), (b"na", 3), (b"nb", 4), (b"nz", 5), (b"m", 5), (b"nb\xff", 5))
        rows = ask(world.archive.issued_in_range(b"n", b"nz", None, 10))
        assert [(row.term, row.certificate.serial) for row in rows] == [
            (b"na", 6),
            (b"nb", 5),
            (b"nb", 7),
            (b"nb\xff", 8),
        ]

    def test_pages_of_a_range_leave_nothing_out(self, world: World) -> None:
        world.issue(5, 6, 7)
        world.index(4, *((b"n%d" % term, place) for term in range(5) for place in (2, 3, 4)))
        seen: list[tuple[bytes, int | None]] = []
        after: TermPlace | None = None
        while rows := ask(world.archive.issued_in_range(b"n1", b"n4", after, 2)):
            seen += [(row.term, row.place) for row in rows]
            after = TermPlace(rows[-1].term, rows[-1].place or 0)
        assert seen == [(b"n%d" % term, place) for term in (1, 2, 3) for place in (2, 3, 4)]

    def test_a_cursor_before_the_range_does_not_widen_it(self, world: World) -> None:
        world.issue(5)
        world.index(2, (b"a", 2), (b"n", 2))
        assert [r.term for r in ask(world.archive.issued_in_range(b"n", b"o", TermPlace(b"", 0), 9))] == [b"n"]


class TestRevoked:
    def test_a_revocation_is_told_whole(self, world: World) -> None:
        world.issue(5)
        world.commit(entry(revocation(5)))
        (row,) = ask(world.archive.issued_newest(None, 1))
        assert row.revocation == RevocationDetail(NOW, 1, "lost", "jwk/ci", "token-1", mtls=False)

    def test_revoked_certificates_in_pages(self, world: World) -> None:
        world.issue(*range(10, 16))
        world.issue(12, issuer=OTHER_ISSUER)
        world.commit(entry(*(revocation(serial) for serial in (10, 12, 13, 15)), revocation(99)))
        world.commit(entry(revocation(12, issuer=OTHER_ISSUER)))
        seen: list[tuple[IssuerID, int]] = []
        before: tuple[IssuerID, int] | None = None
        while rows := ask(world.archive.issued_revoked(before, 2)):
            seen += [(row.certificate.issuer, row.certificate.serial) for row in rows]
            before = seen[-1]
        assert seen == [(OTHER_ISSUER, 12), *((ISSUER, serial) for serial in (15, 13, 12, 10))]


class TestOne:
    def test_it_is_found_before_it_is_indexed_with_its_place(self, world: World) -> None:
        world.issue(5, 6)
        row = ask(world.archive.find_issued(ISSUER, 6))
        assert row is not None
        assert (row.certificate.serial, row.place, row.event) == (6, 3, b"event of 6")

    def test_and_by_the_index_afterwards(self, world: World) -> None:
        world.issue(5, 6)
        world.index(3, (lineage_term(5), 2), (lineage_term(6), 3))
        row = ask(world.archive.find_issued(ISSUER, 5))
        assert row is not None
        assert (row.certificate.serial, row.place, row.event) == (5, 2, b"event of 5")

    def test_the_serial_of_another_issuer_is_another_certificate(self, world: World) -> None:
        world.issue(5)
        for issuer, serial in ((OTHER_ISSUER, 5), (ISSUER, 6), (ISSUER, -5), (UNKNOWN, 5)):
            assert ask(world.archive.find_issued(issuer, serial)) is None
            assert ask(world.archive.find_expired(issuer, serial)) is None

    def test_the_end_of_a_line_that_is_not_indexed(self, world: World) -> None:
        world.issue(5)
        world.index(2, (lineage_term(5), 2))
        world.issue(6, lineage=5, predecessor=5)
        world.issue(7)
        world.issue(8, lineage=5, predecessor=6)
        assert serials(ask(world.archive.unindexed_of_line(5))) == [6, 8]
        assert not ask(world.archive.unindexed_of_line(6))


def test_the_store_in_figures(world: World) -> None:
    empty = ask(world.archive.store_facts())
    assert (empty.certificates, empty.revocations, empty.tokens) == (0, 0, 0)
    world.issue(5, 6)
    world.commit(entry(revocation(5)))
    facts = ask(world.archive.store_facts())
    assert (facts.certificates, facts.revocations) == (2, 1)
    assert facts.octets > 0
    assert facts.kind
    assert facts.place


def test_names_of_any_octets_are_terms(world: World) -> None:
    world.issue(5)
    name = "\x00é\U0001f600.example"
    world.index(2, (name_term(name), 2), (b"\x00\xff", 2))
    rows: list[InventoryRow] = list(ask(world.archive.issued_with_term(name_term(name), None, 1)))
    assert serials(rows) == [5]
