"""A private PostgreSQL cluster, durable as Debian's default is, as long as the `with` block runs."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.model import BenchError, Skipped
from bench.servers import PATIENCE, free_port

_ACCOUNT: Final = "postgres"


class Cluster:
    """Listens on 127.0.0.1 and trusts it; user `postgres`. A server does not run as root: then it is Debian's account.

    Raises `Skipped` when there is no PostgreSQL.
    """

    def __init__(self, parent: Path) -> None:
        self._programs = find_programs()
        self._parent = parent
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        self.folder = Path(tempfile.mkdtemp(prefix="postgres-", dir=self._parent if os.geteuid() else None))
        if os.geteuid() == 0:
            shutil.chown(self.folder, _ACCOUNT)
        self._do("initdb", "-D", f"{self.folder}/data", "-U", "postgres", "--auth=trust", "--no-locale", "-E", "UTF8")
        self._process = subprocess.Popen(
            [
                *self._as_owner(),
                str(self._programs / "postgres"),
                *("-D", f"{self.folder}/data", "-k", str(self.folder), "-p", str(self.port)),
                *("-c", "listen_addresses=127.0.0.1"),
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        deadline = time.monotonic() + PATIENCE
        while self._run("pg_isready", "-q", "-h", "127.0.0.1", "-p", str(self.port)).returncode:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise BenchError("PostgreSQL does not start")
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError, ValueError):
            postmaster = int((self.folder / "data" / "postmaster.pid").read_text().split()[0])
            os.kill(postmaster, signal.SIGINT)
        if self._process is not None:
            self._process.wait(PATIENCE)
        shutil.rmtree(self.folder, ignore_errors=True)

    @property
    def pid(self) -> int:
        """The root of its process tree."""
        assert self._process is not None
        return self._process.pid

    def create(self, name: str) -> None:
        """A new database."""
        self._do("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "postgres", name)

    def _as_owner(self) -> list[str]:
        return ["runuser", "-u", _ACCOUNT, "--"] if os.geteuid() == 0 else []

    def _do(self, program: str, *words: str) -> None:
        done = self._run(program, *words)
        if done.returncode:
            raise BenchError(f"{program}: {done.stderr.strip()}")

    def _run(self, program: str, *words: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str] = [*self._as_owner(), str(self._programs / program), *words]
        return subprocess.run(command, cwd=self.folder, capture_output=True, text=True, check=False)


def find_programs() -> Path:
    """The folder of the newest PostgreSQL of Debian's kind, or the one on PATH. Raises `Skipped`."""
    debian = [path.parent for path in Path("/usr/lib/postgresql").glob("*/bin/postgres")]
    newest = max(debian, key=lambda path: int(path.parent.name) if path.parent.name.isdigit() else 0, default=None)
    found = shutil.which("postgres")
    if newest is None and found is None:
        raise Skipped("no PostgreSQL here: on Debian apt-get install postgresql")
    if os.geteuid() == 0:
        try:
            pwd.getpwnam(_ACCOUNT)
        except KeyError:
            raise Skipped("PostgreSQL does not run as root, and there is no account postgres") from None
    return newest if newest is not None else Path(str(found)).resolve().parent
