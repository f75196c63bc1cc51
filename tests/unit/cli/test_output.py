from __future__ import annotations

import io
import sys

import pytest

from provisor.cli import output


class Screen(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_marks_are_plain_where_nobody_looks(capsys: pytest.CaptureFixture[str]) -> None:
    output.done("Certificate", "foo.crt")
    output.failed("SSH Agent", "away")
    output.note()
    captured = capsys.readouterr()
    assert captured.err == "✔ Certificate: foo.crt\n✗ SSH Agent: away\n\n"
    assert captured.out == ""


def test_marks_have_colour_on_a_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen := Screen())
    output.done("CA", "x")
    assert screen.getvalue() == "\033[32m✔\033[0m \033[1mCA\033[0m\033[1m:\033[0m x\n"


@pytest.mark.parametrize(("variable", "value"), [("NO_COLOR", ""), ("NO_COLOR", "1"), ("TERM", "dumb")])
def test_colour_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv(variable, value)
    assert not output.shows_colour(Screen())


def test_data_goes_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    output.data("token")
    output.data("raw", end="")
    assert capsys.readouterr().out == "token\nraw"
