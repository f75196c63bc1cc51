"""Fifty thousand machines come back at once, each to renew its certificate over a connection of its own.

Who is turned away comes again when it is told to, as a well-behaved client does. Afterwards the store is asked: every
certificate has to have exactly one successor, and nothing else may have been issued.
"""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path
from typing import Final

from bench.generator import Load
from bench.lab import Lab, Measured, Row
from bench.model import Bar
from bench.stats import alone

CLIENTS: Final = 50_000
_CONNECTIONS: Final = 4096
"""At a time: what the machine of the generator has ports and memory for; the others wait in their kernel's stead."""

_ARRIVAL: Final = 5.0
"""Seconds in which all of them come for the first time."""


def measure(lab: Lab) -> Measured:
    clients = lab.settings.scaled(CLIENTS)
    with lab.server() as other:
        peak = lab.generator.run(other, lab.load("renew", 64))
    server = lab.server()
    with server:
        run = lab.generator.run(server, Load("wave", _CONNECTIONS, count=clients, arrival=_ARRIVAL))
    answers = run.answers
    lab.tell(
        f"{server.side}: {answers.good:,} of {clients:,} renewed in {answers.seconds:.0f} s, "
        f"{answers.shed:,} turned away, {answers.failed} failed"
    )
    issued, renewed = _count_renewals(server.store / "provisor.db")
    checks = (
        alone("renewed", [answers.good / clients], "×", Bar(1.0)),
        alone("renewed more than once", [issued - renewed], "", Bar(0, most=True)),
        alone("issued and received by nobody", [issued - answers.good], "", Bar(0, most=True)),
        alone("rate / peak", [answers.rate / peak.answers.rate], "×", Bar(0.9)),
        alone("turned away for each that was served", [answers.shed / max(1, answers.good)], "×"),
        alone("the last had its certificate after", [answers.seconds], "s"),
    )
    return Measured(checks, (peak, run), (f"{clients:,} clients, at most {_CONNECTIONS:,} connections at a time",))


def _count_renewals(database: Path) -> tuple[int, int]:
    """How many certificates renew another, and how many others."""
    query = "SELECT count(predecessor), count(DISTINCT predecessor) FROM certificates"
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        issued, renewed = connection.execute(query).fetchone()
    return issued, renewed


ROWS: Final = (Row("wave", f"{CLIENTS:,} machines renew at once", measure, large=True),)
