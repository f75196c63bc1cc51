"""Requests on time, whatever the answers: what clients see while something else happens.

A closed loop hides a pause: its clients wait too, and send less. Here every request has its time, and its latency
counts from there.
"""

from __future__ import annotations

import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bench.generator import Load
from bench.lab import Lab, Measured, Row
from bench.measurements.paired import CRL_ENTRIES
from bench.model import NO_BAR, Bar, BenchError, Check, Run
from bench.servers import Server, environment, provisor_words
from bench.stats import alone, quantile

_RATE: Final = 1000.0
_SHARE: Final = 0.7
_CONNECTIONS: Final = 128
_ROUNDS: Final = 3
_CROWD: Final = 1500
"""Clients at a time when more come than can be served."""

_AFTERWARDS: Final = 1.5
"""Seconds after an event that still belong to it."""

_QUIET: Final = 2.0
_LONGEST: Final = Bar(250, 100, most=True)


class Event(Struct, frozen=True):
    """What happens beside the load; it returns when it is over, as far as one can tell."""

    name: str
    happen: Callable[[], None]


class Moment(Struct, frozen=True):
    """An answer: when its request was due (seconds), how long it took from then (milliseconds)."""

    due: float
    took: float
    status: int


class Window(Struct, frozen=True):
    """When something happened, in seconds from the start of the run."""

    name: str
    begin: float
    end: float


def measure(lab: Lab) -> Measured:
    checks: list[Check] = []
    runs: list[Run] = []
    notes = ["checkpoints are all over each run: the writer copies the log into the database as part of its commits"]
    with lab.server(settings={"crl": {"enabled": True, "generateOnRevoke": True}}) as server:
        lab.prepare(server, "revoke", lab.settings.scaled(CRL_ENTRIES))
        peak = lab.generator.run(server, lab.load("sign", 64))
        runs.append(peak)
        lab.tell(f"{server.side}: peak {peak.answers.rate:,.0f}/s")
        for title, rate in (("1,000/s", _RATE), (f"{_SHARE:.0%} of its peak", _SHARE * peak.answers.rate)):
            happening, note = _events(lab, server)
            notes += [note] if note and note not in notes else []
            found, made = _at_rate(lab, server, rate, happening)
            runs += made
            checks += [replace(check, what=f"{title}: {check.what}") for check in found]
            worst = max(run.answers.late.p99 for run in made)
            notes.append(
                f"{title}: {rate:,.0f}/s; an idle connection was late by {worst:.1f} ms at p99 (the generator)"
            )
    return Measured(tuple(checks), tuple(runs), tuple(notes))


def _events(lab: Lab, server: Server) -> tuple[list[Event], str]:
    """What happens in a run, and what cannot."""
    events = [
        Event("reload", server.reload),
        Event("CRL build", lambda: _revoke(lab, server)),
    ]
    if not _has_backup():
        return events, "no backup happened: this version has no `provisor db backup`"
    return [*events, Event("backup", lambda: _backup(server))], ""


def _revoke(lab: Lab, server: Server) -> None:
    """The list is made anew by a job soon after."""
    lab.generator.send(server, Load("revoke", conns=1, count=4))


def _has_backup() -> bool:
    done = subprocess.run(
        [*provisor_words("provisor"), "db", "backup", "--help"],
        env=environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode == 0 and "backup" in done.stdout and "No help topic" not in done.stdout


def _backup(server: Server) -> None:
    target = server.folder / f"backup-{time.monotonic_ns()}"
    words = [*provisor_words("provisor"), "db", "backup", str(target), "--ca-config", str(server.config_file)]
    done = subprocess.run(words, env=environment(), capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchError(f"provisor db backup: {done.stderr.strip()}")


def _at_rate(lab: Lab, server: Server, rate: float, events: Sequence[Event]) -> tuple[list[Check], list[Run]]:
    runs = []
    whole: list[list[float]] = []
    parts: dict[str, list[float]] = {}
    for number in range(min(_ROUNDS, lab.settings.rounds)):
        run, moments, windows = _run(lab, server, rate, events)
        runs.append(run)
        took = [moment.took for moment in moments]
        whole.append([quantile(took, 0.5), quantile(took, 0.99), quantile(took, 0.999), max(took)])
        for window in windows:
            parts.setdefault(window.name, []).append(longest(moments, window))
        seen = ", ".join(f"{name} {values[-1]:.0f}" for name, values in parts.items())
        lab.tell(f"{number + 1} {server.side} open {rate:,.0f}/s: p99.9 {whole[-1][2]:.0f} ms, longest: {seen}")
    checks = [
        alone(what, [figures[index] for figures in whole], "ms", bar)
        for index, what, bar in ((0, "p50", NO_BAR), (1, "p99", NO_BAR), (2, "p99.9", NO_BAR), (3, "maximum", _LONGEST))
    ]
    checks += [alone(f"maximum during {name}", values, "ms", _LONGEST) for name, values in parts.items()]
    return checks, runs


def _run(lab: Lab, server: Server, rate: float, events: Sequence[Event]) -> tuple[Run, list[Moment], list[Window]]:
    raw = server.folder / "answers.csv"
    gap = _QUIET / 4 if lab.settings.quick else _QUIET
    after = _AFTERWARDS / 3 if lab.settings.quick else _AFTERWARDS
    seconds = gap + len(events) * (gap + after + (0.5 if lab.settings.quick else 1.5))
    windows: list[Window] = []
    failures: list[BenchError] = []

    def happen() -> None:
        began = time.monotonic()
        for event in events:
            time.sleep(gap)
            start = time.monotonic() - began
            try:
                event.happen()
            except BenchError as error:
                failures.append(error)
            time.sleep(after)
            windows.append(Window(event.name, start, time.monotonic() - began))

    # What happens takes longer than it would on an idle machine.
    load = Load("sign", _CONNECTIONS, seconds=seconds, warm=lab.settings.warm, rate=rate, raw=raw)
    run = lab.generator.run(server, load, during=happen)
    if failures:
        raise failures[0]
    return run, read_moments(raw), windows


def read_moments(path: Path) -> list[Moment]:
    """Good answers alone: the others are counted as failures of the run."""
    found = []
    for line in path.read_text().splitlines():
        due, took, status = line.split(",")
        if status[0] == "2":
            found.append(Moment(float(due), float(took), int(status)))
    return found


def longest(moments: Sequence[Moment], window: Window) -> float:
    """The longest answer that was on its way at some time of the window. Raises `BenchError` without one."""
    within = [m.took for m in moments if m.due <= window.end and m.due + m.took / 1000 >= window.begin]
    if not within:
        raise BenchError(f"no request was under way during {window.name}: it came after the load")
    return max(within)


def measure_overload(lab: Lab) -> Measured:
    """Four times what it can do: how much is still done, and how long what is done takes."""
    return _overload(lab, "sign", "JWK sign, kept alive")


def measure_newcomers(lab: Lab) -> Measured:
    """The same where each of them opens a connection first."""
    return _overload(lab, "sign-new", "JWK sign, a new connection each")


def _overload(lab: Lab, mode: str, title: str) -> Measured:
    with lab.server() as server:
        peaks, floods = [], []
        for number in range(min(_ROUNDS, lab.settings.rounds)):
            peak = lab.generator.run(server, lab.load(mode, 64))
            rate = 4 * peak.answers.rate
            flood = lab.generator.run(server, replace(lab.load(mode, _CROWD), rate=rate, overload=True))
            peaks.append(peak)
            floods.append(flood)
            answers = flood.answers
            lab.tell(
                f"{number + 1} {server.side} {rate:,.0f}/s offered: {answers.rate:,.0f}/s good, {answers.shed} shed, "
                f"{answers.failed} failed, p99 {answers.latency.p99:.0f} ms, {flood.cpu_ms:.2f} ms CPU"
            )
    pairs = list(zip(peaks, floods, strict=True))
    checks = (
        alone(f"{title}: good answers / peak", [b.answers.rate / a.answers.rate for a, b in pairs], "×", Bar(0.9)),
        alone("the same for a second of the server's CPU", [a.cpu_ms / b.cpu_ms for a, b in pairs], "×", Bar(0.9)),
        alone("p99 of what is served", [flood.answers.latency.p99 for flood in floods], "ms", Bar(1000, most=True)),
        alone("share turned away", [_shed(flood) for flood in floods], "×"),
    )
    used = sum(f.answers.generator_seconds / f.answers.seconds for f in floods) / len(floods)
    before = sum(p.answers.generator_seconds / p.answers.seconds for p in peaks) / len(peaks)
    note = (
        f"{title}: latency counts from the sending; the generator takes {before:.2f} cores at the peak and {used:.2f} "
        "in the flood, which the server does not have"
    )
    return Measured(checks, (*peaks, *floods), (note,))


def _shed(run: Run) -> float:
    return run.answers.shed / max(1, run.answers.shed + run.answers.good + run.answers.failed)


ROWS: Final = (
    Row("open", "open loop", measure),
    Row("overload", "four times the load of its peak", measure_overload),
    Row("newcomers", "four times its peak, over new connections", measure_newcomers),
)
