"""An exception that no handler knew is a line with its stack, and a count that an alert can see."""

from __future__ import annotations

from provisor.server.observer import Observer


def test_an_error_that_nobody_knew_is_counted_and_reported() -> None:
    written: list[bytes] = []
    observer = Observer(write=written.append)
    series = observer.metrics.internal_errors.series
    assert series == {("exception",): [0.0]}
    observer.failed(RuntimeError("boom"), {"method": "GET", "path": "/health"})
    assert series == {("exception",): [1.0]}
    assert b"internal error in GET /health" in b"".join(written)
