"""The `crypto` commands and `base64` beside the real `step`: the same lines on the same files give the same.

Output, exit status, and the names, modes and contents of the files they leave. In a line `step` is the program that is
tried and `other` the other one of the two, so that what one of them makes the other has to read.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from support.peers import REPOSITORY, require_peer

HERE = Path(__file__).parents[1] / "cli" / "crypto"


class Result:
    """What one program did with a line."""

    def __init__(self, status: int, out: str, err: str, files: Mapping[str, tuple[str, str]]) -> None:
        self.status, self.out, self.err, self.files = status, out, err, files

    def seen(self) -> tuple[object, ...]:
        return self.status, self.out, self.err, self.files


def lines(name: str) -> list[str]:
    return [line for line in (HERE / name).read_text().splitlines() if line and not line.startswith("#")]


class Bench:
    """Two programs, and a folder that each of them gets its own copy of."""

    def __init__(self, folder: Path) -> None:
        ours = folder / "provisor"
        ours.write_text(
            f"#!/bin/sh\nPYTHONPATH={REPOSITORY / 'src'} exec {sys.executable} "
            "-c 'from provisor.cli.main import main; main()' \"$@\"\n"
        )
        ours.chmod(0o755)
        self.folder = folder
        self.base = folder / "base"
        self.base.mkdir()
        programs = (require_peer("step"), ours)
        self.paths: list[str] = []
        for index, program in enumerate(programs):
            names = folder / f"bin{index}"
            names.mkdir()
            (names / "step").symlink_to(program)
            (names / "other").symlink_to(programs[1 - index])
            self.paths.append(f"{names}:{os.environ['PATH']}")
        done = self._shell((HERE / "files.sh").read_text(), self.base, 0)
        assert (self.base / "otp.secret").exists(), done.stderr.decode()

    def _shell(self, text: str, cwd: Path, index: int) -> subprocess.CompletedProcess[bytes]:
        env = {"PATH": self.paths[index], "HOME": str(cwd), "STEPPATH": str(cwd / ".step"), "LC_ALL": "C.UTF-8"}
        return subprocess.run(
            ["setsid", "bash", "-c", text],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            timeout=60,
            check=False,
        )

    def run(self, line: str, index: int) -> Result:
        cwd = self.folder / "work"
        shutil.rmtree(cwd, ignore_errors=True)
        shutil.copytree(self.base, cwd)
        done = self._shell(line.replace("NOW", str(int(time.time()) + 300)), cwd, index)
        changed: dict[str, tuple[str, str]] = {}
        for path in sorted(each for each in cwd.rglob("*") if each.is_file()):
            name, content = str(path.relative_to(cwd)), path.read_bytes()
            original = self.base / name
            if not original.exists() or original.read_bytes() != content:
                changed[name] = (oct(path.stat().st_mode & 0o777), normal(content, cwd))
        return Result(done.returncode, normal(done.stdout, cwd), normal(done.stderr, cwd), changed)


def normal(octets: bytes, cwd: Path) -> str:
    """Without what differs on every run."""
    try:
        text = octets.decode()
    except UnicodeDecodeError:
        return "binary"
    text = re.sub(r"\x1b\[[0-9;]*m", "", text.replace(str(cwd), "$CWD"))
    text = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", text)
    text = re.sub(
        r"(-----BEGIN [A-Z ]+-----\n)(Proc-Type: [^\n]+\n)?(DEK-Info: [^,]+,)?[^-]*-----END", r"\1\2\3 END", text
    )
    text = re.sub(r"eyJ[\w-]+\.[\w-]*\.[\w-]+(\.[\w-]+\.[\w-]+)?", "TOKEN", text)
    random = "x|y|d|k|n|p|q|dp|dq|qi|kid|signature|jti|iv|ciphertext|tag|protected|encrypted_key"
    text = re.sub(rf'"({random})": ?"[\w-]{{6,}}"', r'"\1": RANDOM', text)
    text = re.sub(r'"(nbf|iat|exp)": \d{10}', r'"\1": TIME', text)
    text = re.sub(r"\b[A-Z2-7]{32}\b", "SECRET", text)
    text = re.sub(r"(expired by|expires in) [\dhms.]+", r"\1 AWHILE", text)
    text = re.sub(r"(?m)^((ecdsa|ssh)-[\w-]+) [A-Za-z0-9+/=]+", r"\1 KEY", text)
    commands = "crypto|ca|certificate|path|context|crl|completion|help|version|[a-z]+'"
    return re.sub(rf"(?m)(^|[' ])provisor ({commands})", r"\1step \2", text)
