"""Medians, spreads, ratios, and what they say about a bar."""

from __future__ import annotations

import math

import pytest

from bench.model import NO_BAR, PROVISOR, STEP_CA, Bar, BenchError, Check, Spread
from bench.stats import alone, compare, quantile, spread
from support.bench_runs import make_run, spent


def test_a_spread_is_median_lowest_and_highest() -> None:
    assert spread([3.0, 1.0, 10.0]) == Spread(3.0, 1.0, 10.0)
    assert spread([4.0, 1.0]) == Spread(2.5, 1.0, 4.0)


def test_nothing_has_neither_spread_nor_quantile() -> None:
    with pytest.raises(BenchError):
        spread([])
    with pytest.raises(BenchError):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("share", "expected"), [(0.5, 50.0), (0.99, 99.0), (0.999, 100.0), (1.0, 100.0), (0.0, 1.0), (0.01, 1.0)]
)
def test_a_quantile_is_the_smallest_value_that_enough_do_not_exceed(share: float, expected: float) -> None:
    assert quantile([float(value) for value in range(100, 0, -1)], share) == expected


def test_a_ratio_is_of_the_medians_and_its_spread_of_the_rounds() -> None:
    runs = [
        make_run(STEP_CA, rate=1000),
        make_run(PROVISOR, rate=3000),
        make_run(STEP_CA, rate=2000),
        make_run(PROVISOR, rate=4000),
        make_run(STEP_CA, rate=1000),
        make_run(PROVISOR, rate=5000),
    ]
    check = compare("rate", runs, lambda run: run.answers.rate, Bar(2.5, 5), unit="/s")
    assert check.value == Spread(4.0, 2.0, 5.0)
    assert check.theirs == Spread(1000, 1000, 2000)
    assert check.ours == Spread(4000, 3000, 5000)
    assert check.verdict == "met, not the aim"


def test_more_than_one_is_faster_where_less_is_better() -> None:
    runs = [make_run(STEP_CA, cpu=1.5), make_run(PROVISOR, cpu=0.5)]
    assert compare("CPU", runs, lambda run: run.cpu_ms, NO_BAR, unit="ms", less_is_better=True).value.median == 3.0


def test_a_latency_stays_ours_to_theirs_for_a_bar_of_at_most() -> None:
    runs = [make_run(STEP_CA, p99=30.0), make_run(PROVISOR, p99=12.0)]
    check = compare("p99", runs, lambda run: run.answers.latency.p99, Bar(0.5, most=True), unit="ms", inverse=True)
    assert check.value.median == pytest.approx(0.4)
    assert check.verdict == "met"


def test_nothing_to_divide_by_is_no_number_and_no_bar_is_met_by_it() -> None:
    runs = [make_run(STEP_CA, cpu=1.5), make_run(PROVISOR, cpu=0.0)]
    check = compare("CPU", runs, lambda run: run.cpu_ms, Bar(2.0), unit="ms", less_is_better=True)
    assert math.isnan(check.value.median)
    assert check.verdict == "not met"


@pytest.mark.parametrize(
    ("bar", "value", "verdict"),
    [
        (NO_BAR, 1.0, ""),
        (Bar(2.0), 2.0, "met"),
        (Bar(2.0), 1.999, "not met"),
        (Bar(2.0, 4.0), 3.0, "met, not the aim"),
        (Bar(2.0, 4.0), 4.0, "aim met"),
        (Bar(2.0, 4.0), 1.0, "not met"),
        (Bar(250, 100, most=True), 100.0, "aim met"),
        (Bar(250, 100, most=True), 101.0, "met, not the aim"),
        (Bar(250, 100, most=True), 250.1, "not met"),
        (Bar(aim=250, most=True), 300.0, "aim not met"),
        (Bar(aim=250, most=True), 200.0, "aim met"),
        (Bar(0, most=True), 0.0, "met"),
    ],
)
def test_the_median_decides_about_the_bar(bar: Bar, value: float, verdict: str) -> None:
    assert Check("figure", Spread(value, 0.0, 9999.0), "×", bar).verdict == verdict
    assert alone("figure", [value], "×", bar).verdict == verdict


def test_work_that_was_put_off_counts_for_the_answers_it_belongs_to() -> None:
    assert make_run(cpu=0.4, afterwards=0.1, good=1000).cpu_ms == pytest.approx(0.5)


def test_the_databases_cpu_is_counted_only_where_it_is_asked_for() -> None:
    run = make_run(cpu=0.4, beside=spent(0.2, afterwards=0.1))
    assert run.cpu_ms == pytest.approx(0.4)
    assert run.all_cpu_ms == pytest.approx(0.7)


def test_a_role_that_is_not_there_has_no_figure() -> None:
    run = make_run(by_role={"notary": 0.15})
    assert run.role_us("notary") == pytest.approx(150)
    assert run.role_us("jobs") is None
