"""What the commands on the database share: which one is meant, how long work shows, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from provisor.cli import files, output
from provisor.cli.admin import find_paths
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.config.load import load_config
from provisor.core.durations import format_rfc3339
from provisor.storage.locate import locate_store
from provisor.storage.postgresql.dsn import Target

if TYPE_CHECKING:
    from provisor.storage.backup import Progress

_WIDTH = 30


def find_database(call: Call) -> Path | Target:
    """The file of `--db`, or what ca.json names. Raises `CommandError`, `ConfigError`."""
    if path := call.text("db"):
        return Path(path)
    config = call.text("ca-config") or find_paths(call).ca_config
    loaded = load_config(files.read_file(config), where=config).config
    if loaded.db is None:
        raise CommandError(f"{config} has no database")
    return locate_store(loaded.db, loaded.provisor.database)


def existing_file(place: Path) -> Path:
    """Raises `CommandError`."""
    if not place.is_file():
        raise CommandError(f"open {place} failed: no such file or directory")
    return place


@contextmanager
def shown_progress(label: str, *, hidden: bool = False) -> Iterator[Progress | None]:
    """A bar on a terminal; elsewhere, or if it is to be hidden, nothing."""
    if hidden or not sys.stderr.isatty():
        yield None
        return
    last = -1

    def show(done: int, total: int) -> None:
        """Without a total, `done` is octets."""
        nonlocal last
        if not total and done:
            last = 0
            output.note(f"\r\033[K{label} {size(done)}", end="")
            return
        percent = 100 if not total else min(100, done * 100 // total)
        if percent != last:
            last = percent
            filled = percent * _WIDTH // 100
            output.note(f"\r{label} [{'#' * filled}{'.' * (_WIDTH - filled)}] {percent:3d} %", end="")

    try:
        yield show
    finally:
        if last >= 0:
            output.note("\r\033[K", end="")


def instant(at: int) -> str:
    """Unix seconds as RFC 3339."""
    return format_rfc3339(datetime.fromtimestamp(at, UTC))


def size(octets: int) -> str:
    """`12.3 MB`."""
    value = float(octets)
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def as_table(rows: Sequence[tuple[str, str]]) -> str:
    """Two columns."""
    width = max(len(name) for name, _ in rows)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def counted(rows: Mapping[str, int]) -> list[tuple[str, str]]:
    return [(name.replace("_", " "), str(count)) for name, count in rows.items()]
