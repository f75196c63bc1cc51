"""What every store promises, run on each: SQLite in a file and in memory, PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Coroutine, Iterator, Sequence
from itertools import pairwise
from pathlib import Path
from typing import TypeVar

import pytest
from msgspec.structs import replace

from provisor.ports import (
    DropEvents,
    DropExpired,
    DropReceipts,
    DropSpentTokens,
    Entry,
    Epoch,
    FreshSerial,
    IndexTerms,
    IssuerRecord,
    JobRecord,
    LeaseHeld,
    Ledger,
    MetaIs,
    NotRevoked,
    Outcome,
    PutCRL,
    PutIssuer,
    PutMeta,
    RevocationRecord,
    ScheduleJob,
    TakeLease,
    ToSign,
    Unspent,
    WakeJob,
    Write,
)
from provisor.storage.base import CLOCK_TOLERANCE_SECONDS, SignedCertificate, Store
from provisor.storage.sqlite import MEMORY, SQLiteStore, open_reader
from support.entries import (
    ISSUER,
    NOW,
    OTHER_ISSUER,
    entry,
    known_issuers,
    revocation,
    signed,
    signing,
    spend,
    spending,
    to_sign,
)
from support.newer_schema import newer_file, newer_server
from support.postgres_store import postgres_store

T = TypeVar("T")
SERIAL = 1 << 120
DAY = 24 * 3600


def ask(question: Coroutine[None, None, T]) -> T:
    return asyncio.run(question)


ELSEWHERE = "file, read by another process"
KINDS = ("file", ELSEWHERE, "memory", "postgresql", "file of a newer release", "postgresql of a newer release")


@pytest.fixture(params=KINDS)
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def store(kind: str, tmp_path: Path) -> Iterator[Store]:
    if kind.startswith("postgresql"):
        with newer_server() if "newer" in kind else postgres_store() as other:
            assert commit(other, known_issuers())[0].committed
            yield other
        return
    path = tmp_path / "db" / "provisor.db"
    if kind == "memory":
        opened = SQLiteStore.open(MEMORY)
    else:
        opened = newer_file(path) if "newer" in kind else SQLiteStore.open(path)
    assert commit(opened, known_issuers())[0].committed
    yield opened
    ask(opened.close())


@pytest.fixture
def ledger(kind: str, store: Store, tmp_path: Path) -> Ledger:
    """The store's own ledger, or another process's reader."""
    return open_reader(tmp_path / "db" / "provisor.db") if kind == ELSEWHERE else store.ledger


def commit(store: Store, *entries: Entry, now: int = NOW) -> list[Outcome]:
    certificates = [signed(f"der-{e.sign.serial}") if e.sign else None for e in entries]
    return ask(store.commit(entries, signing(*certificates), now=now))


def statuses(outcomes: Sequence[Outcome]) -> list[str]:
    return [outcome.guard or outcome.status for outcome in outcomes]


def issue(serial: int, *, token: str = "", sign: ToSign | None = None) -> Entry:
    writes = (spend(token),) if token else ()
    return entry(*writes, sign=sign or to_sign(serial))


class TestTokens:
    def test_a_token_works_once(self, store: Store, ledger: Ledger) -> None:
        assert not ask(ledger.is_spent("t"))
        assert statuses(commit(store, spending("t"))) == ["committed"]
        assert ask(ledger.is_spent("t"))
        assert statuses(commit(store, spending("t"))) == ["unspent"]

    def test_of_twins_in_one_batch_the_first_wins(self, store: Store) -> None:
        outcomes = commit(store, spending("t"), spending("u"), spending("t"))
        assert statuses(outcomes) == ["committed", "committed", "unspent"]

    def test_a_write_guards_itself(self, store: Store) -> None:
        commit(store, spending("t"))
        assert statuses(commit(store, entry(spend("t")))) == ["unspent"]

    @pytest.mark.parametrize("near_miss", ["T", "t ", " t", "t\x00", "", "tt", "ť"])
    def test_another_key_is_another_token(self, store: Store, near_miss: str) -> None:
        commit(store, spending("t"))
        assert statuses(commit(store, spending(near_miss))) == ["committed"]

    def test_a_key_may_be_long_or_not_unicode(self, store: Store) -> None:
        for key in ("k" * 100_000, "\ud800"):
            assert statuses(commit(store, spending(key), spending(key))) == ["committed", "unspent"]

    def test_a_refused_entry_leaves_nothing(self, store: Store, ledger: Ledger) -> None:
        commit(store, spending("t"))
        bad = entry(spend("new"), PutMeta("m", "1"), guards=(Unspent("new"), Unspent("t")))
        assert statuses(commit(store, bad)) == ["unspent"]
        assert not ask(ledger.is_spent("new"))
        assert ask(ledger.find_outcome(bad.id)) is None


class TestForgetting:
    def test_a_day_is_forgotten_once_it_is_over_with_all_that_ended_on_it(self, store: Store, ledger: Ledger) -> None:
        kept = {"never": None, "late": NOW + 500, "far": NOW + 300 * DAY, "further": 2**40}
        gone = {"old": NOW - DAY, "older": NOW - 2 * DAY, "ancient": NOW - 300 * DAY, "oldest": 0}
        for key, expires in (kept | gone).items():
            assert statuses(commit(store, entry(spend(key, expires)))) == ["committed"]
        for _ in range(3):
            commit(store, entry(DropSpentTokens(NOW, 1000)))
        assert [key for key in kept | gone if ask(ledger.is_spent(key))] == list(kept)

    def test_a_large_day_is_forgotten_a_piece_at_a_time(self, store: Store, ledger: Ledger) -> None:
        keys = [f"t{n}" for n in range(100)]
        commit(store, *(entry(spend(key, NOW - DAY)) for key in keys))
        left = [len(keys)]
        while left[-1]:
            commit(store, entry(DropSpentTokens(NOW, 30)))
            left.append(sum(ask(ledger.is_spent(key)) for key in keys))
        assert len(left) >= 4
        assert all(0 < before - after <= 30 for before, after in pairwise(left))

    @pytest.mark.parametrize("expires", [None, 0, NOW, NOW + 300, NOW + DAY, NOW - DAY, NOW + 400 * DAY])
    def test_a_key_is_spent_once_whatever_a_token_says_of_its_end(
        self, store: Store, ledger: Ledger, expires: int | None
    ) -> None:
        assert statuses(commit(store, entry(spend("t", NOW + 2 * DAY), guards=(Unspent("t"),)))) == ["committed"]
        again = entry(spend("t", expires), guards=(Unspent("t"),))
        assert statuses(commit(store, again, spending("u"))) == ["unspent", "committed"]
        assert ask(ledger.is_spent("t"))

    @pytest.mark.parametrize("expires", [None, 0, NOW + DAY, NOW + 400 * DAY])
    def test_nor_twice_in_one_batch(self, store: Store, expires: int | None) -> None:
        twice = (spending("t"), entry(spend("t", expires), guards=(Unspent("t"),)))
        assert statuses(commit(store, *twice)) == ["committed", "unspent"]

    def test_nothing_is_forgotten_by_a_clock_that_was_set_back(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(spend("t", NOW - 100_000)))
        behind = NOW - CLOCK_TOLERANCE_SECONDS - 1
        assert statuses(commit(store, entry(DropSpentTokens(behind, 10)), now=behind)) == ["rejected"]
        assert ask(ledger.is_spent("t"))
        assert statuses(commit(store, entry(DropSpentTokens(behind + 1, 10)), now=behind + 1)) == ["committed"]

    def test_tokens_that_still_work_are_not_forgotten(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(spend("t", NOW + 10)))
        assert statuses(commit(store, entry(DropSpentTokens(NOW + 11, 10)))) == ["rejected"]
        assert ask(ledger.is_spent("t"))

    def test_a_negative_limit_forgets_nothing(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(spend("t", NOW - 10)))
        commit(store, entry(DropSpentTokens(NOW, -1)))
        assert ask(ledger.is_spent("t"))

    def test_receipts_are_forgotten_an_hour_later_the_oldest_first(self, store: Store, ledger: Ledger) -> None:
        housekeeping = [entry(PutMeta("m", str(n)), event=None) for n in range(3)]
        commit(store, *housekeeping)
        later = NOW + 3600 + 1
        assert statuses(commit(store, entry(DropReceipts(NOW + 1, 9), event=None))) == ["rejected"]
        for left in (2, 1, 0, 0):
            assert statuses(commit(store, entry(DropReceipts(NOW + 1, 1)), now=later)) == ["committed"]
            known = [ask(ledger.find_outcome(each.id)) is not None for each in housekeeping]
            assert known == [n >= 3 - left for n in range(3)]

    @pytest.mark.parametrize(
        "write", [DropReceipts(0, 9), DropEvents(0, 9), DropExpired(ISSUER, 0, (), ()), DropSpentTokens(0, 9)]
    )
    def test_nothing_at_all_is_forgotten_by_a_clock_that_was_set_back(self, store: Store, write: Write) -> None:
        commit(store, entry(), now=NOW)
        assert statuses(commit(store, entry(write), now=NOW - CLOCK_TOLERANCE_SECONDS - 1)) == ["rejected"]
        assert statuses(commit(store, entry(write), now=NOW)) == ["committed"]


class TestExpired:
    LONG_AFTER = NOW + 3600 + 2 * DAY

    def drop(self, store: Store, *certificates: tuple[int, int], before: int = NOW + 3600 + DAY) -> list[str]:
        write = DropExpired(ISSUER, before, certificates, ())
        return statuses(commit(store, entry(write), now=self.LONG_AFTER))

    def test_its_line_stays_and_its_serial_is_never_used_again(self, store: Store, ledger: Ledger) -> None:
        first = issue(SERIAL, sign=to_sign(SERIAL, predecessor=7, lineage=5))
        commit(store, first)
        assert self.drop(store, (SERIAL, 2)) == ["committed"]
        record = ask(ledger.find_certificate(ISSUER, SERIAL))
        assert record is not None
        assert (record.lineage, record.predecessor, record.not_after) == (5, 7, NOW + 3600)
        assert (record.provisioner_id, record.provisioner_name, record.provisioner_kind) == ("jwk/ci", "ci", "JWK")
        assert record.der == b""
        assert statuses(commit(store, issue(SERIAL), issue(SERIAL + 1))) == ["fresh-serial", "committed"]

    def test_a_certificate_that_is_not_over_stays(self, store: Store, ledger: Ledger) -> None:
        commit(store, issue(SERIAL))
        assert self.drop(store, (SERIAL, 2), before=NOW + 3600) == ["committed"]
        record = ask(ledger.find_certificate(ISSUER, SERIAL))
        assert record is not None
        assert record.der == f"der-{SERIAL}".encode()

    def test_one_that_is_not_there_is_passed_over(self, store: Store) -> None:
        commit(store, issue(SERIAL))
        assert self.drop(store, (SERIAL + 1, 9), (SERIAL, 2)) == ["committed"]
        assert self.drop(store, (SERIAL, 2)) == ["committed"]

    def test_nobody_may_drop_what_ended_within_a_day(self, store: Store, ledger: Ledger) -> None:
        commit(store, issue(SERIAL))
        assert self.drop(store, (SERIAL, 2), before=self.LONG_AFTER - DAY + 1) == ["rejected"]

    def test_an_unknown_issuer_is_rejected(self, store: Store) -> None:
        write = DropExpired(b"\x09" * 32, NOW - DAY, (), ())
        assert statuses(commit(store, entry(write))) == ["rejected"]

    def test_its_terms_go_and_no_others(self, store: Store) -> None:
        commit(store, issue(SERIAL), issue(SERIAL + 1))
        commit(store, entry(IndexTerms(3, ((b"na", 2), (b"nb", 2), (b"na", 3)))))
        write = DropExpired(ISSUER, NOW + 3601, ((SERIAL, 2),), ((b"na", 2), (b"nb", 2), (b"na", 3)))
        commit(store, entry(write), now=self.LONG_AFTER)


class TestCertificates:
    def test_what_is_signed_is_recorded(self, store: Store, ledger: Ledger) -> None:
        request = issue(SERIAL, sign=to_sign(SERIAL, predecessor=7, lineage=5))
        assert commit(store, request)[0].certificate == b"der-%d" % SERIAL
        record = ask(ledger.find_certificate(ISSUER, SERIAL))
        assert record is not None
        assert (record.der, record.not_before, record.not_after) == (b"der-%d" % SERIAL, NOW, NOW + 3600)
        assert (record.lineage, record.predecessor, record.csr_digest) == (5, 7, b"c" * 32)
        assert (record.provisioner_id, record.provisioner_name, record.provisioner_kind) == ("jwk/ci", "ci", "JWK")

    def test_a_serial_is_used_once_an_issuer(self, store: Store, ledger: Ledger) -> None:
        twins = (issue(SERIAL), issue(SERIAL), issue(SERIAL, sign=to_sign(SERIAL, issuer=OTHER_ISSUER)))
        assert statuses(commit(store, *twins)) == ["committed", "fresh-serial", "committed"]
        assert statuses(commit(store, issue(SERIAL))) == ["fresh-serial"]
        assert statuses(commit(store, entry(guards=(FreshSerial(ISSUER, SERIAL + 1),)))) == ["committed"]
        assert ask(ledger.find_certificate(ISSUER, SERIAL + 1)) is None

    def test_a_certificate_without_its_signature_is_rejected(self, store: Store) -> None:
        request = issue(SERIAL, token="t")
        refusal = Outcome(request.id, "rejected", reason="the gate")
        assert ask(store.commit([request, spending("u")], lambda _: refusal, now=NOW))[0] == refusal
        assert statuses(commit(store, spending("t"), spending("u"))) == ["committed", "unspent"]

    def test_a_certificate_without_an_event_is_rejected(self, store: Store) -> None:
        assert statuses(commit(store, replace(issue(SERIAL), event=None))) == ["rejected"]

    def test_what_is_refused_is_not_signed(self, store: Store) -> None:
        commit(store, spending("spent"), issue(SERIAL))
        asked: list[int] = []

        def sign(index: int) -> SignedCertificate:
            asked.append(index)
            return signed()

        refused = (issue(SERIAL + 1, token="fresh"), replace(issue(SERIAL + 2), guards=(Epoch(99),)))
        assert statuses(ask(store.commit(refused, sign, now=NOW))) == ["committed", "epoch"]
        assert set(asked) == {0}

    def test_an_unknown_issuer_is_rejected(self, store: Store) -> None:
        unknown = b"\x09" * 32
        for bad in (
            issue(1, sign=to_sign(1, issuer=unknown)),
            entry(revocation(1, issuer=unknown)),
            entry(PutCRL(unknown, 1, NOW, NOW + 1, b"")),
        ):
            assert statuses(commit(store, bad)) == ["rejected"]
        assert statuses(commit(store, entry(guards=(NotRevoked(unknown, 1),)))) == ["committed"]

    def test_an_issuer_changes_state_and_keeps_its_certificate(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(PutIssuer(ISSUER, b"another", "disabled")))
        assert list(ask(ledger.issuers())) == [
            IssuerRecord(ISSUER, b"one", "disabled"),
            IssuerRecord(OTHER_ISSUER, b"two", "retiring"),
        ]
        assert statuses(commit(store, entry(PutIssuer(ISSUER, b"one", "retired")))) == ["rejected"]


class TestRevocation:
    def test_a_serial_is_revoked_once_an_issuer(self, store: Store, ledger: Ledger) -> None:
        revoke = entry(revocation(5), guards=(NotRevoked(ISSUER, 5),))
        assert statuses(commit(store, revoke, entry(revocation(5)))) == ["committed", "not-revoked"]
        assert statuses(commit(store, entry(revocation(5)))) == ["not-revoked"]
        assert ask(ledger.is_revoked(ISSUER, 5))
        assert not ask(ledger.is_revoked(OTHER_ISSUER, 5))

    def test_revoke_before_renew_in_one_batch_refuses_the_renewal(self, store: Store, ledger: Ledger) -> None:
        commit(store, issue(5))
        renew = entry(sign=to_sign(6, predecessor=5), guards=(NotRevoked(ISSUER, 5),))
        assert statuses(commit(store, entry(revocation(5)), renew)) == ["committed", "not-revoked"]
        assert ask(ledger.find_certificate(ISSUER, 6)) is None

    def test_renew_before_revoke_keeps_both(self, store: Store) -> None:
        renew = entry(sign=to_sign(6, predecessor=5), guards=(NotRevoked(ISSUER, 5),))
        assert statuses(commit(store, renew, entry(revocation(5)))) == ["committed", "committed"]

    def test_the_list_is_in_the_order_of_serials_without_the_expired(self, store: Store, ledger: Ledger) -> None:
        serials = [0, -3, 255, 256, 5, 1 << 127, -(1 << 70), 1 << 159, 1 << 600]
        random.Random(7).shuffle(serials)
        for serial in serials:
            commit(store, entry(revocation(serial)))
        commit(store, entry(revocation(40, expires=NOW)), entry(revocation(41, expires=NOW + 1)))
        commit(store, entry(revocation(42, issuer=OTHER_ISSUER)))
        listed = ask(ledger.revocations(ISSUER, NOW))
        assert [record.serial for record in listed] == sorted([*serials, 41])
        assert listed[0] == RevocationRecord(-(1 << 70), 1, NOW, None)


class TestEpochAndMeta:
    def test_a_stale_epoch_is_refused_from_the_moment_it_changes(self, store: Store, ledger: Ledger) -> None:
        old = entry(guards=(Epoch(0),))
        assert statuses(commit(store, old)) == ["epoch"]
        change = entry(PutMeta("epoch", "1"), guards=(MetaIs("epoch", None),))
        outcomes = commit(store, change, entry(guards=(Epoch(0),)), entry(guards=(Epoch(1),)))
        assert statuses(outcomes) == ["committed", "epoch", "committed"]
        assert ask(ledger.health()).epoch == 1

    def test_meta_is_compared_and_set(self, store: Store) -> None:
        first = entry(PutMeta("m", "1"), guards=(MetaIs("m", None),))
        second = entry(PutMeta("m", "2"), guards=(MetaIs("m", "1"),))
        late = entry(PutMeta("m", "3"), guards=(MetaIs("m", "1"),))
        assert statuses(commit(store, first, second, late)) == ["committed", "committed", "meta-is"]

    @pytest.mark.parametrize("key", ["high_water", "schema_version", "oldest_program", "authority_id"])
    def test_what_the_store_says_of_itself_is_not_written_from_outside(self, store: Store, key: str) -> None:
        assert statuses(commit(store, entry(PutMeta(key, "0")))) == ["rejected"]


class TestHighWater:
    def test_it_rises_and_never_falls(self, store: Store, ledger: Ledger) -> None:
        for now, expected in ((NOW, NOW), (NOW + 9, NOW + 9), (NOW - 50, NOW + 9), (NOW + 10, NOW + 10)):
            commit(store, spending(f"t{now}"), now=now)
            assert ask(ledger.health()).high_water == expected

    def test_touching_the_store_raises_it(self, store: Store, ledger: Ledger) -> None:
        ask(store.touch(now=NOW + 60))
        ask(store.touch(now=NOW))
        assert ask(ledger.health()).high_water == NOW + 60


class TestRepeatedEntries:
    def test_a_repeated_entry_is_committed_with_its_certificate_and_does_nothing(self, store: Store) -> None:
        first = issue(SERIAL, token="t")
        assert statuses(commit(store, first)) == ["committed"]
        assert ask(store.precheck([first], now=NOW)) == [Outcome(first.id, "committed", certificate=b"der-%d" % SERIAL)]
        again = ask(store.commit([first], signing(signed("another signature")), now=NOW))
        assert again == [Outcome(first.id, "committed", certificate=b"der-%d" % SERIAL)]

    def test_also_within_one_batch(self, store: Store) -> None:
        first = issue(SERIAL, token="t")
        outcomes = ask(store.commit([first, first], signing(signed("one"), signed("two")), now=NOW))
        assert [(o.status, o.certificate) for o in outcomes] == [("committed", b"one")] * 2

    def test_another_entry_under_the_same_id_is_rejected(self, store: Store, ledger: Ledger) -> None:
        first = issue(SERIAL, token="t")
        plain = spending("u")
        commit(store, first, plain)
        impostors = (
            replace(issue(SERIAL + 1), id=first.id),
            replace(spending("v"), id=first.id),
            replace(issue(SERIAL + 2), id=plain.id),
        )
        assert statuses(commit(store, *impostors)) == ["rejected"] * 3
        same_batch = issue(SERIAL + 3)
        assert statuses(commit(store, same_batch, replace(issue(SERIAL + 4), id=same_batch.id))) == [
            "committed",
            "rejected",
        ]
        assert ask(ledger.find_certificate(ISSUER, SERIAL + 4)) is None

    def test_the_outcome_of_a_lost_commit_can_be_looked_up(self, store: Store, ledger: Ledger) -> None:
        done, silent, never = issue(SERIAL), entry(PutMeta("m", "1"), event=None), issue(SERIAL + 1)
        commit(store, done, silent)
        assert ask(ledger.find_outcome(done.id)) == Outcome(done.id, "committed", certificate=b"der-%d" % SERIAL)
        assert ask(ledger.find_outcome(silent.id)) == Outcome(silent.id, "committed")
        assert ask(ledger.find_outcome(never.id)) is None
        assert ask(store.find_outcome(done.id)) == ask(ledger.find_outcome(done.id))


class TestPoison:
    @pytest.mark.parametrize(
        "poison",
        [
            entry(spend("p", 1 << 63)),
            entry(PutMeta("\ud800", "x")),
            entry(PutMeta("p", "\ud800")),
            entry(revocation(3, expires=-(1 << 63) - 1)),
            entry(PutCRL(ISSUER, 1 << 64, NOW, NOW, b"")),
            entry(TakeLease("\ud800", "k", NOW)),
            entry(guards=(MetaIs("\ud800", None),)),
            entry(guards=(Epoch(10**5000),)),
            entry(PutIssuer(b"short", b"", "active")),
            replace(entry(), id=b"short"),
            replace(entry(), id=b""),
            entry(sign=replace(to_sign(8), provisioner_name="\ud800")),
        ],
        ids=range(12),
    )
    def test_a_bad_entry_fails_alone(self, store: Store, ledger: Ledger, poison: Entry) -> None:
        good = issue(SERIAL, token="t")
        also = entry(spend("u"), PutMeta("m", "1"))
        outcomes = commit(store, good, poison, also, spending("t"))
        assert statuses(outcomes) == ["committed", "rejected", "committed", "unspent"]
        assert outcomes[1].reason
        assert ask(ledger.find_certificate(ISSUER, SERIAL)) is not None
        assert ask(ledger.is_spent("u"))

    def test_the_good_half_of_a_bad_entry_is_not_written(self, store: Store, ledger: Ledger) -> None:
        poison = entry(PutMeta("epoch", "7"), spend("p"), spend("q", 1 << 63))
        assert statuses(commit(store, poison, spending("p"))) == ["rejected", "committed"]
        assert not ask(ledger.is_spent("q"))
        assert ask(ledger.health()).epoch == 0

    def test_poison_is_found_before_anything_is_signed(self, store: Store) -> None:
        verdicts = ask(store.precheck([entry(guards=(MetaIs("\ud800", None),)), spending("t")], now=NOW))
        assert [verdict and verdict.status for verdict in verdicts] == ["rejected", None]

    def test_an_empty_batch_is_nothing(self, store: Store) -> None:
        assert ask(store.commit([], signing(), now=NOW)) == []


class TestCRLs:
    def test_the_newest_is_kept_and_numbers_only_rise(self, store: Store, ledger: Ledger) -> None:
        assert ask(ledger.find_crl(ISSUER)) is None
        assert ask(ledger.find_crl_number(ISSUER)) is None
        for number, expected in ((0, "committed"), (0, "newer-crl"), (2, "committed"), (1, "newer-crl")):
            assert statuses(commit(store, entry(PutCRL(ISSUER, number, NOW, NOW + 9, b"%d" % number)))) == [expected]
        record = ask(ledger.find_crl(ISSUER))
        assert record is not None
        assert (record.number, record.this_update, record.next_update, record.der) == (2, NOW, NOW + 9, b"2")
        assert ask(ledger.find_crl_number(ISSUER)) == 2
        assert ask(ledger.find_crl(OTHER_ISSUER)) is None


class TestJobs:
    def due(self, ledger: Ledger, now: int = NOW) -> list[JobRecord]:
        return list(ask(ledger.due_jobs(now)))

    def test_a_job_is_due_at_its_time(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW + 5)), entry(ScheduleJob("clean", "", NOW)))
        assert self.due(ledger) == [JobRecord("clean", "", NOW, 0, 0)]
        assert [job.kind for job in self.due(ledger, NOW + 5)] == ["clean", "crl"]

    def test_one_of_two_takes_the_lease(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW)))
        take = TakeLease("crl", "a", NOW + 30)
        assert statuses(commit(store, entry(take), entry(take))) == ["committed", "lease-free"]
        assert self.due(ledger) == [JobRecord("crl", "a", NOW, NOW + 30, 1)]
        assert statuses(commit(store, entry(take), now=NOW + 29)) == ["lease-free"]
        assert statuses(commit(store, entry(TakeLease("crl", "a", NOW + 60)), now=NOW + 30)) == ["committed"]

    def test_no_lease_on_a_job_that_is_not_due_or_not_there(self, store: Store) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW + 1)))
        for key in ("a", "b"):
            assert statuses(commit(store, entry(TakeLease("crl", key, NOW + 30)))) == ["lease-free"]

    def test_a_fence_ends_with_the_next_lease(self, store: Store) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW)))
        commit(store, entry(TakeLease("crl", "a", NOW + 30)))
        held = LeaseHeld("crl", "a", 1)
        assert statuses(commit(store, entry(guards=(held,)))) == ["committed"]
        commit(store, entry(TakeLease("crl", "a", NOW + 60)), now=NOW + 30)
        assert statuses(commit(store, entry(guards=(held,)))) == ["lease-held"]
        assert statuses(commit(store, entry(guards=(LeaseHeld("crl", "b", 0),)))) == ["lease-held"]

    def test_scheduling_ends_the_lease(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW)))
        commit(store, entry(TakeLease("crl", "a", NOW + 30)))
        commit(store, entry(ScheduleJob("crl", "a", NOW + 100)))
        assert self.due(ledger, NOW + 99) == []
        assert self.due(ledger, NOW + 100) == [JobRecord("crl", "a", NOW + 100, 0, 1)]

    def test_waking_makes_a_job_due_earlier_never_later(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW + 100)))
        commit(store, entry(WakeJob("crl", "a", NOW)), entry(WakeJob("crl", "a", NOW + 50)))
        assert self.due(ledger) == [JobRecord("crl", "a", NOW, 0, 0)]
        commit(store, entry(TakeLease("crl", "a", NOW + 30)), entry(ScheduleJob("crl", "a", NOW + 100)))
        assert self.due(ledger, NOW + 99) == []

    def test_a_wake_during_a_run_is_kept_for_the_next(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(ScheduleJob("crl", "a", NOW)))
        commit(store, entry(TakeLease("crl", "a", NOW + 30)))
        commit(store, entry(WakeJob("crl", "a", NOW + 1)))
        commit(store, entry(ScheduleJob("crl", "a", NOW + 100)))
        assert self.due(ledger, NOW + 1) == [JobRecord("crl", "a", NOW + 1, 0, 1)]

    def test_waking_makes_a_new_job(self, store: Store, ledger: Ledger) -> None:
        commit(store, entry(WakeJob("crl", "a", NOW)))
        assert self.due(ledger) == [JobRecord("crl", "a", NOW, 0, 0)]
