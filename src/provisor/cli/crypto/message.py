"""What a command works on, when it is not in a file: a pipe, or what a person types."""

from __future__ import annotations

import os
import stat
import sys

from provisor.cli import prompt
from provisor.cli.prompt import NoTerminal


def read_message(question: str, *, doing: str = "") -> bytes:
    """All of stdin; at a terminal the answer to `question`, typed without echo.

    Raises `NoTerminal`, its text led in by `doing` ("error reading input").
    """
    # step-ca: /dev/null counts as a terminal too
    if not stat.S_ISCHR(os.fstat(sys.stdin.fileno()).st_mode):
        return sys.stdin.buffer.read()
    try:
        return prompt.ask_password(question).encode()
    except NoTerminal as error:
        raise NoTerminal(f"{doing}: {error.message}" if doing else error.message) from error
