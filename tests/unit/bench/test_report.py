"""The tables, and what they must not keep to themselves."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import __main__ as program
from bench.generator import Generator
from bench.lab import Lab, Measured, Row, Settings
from bench.model import PROVISOR, STEP_CA, Bar, BenchError, Check, Report, RowResult, Skipped, Spread
from bench.report import markdown, number, terminal
from support.bench_runs import make_run

_RATE = Check(
    "rate",
    Spread(3.0, 2.5, 3.5),
    "×",
    Bar(2.5, 5),
    theirs=Spread(1000, 900, 1100),
    ours=Spread(3000, 2900, 3100),
    unit="/s",
)


def report(*rows: RowResult) -> Report:
    return Report("2030-01-01T00:00:00+00:00", 12.0, {"cores": "2"}, {"rounds": "5"}, rows)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (0.004, "0"),
        (0.456, "0.46"),
        (3.0, "3"),
        (12.34, "12.3"),
        (99.96, "100"),
        (1234.5, "1,234"),
        (float("nan"), "-"),
    ],
)
def test_numbers_have_the_digits_that_matter(value: float, text: str) -> None:
    assert number(value) == text


def test_every_check_shows_both_sides_its_bar_and_the_verdict() -> None:
    for text in (
        markdown(report(RowResult("sign", "JWK sign", (_RATE,)))),
        terminal(report(RowResult("s", "JWK sign", (_RATE,)))),
    ):
        for part in (
            "JWK sign",
            "1,000/s (900–1,100)",
            "3,000/s (2,900–3,100)",
            "3× (2.5–3.5)",
            "≥ 2.5×",
            "≥ 5×",
            "met, not the aim",
        ):
            assert part in text


def test_what_was_skipped_says_why() -> None:
    result = RowResult("postgresql", "on PostgreSQL", skipped="no PostgreSQL here")
    assert "skipped: no PostgreSQL here" in markdown(report(result))
    assert "skipped: no PostgreSQL here" in terminal(report(result))


def test_wrong_and_missing_answers_are_told() -> None:
    bad = make_run(STEP_CA, errors={"status 503": 7}, wrong=("answer 4: the certificate is for another key",))
    text = markdown(report(RowResult("sign", "JWK sign", (_RATE,), (bad, make_run(PROVISOR)))))
    assert "WRONG OR FAILED: step-ca: 7 × status 503" in text
    assert "another key" in text
    assert "| sign, step-ca, 1 |" in text


def test_cells_of_a_table_are_as_many_as_its_head_has() -> None:
    runs = (make_run(STEP_CA), make_run(PROVISOR))
    lines = [line for line in markdown(report(RowResult("a|b", "x|y", (_RATE,), runs))).splitlines() if line[:1] == "|"]
    checks, figures = lines[:4], lines[4:]
    assert {line.replace("\\|", "").count("|") for line in checks} == {8}
    assert {line.replace("\\|", "").count("|") for line in figures} == {12}


@pytest.mark.parametrize(
    ("error", "skipped"),
    [(Skipped("no PostgreSQL"), "no PostgreSQL"), (BenchError("it does not start"), "failed: it does not start")],
)
def test_a_row_that_cannot_be_measured_does_not_end_the_others(error: BenchError, skipped: str, tmp_path: Path) -> None:
    def fail(lab: Lab) -> Measured:
        raise error

    told: list[str] = []
    lab = Lab(tmp_path, tmp_path, Generator(tmp_path / "load"), Settings(), told.append)
    assert program.measure(Row("name", "title", fail), lab).skipped == skipped
    assert told


def test_large_rows_and_the_others_make_up_all_rows() -> None:
    every_day, large = program.choose("", large=False), program.choose("", large=True)
    assert not {row.name for row in every_day} & {row.name for row in large}
    names = [row.name for row in program.ROWS]
    assert len(names) == len(set(names))
    assert {row.name for row in (*every_day, *large)} | {"health"} == set(names)


def test_rows_are_chosen_by_name_in_the_order_given() -> None:
    assert [row.name for row in program.choose("revoke,sign", large=False)] == ["revoke", "sign"]
    with pytest.raises(BenchError, match="there is no row nonsense"):
        program.choose("sign,nonsense", large=False)
