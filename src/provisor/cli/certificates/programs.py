"""Other people's programs, run without a terminal and without a shell."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence

from provisor.cli.exits import CommandError
from provisor.cli.files import system_text

_TIMEOUT_SECONDS = 120


def run(words: Sequence[str], *, content: bytes = b"") -> str:
    """What it prints on stdout; `content` is its stdin. Raises `CommandError` with its last words."""
    done = _run(words, content)
    if done.returncode:
        said = (done.stderr.strip() or done.stdout.strip()).decode(errors="replace").splitlines()
        reason = f": {said[-1].strip()}" if said else ""
        raise CommandError(f"failed to execute {words[0]}: exit status {done.returncode}{reason}")
    return done.stdout.decode(errors="replace")


def succeeds(words: Sequence[str]) -> bool:
    """It ends with 0. Raises `CommandError` if it cannot be run."""
    return _run(words, b"").returncode == 0


def _run(words: Sequence[str], content: bytes) -> subprocess.CompletedProcess[bytes]:
    try:
        return subprocess.run(words, input=content, capture_output=True, check=False, timeout=_TIMEOUT_SECONDS)
    except OSError as error:
        raise CommandError(f"failed to execute {words[0]}: {system_text(error)}") from error
    except subprocess.TimeoutExpired as error:
        raise CommandError(f"{words[0]} did not end within {_TIMEOUT_SECONDS} seconds") from error
