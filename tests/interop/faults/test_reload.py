"""SIGHUP under load: the new configuration or the old one, whole, and no request lost on the way."""

from __future__ import annotations

import os
import signal
import socket
import sqlite3
import threading
import time
from contextlib import closing
from pathlib import Path

import pytest

from support.load import Attempt, Load, Stored, attempts, check_accounts, check_answers
from support.server import RunningProvisor, exchange, is_listening, quiet_port, wait_for

pytestmark = pytest.mark.slow

REFUSED = "Continuing to run with the original configuration."


def test_no_request_fails_over_ten_reloads(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        loads = [
            Load(ca, attempts(ca, "kept", 1500), threads=2),
            Load(ca, attempts(ca, "new", 1500), threads=2, kept=False),
        ]
        everybody = ca.everybody()
        for load in loads:
            load.start()
        for _ in range(10):
            before = [load.answered for load in loads]
            ca.reload()
            wait_for(
                lambda before=before: all(load.answered > had for load, had in zip(loads, before, strict=True)),  # type: ignore[misc]
                "no load",
                ca,
            )
        for load in loads:
            load.stop()
        made = [attempt for load in loads for attempt in load.join()]
        assert [attempt for attempt in made if attempt.status != 201] == []
        assert ca.everybody() == everybody
        check_accounts(ca, made[:200])


def test_a_bad_file_is_refused_with_every_fault_and_the_old_one_serves_on(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        good = ca.config_file.read_text()
        broken = ca.provisioner("tester") | {"claims": {"maxTLSCertDuration": "7d"}}
        ca.write_config(authority={"provisioners": [broken], "claims": {"minTLSCertDuration": "x"}})
        ca.reload(REFUSED)
        assert "Reload failed because the CA with new configuration could not be initialized." in ca.log
        for fault in ('time: invalid duration "x"', 'time: unknown unit "d" in duration "7d"'):
            assert fault in ca.log, ca.log
        ca.config_file.write_text(good.replace("intermediate_ca.crt", "missing.crt"))
        ca.reload(REFUSED)
        assert "missing.crt" in ca.log
        check_accounts(ca, Load(ca, attempts(ca, "faulty", 4)).run())
        ca.config_file.write_text("{")
        ca.reload("error reloading ca configuration")
        check_accounts(ca, Load(ca, attempts(ca, "unreadable", 4)).run())
        ca.config_file.write_text(good)
        ca.reload()
        check_accounts(ca, Load(ca, attempts(ca, "good", 4)).run())


@pytest.mark.parametrize("replacement", [None, {"type": "badgerv2", "dataSource": "elsewhere"}])
def test_another_database_is_refused(tmp_path: Path, replacement: dict[str, str] | None) -> None:
    with RunningProvisor(tmp_path) as ca:
        ca.write_config(db=replacement)
        ca.reload(REFUSED)
        assert "Reload failed because the database configuration has changed." in ca.log
        assert "database configuration cannot change" in ca.log
        check_accounts(ca, Load(ca, attempts(ca, "database", 4)).run())
        assert not (tmp_path / "elsewhere").exists()


def _remove(ca: RunningProvisor, name: str) -> None:
    ca.write_config(authority={"provisioners": [ca.provisioner(each) for each in ca.keys if each != name]})


def _configured(ca: RunningProvisor) -> list[int]:
    """The places in the log at which a configuration took force."""
    return _places(ca, "json_extract(body, '$.operation') = ?", "configure")


def _granted(ca: RunningProvisor, provisioner: str) -> list[int]:
    condition = "json_extract(body, '$.outcome') = 'granted' AND json_extract(body, '$.provisioner') = ?"
    return _places(ca, condition, provisioner)


def _places(ca: RunningProvisor, condition: str, value: str) -> list[int]:
    assert isinstance(ca.store, Path)
    with closing(sqlite3.connect(f"{ca.store.as_uri()}?mode=ro", uri=True)) as connection:
        return [n for (n,) in connection.execute(f"SELECT n FROM events WHERE {condition} ORDER BY n", (value,))]


def test_after_a_reload_nothing_is_issued_by_the_old_configuration(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, provisioners=("tester", "dismissed")) as ca:
        dismissed = Load(ca, attempts(ca, "dismissed", 1000, "dismissed"), threads=3)
        staying = Load(ca, attempts(ca, "staying", 1000), threads=1)
        dismissed.start()
        staying.start()
        wait_for(lambda: dismissed.answered > 40, "no load", ca)
        known = _configured(ca)
        _remove(ca, "dismissed")
        ca.reload()
        done = time.monotonic()
        wait_for(lambda: any(each.began > done and each.ended for each in dismissed.attempts), "no load", ca)
        staying.stop()
        made = dismissed.join()
        late = [attempt for attempt in made if attempt.began > done]
        assert late
        assert {attempt.status for attempt in late} == {401}
        assert {attempt.status for attempt in made} == {201, 401}
        assert {attempt.status for attempt in staying.join()} == {201}
        new_epoch = next(row for row in _configured(ca) if row not in known)
        granted = _granted(ca, "dismissed")
        assert len(granted) == sum(attempt.status == 201 for attempt in made)
        assert granted[-1] < new_epoch, "issued by a configuration that was over"
        assert _granted(ca, "tester")[-1] > new_epoch


def test_workers_that_slept_through_the_reload_issue_nothing_by_the_old_configuration(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, provisioners=("tester", "dismissed")) as ca:
        made = attempts(ca, "late", 8, "dismissed") + attempts(ca, "stays", 8)
        workers = ca.pids("worker")
        connections = [ca.connect() for _ in made]
        for connection in connections:
            exchange(connection, "GET", "/health")
        known = _configured(ca)
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        threads = [
            threading.Thread(target=attempt.send, args=(connection,))
            for attempt, connection in zip(made, connections, strict=True)
        ]
        for thread in threads:
            thread.start()
        _remove(ca, "dismissed")
        ca.process.send_signal(signal.SIGHUP)
        wait_for(lambda: len(_configured(ca)) > len(known), "no new epoch", ca)
        wait_for(lambda: all(attempt.began for attempt in made), "not sent", ca)
        for pid in workers:
            os.kill(pid, signal.SIGCONT)
        for thread, connection in zip(threads, connections, strict=True):
            thread.join()
            connection.close()
        assert [attempt.status for attempt in made] == [401] * 8 + [201] * 8
        assert not any(Stored(ca.store).issued(attempt) for attempt in made[:8])
        ca.await_log("Serving HTTPS on", 2)
        assert ca.pids("worker") == workers


def test_a_changed_address_moves_the_listener(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        kept = ca.connect()
        with closing(kept):
            assert exchange(kept, "GET", "/health").status == 200
            old, ca.port = ca.port, quiet_port()
            ca.write_config(address=f"127.0.0.1:{ca.port}")
            ca.reload()
            assert exchange(kept, "GET", "/health").status == 200
        wait_for(lambda: not is_listening(old), "the old address still listens", ca)
        check_accounts(ca, Load(ca, attempts(ca, "moved", 4)).run())


def test_an_address_that_is_taken_is_refused(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca, socket.socket() as squatter:
        squatter.bind(("127.0.0.1", 0))
        squatter.listen()
        taken = f"127.0.0.1:{squatter.getsockname()[1]}"
        ca.write_config(address=taken)
        ca.reload(REFUSED)
        assert f"listen tcp {taken}: bind: address already in use" in ca.log
        check_accounts(ca, Load(ca, attempts(ca, "taken", 4)).run())


def test_a_notary_that_dies_in_a_reload_leaves_one_configuration_or_the_other(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path, provisioners=("tester", "changing")) as ca:
        load = Load(ca, attempts(ca, "through", 2000), threads=2)
        load.start()
        for number in range(6):
            if number % 2:
                _remove(ca, "nobody")
            else:
                _remove(ca, "changing")
            ended = ca.log.count("the notary process is back")
            ca.process.send_signal(signal.SIGHUP)
            time.sleep(0.004 * number)
            os.kill(ca.pids("notary")[0], signal.SIGKILL)
            ca.await_log("the notary process is back", ended + 1)
            ca.await_ready()
            _check_agreed(ca, f"agreed{number}")
        load.stop()
        made = load.join()
        check_answers(made)
        check_accounts(ca, made[:200])
        ca.reload()
        _check_agreed(ca, "end", expected=201)


def _check_agreed(ca: RunningProvisor, label: str, expected: int | None = None) -> None:
    """All workers have the same configuration."""

    def statuses() -> set[int]:
        made: list[Attempt] = Load(ca, attempts(ca, label, 8, "changing"), threads=2, kept=False).run()
        return {attempt.status for attempt in made}

    wait_for(lambda: len(statuses()) == 1, "the workers do not agree", ca)
    assert expected is None or statuses() == {expected}
