"""Gauges that are looked up: the list's end, what writes, and how far log and inventory are behind."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from provisor.app.jobs import JobRunner, schedule_first
from provisor.app.watch import Watch
from provisor.errors import Unavailable
from provisor.ports import StoreHealth
from provisor.server.metrics import Gauge, Metrics
from support.authority import MemoryCA, make_config
from support.credentials import TokenSigner, make_csr, make_key, make_signer

SIGNER: TokenSigner = make_signer("ci")


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    config = make_config(SIGNER.entry(), crl={"enabled": True, "cacheDuration": "1h"})
    with MemoryCA(config, signers=[SIGNER]) as made:
        yield made


class Looking:
    """A watch over a CA; `metrics` is what it saw last."""

    def __init__(self, ca: MemoryCA) -> None:
        self.ca = ca
        self.metrics = Metrics()
        self._watch = Watch(lambda: ca.snapshot, self.metrics)

    def look(self) -> Metrics:
        self.ca.run(self._watch.look())
        return self.metrics


def value(gauge: Gauge) -> float | None:
    return gauge.series[()][0] if () in gauge.series else None


def run_jobs(ca: MemoryCA, metrics: Metrics | None = None) -> None:
    ca.run(JobRunner(lambda: ca.snapshot, lambda text: None, metrics).run_due())


def issue(ca: MemoryCA) -> None:
    assert ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": ca.token()}).status == 201


def test_the_end_of_the_list_is_that_of_the_newest(ca: MemoryCA) -> None:
    looking = Looking(ca)
    assert value(looking.look().crl_next_update) is None
    ca.run(schedule_first(ca.snapshot))
    run_jobs(ca)
    assert value(looking.look().crl_next_update) == ca.clock.seconds + 3600
    ca.clock.advance(minutes=50)
    assert value(looking.look().crl_next_update) == ca.clock.seconds + 600
    run_jobs(ca)
    assert value(looking.look().crl_next_update) == ca.clock.seconds + 3600


def test_a_healthy_store_takes_writes(ca: MemoryCA) -> None:
    metrics = Looking(ca).look()
    assert (value(metrics.notary_up), value(metrics.store_writable)) == (1, 1)


@pytest.mark.parametrize(("writable", "expected"), [(None, (0, 0)), (False, (1, 0)), (True, (1, 1))])
def test_a_notary_that_is_away_is_told_from_a_store_that_takes_nothing(
    ca: MemoryCA, monkeypatch: pytest.MonkeyPatch, writable: bool | None, expected: tuple[int, int]
) -> None:
    async def health(self: Any) -> StoreHealth:
        if writable is None:
            raise Unavailable("away")
        return StoreHealth(writable, 0, 1)

    monkeypatch.setattr(type(ca.snapshot.notary), "health", health)
    metrics = Looking(ca).look()
    assert (value(metrics.notary_up), value(metrics.store_writable)) == expected


def test_what_waits_for_the_log_and_the_inventory_has_an_age(ca: MemoryCA) -> None:
    looking = Looking(ca)
    ca.run(schedule_first(ca.snapshot))
    run_jobs(ca)
    issue(ca)
    ca.clock.advance(seconds=40)
    issue(ca)
    metrics = looking.look()
    assert (value(metrics.log_lag), value(metrics.index_lag)) == (40, 40)
    for _ in range(3):
        ca.clock.advance(seconds=2)
        run_jobs(ca)
    metrics = looking.look()
    assert (value(metrics.log_lag), value(metrics.index_lag)) == (0, 0)


def test_events_that_were_taken_away_are_counted(ca: MemoryCA) -> None:
    looking = Looking(ca)
    ca.run(schedule_first(ca.snapshot))
    for _ in range(3):
        issue(ca)
    ca.store._get_connection().execute("DELETE FROM events WHERE n IN (1, 2)")
    ca.clock.advance(seconds=40)
    metrics = looking.look()
    assert (value(metrics.log_lag), value(metrics.log_gaps)) == (40, 0)
    ca.run(JobRunner(lambda: ca.snapshot, lambda _: None).run_due())
    metrics = looking.look()
    assert (value(metrics.log_lag), value(metrics.log_gaps)) == (0, 2)


def test_a_store_that_cannot_be_read_leaves_the_rest_as_it_was(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    looking = Looking(ca)
    looking.look()

    async def unreadable(self: Any, issuer: bytes) -> int:
        raise Unavailable("disk")

    monkeypatch.setattr(type(ca.snapshot.ledger), "find_crl_number", unreadable)
    metrics = looking.look()
    assert (value(metrics.notary_up), value(metrics.log_lag)) == (1, 0)


def test_runs_of_a_job_and_their_failures_are_counted(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    ca.run(schedule_first(ca.snapshot))
    metrics = Metrics()
    run_jobs(ca, metrics)
    assert metrics.jobs_failed.series["crl",] == [0.0]
    assert sum(metrics.job_seconds.series["crl",][:-1]) == 1

    async def unable(self: Any, issuer: bytes, tbs: bytes) -> bytes:
        raise Unavailable("no key")

    monkeypatch.setattr(type(ca.snapshot.notary), "sign_crl", unable)
    ca.clock.advance(hours=1)
    with pytest.raises(Unavailable):
        run_jobs(ca, metrics)
    assert metrics.jobs_failed.series["crl",] == [1.0]
    assert sum(metrics.job_seconds.series["crl",][:-1]) == 1
