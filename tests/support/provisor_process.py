"""CA programs as processes: Provisor's, or any that is started with a ca.json and serves until a signal."""

from __future__ import annotations

import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from types import TracebackType
from typing import Any, Final, Self

from support.peers import REPOSITORY, ThrowawayPKI, free_port, jwk_provisioner, require_peer

PATIENCE: Final = 30.0
"""Seconds; far more than anything here takes."""

_STAMP: Final = re.compile(r"^\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ")
_SERVING: Final = "Serving HTTPS on "
_MODULES: Final = {"provisor": "provisor.cli.main", "provisor-ca": "provisor.cli.server"}


@cache
def programs() -> Path:
    """A folder with `provisor` and `provisor-ca` of this source tree."""
    folder = Path(mkdtemp(prefix="provisor-programs-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    for name, module in _MODULES.items():
        path = folder / name
        call = f"from {module} import main; main()"
        path.write_text(
            f'#!/bin/sh\nPYTHONPATH="{REPOSITORY / "src"}" exec "{sys.executable}" -c "{call}" "$@"\n',
        )
        path.chmod(0o755)
    return folder


def provisor_ca() -> list[str]:
    """How Provisor is started; arguments follow."""
    return [str(programs() / "provisor-ca")]


def step_ca() -> list[str]:
    """How step-ca is started; the test is skipped where there is none."""
    return [str(require_peer("step-ca"))]


def clean_environment(**changes: str) -> dict[str, str]:
    """This process's environment without what `step` and its kin would read, and with `changes`."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    return env | changes


class CAProcess:
    """A server as long as the `with` block runs. `words` is its whole command line, `port` where it will listen."""

    def __init__(self, words: Sequence[str], port: int, log_file: Path, *, cwd: Path | None = None) -> None:
        self.words = list(words)
        self.port = port
        self.log_file = log_file
        self._cwd = cwd
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        with self.log_file.open("ab") as log:
            self._process = subprocess.Popen(
                self.words,
                cwd=self._cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=clean_environment(),
                start_new_session=True,
            )
        self.wait_for_log(_SERVING)
        while not self._answers():
            time.sleep(0.01)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def stop(self) -> int:
        """End it as a service manager does; its exit status."""
        process = self.process
        if process.poll() is None:
            process.terminate()
        try:
            return process.wait(PATIENCE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise

    def log_lines(self, since: int = 0) -> list[str]:
        """What it wrote from that offset on, without times and what the database library says."""
        with self.log_file.open("rb") as file:
            file.seek(since)
            text = file.read().decode()
        return [_STAMP.sub("", line) for line in text.splitlines() if not line.startswith("badger ")]

    def wait_for_log(self, text: str, since: int = 0) -> list[str]:
        """The lines since then, once one of them holds `text`. Fails if the process ends before that."""
        deadline = time.monotonic() + PATIENCE
        while True:
            ended = self.process.poll() is not None or time.monotonic() > deadline
            lines = self.log_lines(since)
            if any(text in line for line in lines):
                return lines
            if ended:
                raise AssertionError(f"{self.words} did not say {text!r}:\n" + "\n".join(lines))
            time.sleep(0.01)

    def reload(self, until: str = _SERVING) -> list[str]:
        """Have it read its configuration anew; the lines it wrote about that."""
        since = self.log_file.stat().st_size
        self.process.send_signal(signal.SIGHUP)
        return self.wait_for_log(until, since)

    def _answers(self) -> bool:
        with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
            return True
        assert self.process.poll() is None
        return False


class CAFolder:
    """A ca.json with its PKI in `folder`, for any of the servers: `config_file`, `pki`, `port`.

    `provisioners` and `settings` may be changed before `write`.
    """

    def __init__(
        self,
        folder: Path,
        provisioners: Sequence[Mapping[str, Any]] | None = None,
        *,
        settings: Mapping[str, object] | None = None,
        pki: ThrowawayPKI | None = None,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.pki = pki or ThrowawayPKI(folder)
        self.config_file = folder / "ca.json"
        self.provisioners: list[Mapping[str, Any]] = (
            list(provisioners) if provisioners is not None else [jwk_provisioner("you@smallstep.com")]
        )
        self.settings = dict(settings or {})
        self.port = free_port()
        self.write()

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def fingerprint(self) -> str:
        """Of the root: SHA-256 in hex."""
        return self.pki.fingerprint

    def write(self) -> None:
        config: dict[str, object] = {
            "root": str(self.pki.root_file),
            "crt": str(self.pki.intermediate_file),
            "key": str(self.pki.key_file),
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["localhost", "127.0.0.1"],
            "logger": {"format": "json"},
            "db": {"type": "badgerv2", "dataSource": str(self.folder / "db")},
            "authority": {"provisioners": self.provisioners},
        }
        self.config_file.write_text(json.dumps(config | self.settings, indent="\t"))

    def serve(self, program: Sequence[str]) -> CAProcess:
        """The server to be started on it."""
        return CAProcess([*program, str(self.config_file)], self.port, self.folder / "server.log")


def serve_init_folder(program: Sequence[str], step_path: Path, password_file: Path) -> CAProcess:
    """A server to be started on a folder that some `ca init` made, where its ca.json says."""
    config_file = step_path / "config" / "ca.json"
    port = int(json.loads(config_file.read_text())["address"].rpartition(":")[2])
    words = [*program, str(config_file), f"--password-file={password_file}"]
    return CAProcess(words, port, step_path / "server.log")
