"""`python -m bench`: the real step-ca and Provisor beside each other on this machine.

Exit status: 0 when every row was measured, whether its bar is met or not; 1 when answers were wrong or a row failed;
2 when nothing could be run.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec

from bench import generator, machine, report
from bench.lab import Lab, Row, Settings
from bench.measurements import databases, million, open_loop, paired, rules, slow_signer, standing, wave
from bench.model import BenchError, Report, RowResult, Skipped

ROWS: Final[tuple[Row, ...]] = (
    *paired.ROWS,
    *open_loop.ROWS,
    *slow_signer.ROWS,
    *databases.ROWS,
    *rules.ROWS,
    *standing.ROWS,
    *million.ROWS,
    *wave.ROWS,
)
_ON_REQUEST: Final = ("health",)


def main(words: Sequence[str]) -> int:
    options = _parse(words)
    if options.list:
        for row in ROWS:
            print(f"{row.name:12} {row.title}" + ("  (large)" if row.large else ""))
        return 0
    try:
        rows = choose(options.rows, large=options.large)
        settings = Settings(options.rounds, options.seconds, options.quick)
        if options.quick:
            settings = Settings(min(options.rounds, 1), min(options.seconds, 0.5), quick=True)
        return _run(rows, settings, options)
    except BenchError as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2


def choose(names: str, *, large: bool) -> list[Row]:
    """The rows of these names with commas between, or those of every day, or the large ones. Raises `BenchError`."""
    if not names:
        return [row for row in ROWS if row.large == large and row.name not in _ON_REQUEST]
    known = {row.name: row for row in ROWS}
    unknown = [name for name in names.split(",") if name not in known]
    if unknown:
        raise BenchError(f"there is no row {', '.join(unknown)}; there are {', '.join(known)}")
    return [known[name] for name in names.split(",")]


def _parse(words: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=(__doc__ or "").partition("\n\n")[0])
    parser.add_argument("--rows", default="", help="names with commas between (default: all that are not large)")
    parser.add_argument("--list", action="store_true", help="the rows")
    parser.add_argument("--large", action="store_true", help="the rows that take long")
    parser.add_argument("--rounds", type=int, default=5, help="runs of each server, in turn (5)")
    parser.add_argument("--seconds", type=float, default=4.0, help="length of a run (4)")
    parser.add_argument("--quick", action="store_true", help="does it work? about a minute; the figures mean little")
    parser.add_argument("--json", type=Path, help="file for everything that was measured")
    parser.add_argument("--markdown", type=Path, help="file for the tables")
    parser.add_argument("--lab", type=Path, help="folder on the disk that is measured (default: the temporary one)")
    parser.add_argument("--keep", action="store_true", help="keep the lab: configurations and stores")
    default = os.environ.get("PEERS") or str(machine.REPOSITORY / ".peers")
    parser.add_argument("--peers", type=Path, default=Path(default), help="folder with step-ca ($PEERS, .peers)")
    return parser.parse_args(words)


def _run(rows: Sequence[Row], settings: Settings, options: argparse.Namespace) -> int:
    go = generator.find_go()
    began = time.monotonic()
    folder = Path(tempfile.mkdtemp(prefix="provisor-bench-", dir=options.lab))
    try:
        lab = Lab(folder, options.peers.absolute(), generator.Generator(generator.build(go, folder)), settings, _tell)
        where = machine.describe(folder, options.peers / "step-ca", go)
        started = datetime.now(UTC).isoformat(timespec="seconds")
        results = []
        for row in rows:
            _tell(f"-- {row.name}: {row.title}")
            results.append(measure(row, lab))
    finally:
        if options.keep:
            _tell(f"kept: {folder}")
        else:
            shutil.rmtree(folder, ignore_errors=True)
    how = {
        "rounds": f"{settings.rounds}, in turn (step-ca, Provisor, step-ca, ...), {settings.seconds:g} s each",
        "TLS": _tls(results) + ", no resumption",
        "durability": "each syncs every commit to the disk",
        "logs": "as configured by `ca init`, to /dev/null on both sides",
        **({"quick": "the figures mean little"} if settings.quick else {}),
    }
    found = Report(started, time.monotonic() - began, where, how, tuple(results))
    print(report.terminal(found))
    _write(options.json, msgspec.json.format(msgspec.json.encode(found)))
    _write(options.markdown, report.markdown(found).encode())
    return 1 if any(row.faults or row.skipped.startswith("failed") for row in results) else 0


def measure(row: Row, lab: Lab) -> RowResult:
    """One row; what keeps it from being measured is its result, and the others go on."""
    began = time.monotonic()
    try:
        measured = row.measure(lab)
    except Skipped as reason:
        return _without(row, lab, f"{reason}")
    except BenchError as reason:
        return _without(row, lab, f"failed: {reason}")
    took = time.monotonic() - began
    return RowResult(row.name, row.title, measured.checks, measured.runs, measured.notes, seconds=took)


def _without(row: Row, lab: Lab, reason: str) -> RowResult:
    lab.tell(f"{row.name}: skipped: {reason}")
    return RowResult(row.name, row.title, skipped=reason)


def _tls(results: Sequence[RowResult]) -> str:
    """What was negotiated; more than one text would be a fault of the comparison, and would be seen."""
    return " / ".join(sorted({run.answers.tls for row in results for run in row.runs})) or "not used"


def _write(path: Path | None, content: bytes) -> None:
    if path is not None:
        path.write_bytes(content)


def _tell(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
