"""What is measured, as plain data: runs of the generator, checks against a bar, rows of the report."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct, field

STEP_CA = "step-ca"
PROVISOR = "Provisor"
SIDES = (STEP_CA, PROVISOR)


class BenchError(Exception):
    """A measurement that cannot be made; the text says why."""


class Skipped(BenchError):
    """Something that a row needs is not here; the text says what."""


class Latency(Struct, frozen=True):
    """Milliseconds."""

    p50: float
    p90: float
    p99: float
    p999: float
    max: float


class Step(Struct, frozen=True):
    """A stretch of answers: up to which, how fast (a second)."""

    until: int
    rate: float
    latency: Latency


class Answers(Struct, frozen=True):
    """One run as the generator saw it. `late` is how long after their time requests were sent by idle connections."""

    mode: str
    conns: int
    offered: float
    seconds: float
    good: int
    shed: int
    failed: int
    errors: Mapping[str, int]
    rate: float
    latency: Latency
    late: Latency
    parts: tuple[float, ...]
    generator_seconds: float
    exhausted: bool
    checked: int
    wrong: tuple[str, ...]
    tls: str
    steps: tuple[Step, ...] = ()


class Spent(Struct, frozen=True):
    """What a process tree and the machine used meanwhile. Seconds of CPU; bytes at their highest.

    `cpu` is of the timed part, `afterwards` what was put off and done once nobody asked any more. `cpu_by_role`
    (both together) and `resident_by_role` are of the processes that were there from start to end; of several with the
    same role, the sum of the seconds and the largest process. `resident` and `proportional` (shared pages counted
    once) are of the whole tree; `others` is what the rest of the machine used, `stolen` what its host took.
    """

    seconds: float
    cpu: float
    afterwards: float
    cpu_by_role: Mapping[str, float]
    resident: int
    resident_by_role: Mapping[str, int]
    proportional: int
    processes: int
    others: float
    stolen: float


class Run(Struct, frozen=True):
    """One timed part of one server."""

    side: str
    answers: Answers
    spent: Spent
    beside: Spent | None = None
    """Of a process tree beside the server: its database."""

    @property
    def cpu_ms(self) -> float:
        """CPU of the server for one good answer, work put off included; the same number is seconds for 1,000."""
        return 1000 * (self.spent.cpu + self.spent.afterwards) / max(1, self.answers.good)

    @property
    def all_cpu_ms(self) -> float:
        """The same with the process tree beside it."""
        if self.beside is None:
            return self.cpu_ms
        return self.cpu_ms + 1000 * (self.beside.cpu + self.beside.afterwards) / max(1, self.answers.good)

    @property
    def generator_ms(self) -> float:
        """CPU of the generator for one request."""
        return 1000 * self.answers.generator_seconds / max(1, self.answers.good + self.answers.failed)

    def role_us(self, role: str) -> float | None:
        """Microseconds of one kind of process for a good answer; None if there is none."""
        seconds = self.spent.cpu_by_role.get(role)
        return None if seconds is None else 1e6 * seconds / max(1, self.answers.good)


class Bar(Struct, frozen=True):
    """What the figure must reach: `least` is required, `aim` is wanted. `most`: it must not be above them instead."""

    least: float | None = None
    aim: float | None = None
    most: bool = False

    def holds(self, value: float, mark: float) -> bool:
        return value <= mark if self.most else value >= mark


NO_BAR: Final = Bar()


class Spread(Struct, frozen=True):
    """Of the rounds of one side, or of their ratios: median, lowest, highest."""

    median: float
    low: float
    high: float


class Check(Struct, frozen=True):
    """One figure beside its bar. `value` is a ratio where both sides were measured, else our own figure.

    `unit` belongs to the figures of the sides, `value_unit` to the value and its bar.
    """

    what: str
    value: Spread
    value_unit: str
    bar: Bar = NO_BAR
    theirs: Spread | None = None
    ours: Spread | None = None
    unit: str = ""

    @property
    def verdict(self) -> str:
        """In words; empty where there is no bar. The median decides."""
        bar, value = self.bar, self.value.median
        if bar.least is not None and not bar.holds(value, bar.least):
            return "not met"
        if bar.aim is not None:
            if bar.holds(value, bar.aim):
                return "aim met"
            return "met, not the aim" if bar.least is not None else "aim not met"
        return "met" if bar.least is not None else ""


class RowResult(Struct, frozen=True):
    """A row of the report. `skipped` says why there is nothing else."""

    name: str
    title: str
    checks: tuple[Check, ...] = ()
    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()
    skipped: str = ""
    seconds: float = 0.0

    @property
    def faults(self) -> tuple[str, ...]:
        """Answers that were wrong or did not come, in words."""
        found = []
        for run in self.runs:
            found += [f"{run.side}: {text}" for text in run.answers.wrong]
            found += [f"{run.side}: {count} × {what}" for what, count in run.answers.errors.items()]
        return tuple(found)


class Report(Struct, frozen=True):
    """A whole measurement."""

    began: str
    seconds: float
    machine: Mapping[str, str]
    settings: Mapping[str, str]
    rows: tuple[RowResult, ...] = field(default=())
