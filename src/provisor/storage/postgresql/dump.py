"""A backup of a PostgreSQL database, by its own tool: our schema in the custom format of pg_dump."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

from msgspec import Struct

from provisor.errors import ConfigError
from provisor.storage.backup import Progress
from provisor.storage.postgresql.dsn import Target

_PROGRAM: Final = "pg_dump"
_CHECKER: Final = "pg_restore"
_SCHEMA: Final = "provisor"
_LOOK_SECONDS: Final = 0.2


class Dumped(Struct, frozen=True):
    """A file that pg_dump wrote and pg_restore can read. `tables` have data in it."""

    path: str
    octets: int
    at: int
    database: str
    tables: int


def dump(target: Target, path: Path, *, now: int, progress: Progress | None = None) -> Dumped:
    """Write the schema `provisor` into the file `path`, which appears when it is whole. For its owner only.

    `progress` hears the octets that are written, of a total that nobody knows (0). The password goes by the
    environment: a command line is there for everybody to read. Raises `ConfigError`.
    """
    program, checker = _find(_PROGRAM), _find(_CHECKER)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            _run(
                [program, "--format=custom", f"--schema={_SCHEMA}", "--no-password"],
                connection_of(target),
                file.fileno(),
                lambda: _tell_size(unfinished, progress),
            )
            os.fsync(file.fileno())
        listing = _run([checker, "--list", str(unfinished)], {}, subprocess.PIPE)
        os.replace(unfinished, path)
    except OSError as error:
        raise ConfigError(str(path), f"cannot be written: {error.strerror}") from error
    finally:
        unfinished.unlink(missing_ok=True)
    tables = sum(" TABLE DATA " in line for line in listing.splitlines())
    return Dumped(str(path), path.stat().st_size, now, target.shown, tables)


def bring_back(target: Target, path: Path) -> None:
    """The dump `path` into the database, whole or not at all. Raises `ConfigError`."""
    checker = _find(_CHECKER)
    if not path.is_file():
        raise ConfigError(str(path), "no such file")
    variables = dict(connection_of(target))
    words = [checker, "--single-transaction", "--exit-on-error", "--no-owner", "--no-password", "--no-privileges"]
    _run([*words, f"--dbname={variables.get('PGDATABASE', '')}", str(path)], variables, subprocess.PIPE)


def connection_of(target: Target) -> Mapping[str, str]:
    """The environment in which PostgreSQL's programs reach the database. Raises `ConfigError`."""
    arguments = target.arguments()
    variables = {"PGHOST": arguments.get("host"), "PGPORT": arguments.get("port"), "PGUSER": arguments.get("user")}
    variables |= {"PGDATABASE": arguments.get("database"), "PGPASSWORD": arguments.get("password")}
    variables |= {_VARIABLES[name]: value for name, value in target.query if name in _VARIABLES}
    variables["PGTARGETSESSIONATTRS"] = dict(target.query).get("target_session_attrs", "read-write")
    return {name: _joined(value) for name, value in variables.items() if value}


_VARIABLES: Final = {
    "sslmode": "PGSSLMODE",
    "sslrootcert": "PGSSLROOTCERT",
    "sslcert": "PGSSLCERT",
    "sslkey": "PGSSLKEY",
    "sslcrl": "PGSSLCRL",
    "passfile": "PGPASSFILE",
    "service": "PGSERVICE",
}


def _joined(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)


def _find(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise ConfigError("", f"{program} is not installed: it comes with the client programs of PostgreSQL")
    return found


def _tell_size(path: Path, progress: Progress | None) -> None:
    if progress is not None:
        progress(path.stat().st_size, 0)


def _run(
    words: list[str], variables: Mapping[str, str], output: int, meanwhile: Callable[[], None] | None = None
) -> str:
    """What it wrote to a pipe. `meanwhile` is called now and then."""
    with subprocess.Popen(
        words,
        env={**os.environ, **variables},
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=subprocess.PIPE,
    ) as process:
        while True:
            try:
                written, complaints = process.communicate(timeout=_LOOK_SECONDS)
                break
            except subprocess.TimeoutExpired:
                if meanwhile is not None:
                    meanwhile()
    if process.returncode:
        said = complaints.decode("utf-8", "replace").strip().replace("\n", "; ")
        raise ConfigError("", f"{Path(words[0]).name} failed: {said}")
    return (written or b"").decode("utf-8", "replace")
