"""Without a database: what was spent is known until the notary's end, and what is older than that end is refused."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from support.load import Attempt, Load, attempts
from support.server import RunningProvisor

pytestmark = pytest.mark.slow


def _next_second() -> None:
    """Tokens say when they were issued in whole seconds."""
    time.sleep(1.05 - time.time() % 1)


def _send(ca: RunningProvisor, attempt: Attempt) -> int:
    return Load(ca, [attempt], threads=1).run()[0].status


def test_a_token_works_once_and_nothing_can_be_revoked(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, database=False) as ca:
        _next_second()
        made = Load(ca, attempts(ca, "first", 20)).run()
        assert {attempt.status for attempt in made} == {201}
        serial = str(made[0].certificate.serial_number)
        again = Load(ca, made).run()
        assert {attempt.status for attempt in again} == {401}
        token = ca.token(serial, purpose="revoke")
        answer = ca.post("/1.0/revoke", {"serial": serial, "ott": token, "passive": True})
        assert answer.status == 501
        assert not (tmp_path / "db").exists()


@pytest.mark.parametrize("reloads", [0, 1])
def test_tokens_from_before_the_notary_died_are_refused(tmp_path: Path, reloads: int) -> None:
    with RunningProvisor(tmp_path, database=False) as ca:
        for _ in range(reloads):
            ca.reload()
        for times in range(1, 4):
            _next_second()
            used, unused = attempts(ca, f"round{times}", 2)
            assert _send(ca, used) == 201
            os.kill(ca.pids("notary")[0], signal.SIGKILL)
            ca.await_log("the notary process is back", times)
            ca.await_ready()
            for attempt in (used, unused) * 4:
                assert _send(ca, attempt) == 401, attempt
        _next_second()
        made = Load(ca, attempts(ca, "fresh", 20)).run()
        assert {attempt.status for attempt in made} == {201}


def test_no_token_works_twice_when_the_notary_dies_at_any_moment(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, database=False) as ca:
        _next_second()
        load = Load(ca, attempts(ca, "burst", 1500), threads=4)
        load.start()
        for times in range(1, 3):
            time.sleep(0.3)
            os.kill(ca.pids("notary")[0], signal.SIGKILL)
            ca.await_log("the notary process is back", times)
        time.sleep(0.2)
        load.stop()
        made = load.join()
        ca.await_ready()
        granted = [attempt for attempt in made if attempt.status == 201]
        assert granted
        assert {attempt.status for attempt in Load(ca, granted).run()} == {401}


def test_a_token_from_before_a_restart_is_refused(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, database=False) as ca:
        _next_second()
        used, unused = attempts(ca, "restart", 2)
        assert _send(ca, used) == 201
        assert ca.stop() == 0
        ca.start()
        assert [_send(ca, attempt) for attempt in (used, unused)] == [401, 401]
