"""The tree of commands and how the program ends."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import provisor
from provisor.cli.grammar import StepCommand
from provisor.cli.main import TREE, Entry, LazyGroup, program, run

HEAVY = ("cryptography", "ssl", "http.client", "asyncio", "provisor.core.pem")


@pytest.fixture(autouse=True)
def _own_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "base"))


def commands(tree: Mapping[str, Entry], *path: str) -> Iterator[tuple[str, ...]]:
    for name, entry in tree.items():
        if entry.tree:
            yield from commands(entry.tree, *path, name)
        else:
            yield (*path, name)


@pytest.mark.parametrize("path", list(commands(TREE)), ids=" ".join)
def test_every_command_of_the_tree_is_there_under_its_name(path: tuple[str, ...]) -> None:
    found: object = program()
    for name in path:
        assert isinstance(found, LazyGroup)
        found = found.find(name)
    assert isinstance(found, StepCommand)
    assert found.full_name == " ".join(("provisor", *path))
    assert found.help_page()


def test_help_imports_no_heavy_module() -> None:
    code = "import sys; from provisor.cli.main import run; run(['--help']); print(sorted(sys.modules))"
    source = Path(provisor.__file__).parents[1]
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PYTHONPATH": str(source)}
    )
    loaded = done.stdout.splitlines()[-1]
    assert [name for name in HEAVY if f"'{name}'" in loaded] == []


@pytest.mark.parametrize(
    ("words", "shown"),
    [
        ([], "provisor COMMAND"),
        (["--help"], "provisor COMMAND"),
        (["help"], "provisor COMMAND"),
        (["ca"], "provisor ca COMMAND"),
        (["ca", "-h"], "provisor ca COMMAND"),
        (["help", "ca", "provisioner"], "provisor ca provisioner COMMAND"),
        (["ca", "token", "--help"], "provisor ca token <subject>"),
        (["help", "ca", "token"], "provisor ca token <subject>"),
    ],
)
def test_help_is_on_stdout_and_no_failure(words: list[str], shown: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    captured = capsys.readouterr()
    assert shown in captured.out
    assert captured.err == ""


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["frob"], "No help topic for 'frob'"),
        (["ca", "frob"], "No help topic for 'frob'"),
        (["help", "frob"], "No help topic for 'provisor frob'"),
        (["help", "ca", "frob"], "No help topic for 'frob'"),
    ],
)
def test_an_unknown_command_ends_with_three(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 3
    captured = capsys.readouterr()
    assert captured.err == f"{message}\n"
    assert captured.out == ""


@pytest.mark.parametrize("words", [["--frob"], ["ca", "--frob"], ["ca", "health", "-frob"]])
def test_an_unknown_flag_ends_with_one_and_the_help_page(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 1
    captured = capsys.readouterr()
    assert captured.out.startswith("Incorrect Usage: flag provided but not defined: -frob\n\nNAME\n")
    assert captured.err == "flag provided but not defined: -frob\n"


def test_a_failure_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["ca", "health"]) == 1
    assert capsys.readouterr().err == "'provisor ca health' requires the '--ca-url' flag\n"


def test_debugging_shows_where_it_came_from(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("STEPDEBUG", "1")
    assert run(["ca", "health"]) == 1
    assert "Traceback" in capsys.readouterr().err


@pytest.mark.parametrize("words", [["version"], ["--version"], ["-v"], ["version", "extra"]])
def test_the_version_is_told(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert run(words) == 0
    assert capsys.readouterr().out.startswith(f"Provisor/{provisor.__version__} (")


def test_the_path_is_told(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPPATH", "rel/../dir")
    assert run(["path", "ignored"]) == 0
    assert run(["path", "--base"]) == 0
    assert run(["path", "-profile"]) == 0
    assert capsys.readouterr().out == "dir\ndir\ndir\n"


def test_the_flag_config_names_other_defaults(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    (tmp_path / "other.json").write_text('{"ca-url": "http://plain"}')
    assert run([f"--config={tmp_path / 'other.json'}", "ca", "health"]) == 1
    assert "invalid value 'http://plain' for flag '--ca-url'" in capsys.readouterr().err
    assert run(["--config"]) == 1
