"""The sequencer: what it writes, when, and what it does not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from provisor.app.jobs import JobRunner
from provisor.authority.audit import Event, encode_event, parse_event
from provisor.authority.log import LOG_JOB, Sequencer, gap_data, spare_heads
from provisor.authority.log_report import Wrong
from provisor.core.tree_head import parse_head
from provisor.ports import Entry, HeadRecord, IndexReach, JobRecord, TakeLease
from support.log_world import LoggedCA


@pytest.fixture
def ca() -> Iterator[LoggedCA]:
    with LoggedCA() as made:
        yield made


def size_of(ca: LoggedCA) -> int:
    return ca.run(ca.archive.log_size())


def heads(ca: LoggedCA) -> list[int]:
    return [head.size for head in ca.run(ca.archive.heads(0, 100))]


def job_of(ca: LoggedCA) -> JobRecord:
    return next(job for job in ca.run(ca.store.ledger.due_jobs(ca.clock.seconds)) if job.kind == LOG_JOB)


def test_what_is_new_gets_into_the_tree_under_a_head(ca: LoggedCA) -> None:
    ca.fill(5)
    ca.sequence()
    assert size_of(ca) == 5
    head = parse_head(ca.newest().text)
    assert (head.size, head.issuer, head.at) == (5, ca.snapshot.issuer.id, ca.clock.seconds)
    assert head.authority == ca.run(ca.archive.authority_id())


def test_nothing_is_written_while_nothing_is_new(ca: LoggedCA) -> None:
    ca.fill(5)
    ca.sequence()
    before = ca.copy().execute("SELECT count(*) FROM receipts")
    for _ in range(5):
        ca.sequence()
    assert ca.copy().execute("SELECT count(*) FROM receipts") == before
    assert heads(ca) == [5]


def test_a_backlog_is_caught_up_with_in_batches_under_one_head(ca: LoggedCA) -> None:
    ca.fill(2300)
    ca.sequence()
    assert size_of(ca) == 2300
    assert heads(ca) == [2300]
    assert ca.verify().passed


def test_it_does_not_run_more_than_twice_a_second(ca: LoggedCA) -> None:
    ca.fill(1)
    ca.sequence()
    ca.fill(1)
    ca.clock.advance(milliseconds=100)
    ca.run(ca.runner.run_due())
    assert size_of(ca) == 1
    ca.clock.advance(milliseconds=500)
    ca.run(ca.runner.run_due())
    assert size_of(ca) == 2


def test_another_process_goes_on_where_one_ended(ca: LoggedCA) -> None:
    for number in range(4):
        ca.fill(100)
        ca.clock.advance(seconds=10)
        ca.run(JobRunner(lambda: ca.snapshot, lambda text: pytest.fail(text)).run_due())
        assert size_of(ca) == 100 * (number + 1)
    assert ca.verify().passed


def test_while_another_has_the_lease_nothing_is_done(ca: LoggedCA) -> None:
    ca.fill(3)
    job = job_of(ca)
    lease = Entry(
        id=ca.snapshot.generate_id(ca.clock.now), writes=(TakeLease(job.kind, job.key, ca.clock.seconds + 10),)
    )
    assert ca.submit(lease).committed
    ca.sequence()
    assert size_of(ca) == 0
    ca.clock.advance(seconds=10)
    ca.sequence()
    assert size_of(ca) == 3


def test_under_its_own_lease_it_goes_on_without_taking_it_again(ca: LoggedCA) -> None:
    ca.fill(1)
    ca.sequence()
    fence = job_of(ca).fence
    ca.fill(1)
    ca.sequence()
    assert (job_of(ca).fence, size_of(ca)) == (fence, 2)


def test_two_of_them_make_one_log(ca: LoggedCA) -> None:
    others = [Sequencer(lambda text: pytest.fail(text)) for _ in range(2)]
    for _ in range(6):
        ca.fill(7)
        ca.clock.advance(seconds=3)
        job = job_of(ca)
        ca.together(*(each.run(ca.snapshot, job) for each in others))
    assert size_of(ca) == 42
    assert ca.verify().passed


def test_a_missing_event_gets_a_gap_and_an_alarm_and_the_log_goes_on(ca: LoggedCA) -> None:
    complaints: list[str] = []
    sequencer = Sequencer(complaints.append)
    ca.fill(9)
    ca._connection().execute("DELETE FROM events WHERE n IN (3, 5, 6)")
    for _ in range(3):
        ca.clock.advance(seconds=2)
        ca.run(sequencer.run(ca.snapshot, job_of(ca)))
    (complaint,) = complaints
    assert complaint.startswith("audit log: 3 events are missing, 3 to 6: gone before the log got there")
    assert (size_of(ca), heads(ca), ca.run(ca.archive.log_gaps())) == (9, [9], 3)
    report = ca.verify(ca.newest())
    assert [(finding.wrong, finding.where) for finding in report.findings] == [
        (Wrong.LOG_GAP, "event 3"),
        (Wrong.LOG_GAP, "events 5 to 6"),
    ]


def test_the_inventory_goes_on_behind_it_too(ca: LoggedCA) -> None:
    ca.runner = JobRunner(lambda: ca.snapshot, lambda _: None)
    ca.fill(2)
    ca._connection().execute("DELETE FROM events WHERE n = 1")
    leaf = ca.issue()
    ca.sequence()
    ca.sequence()
    assert ca.run(ca.archive.index_reach()) == IndexReach(3, 3)
    found = ca.run(ca.archive.find_issued(ca.snapshot.issuer.id, leaf.certificate.serial_number))
    assert found is not None
    assert found.place == 3


def test_events_that_are_gone_at_the_end_are_told_once_a_minute_and_new_ones_stand_behind_them(ca: LoggedCA) -> None:
    complaints: list[str] = []
    sequencer = Sequencer(complaints.append)
    ca.fill(5)
    ca.sequence()
    ca._connection().execute("DELETE FROM events WHERE n > 3")
    for _ in range(50):
        ca.clock.advance(seconds=2)
        ca.run(sequencer.run(ca.snapshot, job_of(ca)))
    assert complaints == ["audit log: 2 events are missing, 4 to 5: gone from the database"] * 2
    ca.fill(1)
    ca.clock.advance(seconds=2)
    ca.run(sequencer.run(ca.snapshot, job_of(ca)))
    assert size_of(ca) == 6
    (finding,) = ca.verify().findings
    assert (finding.wrong, finding.where) == (Wrong.EVENT_MISSING, "events 4 to 5")


def test_an_event_that_was_moved_far_away_is_told_and_found(ca: LoggedCA) -> None:
    complaints: list[str] = []
    sequencer = Sequencer(complaints.append)
    ca.fill(5)
    ca._connection().execute("UPDATE events SET n = ? WHERE n = 5", (10**15,))
    ca.fill(2)
    for _ in range(5):
        ca.clock.advance(seconds=2)
        ca.run(sequencer.run(ca.snapshot, job_of(ca)))
    assert complaints == [f"audit log: event {10**15} stands far away from all others: somebody moved it there"]
    assert size_of(ca) == 6
    assert [(finding.wrong, finding.place) for finding in ca.verify().findings] == [(Wrong.EVENT_MOVED, 10**15)]


def test_no_event_has_the_leaf_of_a_gap() -> None:
    for place in (1, 300, 2**62):
        with pytest.raises(ValueError, match="JSON is malformed"):
            parse_event(gap_data(place)[16:])
        assert gap_data(place)[16:17] != encode_event(Event(1, "", "", ""))[:1]


def test_a_tile_that_is_gone_stops_it(ca: LoggedCA) -> None:
    ca.fill(260)
    ca.sequence()
    ca._connection().execute("DELETE FROM log_tiles WHERE level = 1")
    complaints: list[str] = []
    ca.fill(1)
    ca.clock.advance(seconds=10)
    ca.run(Sequencer(complaints.append).run(ca.snapshot, job_of(ca)))
    assert complaints == ["audit log: tile (1, 0) of the tree is missing or short"]


def test_after_a_new_issuer_heads_are_signed_by_it(ca: LoggedCA) -> None:
    ca.fill(2)
    ca.sequence()
    ca.reconfigure(ca.document)
    ca.fill(2)
    ca.sequence()
    assert heads(ca) == [2, 4]
    assert ca.verify().passed


def test_of_old_heads_one_an_hour_stays(ca: LoggedCA) -> None:
    for _ in range(9):
        ca.fill(1)
        ca.clock.advance(minutes=20)
        ca.sequence()
    ca.clock.advance(hours=1)
    ca.sequence()
    kept = ca.run(ca.archive.heads(0, 100))
    hours = [head.at // 3600 for head in kept if head.at <= ca.clock.seconds - 3600]
    assert len(hours) == len(set(hours))
    assert kept[-1].size == 9
    assert ca.verify().passed


@pytest.mark.parametrize(
    ("ats", "spare"),
    [
        ([], []),
        ([0], []),
        ([0, 1, 2], [1, 2]),
        ([0, 3599, 3600, 7199], [1, 3]),
        ([0, 1, 99_000, 99_001], [1]),
        ([95_000, 95_100, 97_000, 97_001, 99_999], [1]),
    ],
)
def test_all_heads_of_the_last_hour_stay_and_the_last_of_each_other(ats: list[int], spare: list[int]) -> None:
    heads = [HeadRecord(size, at, b"", b"") for size, at in enumerate(ats, start=1)]
    assert spare_heads(heads, now=100_000) == spare
