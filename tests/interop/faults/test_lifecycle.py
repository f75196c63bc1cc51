"""The end, wanted or not, and the start beside another server."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.load import Load, Stored, attempts, check_accounts, check_answers
from support.server import PATIENCE, RunningProvisor, exchange, is_listening, wait_for

pytestmark = pytest.mark.slow

START_FAILED = 2


def test_sigterm_answers_what_is_in_flight_and_leaves_nothing_behind(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        assert ca.pidfile.read_text() == f"{ca.process.pid}\n"
        made = attempts(ca, "flight", 12)
        idle = ca.connect()
        connections = [ca.connect() for _ in made]
        for connection in (idle, *connections):
            exchange(connection, "GET", "/health")
        (notary,) = ca.pids("notary")
        os.kill(notary, signal.SIGSTOP)  # so that everything is in flight until it goes on
        threads = [
            threading.Thread(target=attempt.send, args=(connection,))
            for attempt, connection in zip(made, connections, strict=True)
        ]
        for thread in threads:
            thread.start()
        wait_for(lambda: all(attempt.began for attempt in made), "not sent", ca)
        time.sleep(0.2)
        ca.everybody()
        ca.process.send_signal(signal.SIGTERM)
        ca.await_log("shutting down ...")
        with closing(idle):
            assert idle.sock is not None
            assert idle.sock.recv(1) == b"", "a connection without a request is closed"
        wait_for(lambda: not is_listening(ca.port), "it still listens", ca)
        assert ca.process.poll() is None
        os.kill(notary, signal.SIGCONT)
        assert ca.process.wait(PATIENCE) == 0
        for thread, connection in zip(threads, connections, strict=True):
            thread.join()
            connection.close()
        assert [attempt.status for attempt in made] == [201] * len(made), made
        assert {attempt.answer.headers["connection"] for attempt in made if attempt.answer} == {"close"}
        assert not ca.pidfile.exists()
        assert not list(ca.runtime.iterdir())
        assert len(Stored(ca.store).certificates) == len(made)


def test_sigterm_under_load_loses_nothing(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        load = Load(ca, attempts(ca, "load", 2000), threads=4)
        load.start()
        wait_for(lambda: load.answered > 50, "no load", ca)
        assert ca.stop() == 0
        load.stop()
        made = load.join()
        check_answers(made)
        assert not [attempt for attempt in made if attempt.status == 503], "workers end before the notary"
        ca.start()
        check_accounts(ca, made[:300])


def test_a_second_server_on_the_address_is_refused(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        second = RunningProvisor(_folder(tmp_path), settings={"address": f"127.0.0.1:{ca.port}"})
        status, said = _refusal(second)
        assert status == START_FAILED
        assert said == f"listen tcp 127.0.0.1:{ca.port}: bind: address already in use\n"
        check_accounts(ca, Load(ca, attempts(ca, "first", 4)).run())


def test_a_second_server_on_the_database_is_refused(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        (notary,) = ca.pids("notary")
        second = RunningProvisor(_folder(tmp_path), settings={"db": ca.config["db"]})
        status, said = _refusal(second)
        assert status == START_FAILED
        assert said == f"{ca.store}: in use by process {notary}\n"
        check_accounts(ca, Load(ca, attempts(ca, "first", 4)).run())


def test_the_same_server_twice_is_refused_and_the_first_keeps_its_pid_file(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        second = ca.spawn()
        assert second.wait(PATIENCE) == START_FAILED
        assert ca.pidfile.read_text() == f"{ca.process.pid}\n"
        check_accounts(ca, Load(ca, attempts(ca, "first", 4)).run())


@pytest.mark.parametrize("pause", [0.0, 0.05, 0.3])
def test_all_end_with_a_supervisor_that_is_killed_and_a_new_one_starts_at_once(tmp_path: Path, pause: float) -> None:
    with RunningProvisor(tmp_path) as ca:
        load = Load(ca, attempts(ca, "load", 1500), threads=3)
        load.start()
        wait_for(lambda: load.answered > 20, "no load", ca)
        time.sleep(pause)
        old = ca.everybody()
        ca.process.kill()
        killed = time.monotonic()
        ca.process.wait()
        ca.start()
        assert not set(ca.everybody()) & set(old)
        wait_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in old[1:]), "processes live on", ca, 5.0)
        assert time.monotonic() - killed < 5
        load.stop()
        check_accounts(ca, load.join()[:200])


def test_all_end_when_the_supervisor_is_killed_in_the_middle_of_its_start(tmp_path: Path) -> None:
    ca = RunningProvisor(tmp_path)
    for pause in (0.2, 0.35, 0.5, 0.65):
        process = ca.spawn()
        time.sleep(pause)
        children = [int(word) for word in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()]
        process.kill()
        process.wait()
        wait_for(lambda gone=children: not any(map(_is_alive, gone)), "children live on", ca, 5.0)  # type: ignore[misc]
    with ca:
        check_accounts(ca, Load(ca, attempts(ca, "then", 4)).run())


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


def _folder(tmp_path: Path) -> Path:
    folder = tmp_path / "second"
    folder.mkdir()
    return folder


def _refusal(ca: RunningProvisor) -> tuple[int, str]:
    """Status and text of a start that fails, and leaves nothing."""
    process = ca.spawn()
    try:
        status = process.wait(PATIENCE)
        assert not list(ca.runtime.iterdir())
        assert not ca.pidfile.exists()
        return status, ca.log
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(ca.runtime)
