"""The processes of this server, as the kernel shows them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

from provisor.wire.admin import ProcessBody


def list_processes(supervisor: int) -> Sequence[ProcessBody]:
    """The supervisor and its children. One that ends meanwhile is left out."""
    bodies = []
    for pid in (supervisor, *_children(supervisor)):
        with suppress(OSError, ValueError, IndexError):
            role = "supervisor" if pid == supervisor else _role(pid)
            bodies.append(ProcessBody(role, pid, _resident(pid)))
    return bodies


def _children(pid: int) -> list[int]:
    try:
        return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    except OSError:
        return [os.getpid()]


def _role(pid: int) -> str:
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return words[words.index(b"provisor.app") + 1].decode()


def _resident(pid: int) -> int:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
