"""The pages of all commands, by their names without the program's; made from the code by scripts/command_pages.py.

Help and completion read them here, because importing a command takes as long again as starting the interpreter.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Final

import msgspec

from provisor.cli.grammar import Page

FILE: Final = Path(__file__).with_name("pages.json")


@cache
def load_pages() -> Mapping[str, Page]:
    """None of them if there is no such file: then the commands tell themselves."""
    try:
        return msgspec.json.decode(FILE.read_bytes(), type=dict[str, Page])
    except (OSError, msgspec.MsgspecError):
        return {}


def encode_pages(pages: Mapping[str, Page]) -> bytes:
    """One command a line, so that a change shows where it is."""
    lines = [b"%s: %s" % (msgspec.json.encode(name), msgspec.json.encode(page)) for name, page in sorted(pages.items())]
    return b"{\n%s\n}\n" % b",\n".join(lines)
