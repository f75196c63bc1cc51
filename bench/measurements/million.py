"""Rate and p99 with many certificates stored, beside an empty store.

The rows are made by `python -m bench.rows --config CA_JSON --count N`: it fills the store that this ca.json of a
Provisor that is not running names, with N certificates of its issuer and everything that is recorded with them.
"""

from __future__ import annotations

import subprocess
import sys
from typing import Final

from bench.lab import Lab, Measured, Row
from bench.machine import REPOSITORY
from bench.model import NO_BAR, Bar, BenchError, Check, Run, Skipped, Spread
from bench.servers import Server, environment
from bench.stats import spread

COUNT: Final = 1_000_000
_TOOL: Final = REPOSITORY / "bench" / "rows.py"


def measure(lab: Lab) -> Measured:
    if not _TOOL.exists():
        raise Skipped(f"there is no {_TOOL.relative_to(REPOSITORY)}, which makes the rows")
    count = lab.settings.scaled(COUNT)
    empty, full = lab.server(), lab.server()
    with full:
        pass  # its schema is there, and its issuer is known
    _fill(full, count)
    lab.tell(f"{count:,} certificates stored")
    with empty, full:
        runs = lab.rounds([empty, full], lab.load("sign"))
    without, with_rows = runs[0::2], runs[1::2]
    checks = (
        _check("rate, stored / none", without, with_rows, "rate", Bar(0.9)),
        _check("p99, stored / none", without, with_rows, "p99", Bar(1.5, most=True)),
        _check("CPU, stored / none", without, with_rows, "cpu", NO_BAR),
    )
    note = f"both are Provisor: the left one with an empty store, the right one with {count:,} certificates"
    return Measured(checks, tuple(runs), (note,))


def _fill(server: Server, count: int) -> None:
    words = [sys.executable, "-m", "bench.rows", "--config", str(server.config_file), "--count", str(count)]
    done = subprocess.run(words, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"bench.rows: {done.stderr.strip()[-500:]}")


def _check(what: str, without: list[Run], with_rows: list[Run], figure: str, bar: Bar) -> Check:
    unit = {"rate": "/s"}.get(figure, "ms")
    left, right = [_figure(run, figure) for run in without], [_figure(run, figure) for run in with_rows]
    pairs = [mine / other for mine, other in zip(right, left, strict=True)]
    a, b = spread(left), spread(right)
    return Check(what, Spread(b.median / a.median, min(pairs), max(pairs)), "×", bar, theirs=a, ours=b, unit=unit)


def _figure(run: Run, name: str) -> float:
    match name:
        case "rate":
            return run.answers.rate
        case "p99":
            return run.answers.latency.p99
        case _:
            return run.cpu_ms


ROWS: Final = (Row("million", f"{COUNT:,} certificates stored / none", measure, large=True),)
