"""Private PostgreSQL servers: Debian's programs, a folder of their own, a Unix socket and a loopback port.

PostgreSQL refuses to run as root, so under root it runs as `postgres` or `nobody`. Where the programs are missing
the tests are skipped with the reason; with PROVISOR_REQUIRE_PEERS=1 they fail instead.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import cache
from itertools import count
from pathlib import Path
from tempfile import mkdtemp
from typing import Any, Final

import asyncpg  # type: ignore[import-untyped]
import pytest
from msgspec import Struct

from provisor.storage.postgresql.dsn import Target, Timeouts, parse_target
from support.peers import free_port

_NEWEST_FIRST: Final = sorted(
    Path("/usr/lib/postgresql").glob("*/bin"),
    key=lambda path: -int(path.parent.name) if path.parent.name.isdecimal() else 0,
)
_PATIENCE: Final = 60.0
_names = count(1)


@cache
def find_programs() -> Path | None:
    """The folder with `initdb` and `postgres`, None if they are not here."""
    found = shutil.which("postgres")
    folders = [*_NEWEST_FIRST, *([Path(found).resolve().parent] if found else [])]
    return next((folder for folder in folders if (folder / "initdb").exists()), None)


def require_programs() -> Path:
    """The folder, or the test is skipped."""
    folder = find_programs()
    if folder is not None:
        return folder
    reason = "PostgreSQL is not installed: `apt-get install postgresql`"
    if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def _account() -> pwd.struct_passwd | None:
    """Whom the server runs as, None for ourselves."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        with suppress(KeyError):
            return pwd.getpwnam(name)
    raise RuntimeError("there is no account to run PostgreSQL as")


class Cluster:
    """One server. `durable` writes to the disk as in production; otherwise a crash of the machine may lose data."""

    def __init__(self, *, durable: bool = False, settings: Mapping[str, str] | None = None) -> None:
        self.programs = require_programs()
        self.folder = Path(mkdtemp(prefix="provisor-pg-"))
        self.data = self.folder / "data"
        self.port = free_port()
        self._account = _account()
        self._settings = {
            "listen_addresses": "'127.0.0.1'",
            "unix_socket_directories": f"'{self.folder}'",
            "port": str(self.port),
            "fsync": "on" if durable else "off",
            "full_page_writes": "on" if durable else "off",
            "max_connections": "60",
            "shared_buffers": "'32MB'",
            "logging_collector": "off",
            "log_min_messages": "warning",
            **(settings or {}),
        }
        if self._account is not None:
            os.chown(self.folder, self._account.pw_uid, self._account.pw_gid)
        os.chmod(self.folder, 0o755)  # a test that does not run as root connects to the socket in it
        self._process: subprocess.Popen[bytes] | None = None

    # -- life -----------------------------------------------------------------------------------

    def create(self) -> None:
        self.run("initdb", "-D", self.data, "-U", "provisor", "-A", "trust", "-E", "UTF8", "--locale=C", "-N")
        self._configure()

    def copy_of(self, primary: Cluster) -> None:
        """Become a standby that follows `primary`."""
        self.run(
            *("pg_basebackup", "-D", self.data, "-h", primary.folder, "-p", str(primary.port), "-U", "provisor"),
            *("-R", "-X", "stream", "-c", "fast", "--no-sync"),
        )
        name = self.folder.name.replace("-", "_")
        text = (
            (self.data / "postgresql.auto.conf")
            .read_text()
            .replace("primary_conninfo = '", f"primary_conninfo = 'application_name={name} ")
        )
        self.write("postgresql.auto.conf", text)
        self._configure()

    def _configure(self) -> None:
        lines = (f"{key} = {value}\n" for key, value in self._settings.items())
        self.write("provisor.conf", "".join(lines))
        main = (self.data / "postgresql.conf").read_text()
        if "provisor.conf" not in main:
            self.write("postgresql.conf", main + "\ninclude 'provisor.conf'\n")

    def write(self, name: str, text: str, mode: int = 0o600) -> Path:
        """A file in the data folder, the server's own."""
        path = self.data / name
        path.write_text(text)
        path.chmod(mode)
        if self._account is not None:
            os.chown(path, self._account.pw_uid, self._account.pw_gid)
        return path

    def change(self, **settings: str) -> None:
        """Settings for the next start, or for `reload`."""
        self._settings |= settings
        self._configure()

    def start(self) -> None:
        with (self.folder / "server.log").open("ab") as log:
            self._process = subprocess.Popen(
                # It ends with us, even if we are killed.
                self.as_account([str(self.programs / "postgres"), "-D", str(self.data)], "--pdeathsig=QUIT"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                start_new_session=True,
            )
        self.wait_until_ready()

    def wait_until_ready(self) -> None:
        deadline = time.monotonic() + _PATIENCE
        while not self._answers():
            if time.monotonic() > deadline or self.process.poll() is not None:
                raise RuntimeError(f"PostgreSQL did not start:\n{self.log()}")
            time.sleep(0.05)

    def _answers(self) -> bool:
        asked = [
            str(self.programs / "pg_isready"),
            "-q",
            "-h",
            str(self.folder),
            "-p",
            str(self.port),
            "-U",
            "provisor",
        ]
        return subprocess.run(asked, check=False).returncode == 0

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def stop(self, how: signal.Signals = signal.SIGINT) -> None:
        """SIGINT: fast, SIGQUIT: immediate, as after a crash."""
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            try:
                process.wait(_PATIENCE)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def restart(self, how: signal.Signals = signal.SIGQUIT) -> None:
        self.stop(how)
        self.start()

    def reload(self) -> None:
        self.process.send_signal(signal.SIGHUP)

    def pause(self) -> None:
        """The server, with all processes that serve connections, stands still."""
        self._signal_all(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal_all(signal.SIGCONT)

    def _signal_all(self, number: signal.Signals) -> None:
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        for pid in (self.process.pid, *map(int, children)):
            with suppress(ProcessLookupError):
                os.kill(pid, number)

    def promote(self) -> None:
        """Make a standby the primary."""
        self.run("pg_ctl", "promote", "-D", self.data, "-w")

    def remove(self) -> None:
        self.stop(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def log(self) -> str:
        path = self.folder / "server.log"
        return path.read_text(errors="replace") if path.exists() else ""

    def run(self, program: str, *arguments: object) -> str:
        """One of PostgreSQL's programs, as the server's account."""
        words = self.as_account([str(self.programs / program), *map(str, arguments)])
        done = subprocess.run(words, cwd=self.folder, stdin=subprocess.DEVNULL, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(f"{program} failed:\n{done.stdout.decode()}{done.stderr.decode()}")
        return done.stdout.decode()

    def as_account(self, words: list[str], *options: str) -> list[str]:
        if self._account is None:
            return ["setpriv", *options, "--", *words] if options else words
        return [
            *(
                "setpriv",
                *options,
                f"--reuid={self._account.pw_uid}",
                f"--regid={self._account.pw_gid}",
                "--clear-groups",
            ),
            *("--no-new-privs", "--", *words),
        ]

    # -- use ------------------------------------------------------------------------------------

    def url(self, *, user: str = "provisor", password: str = "", options: str = "") -> str:
        """The data source of ca.json."""
        secret = f":{password}" if password else ""
        return f"postgresql://{user}{secret}@127.0.0.1:{self.port}/{'?' + options if options else ''}"

    def target(self, database: str, *, timeouts: Timeouts | None = None, options: str = "sslmode=disable") -> Target:
        return parse_target(self.url(options=options), database, timeouts=timeouts)

    def create_database(self) -> str:
        """A new empty one."""
        name = f"test_{os.getpid()}_{next(_names)}"
        self.query(f"CREATE DATABASE {name}", database="postgres")
        return name

    def drop_database(self, name: str) -> None:
        self.query(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)", database="postgres")

    def query(self, statement: str, *values: Any, database: str) -> list[Any]:
        """Rows, on a connection of its own."""

        async def ask() -> list[Any]:
            connection = await asyncpg.connect(
                host=str(self.folder), port=self.port, user="provisor", database=database
            )
            try:
                rows: list[Any] = await connection.fetch(statement, *values)
                return rows
            finally:
                await connection.close()

        # In a thread: the caller may have a loop running.
        with ThreadPoolExecutor(1) as thread:
            return thread.submit(lambda: asyncio.run(ask())).result()


class Database(Struct, frozen=True):
    """One database of a cluster, as a CA's store."""

    cluster: Cluster
    name: str

    def settings(self, *, url: str = "", **more: object) -> dict[str, object]:
        """`db` of ca.json."""
        return {
            "type": "postgresql",
            "dataSource": url or self.cluster.url(options="sslmode=disable"),
            "database": self.name,
            **more,
        }

    def query(self, statement: str, *values: Any) -> list[Any]:
        return self.cluster.query(statement, *values, database=self.name)

    def query_elsewhere(self, statement: str) -> list[Any]:
        """On a connection to another database of the cluster."""
        return self.cluster.query(statement, database="postgres")


@contextmanager
def new_database(cluster: Cluster | None = None) -> Iterator[Database]:
    """An empty one, of the shared cluster if none is given."""
    used = cluster or shared_cluster()
    made = Database(used, used.create_database())
    yield made
    used.drop_database(made.name)


@cache
def shared_cluster() -> Cluster:
    """One for all tests of a process that only need a database. It is gone at the end."""
    cluster = Cluster()
    atexit.register(cluster.remove)
    cluster.create()
    cluster.start()
    return cluster


@contextmanager
def cluster(*, durable: bool = True, settings: Mapping[str, str] | None = None) -> Iterator[Cluster]:
    """A server of one's own, to be treated badly."""
    made = Cluster(durable=durable, settings=settings)
    try:
        made.create()
        made.start()
        yield made
    finally:
        made.remove()


@contextmanager
def standby_of(primary: Cluster, *, synchronous: bool = True) -> Iterator[Cluster]:
    """A standby that follows `primary`, whose commits wait for it if `synchronous`."""
    made = Cluster(durable=True)
    try:
        made.copy_of(primary)
        made.start()
        if synchronous:
            primary.change(synchronous_standby_names="'*'")
            primary.reload()
            deadline = time.monotonic() + _PATIENCE
            ask = "SELECT count(*) FROM pg_stat_replication WHERE sync_state = 'sync'"
            while primary.query(ask, database="postgres")[0][0] == 0:
                assert time.monotonic() < deadline, primary.log() + made.log()
                time.sleep(0.05)
        yield made
    finally:
        made.remove()
