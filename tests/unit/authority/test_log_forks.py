"""A log that went on from a backup: what a head of before is told to be, and what is no excuse for it."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
import pytest
from msgspec.structs import replace

from provisor.authority.audit import EVENT_VERSION, Event, Forked, encode_event
from provisor.authority.log_export import export_lines, verify_export
from provisor.authority.log_forks import Restoration, encode_restore, explain, find_restoration
from provisor.authority.log_report import Finding, LogReport, Wrong
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core.tree_head import SignedHead, TreeHead
from provisor.ports import Entry, LogFork
from support.log_world import LoggedCA

BACKUP = 20
"""Events of the backup."""

LOST = 7
"""Events that were behind it."""


class Restored(LoggedCA):
    """A CA whose log has `BACKUP` events, then `LOST` ones that it loses, then the event that says so, then others."""

    def __init__(self) -> None:
        super().__init__()
        self.fill(BACKUP)
        self.sequence()
        self.early = self.newest()
        saved = self.copy()
        self.fill(LOST)
        self.sequence()
        self.lost = self.newest()
        saved.connection.backup(self._connection())
        saved.connection.close()
        # As the notary of a new process: it has signed no head that this log would contradict.
        self.core._last_head = None

    def tell(self, fork: LogFork | None = None, *, meta: bool = True, event: bool = True) -> None:
        """As `db restore` does."""
        fork = fork or LogFork(BACKUP, self.clock.seconds, self.clock.seconds - 60)
        if event:
            self.put(encode_restore(fork, BACKUP))
        if meta:
            forks = msgspec.json.encode([fork]).decode()
            self._connection().execute("INSERT OR REPLACE INTO meta VALUES ('log_forks', ?)", (forks,))

    def put(self, body: bytes) -> None:
        entry = Entry(id=self.snapshot.generate_id(self.clock.now), event=body)
        assert self.submit(entry).committed

    def go_on(self) -> None:
        self.fill(3)
        self.sequence()

    def look(self, *kept: SignedHead, accept: bool = False) -> LogReport:
        return self.run(verify_log(self.archive, Auditor(self.clock.seconds, kept, accept_restores=accept)))

    def look_at_export(self, *kept: SignedHead, accept: bool = False) -> LogReport:
        async def collect() -> list[bytes]:
            return [line async for line in export_lines(self.archive)]

        return verify_export([("file", self.run(collect()))], Auditor(0, kept, accept_restores=accept))


@pytest.fixture
def ca() -> Iterator[Restored]:
    with Restored() as made:
        yield made


def found(report: LogReport) -> list[tuple[Wrong, int | None]]:
    return [(finding.wrong, finding.place) for finding in report.findings]


@pytest.mark.parametrize("events_since", [0, 3, LOST + 5])
def test_a_head_of_the_lost_part_is_a_finding_that_names_the_restoration(ca: Restored, events_since: int) -> None:
    ca.tell()
    ca.fill(events_since)
    ca.sequence()
    for report in (ca.look(ca.lost), ca.look_at_export(ca.lost)):
        (finding,) = report.findings
        assert (finding.wrong, finding.place) == (Wrong.LOG_RESTORED, BACKUP + 1)
        assert (
            f"{BACKUP + LOST} events, of which those behind {BACKUP} are lost: event {BACKUP + 1} says" in finding.text
        )


def test_whoever_accepts_restorations_gets_a_note(ca: Restored) -> None:
    ca.tell()
    ca.go_on()
    for report in (ca.look(ca.early, ca.lost, accept=True), ca.look_at_export(ca.early, ca.lost, accept=True)):
        assert report.findings == []
        assert any(note.startswith(f"head from outside, of {BACKUP + LOST}: ") for note in report.notes)


def test_a_restoration_is_told_without_any_head(ca: Restored) -> None:
    ca.tell()
    ca.go_on()
    for report in (ca.look(), ca.look_at_export()):
        assert report.findings == []
        (note,) = [note for note in report.notes if "backup" in note]
        assert note.startswith(f"event {BACKUP + 1} says that the log went on at 2026-06-01T")


def test_a_head_of_the_backup_fits(ca: Restored) -> None:
    ca.tell()
    ca.go_on()
    assert ca.look(ca.early).findings == []


def test_without_the_event_nothing_excuses_it(ca: Restored) -> None:
    ca.tell(event=False)
    ca.go_on()
    report = ca.look(ca.lost, accept=True)
    assert found(report) == [(Wrong.RESTORE_UNPROVEN, BACKUP + 1), (Wrong.LOG_TRUNCATED, BACKUP + 4)]


def test_an_event_that_meta_does_not_know_is_a_finding_of_its_own(ca: Restored) -> None:
    ca.tell(meta=False)
    ca.go_on()
    assert found(ca.look(accept=True)) == [(Wrong.RESTORE_UNPROVEN, BACKUP + 1)]


def test_an_event_that_is_under_no_head_yet_excuses_nothing(ca: Restored) -> None:
    ca.tell()
    assert found(ca.look(ca.lost, accept=True)) == [(Wrong.LOG_TRUNCATED, BACKUP + 1)]


def test_nor_does_one_that_was_altered(ca: Restored) -> None:
    ca.put(b'{"v":1,"at":"2026-06-01T12:00:00Z","operation":"x509-sign","outcome":"refused"}')
    ca.go_on()
    fork = LogFork(BACKUP, ca.clock.seconds, ca.clock.seconds - 60)
    ca._connection().execute("UPDATE events SET body = ? WHERE n = ?", (encode_restore(fork, BACKUP), BACKUP + 1))
    ca.tell(fork, event=False)
    assert found(ca.look(ca.lost, accept=True)) == [
        (Wrong.EVENT_ALTERED, BACKUP + 1),
        (Wrong.LOG_TRUNCATED, BACKUP + 5),
    ]


def test_nor_one_at_another_place_than_it_names(ca: Restored) -> None:
    ca.fill(2)
    ca.tell()
    ca.go_on()
    assert found(ca.look(ca.lost, accept=True)) == [
        (Wrong.RESTORE_UNPROVEN, BACKUP + 1),
        (Wrong.LOG_TRUNCATED, BACKUP + 7),
    ]


def test_a_head_signed_after_the_restoration_is_not_excused_by_it(ca: Restored) -> None:
    """The log was cut back a second time, and nobody says so."""
    ca.tell()
    ca.go_on()
    saved = ca.copy()
    ca.clock.advance(minutes=5)
    ca.go_on()
    later = ca.newest()
    saved.connection.backup(ca._connection())
    saved.connection.close()
    assert found(ca.look(later, accept=True)) == [(Wrong.LOG_TRUNCATED, BACKUP + 5)]


def test_a_restoration_that_dates_itself_later_excuses_no_more(ca: Restored) -> None:
    far = ca.clock.seconds + 10**8
    ca.tell(LogFork(BACKUP, far, far))
    ca.go_on()
    saved = ca.copy()
    ca.clock.advance(minutes=5)
    ca.go_on()
    later = ca.newest()
    saved.connection.backup(ca._connection())
    saved.connection.close()
    assert found(ca.look(later, accept=True)) == [(Wrong.LOG_TRUNCATED, BACKUP + 5)]


def test_meta_that_cannot_be_read_is_a_finding(ca: Restored) -> None:
    ca.go_on()
    for text in ("{", "[1]", '[{"size":"a"}]'):
        ca._connection().execute("INSERT OR REPLACE INTO meta VALUES ('log_forks', ?)", (text,))
        assert found(ca.look()) == [(Wrong.RESTORE_UNPROVEN, None)]


def test_a_restoration_whose_event_is_forgotten_by_age_is_a_note_and_excuses_nothing(ca: Restored) -> None:
    ca.tell()
    ca.go_on()
    ca._connection().execute("DELETE FROM events WHERE n <= 22")
    ca._connection().execute("INSERT INTO meta VALUES ('events_dropped', '22')")
    report = ca.look()
    assert report.findings == []
    assert any("which told of it, is forgotten by age" in note for note in report.notes)
    assert found(ca.look(ca.lost, accept=True)) == [(Wrong.LOG_TRUNCATED, BACKUP + 5)]


# -- the rules by themselves -------------------------------------------------------------------------

RESTORATION = Restoration(10, 1000, "2026-06-01T11:00:00Z")
COVER = TreeHead("a", 11, bytes(32), 1005, bytes(32))
HEAD = TreeHead("a", 15, bytes(32), 990, bytes(32))


@pytest.mark.parametrize(
    ("head", "cover", "excused"),
    [
        (HEAD, COVER, True),
        (replace(HEAD, size=11), COVER, True),
        (replace(HEAD, size=10), COVER, False),
        (replace(HEAD, at=1060), COVER, True),
        (replace(HEAD, at=1061), COVER, False),
        (HEAD, replace(COVER, size=10), False),
        (HEAD, replace(COVER, at=900), False),
    ],
)
def test_what_is_excused(head: TreeHead, cover: TreeHead, excused: bool) -> None:
    assert explain(head, [RESTORATION], [cover], LogReport()) == (RESTORATION if excused else None)


def test_of_several_the_one_that_was_the_first_to_cut_it_off() -> None:
    later = Restoration(12, 2000, "")
    cover = replace(COVER, size=99, at=3000)
    assert explain(HEAD, [RESTORATION, later], [cover], LogReport()) == RESTORATION
    assert explain(replace(HEAD, at=1500), [RESTORATION, later], [cover], LogReport()) == later


def test_while_findings_are_left_out_of_the_report_nothing_is_excused() -> None:
    report = LogReport()
    report.findings = [Finding(Wrong.TILE_ALTERED, "", "")] * 1000
    report.add(Wrong.TILE_ALTERED, "", "")
    assert explain(HEAD, [RESTORATION], [COVER], report) is None


@pytest.mark.parametrize(
    "event",
    [
        Event(EVENT_VERSION, "2026-06-01T12:00:00Z", "restore", "granted"),
        Event(EVENT_VERSION, "2026-06-01T12:00:00Z", "restore", "granted", fork=Forked(5, "")),
        Event(EVENT_VERSION, "yesterday", "restore", "granted", fork=Forked(6, "")),
        Event(EVENT_VERSION, "2026-06-01T12:00:00Z", "x509-sign", "granted", fork=Forked(6, "")),
    ],
)
def test_what_tells_of_no_restoration_at_its_place(event: Event) -> None:
    assert find_restoration(7, event) is None
    assert encode_event(event)
