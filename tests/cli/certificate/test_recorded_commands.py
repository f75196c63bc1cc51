"""Recorded command lines of `step certificate`, run with Provisor's program and compared."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from support.peers import REPOSITORY

RECORDINGS = Path(__file__).parent / "transcripts"
PREPARE = (
    "step certificate create Root root.crt root.key --profile root-ca --password-file pw",
    "step certificate create Inter inter.crt inter.key --profile intermediate-ca --ca root.crt --ca-key root.key "
    "--ca-password-file pw --no-password --insecure",
    "step certificate create leaf.internal leaf.crt leaf.key --ca inter.crt --ca-key inter.key --no-password "
    "--insecure --bundle --san leaf.internal --san 10.0.0.1",
    "step certificate create r r.crt r.key --profile root-ca --kty RSA --no-password --insecure",
    "step certificate create b b.crt b.key --ca inter.crt --ca-key inter.key --no-password --insecure",
    "step certificate create foo.internal foo.csr foo.key --csr --no-password --insecure --san foo.internal "
    "--san a@b.c --san https://u.r/i",
)
"""What the first recordings left for the others."""

FRESH = frozenset({"create-root", "create-intermediate", "create-leaf", "create-rsa", "create-csr", "bundle"})
"""Recordings that make those files themselves; without `bundle` they need only what was made before."""

DIFFERENCES: Mapping[str, Mapping[str, str]] = {
    # another library writes the file: a shorter salt, and more iterations
    name: {
        "MAC length: 32, salt length: 16": "MAC length: 32, salt length: 8",
        "AES-256-CBC, Iteration 2048": "AES-256-CBC, Iteration 100000",
    }
    for name in ("p12", "p12-trust")
}
SKIPPED_STEPS = frozenset({"file -b inter.der 2>/dev/null"})


class Bench:
    """A folder with the files of the recordings, and `step` that is Provisor."""

    def __init__(self, folder: Path) -> None:
        self.files = folder / "files"
        self.files.mkdir()
        (self.files / "pw").write_text("password\n")
        self._bin = folder / "bin"
        self._bin.mkdir()
        script = REPOSITORY / "tests" / "support" / "step_shim.py"
        shim = self._bin / "step"
        shim.write_text(f'#!/bin/sh\nPYTHONPATH="{REPOSITORY / "src"}" exec "{sys.executable}" "{script}" "$@"\n')
        shim.chmod(0o755)
        for command in PREPARE:
            done = self.run(command, self.files)
            assert done.returncode == 0, done.stderr

    def run(self, command: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
        env |= {"PATH": f"{self._bin}:{env['PATH']}", "STEPPATH": str(cwd / "none")}
        return subprocess.run(
            ["bash", "-c", command],
            cwd=cwd,
            env=env,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
            check=False,
        )


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("bench"))


def normal(text: str) -> str:
    """Without keys, serials, digests and times."""
    text = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", text)
    text = re.sub(r"\b\d{35,40}\b|0x[0-9a-f]{30,34}", "NUMBER", text)
    text = re.sub(r"\[Serial: \d{4}\.\.\.\d{4}\]", "[Serial]", text)
    text = re.sub(r"(?m)^( +)(?:[0-9a-f]{2}:?){1,18}\n", r"\1OCTETS\n", text)
    text = re.sub(r"(OCTETS\n +)+OCTETS", "OCTETS", text)
    text = re.sub(r"\b[0-9A-F]{2}(:[0-9A-F]{2}){19}\b", "KEYID", text)
    text = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ|\w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}", "TIME", text)
    text = re.sub(r"\b[0-9a-f]{40}\b|\b[0-9a-f]{64}\b", "DIGEST", text)
    text = re.sub(r"(?m)^[\w+/-]{43}=?$", "DIGEST", text)
    text = re.sub(r"(?m)^\d: DIGEST", "N: DIGEST", text)
    text = re.sub(r"(?m)^[^\x00-\x7f]+$", "SIGNS", text)
    text = re.sub(r"-----BEGIN PUBLIC KEY-----[^-]*-----END", "-----BEGIN PUBLIC KEY-----\n-----END", text)
    return re.sub(r"('|^)step certificate", r"\1provisor certificate", text)


@pytest.mark.parametrize("name", sorted(path.stem for path in RECORDINGS.glob("*.json") if path.stem != "lint"))
def test_a_recorded_command_does_the_same_here(name: str, bench: Bench, tmp_path: Path) -> None:
    recorded = json.loads((RECORDINGS / f"{name}.json").read_text())
    cwd = tmp_path / "cwd"
    shutil.copytree(bench.files, cwd)
    if name in FRESH:
        for entry in recorded["files"]:
            (cwd / entry["path"].removeprefix("$CWD/")).unlink(missing_ok=True)
    for step in recorded.get("steps", [recorded]):
        if step["command"] in SKIPPED_STEPS:
            continue
        done = bench.run(step["command"], cwd)
        assert normal(done.stderr) == expected(name, step["stderr"])
        assert normal(done.stdout) == normal(step["stdout"])
        assert done.returncode == step["exit"]
    for entry in recorded.get("files", []):
        check_file(cwd / entry["path"].removeprefix("$CWD/"), entry)


def expected(name: str, stderr: str) -> str:
    for theirs, ours in DIFFERENCES.get(name, {}).items():
        stderr = stderr.replace(theirs, ours)
    return normal(stderr)


def check_file(path: Path, entry: Mapping[str, Any]) -> None:
    assert oct(path.stat().st_mode & 0o777) == entry["mode"], path
    if "first" in entry:
        content = path.read_text()
        assert content.splitlines()[0] == entry["first"], path
        assert content.endswith("\n") == entry["endsWithNewline"], path
    else:
        assert path.read_bytes()[:2].hex() == entry["firstBytes"][:4], path


def test_a_lint_has_the_shape_of_the_recorded_one(bench: Bench) -> None:
    pytest.importorskip("pkilint")
    recorded = json.loads((RECORDINGS / "lint.json").read_text())
    done = bench.run("step certificate lint leaf.crt", bench.files)
    assert (done.returncode, done.stderr) == (recorded["exit"], "")
    shown = json.loads(done.stdout)
    assert re.findall(r'"(\w+)": ', recorded["stdout"])[:3] == list(shown)[:3]
    assert shown["version"] == 3
    assert {"result": "pass"} in shown["lints"].values()
