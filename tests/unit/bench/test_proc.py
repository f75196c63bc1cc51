"""CPU and memory of a process tree, from a /proc of our own."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench.model import Spent
from bench.proc import Watch, machine_seconds, parse_stat, proportional, read_stats, resident, role, tree

_TICKS = os.sysconf("SC_CLK_TCK")


class FakeProc:
    """A folder as the kernel would show it; figures are in ticks and kibibytes."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.machine(0, 0)

    def machine(self, busy: int, stolen: int) -> None:
        (self.folder / "stat").write_text(f"cpu  {busy} 0 0 5000 0 0 0 {stolen} 0 0\ncpu0 1 1 1 1 1 1 1 1 1 1\n")

    def process(
        self, pid: int, parent: int, own: int, ended: int = 0, *, command: str = "prog", name: str = "prog"
    ) -> None:
        folder = self.folder / str(pid)
        folder.mkdir(exist_ok=True)
        fields = ["S", str(parent), *["0"] * 9, str(own), "0", str(ended), "0", *["0"] * 30]
        (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}\n")
        (folder / "cmdline").write_text(command.replace(" ", "\0") + "\0")
        (folder / "status").write_text(f"Name:\t{name}\nVmHWM:\t  9999 kB\nVmRSS:\t  {pid} kB\n")
        (folder / "smaps_rollup").write_text(f"Rss: {pid} kB\nPss:\t {pid // 2} kB\nPss_Dirty: 1 kB\n")

    def end(self, pid: int) -> None:
        for file in (self.folder / str(pid)).iterdir():
            file.unlink()
        (self.folder / str(pid)).rmdir()


@pytest.fixture
def proc(tmp_path: Path) -> FakeProc:
    return FakeProc(tmp_path)


def test_a_name_may_hold_blanks_and_parentheses() -> None:
    text = "7 (a) b (c)) S 3 " + "0 " * 9 + f"{_TICKS} {2 * _TICKS} {_TICKS} 0 " + "0 " * 20
    stat = parse_stat(text)
    assert (stat.parent, stat.own, stat.ended) == (3, 3.0, 1.0)


def test_the_tree_is_everything_below_the_root_and_nothing_beside_it(proc: FakeProc) -> None:
    for pid, parent in ((10, 1), (20, 10), (30, 20), (40, 1), (50, 40)):
        proc.process(pid, parent, 0)
    (proc.folder / "self").mkdir()
    assert tree(10, read_stats(proc.folder)) == (10, 20, 30)
    assert tree(99, read_stats(proc.folder)) == ()


@pytest.mark.parametrize(
    ("command", "expected"),
    [
        ("python -m provisor.app notary --control 5", "notary"),
        ("python -m provisor.app worker --control 6", "worker"),
        ("python -c from provisor.cli.server import main; main() ca.json", "supervisor"),
        ("/peers/step-ca /tmp/provisor-bench-x/ca.json", "step-ca"),
        ("postgres: checkpointer", "postgres"),
        ("", "?"),
    ],
)
def test_a_process_is_known_by_its_command_line(command: str, expected: str) -> None:
    words = command.split(" ", 2) if " -c " in command else command.split(" ")
    assert role(words if command else []) == expected


def test_memory_is_read_in_bytes_and_is_nothing_for_who_is_gone(proc: FakeProc) -> None:
    proc.process(2048, 1, 0)
    assert resident(2048, proc.folder) == 2048 * 1024
    assert proportional(2048, proc.folder) == 1024 * 1024
    assert resident(4, proc.folder) == proportional(4, proc.folder) == 0


def test_what_the_host_took_is_no_work_of_the_machine(proc: FakeProc) -> None:
    proc.machine(5 * _TICKS, 2 * _TICKS)
    assert machine_seconds(proc.folder) == (5.0, 2.0)


class Resting:
    """Lets a fake server work on for some slices after its answers, then rest."""

    def __init__(self, proc: FakeProc, slices: int) -> None:
        self.proc = proc
        self.left = slices
        self.ticks = 2 * _TICKS

    def __call__(self, seconds: float) -> None:
        if self.left:
            self.left -= 1
            self.ticks += _TICKS
            self.proc.process(20, 10, self.ticks, command="python -m provisor.app notary")


def _watched(proc: FakeProc, slices: int) -> Spent:
    proc.process(10, 1, _TICKS, command="python -c from-provisor.cli.server")
    proc.process(20, 10, _TICKS, command="python -m provisor.app notary")
    proc.process(30, 10, 7 * _TICKS, command="python -m provisor.app worker")
    watch = Watch(10, proc.folder).start()
    proc.process(20, 10, 2 * _TICKS, command="python -m provisor.app notary")
    proc.process(30, 10, 10 * _TICKS, command="python -m provisor.app worker")
    proc.machine(6 * _TICKS, _TICKS)
    watch.stop()
    return watch.settle(Resting(proc, slices))


def test_the_timed_part_and_what_was_put_off_are_told_apart(proc: FakeProc) -> None:
    spent = _watched(proc, slices=2)
    assert (spent.cpu, spent.afterwards) == (4.0, 2.0)
    assert spent.cpu_by_role["notary"] == 3.0
    assert spent.cpu_by_role["worker"] == 3.0
    assert (spent.others, spent.stolen) == (2.0, 1.0)
    assert spent.processes == 3


def test_a_server_that_never_rests_is_not_waited_for_without_end(proc: FakeProc) -> None:
    assert 5.0 < _watched(proc, slices=1000).afterwards < 30.0


def test_who_ended_is_counted_by_its_parent(proc: FakeProc) -> None:
    proc.process(10, 1, 0)
    proc.process(20, 10, _TICKS)
    watch = Watch(10, proc.folder).start()
    proc.end(20)
    proc.process(10, 1, 0, 4 * _TICKS)
    watch.stop()
    assert watch.settle(lambda _: None).cpu == 3.0


def test_memory_is_the_highest_of_the_tree_and_the_largest_of_a_role(proc: FakeProc) -> None:
    proc.process(1000, 1, 0, command="python -m provisor.app worker")
    proc.process(3000, 1000, 0, command="python -m provisor.app worker")
    watch = Watch(1000, proc.folder).start()
    watch.stop()
    spent = watch.settle(lambda _: None)
    assert spent.resident == 4000 * 1024
    assert spent.resident_by_role == {"worker": 3000 * 1024}
    assert spent.proportional == 2000 * 1024
