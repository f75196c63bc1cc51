"""The two servers as processes: step-ca and Provisor, started in the same way on the same files."""

from __future__ import annotations

import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from bench.machine import REPOSITORY
from bench.model import PROVISOR, STEP_CA, BenchError
from bench.pki import PKI, PROVISIONER

PATIENCE: Final = 60.0
"""Seconds for a start or a stop: stores may be large."""

_POLL: Final = 0.002


def environment(**more: str) -> dict[str, str]:
    """Ours, with the source tree of this checkout, without what `step` and its kin would read."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    return {**kept, "PYTHONPATH": str(REPOSITORY / "src"), **more}


def provisor_words(program: str) -> list[str]:
    """How `provisor` or `provisor-ca` of this checkout is started; its arguments follow."""
    module = {"provisor": "main", "provisor-ca": "server"}[program]
    return [sys.executable, "-c", f"from provisor.cli.{module} import main; main()"]


class Server:
    """One of the two in its own folder, as long as it runs. Logs are formatted and go to /dev/null on either side.

    `database` replaces the embedded store of `step ca init`'s ca.json; `settings` are further members of ca.json.
    """

    def __init__(
        self,
        side: str,
        words: Sequence[str],
        folder: Path,
        pki: PKI,
        *,
        database: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.side = side
        self.folder = folder
        self.pki = pki
        self.port = free_port()
        self.store = folder / "db"
        self.store.mkdir(exist_ok=True)
        self.config_file = folder / "ca.json"
        self.config_file.write_text(json.dumps(self._config(database, settings or {}), indent="\t"))
        self._words = [*words, str(self.config_file)]
        self._process: subprocess.Popen[bytes] | None = None

    def _config(self, database: Mapping[str, str] | None, settings: Mapping[str, object]) -> dict[str, object]:
        embedded = {"type": "badgerv2", "dataSource": str(self.store), "badgerFileLoadingMode": ""}
        return {
            "root": str(self.pki.root_file),
            "crt": str(self.pki.issuer_file),
            "key": str(self.pki.issuer_key_file),
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["localhost", "127.0.0.1"],
            "logger": {"format": "text"},
            "db": dict(database or embedded),
            "crl": {"enabled": True},
            "authority": {"provisioners": [{"type": "JWK", "name": PROVISIONER, "key": self.pki.jwk}]},
            **settings,
        }

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def pid(self) -> int:
        if self._process is None:
            raise BenchError(f"{self.side} does not run")
        return self._process.pid

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def start(self) -> float:
        """Start it; seconds to the first 200 from /health. Raises `BenchError` with what it wrote."""
        context = ssl.create_default_context(cafile=str(self.pki.root_file))
        began = time.monotonic()
        self._process = process = subprocess.Popen(
            self._words,
            cwd=self.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env=environment(),
            start_new_session=True,
        )
        while not self._is_healthy(context):
            if process.poll() is not None or time.monotonic() > began + PATIENCE:
                self.stop()
                raise BenchError(f"{self.side} does not start: {self._explain()}")
            time.sleep(_POLL)
        return time.monotonic() - began

    def reload(self) -> None:
        """Have it read its configuration anew."""
        os.kill(self.pid, signal.SIGHUP)

    def stop(self) -> None:
        """End it as a service manager does."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.terminate()
        try:
            process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _is_healthy(self, context: ssl.SSLContext) -> bool:
        with (
            suppress(OSError),
            socket.create_connection(("127.0.0.1", self.port), timeout=5) as plain,
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return tls.recv(64).startswith(b"HTTP/1.1 200")
        return False

    def _explain(self) -> str:
        """The last lines of another start that does not work: the first one wrote nowhere."""
        try:
            done = subprocess.run(
                self._words, cwd=self.folder, env=environment(), capture_output=True, text=True, timeout=10, check=False
            )
        except subprocess.TimeoutExpired:
            return "no answer from /health"
        lines = [line.strip() for line in (done.stdout + done.stderr).splitlines() if line.strip()]
        return " / ".join(lines[-2:])


def server_words(side: str, peers: Path) -> list[str]:
    """Raises `BenchError` when there is no step-ca."""
    if side == PROVISOR:
        return provisor_words("provisor-ca")
    program = peers / "step-ca"
    if side != STEP_CA or not os.access(program, os.X_OK):
        raise BenchError(f"there is no step-ca in {peers}: run `make peers`")
    return [str(program)]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
