"""What the cleaning job forgets, when, and what stays."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator

import pytest

from provisor.app.jobs import JobRunner, schedule_first
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core.durations import HOUR, Duration
from provisor.ports import DropSpentTokens, Entry
from support.authority import MemoryCA, make_config
from support.credentials import Party, make_csr, make_key, make_signer

DAY = 24 * 3600


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    yield from ca_with()


def ca_with(**retention: str) -> Iterator[MemoryCA]:
    signer = make_signer("ci")
    members = {"provisor": {"retention": retention}} if retention else {}
    with MemoryCA(make_config(signer.entry(), **members), signers=[signer]) as ca:
        ca.run(schedule_first(ca.snapshot))
        yield ca


def run_jobs(ca: MemoryCA, rounds: int = 4) -> list[str]:
    """Some seconds of the jobs process; what it complained of."""
    complaints: list[str] = []
    jobs = JobRunner(lambda: ca.snapshot, complaints.append)
    for _ in range(rounds):
        ca.run(jobs.run_due())
        ca.clock.advance(seconds=2)
    return complaints


def count(ca: MemoryCA, table: str) -> int:
    return int(ca.store._get_connection().execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def serial(party: Party) -> int:
    return party.certificate.serial_number


def test_an_hour_later_only_the_receipts_of_the_cleaning_itself_are_left(ca: MemoryCA) -> None:
    run_jobs(ca)
    before = count(ca, "receipts")
    assert before
    ca.clock.advance(hours=2)
    run_jobs(ca)
    assert 0 < count(ca, "receipts") < before + 30
    oldest = ca.store._get_connection().execute("SELECT min(id) FROM receipts").fetchone()[0]
    assert int.from_bytes(oldest[:6], "big") / 1000 > ca.clock.seconds - 60


def test_a_spent_token_is_remembered_while_it_would_still_be_taken(ca: MemoryCA) -> None:
    """A token that has ended is taken for another minute; cleaning runs meanwhile."""
    token = ca.token()
    body = {"csr": make_csr(make_key(), names=["a.test"]), "ott": token}
    assert ca.call("POST", "/sign", body).status == 201
    ca.clock.advance(seconds=300 + 30)
    for before in (ca.clock.seconds, ca.clock.seconds - 1):
        ca.submit(Entry(id=ca.snapshot.generate_id(ca.clock()), writes=(DropSpentTokens(before, 1000),)))
    run_jobs(ca)
    assert ca.call("POST", "/sign", body).status == 401


def test_a_certificate_is_kept_ninety_days_after_its_end(ca: MemoryCA) -> None:
    leaf = ca.issue()
    run_jobs(ca)
    ca.clock.advance(days=90)
    run_jobs(ca)
    assert count(ca, "certificates") == 1
    ca.clock.advance(days=2)
    run_jobs(ca)
    assert (count(ca, "certificates"), count(ca, "terms")) == (0, 0)
    archive = ca.store.archive
    kept = ca.run(archive.find_expired(ca.snapshot.issuer.id, serial(leaf)))
    assert kept is not None
    assert kept.fingerprint == hashlib.sha256(leaf.der).digest()
    record = ca.run(ca.store.ledger.find_certificate(ca.snapshot.issuer.id, serial(leaf)))
    assert record is not None
    assert record.provisioner_name == "ci"


def test_events_stay_and_the_log_verifies_when_certificates_are_gone(ca: MemoryCA) -> None:
    for _ in range(3):
        ca.issue()
    run_jobs(ca)
    ca.clock.advance(days=100)
    run_jobs(ca)
    assert count(ca, "events") == 3
    assert_log_holds(ca)


def test_events_are_dropped_when_they_are_told_to_be_and_their_certificates_are_gone() -> None:
    for ca in ca_with(events="24h", certificates="48h"):
        for _ in range(3):
            ca.issue()
        run_jobs(ca)
        ca.clock.advance(days=2)
        ca.issue()
        run_jobs(ca)
        assert (count(ca, "certificates"), count(ca, "events")) == (4, 4)
        ca.clock.advance(days=1, hours=2)
        run_jobs(ca, rounds=8)
        assert (count(ca, "certificates"), count(ca, "events")) == (1, 1)
        assert_log_holds(ca)
        ca.issue()
        run_jobs(ca)
        assert_log_holds(ca)


def test_for_ever_is_for_ever() -> None:
    for ca in ca_with(certificates="forever"):
        ca.issue()
        run_jobs(ca)
        ca.clock.advance(days=5000)
        run_jobs(ca)
        assert count(ca, "certificates") == 1


def test_many_are_forgotten_a_little_at_a_time(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisor.app.retention._CERTIFICATES", 3)
    for _ in range(40):
        ca.issue()
    run_jobs(ca)
    ca.clock.advance(days=100)
    left = []
    for _ in range(6):
        run_jobs(ca, rounds=1)
        left.append(count(ca, "certificates"))
    assert left[0] >= 40 - 6 * 3
    assert left[-1] == 0
    assert count(ca, "expired_certificates") == 40


def test_a_renewed_line_goes_on_behind_a_certificate_that_was_forgotten(ca: MemoryCA) -> None:
    assert Duration(90 * 24 * HOUR) == ca.snapshot.config.provisor.retention.certificates
    first = ca.issue()
    run_jobs(ca)
    ca.clock.advance(days=100)
    run_jobs(ca)
    record = ca.run(ca.store.ledger.find_certificate(ca.snapshot.issuer.id, serial(first)))
    assert record is not None
    assert record.lineage == serial(first)


def assert_log_holds(ca: MemoryCA) -> None:
    report = asyncio.run(verify_log(ca.store.archive, Auditor(ca.clock.seconds)))
    assert report.findings == []
