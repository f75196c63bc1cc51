"""Both on PostgreSQL, each with a private cluster of its own on the same disk."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from bench.lab import Lab, Measured, Row
from bench.measurements.paired import checks_of
from bench.model import NO_BAR, PROVISOR, STEP_CA, Bar, BenchError, Skipped
from bench.postgres import Cluster
from bench.stats import compare

_NAME: Final = "bench"


def measure(lab: Lab) -> Measured:
    with Cluster(lab.folder) as theirs, Cluster(lab.folder) as ours:
        ours.create(_NAME)
        databases = (
            {
                "type": "postgresql",
                "dataSource": f"postgresql://postgres@127.0.0.1:{theirs.port}/",
                "database": _NAME,
            },
            {"type": "postgresql", "dataSource": f"postgresql://postgres@127.0.0.1:{ours.port}/{_NAME}"},
        )
        _check_support(lab, databases[1])
        with lab.pair(databases=databases) as servers:
            beside = {STEP_CA: theirs.pid, PROVISOR: ours.pid}
            runs = lab.rounds(servers, lab.load("sign"), beside=beside)
    whole = compare("CPU with PostgreSQL's", runs, lambda run: run.all_cpu_ms, NO_BAR, unit="ms", less_is_better=True)
    checks = [*checks_of(runs, {"cpu": Bar(3, 5)}), whole]
    return Measured(tuple(checks), tuple(runs), ("CPU is the CA's processes alone, unless it says otherwise",))


def _check_support(lab: Lab, database: Mapping[str, str]) -> None:
    """Raises `Skipped` when this version has no such store, `BenchError` when it has one that does not start."""
    server = lab.server(PROVISOR, database=database)
    try:
        server.start()
    except BenchError as error:
        if "not supported" in str(error):
            raise Skipped(str(error)) from None
        raise
    finally:
        server.stop()


ROWS: Final = (Row("postgresql", "JWK sign on PostgreSQL, 16 connections", measure),)
