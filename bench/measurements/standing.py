"""Starts, commands, and what a certificate takes on the disk."""

from __future__ import annotations

import shutil
import subprocess
import time
from collections.abc import Sequence
from typing import Final

from bench.lab import Lab, Measured, Row
from bench.machine import disk_bytes
from bench.model import PROVISOR, SIDES, STEP_CA, Bar, BenchError, Check, Run
from bench.servers import Server, environment, provisor_words
from bench.stats import alone, spread

STORED: Final = 20_000
GROWN: Final = 100_000
_SETTLE_SECONDS: Final = 6.0
"""Indexes may be at most five seconds behind."""

_START: Final = Bar(800, 400, most=True)
_AT_REST: Final = Bar(2500, 1800, most=True)


def measure_start(lab: Lab) -> Measured:
    """Each on an empty store, again and again."""
    servers = [lab.server(side) for side in SIDES]
    took: dict[str, list[float]] = {side: [] for side in SIDES}
    for _ in range(lab.settings.rounds):
        for server in servers:
            shutil.rmtree(server.store)
            server.store.mkdir()
            took[server.side].append(_time_start(lab, server))
    return Measured((_start_check("start to the first 200, new", took),))


def measure_grown_start(lab: Lab) -> Measured:
    """Each on a store with many certificates, issued through its API."""
    servers = [lab.server(side) for side in SIDES]
    took: dict[str, list[float]] = {side: [] for side in SIDES}
    count = lab.settings.scaled(GROWN)
    runs = []
    for server in servers:
        with server:
            runs.append(lab.prepare(server, "sign", count))
    for _ in range(lab.settings.rounds):
        for server in servers:
            took[server.side].append(_time_start(lab, server))
    return Measured((_start_check(f"start to the first 200, {count:,} stored", took),), tuple(runs))


def _time_start(lab: Lab, server: Server) -> float:
    """Milliseconds."""
    took = 1000 * server.start()
    server.stop()
    lab.tell(f"{server.side}: first 200 after {took:.0f} ms")
    return took


def _start_check(what: str, took: dict[str, list[float]]) -> Check:
    ours = spread(took[PROVISOR])
    return Check(what, ours, "ms", _START, theirs=spread(took[STEP_CA]), ours=ours, unit="ms")


def measure_commands(lab: Lab) -> Measured:
    with lab.server() as server:
        health = ["ca", "health", "--ca-url", server.url, "--root", str(server.pki.root_file)]
        shown = [
            alone("provisor --help", _time_command(lab, ["--help"]), "ms", Bar(150, most=True)),
            alone("provisor ca health", _time_command(lab, health), "ms", Bar(250, most=True)),
        ]
    return Measured(tuple(shown), notes=("from the start of the interpreter to its end",))


def _time_command(lab: Lab, words: Sequence[str]) -> list[float]:
    """Milliseconds; the first one, which may have to compile, does not count."""
    took = []
    for _ in range(1 + 2 * lab.settings.rounds):
        began = time.monotonic()
        done = subprocess.run(
            [*provisor_words("provisor"), *words], env=environment(), capture_output=True, text=True, check=False
        )
        took.append(1000 * (time.monotonic() - began))
        if done.returncode:
            raise BenchError(f"provisor {' '.join(words)}: {done.stderr.strip()}")
    return took[1:]


def measure_stored(lab: Lab) -> Measured:
    count = lab.settings.scaled(STORED)
    growing: dict[str, list[float]] = {}
    resting: dict[str, list[float]] = {}
    runs = []
    for side in SIDES:
        server = lab.server(side)
        with server:
            before = disk_bytes(server.store)
            runs.append(lab.prepare(server, "sign", count))
            time.sleep(_SETTLE_SECONDS)
            growing[side] = [(disk_bytes(server.store) - before) / count]
        resting[side] = [(disk_bytes(server.store) - before) / count]
    checks = [
        _stored_check("stored bytes a certificate, running", growing),
        _stored_check("stored bytes a certificate, at rest", resting),
    ]
    return Measured(tuple(checks), tuple(runs), (f"{count:,} certificates into an empty store; blocks on the disk",))


def _stored_check(what: str, sizes: dict[str, list[float]]) -> Check:
    ours = spread(sizes[PROVISOR])
    return Check(what, ours, "B", _AT_REST, theirs=spread(sizes[STEP_CA]), ours=ours, unit="B")


def measure_growth(lab: Lab) -> Measured:
    """Rate and p99 of every stretch while a store grows, from nothing."""
    count, step = lab.settings.scaled(GROWN), lab.settings.scaled(10_000)
    checks: list[Check] = []
    runs: list[Run] = []
    for side in SIDES:
        load = lab.load("sign")
        with lab.server(side) as server:
            run = lab.generator.run(server, type(load)("sign", count=count, step=step))
        runs.append(run)
        first, last = run.answers.steps[0], run.answers.steps[-1]
        rates = [stretch.rate for stretch in run.answers.steps]
        tails = [stretch.latency.p99 for stretch in run.answers.steps]
        longest = max(stretch.latency.max for stretch in run.answers.steps)
        lab.tell(f"{side}: {first.rate:,.0f}/s at first, {last.rate:,.0f}/s at {last.until:,}")
        checks += [
            alone(f"{side}: rate of the last stretch / of the first", [last.rate / first.rate], "×"),
            alone(f"{side}: rate of a stretch", rates, "/s"),
            alone(f"{side}: p99 of a stretch", tails, "ms"),
            alone(f"{side}: longest answer", [longest], "ms"),
        ]
    return Measured(tuple(checks), tuple(runs), (f"{count:,} certificates, stretches of {step:,}",))


ROWS: Final = (
    Row("start", "start, new store", measure_start),
    Row("commands", "commands", measure_commands),
    Row("stored", "on the disk", measure_stored),
    Row("growth", "a store that grows", measure_growth, large=True),
    Row("start-grown", f"start, {GROWN:,} stored", measure_grown_start, large=True),
)
