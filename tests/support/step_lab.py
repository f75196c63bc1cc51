"""Command lines of the real `step` against a server of ours, and recorded ones beside them."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from support.command_line import Ended
from support.peers import require_peer
from support.provisor_process import clean_environment, programs
from support.terminal import plain

_SECONDS: Final = 60.0


class RecordedFile(Struct, frozen=True):
    """A file that a recorded command wrote."""

    path: str
    mode: str
    first: str


class Transcript(Struct, frozen=True):
    """A recorded command line of `step` and what came of it. `screen` is "" where there was no terminal."""

    name: str
    command: str
    status: int
    stdout: str
    stderr: str
    screen: str
    answers: tuple[tuple[str, str], ...]
    environment: Mapping[str, str]
    files: tuple[RecordedFile, ...]


def load_transcript(path: Path) -> Transcript:
    recorded: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return Transcript(
        name=path.stem,
        command=recorded["command"],
        status=recorded["exit"],
        stdout=recorded.get("stdout", ""),
        stderr=recorded.get("stderr", ""),
        screen=recorded.get("screen", ""),
        answers=tuple((wait, typed) for wait, typed in recorded.get("terminal", ())),
        environment=recorded.get("env", {}),
        files=tuple(_recorded_file(entry) for entry in recorded.get("files", ())),
    )


def _recorded_file(entry: Mapping[str, str]) -> RecordedFile:
    if "path" in entry:
        return RecordedFile(entry["path"].removeprefix("$CWD/"), entry["mode"], entry.get("first", ""))
    return RecordedFile(entry["name"], entry["mode"], entry["firstLine"])


class Workplace:
    """A working folder and a $STEPPATH; commands run there without a controlling terminal."""

    def __init__(self, cwd: Path, step_path: Path, **environment: str) -> None:
        self.cwd = cwd
        self.step_path = step_path
        path = f"{require_peer('step').parent}:{programs()}:{clean_environment()['PATH']}"
        self.environment = clean_environment(PATH=path, STEPPATH=str(step_path), **environment)
        cwd.mkdir(parents=True, exist_ok=True)

    def changed(self, changes: Mapping[str, str]) -> dict[str, str]:
        """The environment with these changes; the value "None" takes a variable away."""
        env = {**self.environment, **changes}
        return {name: value for name, value in env.items() if value != "None"}

    def run(self, command: str, changes: Mapping[str, str] | None = None, typed: str = "") -> Ended:
        """What a shell makes of `command`; `typed` is its standard input. Texts come without colours."""
        done = subprocess.run(
            ["bash", "-c", command],
            cwd=self.cwd,
            env=self.changed(changes or {}),
            input=typed,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=_SECONDS,
            check=False,
        )
        return Ended(done.returncode, plain(done.stdout), plain(done.stderr))

    def do(self, command: str, typed: str = "") -> str:
        """A command that must succeed; its standard output."""
        done = self.run(command, typed=typed)
        assert done.status == 0, f"{command}: {done}"
        return done.stdout

    def check_files(self, files: Iterable[RecordedFile]) -> None:
        """Every recorded file is here, with its mode and first line."""
        for file in files:
            path = self.cwd / file.path.replace("$STEPPATH", str(self.step_path))
            assert path.exists(), path
            assert oct(path.stat().st_mode & 0o777) == file.mode, path
            if path.is_file() and file.first and not file.first.startswith("eyJ"):
                assert path.read_text().splitlines()[0] == file.first, path


def configure(step_path: Path, url: str, fingerprint: str, root: Path) -> None:
    """As `step ca bootstrap` leaves it."""
    for folder in ("certs", "config"):
        (step_path / folder).mkdir(parents=True, exist_ok=True)
    mine = step_path / "certs" / "root_ca.crt"
    shutil.copy(root, mine)
    defaults = {"ca-url": url, "fingerprint": fingerprint, "root": str(mine)}
    (step_path / "config" / "defaults.json").write_text(json.dumps(defaults))


_VOLATILE: Final[tuple[tuple[str, str | Callable[[re.Match[str]], str]], ...]] = (
    (r"(?m)^badger .*\n", ""),
    (r"use the flag '--[a-z-]+' to run without a terminal\n", ""),
    (r"readLoopPeekFailLocked: ", ""),
    (r"(dial tcp )[\d.:\[\]]+", r"\1ADDRESS"),
    (r"-----BEGIN CERTIFICATE-----[^-]*-----END CERTIFICATE-----", "CERTIFICATE"),
    (r'"MII[A-Za-z0-9+/=]+"(,\s+"MII[A-Za-z0-9+/=]+")*', '"DER"'),
    (r"eyJ[\w-]+\.[\w-]*\.[\w-]+(\.[\w-]+\.[\w-]+)?", "TOKEN"),
    (r"(\[kid: |\[ID: |\"kid\": \")[\w-]{43}", r"\1KID"),
    (r"\[ID: [\w-]{4}\.\.\.[\w-]{4}\]", "[ID: KID]"),
    (r'"(exp|iat|nbf)": \d+', r'"\1": TIME'),
    (r'"(jti|signature|x5rt#S256|sha)": "[\w-]{40,}"', r'"\1": "RANDOM"'),
    (r"\b\d{35,40}\b", "SERIAL"),
    (r" \(possibly because of .* candidate authority certificate \"[^\"]*\"\)", ""),
    (r"\[Serial: \d+\.\.\.\d+\]", "[Serial: SERIAL]"),
    (r"(?m)^serial=[0-9A-F]+$", "serial=SERIAL"),
    (r"subject '0x[0-9A-F]+'", "subject 'SERIAL'"),
    (r"fingerprint does not match \"[\w-]{43}\"", 'fingerprint does not match "RANDOM"'),
    (r"expires in \d+h\d+m\d+s", "expires in AWHILE"),
    (r"'requested [a-z ]+'=[\dhm.]+s", "'requested'=AWHILE"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", "INSTANT"),
    (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d \+0000 UTC", "INSTANT"),
    (r"\d{4}/\d\d/\d\d \d\d:\d\d:\d\d ", "INSTANT "),
    (r"not(Before|After)=.*", r"not\1=INSTANT"),
    (r"subject=(.*)", lambda found: "subject=" + found[1].replace(" = ", "=")),
)
"""What differs on every run, and between versions of openssl."""


class Texts:
    """Takes away what differs on every run; `names` are literal texts and what stands for them, longest first."""

    def __init__(self, names: Mapping[str, str]) -> None:
        self._names = sorted(names.items(), key=lambda pair: -len(pair[0]))

    def normal(self, text: str) -> str:
        text = plain(text)
        for literal, name in self._names:
            text = text.replace(literal, name)
        for pattern, replacement in _VOLATILE:
            text = re.sub(pattern, replacement, text)
        return text
