"""Writing the files of the small tools, with their own words for what goes wrong."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from provisor.cli import files
from provisor.cli.exits import CommandError
from provisor.cli.files import Output
from provisor.cli.prompt import NoTerminal

_OPEN = re.compile(r"(open .*): ([^:]+)")
_NO_TERMINAL = re.compile(r"error allocating terminal: (open /dev/tty): (.*)", re.DOTALL)


@contextmanager
def tool_words(path: str) -> Iterator[None]:
    """Turns the texts of `files` into those of the commands that write one file and know no better."""
    try:
        yield
    except NoTerminal as error:
        raise NoTerminal(_NO_TERMINAL.sub(r"\1 failed: \2", error.message)) from error
    except CommandError as error:
        if opened := _OPEN.fullmatch(error.message):
            raise CommandError(f"{opened[1]} failed: {opened[2]}") from error
        raise CommandError(f"unexpected error on {path}: {error.message}") from error


def save(path: str, content: bytes, *, mode: int = 0o600, force: bool) -> None:
    """As `files.write_file`, in the words of `tool_words`."""
    with tool_words(path):
        files.write_file(path, content, mode, force=force)


def save_pair(public: Output, private: Output, *, force: bool) -> None:
    """Both or none; each that is there already is asked about. In the words of `tool_words`."""
    for output in (public, private):
        with tool_words(output.path):
            files.check_writable(output.path, force=force)
    files.write_together((public, private))
