"""Running a program with a controlling terminal: what is on its screen, and typing when something is asked."""

from __future__ import annotations

import fcntl
import os
import re
import select
import subprocess
import termios
import time
from collections.abc import Mapping, Sequence

_ESCAPES = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_SECONDS = 30.0


def plain(screen: str) -> str:
    """Without escape sequences and carriage returns."""
    return _ESCAPES.sub("", screen).replace("\r", "")


def run_on_terminal(
    words: Sequence[str], answers: Sequence[tuple[str, str]], *, env: Mapping[str, str], cwd: str
) -> tuple[int, str]:
    """The exit status and the screen. Each answer is typed once its first text is there, in their order."""
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        words,
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        env={**env, "TERM": "xterm"},
        cwd=cwd,
        start_new_session=True,
        preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
    )
    os.close(theirs)
    screen, seen, waiting = b"", 0, list(answers)
    deadline = time.monotonic() + _SECONDS
    try:
        while time.monotonic() < deadline:
            ready, _, _ = select.select([ours], [], [], 0.1)
            if ready:
                try:
                    more = os.read(ours, 4096)
                except OSError:
                    break  # the last one to hold the terminal has gone
                if not more:
                    break
                screen += more
            if waiting and waiting[0][0].encode() in screen[seen:]:
                os.write(ours, waiting.pop(0)[1].encode())
                seen = len(screen)
        return process.wait(5), screen.decode(errors="replace")
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        os.close(ours)
