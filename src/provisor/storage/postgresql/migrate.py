"""From an empty database, or the schema of an older program, to the schema of this one; and whose database it is."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from importlib import resources
from typing import Final

from provisor import __version__
from provisor.errors import ConfigError
from provisor.storage.migrate import OLDEST_PROGRAM, is_older
from provisor.storage.postgresql.connect import Connection
from provisor.storage.postgresql.locks import lock_number

_SOURCE: Final = "ca.json: $.db"
_MIGRATION: Final = lock_number(b"migration")

STEP_CA_TABLES: Final = (
    *("x509_certs", "x509_certs_data", "revoked_x509_certs", "x509_crl", "revoked_ssh_certs", "used_ott"),
    *("ssh_certs", "ssh_hosts", "ssh_host_principals", "ssh_users"),
)

# Its tables have these two columns, whatever schema they are in.
_FOREIGN: Final = """
SELECT format('%I.%I', n.nspname, c.relname) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE c.relname = ANY($1::text[]) AND c.relkind IN ('r', 'p') AND n.nspname <> 'provisor'
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nkey' AND NOT a.attisdropped)
    AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'nvalue' AND NOT a.attisdropped)
ORDER BY 1 LIMIT 1
"""


def schemas() -> Sequence[str]:
    """The numbered SQL files, in their order: 0001 first, none left out."""
    folder = resources.files("provisor.storage.postgresql") / "schema"
    files = sorted((file for file in folder.iterdir() if file.name.endswith(".sql")), key=lambda file: file.name)
    return [file.read_text(encoding="utf-8") for file in files]


async def check_ours(connection: Connection, where: str) -> None:
    """That nothing of step-ca is there. Raises `ConfigError`."""
    table = await connection.fetchval(_FOREIGN, list(STEP_CA_TABLES))
    if table is not None:
        raise ConfigError(
            f"{_SOURCE}.database",
            f"a PostgreSQL database of step-ca is there ({where}, table {table}), which Provisor does not read: "
            "give another db.database; its revocations and spent tokens do not come along",
        )


async def find_version(connection: Connection) -> int:
    """The schema that is there; 0 for none."""
    if await connection.fetchval("SELECT to_regclass('provisor.meta')") is None:
        return 0
    return int(await connection.fetchval("SELECT value FROM provisor.meta WHERE key = 'schema_version'") or 0)


async def prepare(connection: Connection, *, where: str, upgrade: bool = False, program: str = __version__) -> None:
    """Make the schema in an empty database, or check the one that is there.

    An older schema is changed only with `upgrade`: replicas of an older program may be at work on it. A newer one is
    accepted if it names this program, or an older one, as the oldest that may use it. Raises `ConfigError`, `FAULTS`.
    """
    scripts = schemas()
    async with connection.transaction():
        await connection.execute(f"SELECT pg_advisory_xact_lock({_MIGRATION})")
        await check_ours(connection, where)
        version = await find_version(connection)
        if version > len(scripts):
            await _check_newer(connection, version, program, where)
            return
        if version == len(scripts):
            return
        if version and not upgrade:
            raise ConfigError(
                _SOURCE,
                f"{where} has schema {version}, this program brings {len(scripts)}: run `provisor db migrate`, "
                "which leaves replicas of the release before at work",
            )
        if not version:
            await connection.execute("CREATE SCHEMA IF NOT EXISTS provisor")
            await connection.execute("REVOKE ALL ON SCHEMA provisor FROM PUBLIC")
        for script in scripts[version:]:
            await connection.execute(script)
        await _record(connection, len(scripts))


async def _record(connection: Connection, version: int) -> None:
    await connection.execute(
        "INSERT INTO provisor.meta VALUES ('authority_id', $1) ON CONFLICT DO NOTHING", str(uuid.uuid4())
    )
    for key, value in (("schema_version", str(version)), ("oldest_program", OLDEST_PROGRAM)):
        await connection.execute(
            "INSERT INTO provisor.meta VALUES ($1, $2) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            key,
            value,
        )


async def _check_newer(connection: Connection, version: int, program: str, where: str) -> None:
    oldest = await connection.fetchval("SELECT value FROM provisor.meta WHERE key = 'oldest_program'") or ""
    if not oldest or is_older(program, oldest):
        remedy = f"run version {oldest} or newer" if oldest else "run a newer version"
        raise ConfigError(_SOURCE, f"{where} has schema {version}, newer than this program ({program}): {remedy}")
