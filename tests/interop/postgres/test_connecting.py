"""Getting in: whose database it is, who may make it, passwords, TLS, poolers; and every refusal in clear words."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from provisor.errors import ConfigError
from provisor.storage.postgresql.dsn import Target, parse_target
from provisor.storage.postgresql.migrate import STEP_CA_TABLES
from provisor.storage.postgresql.store import PostgreSQLStore
from support.peers import ThrowawayPKI, free_port
from support.postgres import Cluster, Database, cluster, new_database

PASSWORD = "p@ss:w/rd%"
QUOTED = "p%40ss%3Aw%2Frd%25"


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as made:
        yield made


def open_and_close(target: Target, *, upgrade: bool = False) -> tuple[str, ...]:
    async def work() -> tuple[str, ...]:
        store = await PostgreSQLStore.open(target, upgrade=upgrade)
        assert (await store.health()).writable
        await store.close()
        return store.warnings

    return asyncio.run(work())


def refusal(target: Target) -> str:
    with pytest.raises(ConfigError) as error:
        open_and_close(target)
    assert PASSWORD not in str(error.value)
    return str(error.value)


def of(database: Database) -> Target:
    return database.cluster.target(database.name)


# -- whose it is --------------------------------------------------------------------------------


@pytest.mark.parametrize("schema", ["public", "elsewhere"])
@pytest.mark.parametrize("table", ["x509_certs", "used_ott", STEP_CA_TABLES[-1]])
def test_a_database_of_step_ca_is_refused(database: Database, schema: str, table: str) -> None:
    database.query(f"CREATE SCHEMA IF NOT EXISTS {schema}")
    database.query(f"CREATE TABLE {schema}.{table} (nkey bytea NOT NULL, nvalue bytea, PRIMARY KEY (nkey))")
    said = refusal(of(database))
    assert f"table {schema}.{table}" in said
    assert "of step-ca is there" in said
    assert "do not come along" in said
    assert not database.query("SELECT FROM pg_namespace WHERE nspname = 'provisor'")


def test_tables_of_others_are_no_matter(database: Database) -> None:
    database.query("CREATE TABLE public.x509_certs (id int)")
    database.query("CREATE TABLE public.meta (id int)")
    open_and_close(of(database))
    open_and_close(of(database))


def test_a_database_that_is_not_there_is_made(database: Database) -> None:
    name = f'{database.name} "new"'
    try:
        open_and_close(database.cluster.target(name))
        assert database.query("SELECT FROM pg_database WHERE datname = $1", name)
    finally:
        with suppress(Exception):
            quoted = name.replace('"', '""')
            database.query(f'DROP DATABASE "{quoted}" WITH (FORCE)')


def test_who_may_not_make_it_is_told_what_to_do(database: Database) -> None:
    database.query("DROP ROLE IF EXISTS humble")
    database.query("CREATE ROLE humble LOGIN")
    target = parse_target(database.cluster.url(user="humble", options="sslmode=disable"), "not_there")
    said = refusal(target)
    assert 'database "not_there" does not exist and cannot be created: permission denied' in said
    assert 'CREATE DATABASE "not_there" OWNER "humble"' in said


def test_a_newer_schema_is_refused_unless_it_says_otherwise(database: Database) -> None:
    open_and_close(of(database))
    database.query("UPDATE provisor.meta SET value = '99' WHERE key = 'schema_version'")
    open_and_close(of(database))
    database.query("UPDATE provisor.meta SET value = '999.0.0' WHERE key = 'oldest_program'")
    assert "run version 999.0.0 or newer" in refusal(of(database))


def test_columns_that_a_newer_release_added_are_no_matter(database: Database) -> None:
    open_and_close(of(database))
    for table in ("certificates", "tokens", "events", "revocations", "meta", "jobs", "crls", "issuers"):
        database.query(f"ALTER TABLE provisor.{table} ADD COLUMN added text DEFAULT 'x'")
    open_and_close(of(database))


def test_a_server_that_is_away_is_named(database: Database) -> None:
    port = free_port()
    target = parse_target(f"postgresql://ca:{QUOTED}@127.0.0.1:{port}/?sslmode=disable", "x")
    assert f"postgresql://ca@127.0.0.1:{port}/x" in refusal(target)


def test_commits_are_durable_whatever_the_server_would_do_by_itself(database: Database) -> None:
    async def asked(setting: str) -> str:
        database.query(f"ALTER DATABASE {database.name} SET synchronous_commit = {setting}")
        store = await PostgreSQLStore.open(of(database))
        said: str = await store._get_writer().fetchval("SHOW synchronous_commit")
        await store.close()
        return said

    for setting, found in (("off", "on"), ("local", "on"), ("on", "on"), ("remote_apply", "remote_apply")):
        assert asyncio.run(asked(setting)) == found
    assert "fsync=off" in open_and_close(of(database))[0]


# -- passwords and TLS --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cluster, ThrowawayPKI]]:
    """A server that wants TLS and a password."""
    with cluster(durable=False) as made:
        pki = ThrowawayPKI(tmp_path_factory.mktemp("pki"))
        _make_server_certificate(pki)
        folder = pki.key_file.parent
        made.write("server.crt", (folder / "server.crt").read_text() + pki.intermediate_file.read_text())
        made.write("server.key", (folder / "server.key").read_text())
        made.query(f"ALTER ROLE provisor PASSWORD '{PASSWORD}'", database="postgres")
        made.write("pg_hba.conf", "local all all trust\nhostssl all all 127.0.0.1/32 scram-sha-256\n")
        made.change(ssl="on", ssl_cert_file="'server.crt'", ssl_key_file="'server.key'")
        made.restart()
        yield made, pki


def _make_server_certificate(pki: ThrowawayPKI) -> None:
    folder = pki.key_file.parent
    openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    subprocess.run(
        [
            *openssl,
            *("-keyout", str(folder / "server.key"), "-out", str(folder / "server.crt"), "-subj", "/CN=localhost"),
            *("-addext", "subjectAltName=IP:127.0.0.1", "-days", "2"),
            *("-CA", str(pki.intermediate_file), "-CAkey", str(pki.key_file)),
        ],
        check=True,
        capture_output=True,
    )


def test_a_password_comes_from_the_data_source_the_environment_or_a_file(
    guarded: tuple[Cluster, ThrowawayPKI], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server, pki = guarded
    options = f"sslmode=verify-full&sslrootcert={pki.root_file}"
    open_and_close(parse_target(server.url(password=QUOTED, options=options), "one"))
    plain = server.url(options=options)
    file = tmp_path / "password"
    file.write_text(PASSWORD + "\n")
    open_and_close(parse_target(plain, "one", password_file=str(file)))
    passfile = tmp_path / "pgpass"
    passfile.write_text(f"127.0.0.1:{server.port}:*:provisor:{PASSWORD}\n")
    passfile.chmod(0o600)
    monkeypatch.setenv("PGPASSFILE", str(passfile))
    open_and_close(parse_target(plain, "one"))
    monkeypatch.delenv("PGPASSFILE")
    monkeypatch.setenv("PGPASSWORD", PASSWORD)
    monkeypatch.setenv("PGSSLMODE", "verify-full")
    monkeypatch.setenv("PGSSLROOTCERT", str(pki.root_file))
    open_and_close(parse_target(server.url(), "one"))
    monkeypatch.setenv("PGPASSWORD", PASSWORD + "x")
    assert "password authentication failed" in refusal(parse_target(server.url(), "one"))


def test_a_server_that_does_not_prove_who_it_is_is_refused(
    guarded: tuple[Cluster, ThrowawayPKI], tmp_path: Path
) -> None:
    server, _ = guarded
    other = ThrowawayPKI(tmp_path)
    options = f"sslmode=verify-full&sslrootcert={other.root_file}"
    assert "certificate verify failed" in refusal(parse_target(server.url(password=QUOTED, options=options), "one"))
    unencrypted = parse_target(server.url(password=QUOTED, options="sslmode=disable"), "one")
    assert "no encryption" in refusal(unencrypted)


# -- poolers ------------------------------------------------------------------------------------


@pytest.fixture
def pooled(database: Database, tmp_path: Path) -> Iterator[Callable[[str], Target]]:
    """A pgbouncer in front of the database, in the mode that is asked for."""
    program = shutil.which("pgbouncer") or shutil.which("/usr/sbin/pgbouncer")
    if program is None:
        if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
            pytest.fail("pgbouncer is not installed")
        pytest.skip("pgbouncer is not installed: `apt-get install pgbouncer`")
    started: list[subprocess.Popen[bytes]] = []

    def start(mode: str) -> Target:
        port = free_port()
        users = database.cluster.write("pooler-users", '"provisor" ""\n')
        config = database.cluster.write(
            "pgbouncer.ini",
            f"[databases]\n* = host=127.0.0.1 port={database.cluster.port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n"
            f"listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {users}\npool_mode = {mode}\n",
        )
        words = database.cluster.as_account([program, str(config)])
        with (tmp_path / "pgbouncer.log").open("ab") as log:
            started.append(subprocess.Popen(words, stdout=log, stderr=log, stdin=subprocess.DEVNULL))
        deadline = time.monotonic() + 10
        while not _listens(port):
            assert time.monotonic() < deadline, (tmp_path / "pgbouncer.log").read_text()
            time.sleep(0.02)
        return parse_target(f"postgresql://provisor@127.0.0.1:{port}/?sslmode=disable", database.name)

    yield start
    for process in started:
        process.terminate()
        process.wait()


def _listens(port: int) -> bool:
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def test_a_pooler_that_keeps_sessions_is_no_matter(pooled: Callable[[str], Target]) -> None:
    target = pooled("session")
    for _ in range(3):
        open_and_close(target)


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_a_pooler_that_lends_by_the_transaction_is_refused(pooled: Callable[[str], Target], mode: str) -> None:
    assert "shared by a pooler (pgbouncer in transaction or statement mode?)" in refusal(pooled(mode))
