"""A whole CA that goes on from a backup, in a file and on PostgreSQL: who is served, who not, what the log says."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from support.command_line import Desk
from support.load import Attempt, make_request
from support.postgres import new_database
from support.replicas import make_replicas, request_by_certificate
from support.server import RunningProvisor, wait_for

pytestmark = pytest.mark.slow


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@contextmanager
def made(kind: str, folder: Path) -> Iterator[RunningProvisor]:
    """Not started."""
    lists = {"crl": {"enabled": True}}
    if kind == "file":
        yield RunningProvisor(folder, workers=1, settings=lists)
        return
    with new_database() as database:
        yield make_replicas(folder, database, 1, settings=lists)[0]


def issue(ca: RunningProvisor, name: str) -> Attempt:
    attempt = Attempt(ca, name)
    send(ca, attempt)
    assert attempt.status == 201, attempt
    return attempt


def send(ca: RunningProvisor, attempt: Attempt) -> int:
    connection = ca.connect()
    try:
        return attempt.send(connection)
    finally:
        connection.close()


def renew(ca: RunningProvisor, held: Attempt) -> int:
    return request_by_certificate(ca, held, "/1.0/renew").status


def revoke(ca: RunningProvisor, held: Attempt, issued_at: datetime | None = None) -> int:
    serial = str(held.certificate.serial_number)
    token = ca.token(serial, purpose="revoke", issued_at=issued_at)
    return ca.post("/1.0/revoke", {"serial": serial, "ott": token, "reasonCode": 1, "passive": True}).status


@pytest.mark.parametrize("kind", ["file", "postgresql"])
def test_it_goes_on_from_a_backup(kind: str, tmp_path: Path, desk: Desk) -> None:
    (tmp_path / "ca").mkdir()
    with made(kind, tmp_path / "ca") as ca:

        def run(words: str, expected: int = 0) -> str:
            done = desk.run(f"{words} --ca-config {ca.config_file}")
            assert done.status == expected, done.stdout + done.stderr
            return done.stdout + done.stderr

        with ca:
            kept, revoked = issue(ca, "kept.test"), issue(ca, "revoked.test")
            assert revoke(ca, revoked) == 200
            wait_for(lambda: '"sequencerLag":0' in "".join(run("ca status --json").split()), "not in the log", ca)
            run("db backup backup")
            run("db restore backup --check-only")
            run("db restore backup", 2)  # it runs
            spent, waiting = issue(ca, "behind.test"), Attempt(ca, "never.sent.test")
            assert revoke(ca, kept) == 200

            def has_signed_more() -> bool:
                run("ca audit head --force lost")
                return int((desk.cwd / "lost").read_text().splitlines()[2]) >= 6

            wait_for(has_signed_more, "the log is not signed", ca)
            ca.stop()

            told = run("db restore backup --force")
            for serial in (spent.certificate.serial_number, kept.certificate.serial_number):
                assert str(serial) in told, "issued since, and revoked since"
            restored_at = datetime.now(UTC)
            ca.start()

            # Who has a certificate is renewed, also one that nobody remembers; who is revoked in the backup is not.
            assert renew(ca, kept) == 201, "the revocation is lost: the report said so"
            assert renew(ca, spent) == 201
            assert renew(ca, revoked) == 401
            # No token of before, spent or not; one of a minute later, which a clock ahead of ours may make.
            for old in (spent, waiting, Attempt(ca, "too.early.test")):
                assert send(ca, old) == 401, old
            later = restored_at + timedelta(seconds=62)
            token = ca.token("new.test", issued_at=later)
            wait_for(lambda: (datetime.now(UTC) - restored_at).total_seconds() > 3, "", ca)
            assert ca.post("/1.0/sign", {"csr": make_request("new.test"), "ott": token}).status == 201
            # What was revoked since is revoked again.
            assert revoke(ca, kept, later) == 200
            assert renew(ca, kept) == 401

            wait_for(lambda: "Intact" in desk.run(f"ca audit verify --ca-config {ca.config_file}").stdout, "", ca)
            told = run("ca audit verify --head lost", 1)
            assert "log restored: head from outside, of 6: " in told
            assert "says that the log went on at 20" in told
            told = run("ca audit verify --head lost --accept-restores")
            assert "note: head from outside, of 6: " in told
            run("db check --no-signatures")
            run("ca audit export log")
            done = desk.run("ca audit verify log --head lost")
            assert done.status == 1
            assert "log restored" in done.stdout
            assert desk.run("ca audit verify log --head lost --accept-restores").status == 0
