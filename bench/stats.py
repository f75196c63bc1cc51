"""Medians, spreads and ratios of rounds."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from statistics import median

from bench.model import NO_BAR, PROVISOR, STEP_CA, Bar, BenchError, Check, Run, Spread


def spread(values: Sequence[float]) -> Spread:
    """Raises `BenchError` for no values."""
    if not values:
        raise BenchError("nothing was measured")
    return Spread(median(values), min(values), max(values))


def quantile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least `share` of them do not exceed. Raises `BenchError` for no values."""
    if not values:
        raise BenchError("nothing was measured")
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]


def of_side(runs: Sequence[Run], side: str) -> list[Run]:
    return [run for run in runs if run.side == side]


def compare(
    what: str,
    runs: Sequence[Run],
    figure: Callable[[Run], float],
    bar: Bar,
    *,
    unit: str,
    less_is_better: bool = False,
    inverse: bool = False,
) -> Check:
    """The ratio of the medians of both sides; its spread is that of the ratios round by round.

    The ratio is ours to theirs; theirs to ours where less is better, so that more than 1 is always faster. With
    `inverse` it stays ours to theirs, for a bar like "at most half".
    """
    theirs = [figure(run) for run in of_side(runs, STEP_CA)]
    ours = [figure(run) for run in of_side(runs, PROVISOR)]
    flipped = less_is_better and not inverse

    def ratio(mine: float, other: float) -> float:
        above, below = (other, mine) if flipped else (mine, other)
        return above / below if below else math.nan

    left, right = spread(theirs), spread(ours)
    pairs = [ratio(mine, other) for mine, other in zip(ours, theirs, strict=False)]
    value = Spread(ratio(right.median, left.median), min(pairs), max(pairs))
    return Check(what, value, "×", bar, theirs=left, ours=right, unit=unit)


def alone(what: str, values: Sequence[float], unit: str, bar: Bar = NO_BAR) -> Check:
    """A figure of ours that is compared with nothing."""
    return Check(what, spread(values), unit, bar)
