"""The units in contrib/systemd: systemd reads them, and their command lines are ours."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest

from provisor.cli.grammar import StepCommand, split_words
from provisor.cli.main import LazyGroup, program
from support.peers import REPOSITORY

UNITS = sorted((REPOSITORY / "contrib" / "systemd").iterdir())


def test_systemd_finds_no_fault(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd is not installed")
    instances = []
    for unit in UNITS:
        instance = tmp_path / unit.name.replace("@.", "@nginx.")
        instance.write_text(unit.read_text())
        instances.append(str(instance))
    done = subprocess.run([analyze, "verify", *instances], capture_output=True, text=True, check=False, timeout=60)
    assert [line for line in done.stderr.splitlines() if "provisor-" in line] == []


@pytest.mark.parametrize("unit", [unit for unit in UNITS if unit.suffix == ".service"], ids=lambda unit: unit.name)
def test_the_command_lines_have_flags_that_exist(unit: Path) -> None:
    (line,) = re.findall(r"(?m)^ExecStart=/usr/bin/env provisor (.+)$", unit.read_text())
    command: object = program()
    words = shlex.split(line)
    while isinstance(command, LazyGroup):
        command = command.find(words.pop(0))
    assert isinstance(command, StepCommand)
    parsed = split_words(words, command.flags)
    assert parsed.arguments == ("${CERTIFICATE}", "${KEY}")
    assert parsed.given["exec"] == ("systemctl try-reload-or-restart %i.service",)
