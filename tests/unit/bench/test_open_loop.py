"""Which answers belong to something that happened beside the load."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.measurements.open_loop import Moment, Window, longest, read_moments
from bench.model import BenchError


def test_answers_that_failed_are_not_among_the_latencies(tmp_path: Path) -> None:
    file = tmp_path / "answers.csv"
    file.write_text("0.0000,1.500,201\n0.0010,900.000,503\n0.0020,2.500,0\n0.0030,3.500,200\n")
    assert read_moments(file) == [Moment(0.0, 1.5, 201), Moment(0.003, 3.5, 200)]


@pytest.mark.parametrize(
    ("due", "took", "counts"),
    [
        (1.99, 5.0, False),  # over before
        (1.99, 10.0, True),  # ends as it begins
        (1.0, 5000.0, True),  # on its way all the time
        (2.5, 1.0, True),
        (3.0, 1.0, True),
        (3.001, 1.0, False),
    ],
)
def test_an_answer_counts_when_it_was_on_its_way_meanwhile(due: float, took: float, counts: bool) -> None:
    moments = [Moment(2.5, 0.5, 201), Moment(due, took, 201)]
    assert longest(moments, Window("reload", 2.0, 3.0)) == (took if counts else 0.5)


def test_what_happens_after_the_load_is_no_measurement() -> None:
    with pytest.raises(BenchError, match="no request was under way during backup"):
        longest([Moment(1.0, 5.0, 201)], Window("backup", 2.0, 3.0))


def test_the_longest_of_them_counts() -> None:
    moments = [Moment(2.1, 4.0, 201), Moment(2.2, 40.0, 201), Moment(9.0, 400.0, 201)]
    assert longest(moments, Window("reload", 2.0, 3.0)) == 40.0
