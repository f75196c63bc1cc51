"""Where the figures come from, as far as they depend on it."""

from __future__ import annotations

import os
import platform
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import median
from typing import Final

from provisor import __version__

REPOSITORY: Final = Path(__file__).resolve().parents[1]
_SYNCS: Final = 50


def describe(lab: Path, step_ca: Path, go: str) -> dict[str, str]:
    """`lab` is a folder on the disk that is measured."""
    return {
        "processor": _processor(),
        "cores": str(os.cpu_count()),
        "load before": f"{os.getloadavg()[0]:.1f}",
        "kernel": platform.release(),
        "fsync": f"{1000 * sync_seconds(lab):.2f} ms",
        "Provisor": f"{__version__} {_said(['git', '-C', str(REPOSITORY), 'describe', '--always', '--dirty'])}".strip(),
        "Python": platform.python_version(),
        "step-ca": _module_version(go, step_ca),
        "Go": _said([go, "version"]),
    }


def sync_seconds(folder: Path) -> float:
    """The median time of an append of 4 KiB and an fsync."""
    took = []
    with tempfile.TemporaryFile(dir=folder) as file:
        for _ in range(_SYNCS):
            began = time.perf_counter()
            file.write(bytes(4096))
            file.flush()
            os.fsync(file.fileno())
            took.append(time.perf_counter() - began)
    return median(took)


def disk_bytes(path: Path) -> int:
    """What a file, or every file below a folder, takes on the disk; files may go while it looks."""
    total = 0
    for folder, _, names in os.walk(path):
        for name in names:
            try:
                total += os.stat(os.path.join(folder, name)).st_blocks * 512
            except FileNotFoundError:
                continue
    return total


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def _module_version(go: str, program: Path) -> str:
    """What it was built from: a program that `go install` made does not know its own version."""
    try:
        done = subprocess.run(
            [go, "version", "-m", str(program)], capture_output=True, text=True, timeout=20, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    modules = [line.split() for line in done.stdout.splitlines() if line.startswith("\tmod\t")]
    return " ".join(modules[0][1:3]) if modules else _said([str(program), "version"])


def _said(words: Sequence[str]) -> str:
    """The first line a command writes."""
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=20, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return next(iter(done.stdout.splitlines()), "")
