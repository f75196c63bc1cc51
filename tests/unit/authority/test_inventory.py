"""Questions to the inventory over some thousand generated certificates, against a naive search of the same list."""

from __future__ import annotations

import hashlib
import ipaddress
import itertools
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import pytest
from msgspec.structs import replace

from provisor.authority.inventory import Search, find_line, get_certificate, go_along_line, search
from provisor.authority.projector import Projector
from provisor.errors import BadRequest, NotFound
from provisor.ports import Entry, IndexTerms, InventoryRow
from support.authority import MemoryCA
from support.population import Made, entries_of, has_name, is_below, populate, revocations_of, signatures_of

COUNT = 3000
DAY = 24 * 3600


class Inventory:
    """A CA that issued what the model says."""

    def __init__(self, count: int) -> None:
        self.ca = MemoryCA(seed=3)
        self.now = self.ca.clock.seconds
        self.made = populate(count, self.now)
        snapshot = self.ca.snapshot
        issuer = snapshot.issuer.id
        for start in range(0, count, 500):
            some = self.made[start : start + 500]
            entries = entries_of(some, issuer, lambda: snapshot.generate_id(snapshot.clock()))
            outcomes = self.ca.run(self.ca.store.commit(entries, signatures_of(some), now=self.now))
            assert all(outcome.committed for outcome in outcomes)
        revocations = revocations_of(self.made, issuer, self.now)
        self.ca.submit(Entry(snapshot.generate_id(snapshot.clock()), writes=revocations, event=b"{}"))
        projector = Projector()
        while self.ca.run(projector.advance(snapshot)):
            pass

    def ask(self, asked: Search, limit: int = 10_000, cursor: str = "") -> tuple[list[InventoryRow], str]:
        assert self.ca.snapshot.archive is not None
        found = self.ca.run(search(self.ca.snapshot, self.ca.snapshot.archive, asked, cursor, limit))
        return list(found.rows), found.cursor

    def all(self, asked: Search, page: int) -> list[int]:
        """The serials of every page."""
        serials: list[int] = []
        cursor = ""
        for _ in itertools.count():
            rows, cursor = self.ask(asked, page, cursor)
            assert len(rows) <= page
            serials += [row.certificate.serial for row in rows]
            if not cursor:
                return serials
        raise AssertionError

    def naive(self, holds: Callable[[Made], bool]) -> list[int]:
        return [one.serial for one in self.made if holds(one)]


@pytest.fixture(scope="module")
def inventory() -> Iterator[Inventory]:
    made = Inventory(COUNT)
    yield made
    made.ca.close()


def in_network(one: Made, network: str) -> bool:
    def address(name: str) -> bool:
        try:
            return ipaddress.ip_address(name) in ipaddress.ip_network(network)
        except ValueError:
            return False

    return any(map(address, one.names))


QUESTIONS: dict[str, tuple[dict[str, Any], Callable[[Made, int], bool]]] = {
    "everything": ({}, lambda one, now: True),
    "any name": ({"name": "*"}, lambda one, now: True),
    "below a domain": ({"name": "*.example.com"}, lambda one, now: is_below(one, "example.com")),
    "below another": ({"name": "*.A.example.com"}, lambda one, now: is_below(one, "a.example.com")),
    "below com": ({"name": "*.com"}, lambda one, now: is_below(one, "com")),
    "letter case": ({"name": "*.example.NET"}, lambda one, now: is_below(one, "example.net")),
    "below nothing": ({"name": "*.nowhere.test"}, lambda one, now: False),
    "one name": ({"name": "example.com"}, lambda one, now: has_name(one, "example.com")),
    "one host": (
        {"name": "HOST0.bad.example.COM.evil.net"},
        lambda one, now: has_name(one, "host0.bad.example.com.evil.net"),
    ),
    "a network": ({"name": "10.0.0.0/9"}, lambda one, now: in_network(one, "10.0.0.0/9")),
    "at a domain": (
        {"name": "*@example.org"},
        lambda one, now: any("@" in name and name.lower().endswith("@example.org") for name in one.names),
    ),
    "under a URI": (
        {"name": "spiffe://example.com/ns/*"},
        lambda one, now: any(name.startswith("spiffe://example.com/ns/") for name in one.names),
    ),
    "a provisioner": ({"provisioner": "wéb"}, lambda one, now: one.provisioner == "wéb"),
    "no such provisioner": ({"provisioner": "CI"}, lambda one, now: False),
    "revoked": ({"revoked": True}, lambda one, now: one.revoked),
    "not revoked": ({"revoked": False}, lambda one, now: not one.revoked),
    "revoked of one": (
        {"revoked": True, "provisioner": "ci"},
        lambda one, now: one.revoked and one.provisioner == "ci",
    ),
    "revoked below": (
        {"revoked": True, "name": "*.example.com"},
        lambda one, now: one.revoked and is_below(one, "example.com"),
    ),
    "expired": ({"ends_before": 1}, lambda one, now: one.not_after <= now),
    "active": ({"ends_from": 1, "revoked": False}, lambda one, now: one.not_after > now and not one.revoked),
    "expiring within ten days": (
        {"ends_from": 1, "ends_before": 10 * DAY + 1},
        lambda one, now: now < one.not_after <= now + 10 * DAY,
    ),
    "expiring below a domain of one provisioner": (
        {"ends_from": 1, "ends_before": 30 * DAY + 1, "name": "*.com", "provisioner": "ops", "revoked": False},
        lambda one, now: (
            now < one.not_after <= now + 30 * DAY
            and is_below(one, "com")
            and one.provisioner == "ops"
            and not one.revoked
        ),
    ),
}


@pytest.mark.parametrize("page", [7, 100, 10_000])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_answered_as_the_naive_search_answers_it(inventory: Inventory, question: str, page: int) -> None:
    members, holds = QUESTIONS[question]
    asked = Search(
        **{name: value + inventory.now if name.startswith("ends_") else value for name, value in members.items()}
    )
    expected = inventory.naive(lambda one: holds(one, inventory.now))
    found = inventory.all(asked, page if len(expected) < 1000 else 10 * page)
    assert len(found) == len(set(found)), "given twice"
    assert sorted(found) == sorted(expected)


def test_the_questions_are_no_empty_ones(inventory: Inventory) -> None:
    empty = {
        name for name, (_, holds) in QUESTIONS.items() if not any(holds(one, inventory.now) for one in inventory.made)
    }
    assert empty == {"below nothing", "no such provisioner"}


def test_keys_fingerprints_serials_and_lines(inventory: Inventory) -> None:
    for one in inventory.made[:: COUNT // 40]:
        same_key = [other.serial for other in inventory.made if other.key == one.key]
        assert sorted(inventory.all(Search(key=one.key_digest), 2)) == sorted(same_key)
        assert inventory.all(Search(fingerprint=one.fingerprint), 2) == [one.serial]
        assert inventory.all(Search(serial=one.serial), 2) == [one.serial]
        line = [other.serial for other in inventory.made if other.lineage == one.lineage]
        assert inventory.all(Search(lineage=one.serial), 3) == sorted(line, reverse=True)


def test_a_condition_beside_the_serial_counts(inventory: Inventory) -> None:
    one = inventory.made[5]
    assert inventory.all(Search(serial=one.serial, provisioner=one.provisioner), 2) == [one.serial]
    assert inventory.all(Search(serial=one.serial, provisioner="nobody"), 2) == []


def test_nobody_has_a_digest_that_begins_the_same(inventory: Inventory) -> None:
    digest = inventory.made[5].fingerprint
    assert inventory.all(Search(fingerprint=bytes((digest[0] ^ 1, *digest[1:]))), 2) == []
    assert inventory.all(Search(key=digest), 2) == []


def test_orders(inventory: Inventory) -> None:
    newest = [one.serial for one in reversed(inventory.made)]
    assert inventory.all(Search(), 500) == newest
    ends = {one.serial: one.not_after for one in inventory.made}
    by_end = [ends[serial] for serial in inventory.all(Search(ends_from=inventory.now), 100)]
    assert by_end == sorted(by_end)


@pytest.mark.parametrize("cursor", ["x", "-1", "9" * 30, "zz-1", "6e-x", "-", "٣"])
@pytest.mark.parametrize("asked", [Search(), Search(name="*.com"), Search(revoked=True), Search(provisioner="ci")])
def test_a_cursor_of_nobody_is_refused_or_harmless(inventory: Inventory, asked: Search, cursor: str) -> None:
    with suppress(BadRequest):
        rows, _ = inventory.ask(asked, 3, cursor)
        assert len(rows) <= 3


def test_a_search_that_finds_little_stops_in_between_and_goes_on(inventory: Inventory) -> None:
    last = inventory.made[0]
    asked = Search(provisioner=last.provisioner, name="*", revoked=last.revoked, ends_from=last.not_after)
    narrow = replace(asked, ends_before=last.not_after + 1, provisioner="")
    assert last.serial in inventory.all(narrow, 1)
    rows, cursor = inventory.ask(Search(revoked=True, provisioner="nobody at all"), 5)
    assert (rows, cursor) == ([], "")


class TestProjector:
    def test_nothing_is_written_while_nothing_is_new(self, inventory: Inventory) -> None:
        before = inventory.ca.store._get_connection().total_changes
        for _ in range(5):
            inventory.ca.clock.advance(seconds=1)
            assert inventory.ca.run(Projector().advance(inventory.ca.snapshot)) == 0
        assert inventory.ca.store._get_connection().total_changes == before

    def test_one_that_was_overtaken_sits_out_and_spoils_nothing(self) -> None:
        world = Inventory(3)
        ca = world.ca
        for host in range(3):
            ca.issue(sub=f"h{host}.test", sans=[f"h{host}.test"])
        first, second = Projector(), Projector()
        ca.clock.advance(seconds=10)
        archive = ca.snapshot.archive
        assert archive is not None
        reach = ca.run(archive.index_reach())

        class Faster:
            """Between our reading and our writing another host has written."""

            async def submit(self, entry: Entry) -> Any:
                (write,) = entry.writes
                assert isinstance(write, IndexTerms)
                if write.upto > reach.indexed and not self.done:
                    self.done = True
                    ca.snapshot.notary = ca.notary
                    assert await second.advance(ca.snapshot) == reach.end - reach.indexed
                return await ca.notary.submit(entry)

            done = False

        ca.snapshot.notary = Faster()  # type: ignore[assignment]
        assert ca.run(first.advance(ca.snapshot)) == 0
        assert ca.run(archive.index_reach()).indexed == reach.end
        ca.issue(sub="late.test", sans=["late.test"])
        assert ca.run(first.advance(ca.snapshot)) == 0
        ca.clock.advance(seconds=4)
        assert ca.run(first.advance(ca.snapshot)) == 1
        ca.close()

    def test_a_real_certificate_is_found_by_all_it_has(self) -> None:
        with MemoryCA() as ca:
            names = [f"h{number}.example.com" for number in range(150)]
            issued = ca.issue(sub=names[0], sans=names)
            ca.run(Projector().advance(ca.snapshot))
            archive = ca.snapshot.archive
            assert archive is not None
            serial = issued.certificate.serial_number
            spki = hashlib.sha256(ca.run(_spki(ca, serial))).digest()
            questions = [Search(name=name) for name in (names[0], names[99], names[100], names[149], "*.example.com")]
            questions += [Search(key=spki), Search(fingerprint=hashlib.sha256(issued.der).digest())]
            for asked in questions:
                found = ca.run(search(ca.snapshot, archive, asked, "", 10))
                assert [row.certificate.serial for row in found.rows] == [serial], asked


async def _spki(ca: MemoryCA, serial: int) -> bytes:
    from provisor.core.x509.certificate import parse_certificate

    record = await ca.snapshot.ledger.find_certificate(ca.snapshot.issuer.id, serial)
    assert record is not None
    return parse_certificate(record.der).spki


class TestOne:
    def test_what_was_just_issued_is_found_by_its_serial(self) -> None:
        with MemoryCA() as ca:
            issued = ca.issue()
            archive = ca.snapshot.archive
            assert archive is not None
            serial = issued.certificate.serial_number
            row = ca.run(get_certificate(ca.snapshot, archive, serial, b""))
            assert isinstance(row, InventoryRow)
            assert row.place is not None
            assert ca.run(find_line(ca.snapshot, archive, serial)) == serial

    def test_what_nobody_issued_is_not_found(self, inventory: Inventory) -> None:
        archive = inventory.ca.snapshot.archive
        assert archive is not None
        for serial, fingerprint in ((5, b""), (None, b"x" * 32)):
            with pytest.raises(NotFound):
                inventory.ca.run(get_certificate(inventory.ca.snapshot, archive, serial, fingerprint))

    def test_a_line_is_whole_while_its_end_is_not_indexed(self) -> None:
        with MemoryCA() as ca:
            archive = ca.snapshot.archive
            assert archive is not None
            first = ca.issue()
            serials = [first.certificate.serial_number]
            leaf = first
            for number in range(4):
                if number == 2:
                    ca.run(Projector().advance(ca.snapshot))
                ca.clock.advance(seconds=1)
                answer = ca.call("POST", "/renew", client_certificate=leaf)
                serials.append(answer.certificate.serial)
                leaf = replace_der(leaf, answer.certificate.der)

            async def line() -> list[int]:
                return [row.certificate.serial async for row in go_along_line(archive, serials[0])]

            assert ca.run(line()) == serials[::-1]


def replace_der(party: Any, der: bytes) -> Any:
    from cryptography.x509 import load_der_x509_certificate

    return type(party)(load_der_x509_certificate(der), party.key)
