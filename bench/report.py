"""The figures as a table for people, in Markdown and for the terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from bench.model import Bar, Check, Report, RowResult, Run, Spread
from bench.stats import spread

_HEAD: Final = ("figure", "step-ca", "Provisor", "ratio or value", "at least", "aim", "verdict")
_RUNS_HEAD: Final = (
    "row, server, runs",
    "answers/s",
    "CPU ms",
    "p50 ms",
    "p90",
    "p99",
    "p99.9",
    "max",
    "PSS MiB",
    "generator CPU ms",
    "failed",
)


def markdown(report: Report) -> str:
    """Everything: where, how, every check by its row, every row's runs."""
    lines = ["# Provisor beside step-ca", ""]
    lines += [f"- {name}: {value}" for name, value in (*report.machine.items(), *report.settings.items())]
    lines += [f"- began {report.began}, took {report.seconds:.0f} s", "", "Medians of the rounds (lowest–highest).", ""]
    lines += _table(_HEAD, _check_lines(report.rows, mark="**"))
    lines += ["", *_notes(report.rows, "- ")]
    lines += ["", "## Runs", "", *_table(_RUNS_HEAD, _run_lines(report.rows))]
    return "\n".join(lines) + "\n"


def terminal(report: Report) -> str:
    """The checks in columns, and what is to be said about them."""
    lines = [_HEAD, *_check_lines(report.rows, mark="")]
    widths = [max(len(line[index]) for line in lines if len(line) > 1) for index in range(len(_HEAD))]
    texts = []
    for line in lines:
        if len(line) == 1:
            texts += ["", line[0]]
        else:
            texts.append("  " + "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip())
    return "\n".join([*texts, "", *_notes(report.rows, "")]) + "\n"


def _check_lines(rows: Iterable[RowResult], *, mark: str) -> list[tuple[str, ...]]:
    """A line of one cell begins a row."""
    lines: list[tuple[str, ...]] = []
    for row in rows:
        lines.append((f"{mark}{row.title}{mark}" + (f" skipped: {row.skipped}" if row.skipped else ""),))
        lines += [_check_line(check) for check in row.checks]
    return lines


def _check_line(check: Check) -> tuple[str, ...]:
    return (
        check.what,
        _spread(check.theirs, check.unit),
        _spread(check.ours, check.unit),
        _spread(check.value, check.value_unit),
        _mark(check.bar, check.bar.least, check.value_unit),
        _mark(check.bar, check.bar.aim, check.value_unit),
        check.verdict,
    )


def _run_lines(rows: Iterable[RowResult]) -> list[tuple[str, ...]]:
    lines = []
    for row in rows:
        groups: dict[tuple[str, str, int, bool], list[Run]] = {}
        for run in row.runs:
            key = (run.side, run.answers.mode, run.answers.conns, run.answers.offered > 0)
            groups.setdefault(key, []).append(run)
        lines += [
            (f"{row.name}, {side}, {len(runs)}" + (" open" if is_open else ""), *_figures(runs))
            for (side, _, _, is_open), runs in groups.items()
        ]
    return lines


def _figures(runs: Sequence[Run]) -> tuple[str, ...]:
    def median(values: Iterable[float]) -> str:
        return number(spread(list(values)).median)

    latencies = [run.answers.latency for run in runs]
    return (
        median(run.answers.rate for run in runs),
        median(run.cpu_ms for run in runs),
        median(latency.p50 for latency in latencies),
        median(latency.p90 for latency in latencies),
        median(latency.p99 for latency in latencies),
        median(latency.p999 for latency in latencies),
        number(max(latency.max for latency in latencies)),
        number(max(run.spent.proportional for run in runs) / (1 << 20)),
        median(run.generator_ms for run in runs),
        str(sum(run.answers.failed + len(run.answers.wrong) for run in runs)),
    )


def _notes(rows: Iterable[RowResult], bullet: str) -> list[str]:
    found = []
    for row in rows:
        found += [f"{bullet}{row.name}: {note}" for note in row.notes]
        found += [f"{bullet}{row.name}: WRONG OR FAILED: {fault}" for fault in row.faults[:5]]
    return found


def _table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> list[str]:
    texts = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    for line in lines:
        cells = [*line, *([""] * (len(head) - len(line)))]
        texts.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return texts


def _spread(found: Spread | None, unit: str) -> str:
    if found is None:
        return ""
    text = number(found.median) + _unit(unit)
    if found.low == found.high:
        return text
    return f"{text} ({number(found.low)}–{number(found.high)})"


def _mark(bar: Bar, value: float | None, unit: str) -> str:
    if value is None:
        return ""
    return ("≤ " if bar.most else "≥ ") + number(value) + _unit(unit)


def _unit(unit: str) -> str:
    return unit if unit in ("", "×", "/s") else f" {unit}"


def number(value: float) -> str:
    """Three digits that matter, thousands apart."""
    if value != value:  # not a number: there was nothing to divide by
        return "-"
    size = abs(value)
    if size >= 100 or value == 0:
        return f"{value:,.0f}"
    if size >= 10:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:.2f}".rstrip("0").rstrip(".")
