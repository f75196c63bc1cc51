"""Generated rows agree with each other as real ones do."""

from __future__ import annotations

import asyncio
import contextlib
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench import rows
from provisor.app.db_check import Depth, check_database
from provisor.authority.projector import terms_of
from provisor.storage.archive import SQLiteArchive
from provisor.storage.backup import open_reading

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize("counts", [(1,), (300,), (5, 260, 7)])
def test_they_are_sound_in_one_go_and_in_several(tmp_path: Path, counts: tuple[int, ...]) -> None:
    path = tmp_path / "db"
    for count in counts:
        rows.fill(path, count, now=NOW)
    archive = SQLiteArchive.open(path)
    checked = asyncio.run(check_database(archive, path, now=int(NOW.timestamp()), depth=Depth(signatures=False)))
    unsigned = len(counts) > 1
    assert len(checked.faults) == 0 or unsigned
    assert checked.certificates == sum(counts)
    assert checked.log_size == sum(counts)


def test_the_index_has_the_terms_that_the_projector_would_write(tmp_path: Path) -> None:
    path = tmp_path / "db"
    rows.fill(path, 7, now=NOW)
    found = asyncio.run(SQLiteArchive.open(path).issued_newest(None, 100))
    expected = sorted((term, row.place) for row in found for term in terms_of(row))
    with contextlib.closing(open_reading(path)) as connection:
        assert connection.execute("SELECT term, n FROM terms ORDER BY term, n").fetchall() == expected
