"""A disk that is full, or fails, under the notary alone: libfiu (Debian: fiu-utils) fails its system calls."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest

from support.load import NOTHING_ISSUED, OUTCOME_UNKNOWN, Load, attempts, check_accounts, check_answers
from support.server import RunningProvisor

pytestmark = pytest.mark.slow

LIBRARIES = Path("/usr/lib/fiu")
WRITE = "posix/io/rw/pwrite"
READ = "posix/io/rw/pread"
SYNC = ("posix/io/sync/fsync", "posix/io/sync/fdatasync")

RECOVERY_SECONDS = 10.0
"""From the end of a fault until the CA issues again."""


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[RunningProvisor]:
    """A CA into whose processes faults can be injected."""
    if shutil.which("fiu-ctrl") is None:
        reason = "fiu-ctrl is not installed: apt-get install fiu-utils"
        if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
            pytest.fail(reason)
        pytest.skip(reason)
    environment = {
        "LD_PRELOAD": f"{LIBRARIES / 'fiu_run_preload.so'} {LIBRARIES / 'fiu_posix_preload.so'}",
        "FIU_CTRL_FIFO": str(tmp_path / "fiu"),
        "FIU_ENABLE": "",
    }
    with RunningProvisor(tmp_path, environment=environment) as running:
        yield running


@contextmanager
def failing(ca: RunningProvisor, role: str, faults: Mapping[str, int], *, probability: float = 1) -> Iterator[None]:
    """Inside the block these calls fail with these errors, in all processes of the role."""
    with ExitStack() as stack:
        for name, error in faults.items():
            stack.callback(_control, ca, role, f"disable name={name}")
            often = "enable" if probability == 1 else "enable_random"
            _control(ca, role, f"{often} name={name},failinfo={error},probability={probability}")
        yield


def _control(ca: RunningProvisor, role: str, command: str) -> None:
    pids = [str(pid) for pid in ca.pids(role)]
    arguments = ["fiu-ctrl", "-f", str(ca.folder / "fiu"), "-c", command, *pids]
    said = subprocess.run(arguments, capture_output=True, text=True, check=True, timeout=10)
    assert not said.stdout + said.stderr


FAULTS = {
    "full disk": {WRITE: errno.ENOSPC},
    "write error": {WRITE: errno.EIO},
    "fsync error": dict.fromkeys(SYNC, errno.EIO),
    "dead disk": dict.fromkeys((WRITE, READ, *SYNC), errno.EIO),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_nothing_is_issued_on_a_bad_disk_and_all_is_well_when_it_is_good_again(ca: RunningProvisor, fault: str) -> None:
    notary = ca.pids("notary")
    before = Load(ca, attempts(ca, "before", 10)).run()
    assert {attempt.status for attempt in before} == {201}
    with failing(ca, "notary", FAULTS[fault]):
        during = Load(ca, attempts(ca, "during", 20)).run()
        assert {attempt.status for attempt in during} == {503}
        check_answers(during)
        ready = ca.get("/ready")
        assert ready.status == 503
        assert ready.headers["retry-after"].isdigit()
        assert ca.get("/health").status == 200
    ca.await_ready(RECOVERY_SECONDS)
    check_accounts(ca, [*before, *during])
    assert ca.pids("notary") == notary, "it recovers without a restart"


def test_a_full_disk_leaves_no_doubt(ca: RunningProvisor) -> None:
    with failing(ca, "notary", FAULTS["full disk"]):
        made = Load(ca, attempts(ca, "full", 10)).run()
    assert all(NOTHING_ISSUED in attempt.message for attempt in made), made


def test_a_failed_fsync_is_not_believed_until_the_disk_says_what_it_has(ca: RunningProvisor) -> None:
    (first,) = attempts(ca, "first", 1)
    with failing(ca, "notary", FAULTS["fsync error"]):
        with failing(ca, "notary", {READ: errno.EIO}):
            Load(ca, [first], threads=1).run()
            assert OUTCOME_UNKNOWN in first.message, first
        second = Load(ca, attempts(ca, "second", 4)).run()
        assert {attempt.status for attempt in second} == {503}
    with failing(ca, "notary", {READ: errno.EIO}):
        third = Load(ca, attempts(ca, "third", 4)).run()
        assert {attempt.status for attempt in third} == {503}, "the store cannot be read, so it is not opened"
    ca.await_ready(RECOVERY_SECONDS)
    check_accounts(ca, [first, *second, *third])


def test_a_disk_that_fails_now_and_then_loses_nothing_under_load(ca: RunningProvisor) -> None:
    faults = {WRITE: errno.ENOSPC, READ: errno.EIO, **dict.fromkeys(SYNC, errno.EIO)}
    with failing(ca, "notary", faults, probability=0.02):
        made = Load(ca, attempts(ca, "sometimes", 400), threads=6).run()
    ca.await_ready(RECOVERY_SECONDS)
    assert {attempt.status for attempt in made} == {201, 503}
    check_accounts(ca, made)


def test_workers_that_cannot_read_the_store_issue_nothing(ca: RunningProvisor) -> None:
    workers = ca.pids("worker")
    with failing(ca, "worker", {READ: errno.EIO, "posix/io/oc/open": errno.EIO}):
        during = Load(ca, attempts(ca, "blind", 10)).run()
    ca.await_ready(RECOVERY_SECONDS)
    assert {attempt.status for attempt in during} == {503}
    assert all(NOTHING_ISSUED in attempt.message for attempt in during), during
    check_accounts(ca, during)
    assert ca.pids("worker") == workers
