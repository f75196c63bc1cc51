"""CPU and memory of a tree of processes, read from /proc (Linux)."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final, Self

from msgspec import Struct

from bench.model import Spent

PROC: Final = Path("/proc")
_TICKS: Final = os.sysconf("SC_CLK_TCK")
_MEMORY_EVERY: Final = 0.25
_PROPORTIONAL_EVERY: Final = 4
"""Times the above: the kernel walks every page for it."""

_SETTLE_SLICE: Final = 0.5
_SETTLE_SLICES: Final = 16
_REST: Final = 0.03
"""Of a core: who uses no more does nothing."""


class Stat(Struct, frozen=True):
    """A process at a moment. Seconds of its own CPU, and of its children that have ended and been waited for."""

    parent: int
    own: float
    ended: float

    @property
    def cpu(self) -> float:
        return self.own + self.ended


def parse_stat(text: str) -> Stat:
    """/proc/PID/stat; the name in it may hold blanks and parentheses (proc(5))."""
    fields = text[text.rindex(")") + 2 :].split()
    user, system, ended_user, ended_system = (int(ticks) / _TICKS for ticks in fields[11:15])
    return Stat(int(fields[1]), user + system, ended_user + ended_system)


def read_stats(proc: Path = PROC) -> dict[int, Stat]:
    """Every process; those that end meanwhile are left out."""
    found = {}
    for name in os.listdir(proc):
        if name.isdigit() and (text := _read(proc / name / "stat")):
            found[int(name)] = parse_stat(text)
    return found


def tree(root: int, stats: Mapping[int, Stat]) -> tuple[int, ...]:
    """`root` and everything that descends from it, parents first."""
    children: dict[int, list[int]] = {}
    for pid, stat in stats.items():
        children.setdefault(stat.parent, []).append(pid)
    found = [root] if root in stats else []
    for pid in found:  # grows as it is walked
        found += sorted(children.get(pid, ()))
    return tuple(found)


def role(command: Sequence[str]) -> str:
    """What a process is for, by its command line: a role of ours, or the program's name."""
    words = list(command)
    if "provisor.app" in words[:-1]:
        return words[words.index("provisor.app") + 1]
    if any("provisor.cli." in word for word in words):
        return "supervisor"
    return os.path.basename(words[0]).rstrip(":") if words and words[0] else "?"


def read_role(pid: int, proc: Path = PROC) -> str:
    return role(_read(proc / str(pid) / "cmdline").split("\0"))


def resident(pid: int, proc: Path = PROC) -> int:
    """Bytes in memory, those shared with others included."""
    return _kibibytes(_read(proc / str(pid) / "status"), "VmRSS:")


def proportional(pid: int, proc: Path = PROC) -> int:
    """Bytes in memory, those shared with n others counted for an n-th."""
    return _kibibytes(_read(proc / str(pid) / "smaps_rollup"), "Pss:")


def _kibibytes(text: str, name: str) -> int:
    for line in text.splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024
    return 0


def machine_seconds(proc: Path = PROC) -> tuple[float, float]:
    """CPU seconds since the start that all processors worked, and that the host of a virtual machine took."""
    ticks = [int(word) / _TICKS for word in _read(proc / "stat").splitlines()[0].split()[1:]]
    user, nice, system, _idle, _wait, irq, soft, stolen = ticks[:8]
    return user + nice + system + irq + soft, stolen


def _read(path: Path) -> str:
    """Empty when the process is gone."""
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


class Watch:
    """Follows a process tree: `start`, `stop` at the end of the timed part, `settle` when it rests.

    Its memory is looked at by a thread, several times a second, during the timed part.
    """

    def __init__(self, root: int, proc: Path = PROC) -> None:
        self._root = root
        self._proc = proc
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._resident = 0
        self._proportional = 0
        self._by_role: dict[str, int] = {}

    def start(self) -> Self:
        self._stats = read_stats(self._proc)
        self._pids = tree(self._root, self._stats)
        self._roles = {pid: read_role(pid, self._proc) for pid in self._pids}
        self._busy, self._stolen = machine_seconds(self._proc)
        self._began = time.monotonic()
        self._thread.start()
        return self

    def stop(self) -> None:
        """The timed part is over."""
        self._seconds = time.monotonic() - self._began
        self._stopped = read_stats(self._proc)
        busy, stolen = machine_seconds(self._proc)
        self._over.set()
        self._thread.join()
        self._sample(exact=True)
        self._cpu = self._used(self._stopped)
        self._others, self._stolen = busy - self._busy - self._cpu, stolen - self._stolen

    def settle(self, pause: Callable[[float], None] = time.sleep) -> Spent:
        """Wait, a few seconds at most, until the processes rest: what they put off belongs to the work too."""
        after, before = read_stats(self._proc), self._cpu
        for _ in range(_SETTLE_SLICES):
            pause(_SETTLE_SLICE)
            after = read_stats(self._proc)
            used = self._used(after)
            if used - before <= _REST * _SETTLE_SLICE:
                break
            before = used
        by_role: dict[str, float] = {}
        for pid in self._pids:
            if pid in after:
                used = after[pid].own - self._stats[pid].own
                by_role[self._roles[pid]] = by_role.get(self._roles[pid], 0.0) + used
        return Spent(
            seconds=self._seconds,
            cpu=self._cpu,
            afterwards=self._used(after) - self._cpu,
            cpu_by_role=by_role,
            resident=self._resident,
            resident_by_role=self._by_role,
            proportional=self._proportional,
            processes=len(tree(self._root, after)),
            others=self._others,
            stolen=self._stolen,
        )

    def _used(self, stats: Mapping[int, Stat]) -> float:
        """Seconds of the tree since the start."""
        return _total(stats, tree(self._root, stats)) - _total(self._stats, self._pids)

    def _follow(self) -> None:
        turn = 0
        while not self._over.wait(_MEMORY_EVERY):
            turn += 1
            self._sample(exact=turn % _PROPORTIONAL_EVERY == 0)

    def _sample(self, *, exact: bool) -> None:
        sizes = {pid: resident(pid, self._proc) for pid in self._pids}
        self._resident = max(self._resident, sum(sizes.values()))
        for pid, size in sizes.items():
            name = self._roles[pid]
            self._by_role[name] = max(self._by_role.get(name, 0), size)
        if exact:
            self._proportional = max(self._proportional, sum(proportional(pid, self._proc) for pid in self._pids))


def _total(stats: Mapping[int, Stat], pids: Sequence[int]) -> float:
    return sum(stats[pid].cpu for pid in pids)
