"""Tab in real shells, at a terminal."""

from __future__ import annotations

import os
import re
import shutil
import sys
from pathlib import Path

import pytest

from provisor.cli.completing import SCRIPTS
from support.terminal import plain, run_on_terminal

pytestmark = [pytest.mark.slow]

_START = {
    "bash": ["bash", "--norc", "--noprofile", "-i"],
    "fish": ["fish", "--no-config", "-i"],
    "zsh": ["zsh", "-f", "-i"],
}
_READY = {
    "bash": "PS1='> '; source ./script; echo re''ady\n",
    "fish": "function fish_prompt; echo '> '; end; source ./script; echo re''ady\n",
    "zsh": "PS1='> '; autoload -Uz compinit; compinit -u -d ./dump; source ./script; echo re''ady\n",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    program = tmp_path / "bin" / "provisor"
    program.parent.mkdir()
    program.write_text(f"#!{sys.executable}\nfrom provisor.cli.main import main\nmain()\n")
    program.chmod(0o755)
    (tmp_path / "a-file.pem").touch()
    return tmp_path


def press(shell: str, folder: Path, typed: str, shown: str) -> str:
    """What is on the screen once `typed` brought `shown`."""
    if shutil.which(shell) is None:
        if shell == "bash" or os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
            pytest.fail(f"{shell} is not installed")
        pytest.skip(f"{shell} is not installed: `apt-get install {shell}`")
    (folder / "script").write_text(SCRIPTS[shell])
    env = {
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "PYTHONPATH": ":".join(sys.path),
        "HOME": str(folder),
        "STEPPATH": str(folder / "step"),
        "LANG": "C.UTF-8",
    }
    answers = [("", _READY[shell]), ("ready", typed), (shown, "\x15exit\n")]
    _, screen = run_on_terminal(_START[shell], answers, env=env, cwd=str(folder))
    # zsh goes back over the blank behind a word.
    return re.sub(".\x08", "", plain(screen))


@pytest.mark.parametrize("shell", sorted(_START))
def test_a_command_and_a_flag_are_completed(shell: str, folder: Path) -> None:
    assert "provisor ca health --ca-url" in press(shell, folder, "provisor ca heal\t--ca-u\t", "--ca-url")


@pytest.mark.parametrize("shell", sorted(_START))
def test_files_are_offered_where_a_file_belongs(shell: str, folder: Path) -> None:
    assert "a-file.pem" in press(shell, folder, "provisor certificate inspect a-f\t", "a-file.pem")


def test_bash_completes_a_value_behind_an_equals_sign(folder: Path) -> None:
    (folder / "step").mkdir()
    (folder / "step" / "contexts.json").write_text('{"staging":{"authority":"a","profile":"p"}}')
    assert "--context=staging" in press("bash", folder, "provisor ca health --context=st\t", "staging")
