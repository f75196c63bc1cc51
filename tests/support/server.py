"""The whole CA as it runs: supervisor, notary, workers and jobs, on a loopback port of its own."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from provisor.client.tokens import TokenRequest, Window, make_token
from provisor.core.jose.jwk import jwk_members, make_jwk
from support.peers import ThrowawayPKI
from support.postgres import Database

PATIENCE: Final = 20.0
"""Seconds after which a test gives up waiting."""

_SOURCES: Final = Path(__file__).resolve().parents[2] / "src"
_PROGRAM: Final = ("-c", "from provisor.cli.main import main; main()", "serve")


class ProcessID(Struct, frozen=True):
    """A process that is not confused with a later one of the same number."""

    pid: int
    began: str

    @property
    def is_alive(self) -> bool:
        return _began(self.pid) == self.began


class Answer(Struct, frozen=True):
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class RunningProvisor:
    """A CA in `folder`, running as long as the `with` block; afterwards no process of it is left, or the test fails.

    `provisioners` are names of JWK provisioners, each with a key of its own. `settings` are merged into
    ca.json. `environment` is added to that of all processes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        provisioners: Sequence[str] = ("tester",),
        workers: int = 2,
        settings: Mapping[str, object] | None = None,
        database: bool = True,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.pki = ThrowawayPKI(folder)
        self.keys = {name: ec.generate_private_key(ec.SECP256R1()) for name in provisioners}
        self.config_file = folder / "ca.json"
        self.log_file = folder / "log"
        self.pidfile = folder / "pid"
        self.store = folder / "db" / "provisor.db"
        self.records: Path | Database = self.store
        # A socket's path is short, a test's folder may be long.
        self.runtime = Path(tempfile.mkdtemp(prefix="provisor-test-"))
        self.port = quiet_port()
        self.config: dict[str, object] = {
            "root": str(self.pki.root_file),
            "crt": str(self.pki.intermediate_file),
            "key": str(self.pki.key_file),
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["localhost", "127.0.0.1"],
            "authority": {"provisioners": [self.provisioner(name) for name in provisioners]},
            "provisor": {"workers": workers},
        }
        if database:
            self.config["db"] = {"type": "badgerv2", "dataSource": str(folder / "db")}
        self.config.update(settings or {})
        self.write_config()
        self._environment = {**os.environ, "PYTHONPATH": str(_SOURCES), "RUNTIME_DIRECTORY": str(self.runtime)}
        self._environment.update(environment or {})
        self._process: subprocess.Popen[bytes] | None = None
        self._seen: set[ProcessID] = set()
        self._log_begins = 0

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._process is not None and self._process.poll() is None:
                self.stop()
        finally:
            self.kill()
            shutil.rmtree(self.runtime)
        if error is not None:
            error.add_note(f"log of the server:\n{self.log[-8000:]}")
        left = [each.pid for each in self._seen if each.is_alive]
        assert not left, f"processes were left: {left}"

    # -- configuration --------------------------------------------------------------------------

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def provisioner(self, name: str) -> dict[str, object]:
        """A provisioner as it stands in ca.json."""
        return {"type": "JWK", "name": name, "key": jwk_members(make_jwk(self.keys[name].public_key()))}

    def write_config(self, **changes: object) -> None:
        """Write ca.json, with `changes` to its members; it is read at the next start or reload."""
        self.config.update(changes)
        self.config_file.write_text(json.dumps(self.config, indent="\t"))

    def token(
        self,
        subject: str,
        *,
        provisioner: str = "tester",
        purpose: str = "sign",
        issued_at: datetime | None = None,
    ) -> str:
        """A token of five minutes for one certificate, or with purpose `revoke` for the serial `subject`."""
        now = issued_at or datetime.now(UTC)
        key = self.keys[provisioner]
        request = TokenRequest(
            issuer=provisioner,
            subject=subject,
            audience=f"https://localhost:{self.port}/1.0/{purpose}",
            key_id=make_jwk(key).kid,
            window=Window(now, now + timedelta(minutes=5)),
            issued_at=now,
            root_fingerprint=self.pki.fingerprint,
            names=[subject] if purpose == "sign" else None,
        )
        return make_token(request, key)

    # -- the life -------------------------------------------------------------------------------

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The supervisor."""
        assert self._process is not None
        return self._process

    def start(self) -> None:
        """Start and wait until it serves."""
        self._log_begins = self.log_file.stat().st_size if self.log_file.exists() else 0
        self._process = self.spawn()
        wait_for(
            lambda: "Serving HTTPS on" in self.log or self.process.poll() is not None, "the server does not start", self
        )
        assert self.process.poll() is None, self.log
        self.everybody()
        self.await_ready()

    def spawn(self, *more: str) -> subprocess.Popen[bytes]:
        """A supervisor on this configuration, without waiting for it."""
        arguments = [*_PROGRAM, str(self.config_file), "--pidfile", str(self.pidfile), *more]
        with self.log_file.open("ab") as log:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=self._environment,
                cwd=self.folder,
            )

    def stop(self) -> int:
        """End it with SIGTERM; the exit status."""
        self.everybody()
        self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"the server does not end:\n{self.log}") from None

    def kill(self) -> None:
        """Kill the supervisor, and wait until everybody else is gone."""
        if self._process is None:
            return
        self.everybody()
        self._process.kill()
        self._process.wait()
        wait_for(lambda: not any(each.is_alive for each in self._seen), "processes outlive the supervisor", self, 5.0)

    def reload(self, expected: str = "Serving HTTPS on") -> None:
        """SIGHUP, and wait for one line more that has `expected`."""
        seen = self.log.count(expected)
        self.process.send_signal(signal.SIGHUP)
        self.await_log(expected, seen + 1)

    def await_ready(self, seconds: float = PATIENCE) -> None:
        """Wait until it can issue."""

        def is_ready() -> bool:
            with suppress(OSError, http.client.HTTPException):
                return self.get("/ready").status == 200
            return False

        wait_for(is_ready, "the server does not become ready", self, seconds)

    # -- what it consists of --------------------------------------------------------------------

    @property
    def log(self) -> str:
        """What was written since the last start."""
        if not self.log_file.exists():
            return ""
        return self.log_file.read_bytes()[self._log_begins :].decode("utf-8", "replace")

    def await_log(self, text: str, times: int = 1) -> None:
        wait_for(lambda: self.log.count(text) >= times, f"not in the log: {text}", self)

    def pids(self, role: str) -> list[int]:
        """The processes that are now a `notary`, `jobs` or `worker`; `supervisor` is the parent of them all."""
        if role == "supervisor":
            return [self.process.pid]
        return [pid for pid in _children(self.process.pid) if _role(pid) == role]

    def everybody(self) -> list[int]:
        """All processes of the server, remembered for the check at the end."""
        pids = [self.process.pid, *_children(self.process.pid)]
        self._seen.update(ProcessID(pid, began) for pid in pids if (began := _began(pid)))
        return pids

    # -- talking to it --------------------------------------------------------------------------

    def connect(self, *, port: int = 0, timeout: float = PATIENCE) -> http.client.HTTPSConnection:
        """A connection, opened at the first request."""
        return http.client.HTTPSConnection("localhost", port or self.port, timeout=timeout, context=self.context())

    def get(self, path: str, **headers: str) -> Answer:
        """One request on a connection of its own. Raises `OSError` or `HTTPException` without an answer."""
        connection = self.connect()
        try:
            return exchange(connection, "GET", path, headers=headers)
        finally:
            connection.close()

    def post(self, path: str, body: object) -> Answer:
        connection = self.connect()
        try:
            return exchange(connection, "POST", path, json.dumps(body).encode())
        finally:
            connection.close()

    def context(self) -> ssl.SSLContext:
        return ssl.create_default_context(cadata=self.pki.root_pem.decode())


def quiet_port() -> int:
    """A loopback port that nobody has, below those that the system gives to outgoing connections: it stays free."""
    while True:
        port = secrets.choice(range(20_000, 32_000))
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


def is_listening(port: int) -> bool:
    """Whether somebody accepts connections there."""
    with socket.socket() as sock:
        return sock.connect_ex(("127.0.0.1", port)) == 0


def exchange(
    connection: http.client.HTTPSConnection,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
) -> Answer:
    """One request and its answer; the connection stays open. Raises `OSError` or `HTTPException`."""
    if connection.sock is None:
        connection.connect()
    connection.request(method, path, body, {name.replace("_", "-"): value for name, value in (headers or {}).items()})
    response = connection.getresponse()
    content = response.read()
    return Answer(response.status, {name.lower(): value for name, value in response.getheaders()}, content)


def wait_for(
    condition: Callable[[], object], complaint: str, ca: RunningProvisor | None = None, seconds: float = PATIENCE
) -> None:
    """Look again until it holds; the test fails after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{complaint}\n{ca.log if ca else ''}"
        time.sleep(0.01)


def _children(pid: int) -> list[int]:
    with suppress(OSError):
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return []


def _role(pid: int) -> str:
    with suppress(OSError):
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if b"provisor.app" in words:
            return words[words.index(b"provisor.app") + 1].decode()
    return ""


def _began(pid: int) -> str:
    """When the process began; empty if it has ended, be it that its parent did not look yet."""
    with suppress(OSError):
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        return "" if words[0] in "ZX" else words[19]
    return ""
