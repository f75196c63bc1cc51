"""A CA whose audit log has certificates, revocations and enough events for several tiles; hands on its tables."""

from __future__ import annotations

import asyncio
import sqlite3
from typing import Any, Final, final

from provisor.app.jobs import JobRunner, schedule_first
from provisor.authority.audit import EVENT_VERSION, Event, encode_event
from provisor.authority.log_report import LogReport
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core import merkle
from provisor.core.durations import format_rfc3339
from provisor.core.tree_head import SignedHead
from provisor.ports import Archive, Entry
from provisor.storage.archive import SQLiteArchive
from support.authority import MemoryCA

FILLERS: Final = 540


def complain(text: str) -> None:
    raise AssertionError(text)


class LoggedCA(MemoryCA):
    """`sequence` runs the jobs; a head is signed by it whenever something is new."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(seed=7, **settings)
        self.runner = JobRunner(lambda: self.snapshot, complain)
        self.run(schedule_first(self.snapshot))

    def sequence(self) -> None:
        self.clock.advance(seconds=2)
        self.run(self.runner.run_due())

    def fill(self, count: int) -> None:
        """Events of requests that were refused."""
        for number in range(count):
            self.clock.advance(milliseconds=1)
            body = encode_event(
                Event(EVENT_VERSION, format_rfc3339(self.clock.now), "x509-sign", "refused", request=str(number))
            )
            outcome = self.submit(Entry(id=self.snapshot.generate_id(self.clock.now), event=body))
            assert outcome.committed

    def revoke(self, serial: int) -> None:
        body = {"serial": str(serial), "ott": self.revoke_token(serial), "reasonCode": 1, "passive": True}
        answer = self.call("POST", "/1.0/revoke", body)
        assert answer.status == 200, answer.body

    @property
    def archive(self) -> Archive:
        return self.store.archive

    def verify(self, *kept: SignedHead) -> LogReport:
        return self.run(verify_log(self.archive, Auditor(self.clock.seconds, kept)))

    def newest(self) -> SignedHead:
        record = self.run(self.archive.newest_head())
        assert record is not None
        return SignedHead(record.text, record.signature)

    def copy(self) -> LogCopy:
        """The database as it is now, to be tampered with."""
        connection = sqlite3.connect(":memory:", isolation_level=None)
        self._connection().backup(connection)
        return LogCopy(connection, self.clock.seconds)


@final
class LogCopy:
    """Tables of a log in hands that can write."""

    def __init__(self, connection: sqlite3.Connection, now: int) -> None:
        self.connection = connection
        self.archive = SQLiteArchive(lambda: connection)
        self._now = now

    def execute(self, statement: str, *values: object) -> list[Any]:
        return self.connection.execute(statement, values).fetchall()

    def scalar(self, statement: str, *values: object) -> Any:
        return self.execute(statement, *values)[0][0]

    def verify(self, *kept: SignedHead, signatures: bool = True) -> LogReport:
        return asyncio.run(verify_log(self.archive, Auditor(self._now, kept, signatures=signatures)))

    def rebuild(self) -> None:
        """Tiles that fit the events as they are, and no heads: what needs no key."""
        rows = self.execute("SELECT id, body FROM events ORDER BY n")
        leaves = [merkle.hash_leaf(entry + body) for entry, body in rows]
        self.execute("DELETE FROM log_tiles")
        for tile in merkle.append(merkle.Edge(), leaves)[1]:
            self.execute("INSERT INTO log_tiles VALUES (?, ?, ?)", tile.level, tile.index, tile.hashes)


def make_log() -> LoggedCA:
    """Three certificates, one of them revoked, among more than two tiles of events; two heads."""
    ca = LoggedCA()
    ca.issue()
    ca.fill(FILLERS // 2)
    ca.sequence()
    revoked = ca.issue()
    ca.issue()
    ca.revoke(revoked.serial)
    ca.fill(FILLERS - FILLERS // 2)
    ca.sequence()
    return ca
