"""Whole replicas under load while their PostgreSQL, or one of them, fails: nothing is lost, nothing done twice."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.load import Attempt, Load, attempts, check_accounts, check_answers
from support.postgres import Cluster, Database, cluster, new_database, standby_of
from support.replicas import make_replicas, running
from support.server import RunningProvisor, wait_for

pytestmark = pytest.mark.slow

LOAD = 1500


@pytest.fixture(scope="module")
def durable() -> Iterator[Cluster]:
    with cluster() as made:
        yield made


@pytest.fixture
def database(durable: Cluster) -> Iterator[Database]:
    with new_database(durable) as made:
        yield made


class LoadOnAll:
    """Requests to every replica at the same time."""

    def __init__(self, replicas: list[RunningProvisor], label: str) -> None:
        self._replicas = replicas
        self.loads = [
            Load(ca, attempts(ca, f"{label}{n}", LOAD), threads=2, kept=True) for n, ca in enumerate(replicas)
        ]

    def start(self) -> None:
        for load, ca in zip(self.loads, self._replicas, strict=True):
            load.start()
            wait_for(lambda load=load: load.answered > 20, "no load", ca)  # type: ignore[misc]

    def go_on(self, more: int = 30) -> None:
        """Until every replica has issued some more."""
        for load, ca in zip(self.loads, self._replicas, strict=True):
            seen = issued(load)
            wait_for(lambda load=load, seen=seen: issued(load) >= seen + more or exhausted(load), "no answers", ca, 40)  # type: ignore[misc]

    def finish(self) -> None:
        """End the load, and go through everything that was said."""
        for load in self.loads:
            load.stop()
        made = [load.join() for load in self.loads]
        for each, ca in zip(made, self._replicas, strict=True):
            ca.await_ready()
            check_answers(each)
        for each, ca in zip(made, self._replicas, strict=True):
            refused = [attempt for attempt in each if attempt.status != 201]
            check_accounts(ca, dict.fromkeys((*refused[:60], *each[:60], *each[-60:])))


def issued(load: Load) -> int:
    return sum(attempt.status == 201 for attempt in load.attempts)


def exhausted(load: Load) -> bool:
    return all(attempt.ended for attempt in load.attempts)


@pytest.mark.parametrize("how", [signal.SIGQUIT, signal.SIGINT], ids=["immediate", "fast"])
def test_the_database_is_restarted(tmp_path: Path, database: Database, durable: Cluster, how: signal.Signals) -> None:
    with running(make_replicas(tmp_path, database)) as replicas:
        load = LoadOnAll(replicas, "restart")
        load.start()
        for _ in range(2):
            durable.restart(how)
            load.go_on()
        load.finish()


def test_the_database_stands_still(tmp_path: Path, database: Database, durable: Cluster) -> None:
    with running(make_replicas(tmp_path, database)) as replicas:
        load = LoadOnAll(replicas, "still")
        load.start()
        durable.pause()
        try:
            began = time.monotonic()
            answer = Attempt(replicas[0], "late.example.test")
            connection = replicas[0].connect(timeout=30)
            assert answer.send(connection) == 503, answer
            assert time.monotonic() - began < 16
            connection.close()
        finally:
            durable.resume()
        load.go_on()
        load.finish()


def test_a_replica_stands_still(tmp_path: Path, database: Database) -> None:
    """Stopped in the middle of its transactions, it holds nobody up, and does nothing twice when it goes on."""
    with running(make_replicas(tmp_path, database)) as replicas:
        one, other = replicas
        load = LoadOnAll(replicas, "stopped")
        load.start()
        for _ in range(3):
            (notary,) = one.pids("notary")
            os.kill(notary, signal.SIGSTOP)
            seen = issued(load.loads[1])
            time.sleep(2.5)  # longer than a transaction may lie still
            wait_for(lambda seen=seen: issued(load.loads[1]) > seen or exhausted(load.loads[1]), "held up", other)  # type: ignore[misc]
            os.kill(notary, signal.SIGCONT)
            load.go_on(10)
        load.finish()


def test_a_notary_is_killed_beside_another(tmp_path: Path, database: Database) -> None:
    with running(make_replicas(tmp_path, database)) as replicas:
        load = LoadOnAll(replicas, "killed")
        load.start()
        for ca in (*replicas, *replicas):
            (notary,) = ca.pids("notary")
            os.kill(notary, signal.SIGKILL)
            wait_for(lambda ca=ca, notary=notary: ca.pids("notary") not in ([], [notary]), "no successor", ca)  # type: ignore[misc]
            load.go_on(10)
        load.finish()


def test_a_standby_takes_over(tmp_path: Path) -> None:
    with cluster() as primary, standby_of(primary) as standby:
        database = Database(primary, primary.create_database())
        hosts = f"127.0.0.1:{primary.port},127.0.0.1:{standby.port}"
        url = f"postgresql://provisor@{hosts}/?sslmode=disable"
        with running(make_replicas(tmp_path, database, url=url)) as replicas:
            load = LoadOnAll(replicas, "failover")
            load.start()
            primary.stop(signal.SIGQUIT)
            standby.promote()
            for ca in replicas:
                ca.records = Database(standby, database.name)
            load.go_on()
            load.finish()
