"""From a backup to a database that a CA may go on with; and what is unknown from then on.

The work is done on a copy beside the database, which takes its place only when all of it has held. The old
database is kept beside it.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import sqlite3
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Final, NoReturn

import msgspec
from msgspec import Struct

from provisor.app.db_check import Checked, Depth, check_database
from provisor.authority.log import BATCH, extend
from provisor.authority.log_forks import encode_restore
from provisor.core import merkle
from provisor.errors import ConfigError
from provisor.ports import Entry, LogFork
from provisor.storage.archive import SQLiteArchive
from provisor.storage.backup import Position, Progress, copy_database, open_reading, read_position, sync_folder
from provisor.storage.locate import WriterLock
from provisor.storage.migrate import migrate
from provisor.storage.postgresql.dsn import Target
from provisor.storage.restore import (
    Changes,
    files_of,
    go_on,
    is_newer,
    issued_after,
    made_at,
    revoked_after,
    serials_between,
)

_SERIAL: Final = re.compile(rb'"serial"\s*:\s*"?(0|[1-9][0-9]{0,48})"?|\bserial=(0|[1-9][0-9]{0,48})\b')


class LostRevocation(Struct, frozen=True):
    """`issuer` is the SHA-256 of its certificate in hex."""

    issuer: str
    serial: str
    reason_code: int
    revoked_at: int


class Lost(Struct, frozen=True):
    """What was issued or revoked behind the backup, as far as anybody can tell.

    All serials that were given out then lie from `first_serial` to `last_serial`. `issued` are those that somebody
    told of; `revocations` those that the old database has. Serials are decimal.
    """

    since: int
    until: int
    first_serial: str
    last_serial: str
    sources: tuple[str, ...]
    issued: tuple[str, ...]
    revocations: tuple[LostRevocation, ...]


class Restored(Struct, frozen=True):
    """`changes` is None when the backup was only looked at. `set_aside` is where the old database is now, or ""."""

    backup: Position
    backup_at: int
    checked: Checked
    lost: Lost
    changes: Changes | None
    set_aside: str


class Wish(Struct, frozen=True):
    """What is asked for. `tellers` are files that may tell what was issued: logs, exported events, a database."""

    depth: Depth
    force: bool = False
    check_only: bool = False
    tellers: tuple[Path, ...] = ()


def restore(
    backup: Path,
    database: Path,
    wish: Wish,
    *,
    now: datetime,
    random: Callable[[int], bytes] = os.urandom,
    progress: Progress | None = None,
) -> Restored:
    """Put the backup in the place of the database, ready to go on with.

    Raises `ConfigError`: a server runs on it, it is newer and nobody insists, or the backup does not hold; then
    nothing has changed.
    """
    if not backup.is_file():
        raise ConfigError(str(backup), "no such file")
    with contextlib.ExitStack() as undo:
        if not wish.check_only:
            undo.callback(_lock(database).release)
        work = database.with_name(f".{database.name}.restoring")
        undo.callback(_remove, work)
        try:
            return _restore(backup, database, work, wish, now, random, progress)
        except (sqlite3.Error, OSError) as error:
            raise ConfigError(str(backup), f"cannot be restored: {error}") from error


def restore_server(
    backup: Path,
    target: Target,
    wish: Wish,
    *,
    now: datetime,
    random: Callable[[int], bytes] = os.urandom,
    progress: Progress | None = None,
) -> Restored:
    """The same of a dump and a PostgreSQL database. Raises `ConfigError`; then the database is as it was.

    Only to look at it, the dump is brought back into a database of its own, which is dropped afterwards.
    """
    from provisor.storage.postgresql.connect import FAULTS

    try:
        if wish.check_only:
            return asyncio.run(_look_at_dump(backup, target, wish, now, random, progress))
        return asyncio.run(_restore_server(backup, target, wish, now, random, progress))
    except FAULTS as error:
        raise ConfigError(str(backup), f"cannot be restored: {error}") from error


async def _look_at_dump(
    backup: Path,
    target: Target,
    wish: Wish,
    now: datetime,
    random: Callable[[int], bytes],
    progress: Progress | None,
) -> Restored:
    from provisor.storage.postgresql.archive import PostgreSQLArchive
    from provisor.storage.postgresql.restore import Restoring, temporary_database

    seconds = int(now.timestamp())
    async with temporary_database(target, f"provisor_check_{seconds}_{random(4).hex()}") as elsewhere:
        work = await Restoring.begin(elsewhere)
        try:
            await work.bring_back(backup, seconds)
            position = await work.position()
        finally:
            await work.close()
        archive = PostgreSQLArchive.open(elsewhere)
        try:
            checked = await check_database(archive, None, now=seconds, depth=wish.depth, progress=progress)
        finally:
            archive.close()
    lost = _told(position, position.high_water, seconds, wish.tellers)
    return Restored(position, position.high_water, checked, lost, None, "")


async def _restore_server(
    backup: Path,
    target: Target,
    wish: Wish,
    now: datetime,
    random: Callable[[int], bytes],
    progress: Progress | None,
) -> Restored:
    from provisor.storage.postgresql.archive import PostgreSQLArchive
    from provisor.storage.postgresql.restore import Restoring

    seconds = int(now.timestamp())
    work = await Restoring.begin(target)
    try:
        await work.refuse_in_use()
        there = await work.find_there()
        if there is not None and not wish.force:
            raise ConfigError(target.shown, f"is not empty: it has {there.log_end} events; --force to set it aside")
        set_aside = await work.bring_back(backup, seconds)
        try:
            await _give_places(target, (await work.position()).high_water, random)
            position = await work.position()
            archive = PostgreSQLArchive.open(target)
            checked = await check_database(archive, None, now=seconds, depth=wish.depth, progress=progress)
            archive.close()
            _refuse_faults(checked, backup)
            told = await work.find_lost(position.high_water)
            lost = _told(position, position.high_water, seconds, wish.tellers)
            entry, event = _event(position, position.high_water, now, random)
            changes = await work.go_on(position, now=seconds, entry=entry, event=event)
            # At once, so that no other event comes between it and those of the backup.
            await _give_places(target, seconds, random)
        except BaseException:
            await work.undo()
            raise
    finally:
        await work.close()
    revocations = tuple(LostRevocation(issuer.hex(), str(n), code, at) for issuer, n, code, at in told.revocations)
    lost = msgspec.structs.replace(
        lost,
        sources=(*lost.sources, *((set_aside,) if set_aside else ())),
        issued=tuple(dict.fromkeys((*lost.issued, *map(str, told.serials)))),
        revocations=tuple(dict.fromkeys((*lost.revocations, *revocations))),
    )
    return Restored(position, position.high_water, checked, lost, changes, set_aside)


async def _give_places(target: Target, now: int, random: Callable[[int], bytes]) -> None:
    """Events that were committed when the dump was made, and not in the log's tree yet, are put there.

    `now` is the time of the dump: how long ago that was has still to be seen.
    """
    from provisor.storage.postgresql.store import PostgreSQLStore

    store = await PostgreSQLStore.open(target)
    try:
        size = await store.archive.log_size()
        tiles: dict[tuple[int, int], bytes] = {}
        for span in merkle.edge_spans(size):
            for tile in await store.archive.tiles(span.level, span.index, 1):
                tiles[tile.level, tile.index] = tile.hashes
        edge = merkle.read_edge(size, tiles)
        while events := await store.archive.unsequenced(edge.size, BATCH):
            extended, write = extend(edge, events)
            entry = Entry(id=(now * 1000).to_bytes(6, "big") + random(10), writes=(write,))
            (outcome,) = await store.commit([entry], _sign_nothing, now=now)
            if not outcome.committed:
                raise ConfigError(target.shown, f"the log does not go on: {outcome.status} {outcome.reason}")
            edge = extended
    except KeyError as error:
        raise ConfigError(target.shown, f"tile {error.args[0]} of the log's tree is missing or short") from error
    finally:
        await store.close()


def _sign_nothing(_index: int) -> NoReturn:
    raise AssertionError("nothing is signed here")


def _lock(database: Path) -> WriterLock:
    try:
        database.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        return WriterLock(database)
    except OSError as error:
        raise ConfigError(str(database), f"cannot be locked: {error.strerror}") from error


def _restore(
    backup: Path,
    database: Path,
    work: Path,
    wish: Wish,
    now: datetime,
    random: Callable[[int], bytes],
    progress: Progress | None,
) -> Restored:
    copy_database(backup, work, progress)
    with contextlib.closing(sqlite3.connect(work, isolation_level=None)) as connection:
        migrate(connection, where=str(backup))
        position, copied_at = read_position(connection), made_at(connection)
    seconds = int(now.timestamp())
    checked = asyncio.run(
        check_database(SQLiteArchive.open(work), work, now=seconds, depth=wish.depth, progress=progress)
    )
    there = _look_at(database)
    lost = _find_lost(position, copied_at, seconds, there, database, wish.tellers)
    if wish.check_only:
        return Restored(position, copied_at, checked, lost, None, "")
    _refuse(checked, there, position, backup, database, wish)
    changes = _go_on(work, position, copied_at, now, random)
    set_aside = _swap(work, database, seconds)
    return Restored(position, copied_at, checked, lost, changes, set_aside)


def _look_at(database: Path) -> Position | None:
    """Where the database stands that is there; None if there is none, or nobody can read it."""
    if not database.is_file() or not database.stat().st_size:
        return None
    try:
        with contextlib.closing(open_reading(database)) as connection:
            return read_position(connection)
    except (ConfigError, sqlite3.Error):
        return None


def _refuse(
    checked: Checked, there: Position | None, position: Position, backup: Path, database: Path, wish: Wish
) -> None:
    _refuse_faults(checked, backup)
    if wish.force:
        return
    if there is not None and there.authority != position.authority:
        raise ConfigError(str(database), "is the database of another authority; --force to replace it")
    if there is not None and is_newer(there, position):
        events = there.log_end - position.log_end
        raise ConfigError(
            str(database),
            f"is newer than the backup: {events} events would be lost; --force to replace it all the same",
        )


def _refuse_faults(checked: Checked, backup: Path) -> None:
    if not checked.passed:
        first = f"{len(checked.faults)} faults, the first: {checked.faults[0]}"
        raise ConfigError(str(backup), f"the backup does not hold ({first}); nothing was changed")


def _event(position: Position, backup_at: int, now: datetime, random: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """What the log says of it, and the id of that."""
    entry = int(now.timestamp() * 1000).to_bytes(6, "big") + random(10)
    fork = LogFork(position.log_end, int(now.timestamp()), backup_at)
    return entry, encode_restore(fork, position.log_size)


def _go_on(work: Path, position: Position, copied_at: int, now: datetime, random: Callable[[int], bytes]) -> Changes:
    entry, event = _event(position, copied_at, now, random)
    with contextlib.closing(sqlite3.connect(work, isolation_level=None)) as connection:
        connection.execute("PRAGMA synchronous = FULL")
        return go_on(connection, now=int(now.timestamp()), entry=entry, event=event)


def _swap(work: Path, database: Path, now: int) -> str:
    """In one step, so that there is a database at every moment; never one beside the log of another."""
    aside = database.with_name(f"{database.name}.before-restore-{now}")
    with contextlib.suppress(sqlite3.Error), contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA journal_mode = DELETE")
    kept, *logs = zip(files_of(database), files_of(aside), strict=True)
    for old, new in logs:
        if old.exists():
            os.replace(old, new)
    existed = kept[0].exists() and kept[0].stat().st_size > 0
    if existed:
        os.link(*kept)
    os.replace(work, database)
    sync_folder(database.parent)
    return str(aside) if existed else ""


def _remove(work: Path) -> None:
    for path in (*files_of(work), work.with_name(work.name + "-journal")):
        path.unlink(missing_ok=True)


# -- what is unknown ------------------------------------------------------------------------------------


def _find_lost(
    position: Position, copied_at: int, now: int, there: Position | None, database: Path, tellers: Iterable[Path]
) -> Lost:
    databases = [database] if there is not None and there.authority == position.authority else []
    return _told(position, copied_at, now, (*tellers, *databases))


def _told(position: Position, copied_at: int, now: int, tellers: Iterable[Path]) -> Lost:
    first, last = serials_between(copied_at, now)
    told: set[int] = set()
    revocations: list[LostRevocation] = []
    sources: list[str] = []
    for path in tellers:
        sources.append(str(path))
        with contextlib.ExitStack() as opened:
            try:
                connection = opened.enter_context(contextlib.closing(open_reading(path)))
                told.update(each.serial for each in issued_after(connection, position.log_end))
                revocations += [
                    LostRevocation(issuer.hex(), str(serial), code, at)
                    for issuer, serial, code, at in revoked_after(connection, copied_at)
                ]
            except (ConfigError, sqlite3.Error):
                told.update(serial for serial in _told_by(path) if first <= serial <= last)
    return Lost(
        since=copied_at,
        until=now,
        first_serial=str(first),
        last_serial=str(last),
        sources=tuple(sources),
        issued=tuple(map(str, sorted(told))),
        revocations=tuple(dict.fromkeys(revocations)),
    )


def _told_by(path: Path) -> Iterator[int]:
    """Serials that stand in the lines of a log, or in exported events."""
    try:
        with path.open("rb") as file:
            for line in file:
                for match in _SERIAL.finditer(line):
                    yield int(match.group(1) or match.group(2))
    except OSError as error:
        raise ConfigError(str(path), f"cannot be read: {error.strerror}") from error
