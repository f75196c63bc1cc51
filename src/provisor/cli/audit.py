"""From flags to the audit log itself, not by way of the server: an auditor does not trust it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Protocol, TypeVar, final

from provisor.cli import files
from provisor.cli.admin import find_paths
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag
from provisor.config.load import load_config
from provisor.core.pem import parse_certificates
from provisor.core.tree_head import SignedHead, parse_file
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Malformed
from provisor.ports import Archive
from provisor.storage.archive import SQLiteArchive
from provisor.storage.locate import locate_store
from provisor.storage.postgresql.dsn import Target

T = TypeVar("T")

DATABASE: Final = Flag(names=("db",), help="the database file, instead of ca.json", metavar="file")
SOURCE: Final = (DATABASE, common.CA_CONFIG, common.CONTEXT)
"""How a command finds the log."""


class _OpenArchive(Archive, Protocol):
    def close(self) -> None: ...


@final
class Reading:
    """The store, and the one loop on which it is asked: a connection to a server belongs to a loop."""

    def __init__(self, archive: _OpenArchive) -> None:
        self.archive: Archive = archive
        self._close = archive.close
        self._runner = asyncio.Runner()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """What the archive is asked, to its end."""
        return self._runner.run(work)

    def drive(self, items: AsyncIterator[T]) -> Iterator[T]:
        """The items, asked for one at a time."""

        async def following() -> T | None:
            return await anext(items, None)

        while (item := self.run(following())) is not None:
            yield item

    def close(self) -> None:
        self._close()
        self._runner.close()


@contextmanager
def reading(call: Call) -> Iterator[Reading]:
    """The store of `--db`, or the one that ca.json names, to be read only. Raises `CommandError`, `ConfigError`."""
    opened = Reading(_open_archive(call))
    try:
        yield opened
    finally:
        opened.close()


def _open_archive(call: Call) -> _OpenArchive:
    if path := call.text("db"):
        return _open_file(Path(path))
    config = call.text("ca-config") or find_paths(call).ca_config
    loaded = load_config(files.read_file(config), where=config).config
    if loaded.db is None:
        raise CommandError(f"{config} has no database: there is no audit log")
    place = locate_store(loaded.db, loaded.provisor.database)
    if not isinstance(place, Target):
        return _open_file(place)
    from provisor.storage.postgresql.archive import PostgreSQLArchive

    return PostgreSQLArchive.open(place, name="provisor operator")


def _open_file(path: Path) -> SQLiteArchive:
    if not path.is_file():
        raise CommandError(f"open {path} failed: no such file")
    return SQLiteArchive.open(path)


def read_head(path: str) -> SignedHead:
    """A head that somebody kept. Raises `CommandError`."""
    try:
        return parse_file(files.read_file(path))
    except Malformed as error:
        raise CommandError(f"{path}: {error.detail}") from error


def read_certificates(path: str) -> tuple[Certificate, ...]:
    """The certificates of a PEM file. Raises `CommandError`."""
    try:
        return tuple(parse_certificate(der) for der in parse_certificates(files.read_file(path)))
    except Malformed as error:
        raise CommandError(f"{path}: {error.detail}") from error
