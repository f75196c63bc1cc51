"""What a command prints.

Messages for people go to stderr (`note`, `done`, `failed`), data for scripts goes to stdout (`data`).
Colour appears only when stderr is a terminal and `NO_COLOR` is not set (https://no-color.org).
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

_GREEN = "\033[32m"
_RED = "\033[31m"
_BOLD = "\033[1m"
_RESET = "\033[0m"


def note(text: str = "", *, end: str = "\n") -> None:
    """A message for the person at the keyboard, on stderr. Without text: an empty line."""
    sys.stderr.write(text + end)
    sys.stderr.flush()


def done(label: str, value: str) -> None:
    """`✔ Certificate: foo.crt` on stderr."""
    note(marked("✔", _GREEN, label, value, sys.stderr))


def failed(label: str, value: str) -> None:
    """`✗ SSH Agent: no such file` on stderr."""
    note(marked("✗", _RED, label, value, sys.stderr))


def data(text: str, *, end: str = "\n") -> None:
    """What a script reads, on stdout."""
    sys.stdout.write(text + end)
    sys.stdout.flush()


def data_bytes(content: bytes) -> None:
    """Bytes for stdout as they are, without a newline."""
    sys.stdout.flush()
    sys.stdout.buffer.write(content)
    sys.stdout.buffer.flush()


def marked(mark: str, colour: str, label: str, value: str, stream: TextIO) -> str:
    """One line with a coloured mark and a bold label, or plain text when `stream` shows no colour."""
    if not shows_colour(stream):
        return f"{mark} {label}: {value}"
    return f"{colour}{mark}{_RESET} {_BOLD}{label}{_RESET}{_BOLD}:{_RESET} {value}"


def shows_colour(stream: TextIO) -> bool:
    """A terminal, and nobody asked for plain text."""
    return "NO_COLOR" not in os.environ and os.environ.get("TERM") != "dumb" and stream.isatty()
