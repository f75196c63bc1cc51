"""Running Provisor's program in this process: a command line in, exit status and texts out. Nobody is at a terminal."""

from __future__ import annotations

import errno
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from msgspec import Struct

from provisor.cli.main import run


class Ended(Struct, frozen=True):
    """How a command line ended."""

    status: int
    stdout: str
    stderr: str


class Desk:
    """A working folder, a $STEPPATH that does not exist yet, and the program."""

    def __init__(self, folder: Path, patch: pytest.MonkeyPatch, capture: pytest.CaptureFixture[str]) -> None:
        self.cwd = folder / "cwd"
        self.step_path = folder / "step"
        self._capture = capture
        self.cwd.mkdir()
        for name in [name for name in os.environ if name.startswith("STEP")]:
            patch.delenv(name)
        patch.setenv("STEPPATH", str(self.step_path))
        patch.chdir(self.cwd)
        _take_terminal_away(patch)
        self.write("pw", "capassword\n")
        self.write("newpw", "newpassword\n")
        self.write("ppw", "provisionerpassword\n")

    def write(self, name: str, content: str | bytes) -> Path:
        """A file in the working folder."""
        path = self.cwd / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    def run(self, words: str | Sequence[str]) -> Ended:
        """`words` without the program's name; one text is split as a shell does."""
        self._capture.readouterr()
        status = run(shlex.split(words) if isinstance(words, str) else words)
        seen = self._capture.readouterr()
        return Ended(status, seen.out, seen.err)

    def tree(self) -> dict[str, bytes | None]:
        """Everything below $STEPPATH; None for a folder."""
        return tree(self.step_path)


def tree(folder: Path) -> dict[str, bytes | None]:
    """Everything below `folder` by relative path; None for a folder."""
    return {
        str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None
        for path in sorted(folder.rglob("*"))
    }


def _take_terminal_away(patch: pytest.MonkeyPatch) -> None:
    really = os.open

    def without_terminal(path: Any, *arguments: Any, **options: Any) -> int:
        if path == "/dev/tty":
            raise OSError(errno.ENXIO, os.strerror(errno.ENXIO), path)
        return really(path, *arguments, **options)

    patch.setattr(os, "open", without_terminal)


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """The file mode creation mask for a block."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)
