"""What a shell is offered where the cursor is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from provisor.cli import main
from provisor.cli.completing import SCRIPTS, as_lines, find_candidates


def offered(line: str) -> list[str]:
    """The words for a line whose last word, perhaps empty, is being typed."""
    return [each.word for each in find_candidates(main.program(), line.split(" "))]


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("cert", ["certificate"]),
        ("ca heal", ["health"]),
        ("ca provisioner jw", ["jwe-key"]),
        ("help ca heal", ["health"]),
        ("ca help heal", ["health"]),
        ("ca health --ro", ["--root"]),
        ("ca health --root x --ro", []),
        ("ca health --root", ["--root"]),
        ("--config file ca heal", ["health"]),
        ("--conf", ["--config"]),
        ("completion z", ["zsh"]),
        ("completion bash z", []),
        ("nothing x", []),
        ("ca nothing x", []),
        ("ca health -- --ro", []),
        ("ca health --root=x --ro", []),
        ("ca health --root ", []),
        ("ca health --root=", []),
        ("certificate inspect ", []),
    ],
)
def test_what_may_follow_is_offered(line: str, words: list[str]) -> None:
    assert offered(line) == words


def test_all_commands_are_offered_for_nothing() -> None:
    assert {"ca", "certificate", "db", "version"} <= set(offered(""))
    assert find_candidates(main.program(), []) == find_candidates(main.program(), [""])


def test_a_flag_that_may_be_repeated_is_offered_again() -> None:
    assert offered("ca certificate x c k --san a --sa") == ["--san"]


def test_flags_that_are_not_built_are_not_offered() -> None:
    assert "--kms" not in offered("ca certificate --k")


def test_contexts_are_offered_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path))
    contexts = {name: {"authority": name, "profile": name} for name in ("prod", "staging")}
    (tmp_path / "contexts.json").write_text(json.dumps(contexts))
    assert offered("ca health --context ") == ["prod", "staging"]
    assert offered("ca health --context=st") == ["--context=staging"]


def test_a_line_has_the_word_and_what_it_is() -> None:
    lines = as_lines(find_candidates(main.program(), ["ca", "heal"]))
    assert lines == "health\tget the status of the CA\n"


def test_a_broken_configuration_says_nothing_into_a_prompt(tmp_path: Path) -> None:
    (tmp_path / "contexts.json").write_text("{")
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            "from provisor.cli.main import main; main()",
            "__complete",
            "ca",
            "health",
            "--context",
            "",
        ],
        env={"STEPPATH": str(tmp_path), "PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr) == (1, "", "")


@pytest.mark.parametrize("shell", sorted(SCRIPTS))
def test_the_script_of_a_shell_is_on_stdout(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", shell]) == 0
    assert capsys.readouterr().out == SCRIPTS[shell]


def test_another_shell_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["completion", "tcsh"]) == 1
    assert capsys.readouterr().err == "unsupported shell tcsh\n"


# -- what may have been meant -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["ca", "certificte"], "Did you mean certificate or certificates?"),
        (["crt"], "Did you mean crypto or crl?"),
        (["help", "ca", "helth"], "Did you mean health?"),
        (["ca", "health", "--rot", "x"], "Did you mean --root?"),
    ],
)
def test_a_person_at_a_terminal_is_told_what_may_have_been_meant(
    words: list[str], hint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert main.run(words) != 0
    assert "Did you mean" not in capsys.readouterr().err, "a script's log is that of step"
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main.run(words) != 0
    assert capsys.readouterr().err.splitlines()[-1] == hint


def test_what_is_like_nothing_has_no_hint(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    assert main.run(["qqqqqq"]) == 3
    assert capsys.readouterr().err == "No help topic for 'qqqqqq'\n"
