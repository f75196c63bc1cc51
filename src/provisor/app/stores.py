"""Which store a configuration means, opened for the one who writes and for operators.

The driver of PostgreSQL is only imported where there is such a database: it costs every start a tenth of a second.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from provisor.app.bundle import Bundle
from provisor.config.load import load_config
from provisor.errors import ConfigError
from provisor.ports import Archive
from provisor.storage.archive import SQLiteArchive
from provisor.storage.base import Store
from provisor.storage.locate import locate_store
from provisor.storage.postgresql.dsn import Target
from provisor.storage.sqlite import MEMORY, SQLiteStore


class Replicas(Protocol):
    """The other Provisors on the same database, and the configurations they brought."""

    async def was_in_force(self, configuration: str) -> bool:
        """Whether this configuration was the CA's once. Raises `Unavailable`."""
        ...

    async def is_attended(self, configuration: str) -> bool:
        """Whether another replica serves this configuration now. Raises `Unavailable`."""
        ...

    async def attend(self, configuration: str) -> None:
        """Serve it, as others can see. Raises `Unavailable`."""
        ...


class OpenStore(Store, Protocol):
    """A store with its reading half for operators. `warnings` are for the log of the start."""

    @property
    def archive(self) -> Archive: ...


async def open_store(
    place: Path | Target | None, *, migrate: bool = False, heard: Callable[[], None] | None = None
) -> tuple[OpenStore, Replicas | None, tuple[str, ...]]:
    """The store, the other replicas if it can have any, and warnings. `heard`: another one has changed the epoch.

    Raises `ConfigError`.
    """
    if not isinstance(place, Target):
        return SQLiteStore.open(place or MEMORY), None, ()
    from provisor.storage.postgresql.store import PostgreSQLStore

    store = await PostgreSQLStore.open(place, upgrade=migrate, heard=heard)
    return store, store, store.warnings


def open_archive(bundle: Bundle, accepted: Path) -> Archive | None:
    """For operators: the file where there is one; PostgreSQL on a connection of its own; of memory, none.

    `accepted` is the configuration in force with its password, which only the notary's process and this one read.
    """
    if bundle.store is not None:
        return SQLiteArchive.open(Path(bundle.store))
    try:
        config = load_config(accepted.read_bytes(), where=str(accepted)).config
    except OSError as error:
        raise ConfigError(str(accepted), f"cannot be read: {error.strerror}") from error
    place = locate_store(config.db, config.provisor.database) if config.db else None
    if not isinstance(place, Target):
        return None
    from provisor.storage.postgresql.archive import PostgreSQLArchive

    return PostgreSQLArchive.open(place)
