"""Questions on a pseudo-terminal."""

from __future__ import annotations

import codecs
import os
import select
import termios
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import pytest

from provisor.cli import prompt
from provisor.cli.exits import CommandError
from support.terminal import plain

T = TypeVar("T")


class Person:
    """Somebody at the terminal: types each answer when its question is there."""

    def __init__(self, ours: int) -> None:
        self._ours = ours
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self.screen = ""

    def answer(self, ask: Callable[[], T], *typed: tuple[str, str]) -> T:
        done = threading.Event()
        thread = threading.Thread(target=self._type, args=(list(typed), done))
        thread.start()
        try:
            return ask()
        finally:
            done.set()
            thread.join()

    def _type(self, typed: list[tuple[str, str]], done: threading.Event) -> None:
        seen, deadline = 0, time.monotonic() + 10
        while time.monotonic() < deadline and not (done.is_set() and not self._readable(0.05)):
            if self._readable(0.02):
                self.screen += self._decoder.decode(os.read(self._ours, 4096))
            if typed and typed[0][0] in self.screen[seen:]:
                seen = len(self.screen)
                os.write(self._ours, typed.pop(0)[1].encode())

    def _readable(self, seconds: float) -> bool:
        return bool(select.select([self._ours], [], [], seconds)[0])


@pytest.fixture
def person(monkeypatch: pytest.MonkeyPatch) -> Iterator[Person]:
    ours, theirs = os.openpty()
    monkeypatch.setattr(prompt, "_PATH", os.ttyname(theirs))
    yield Person(ours)
    os.close(ours)
    os.close(theirs)


def test_a_text_is_asked_for_and_shown(person: Person) -> None:
    answer = person.answer(lambda: prompt.ask_text("Name"), ("? Name: ", " jane \n"))
    assert answer == "jane"
    assert "✔ Name: jane" in plain(person.screen)


def test_an_empty_text_is_the_default(person: Person) -> None:
    assert person.answer(lambda: prompt.ask_text("Name", default="max"), ("[max]", "\n")) == "max"


def test_a_text_is_asked_for_until_it_will_do(person: Person) -> None:
    def ask() -> str:
        return prompt.ask_text("Name", check=lambda text: None if text else "value is empty")

    assert person.answer(ask, ("? Name: ", "\n"), ("? Name: ", "x\n")) == "x"
    assert "✗ value is empty" in plain(person.screen)


def test_a_password_is_not_shown(person: Person) -> None:
    answer = person.answer(lambda: prompt.ask_password("Please enter"), ("Please enter: ", " pass word \n"))
    assert answer == " pass word"
    assert "pass word" not in person.screen


def test_the_echo_is_back_after_a_password_even_when_it_was_broken_off(person: Person) -> None:
    def ask() -> str:
        with prompt.open_terminal() as terminal:
            before = termios.tcgetattr(terminal._handle)
        with pytest.raises(CommandError, match="closed"):
            prompt.ask_password("Please enter")
        with prompt.open_terminal() as terminal:
            assert termios.tcgetattr(terminal._handle) == before
        return ""

    person.answer(ask, ("Please enter: ", "\x04"))


def test_a_generated_password_is_shown_once(person: Person) -> None:
    answer = person.answer(
        lambda: prompt.ask_password_or_generate("New password"), ("New password: ", "\n"), ("? Password [", "\n")
    )
    assert len(answer) == 32
    assert answer.isalnum()
    assert f"✔ Password: {answer}" in plain(person.screen)


@pytest.mark.parametrize(("typed", "yes"), [("y", True), ("YES", True), ("n", False), ("No", False)])
def test_a_yes_is_a_yes_in_any_case(person: Person, typed: str, *, yes: bool) -> None:
    assert person.answer(lambda: prompt.confirm("Sure"), ("Sure", f"{typed}\n")) is yes


def test_something_between_yes_and_no_is_asked_again(person: Person) -> None:
    assert person.answer(lambda: prompt.confirm("Sure"), ("? Sure", "perhaps\n"), ("? Sure", "y\n"))


def test_a_no_to_overwriting_keeps_the_file(person: Person) -> None:
    with pytest.raises(CommandError, match=r"^file exists$"):
        person.answer(lambda: prompt.confirm_overwrite("x.crt"), ("Would you like to overwrite x.crt [y/n]", "n\n"))


@pytest.mark.parametrize(
    ("keys", "chosen"),
    [("\r", 0), ("j\r", 1), ("\033[B\033[B\r", 2), ("jjjj\r", 2), ("jjk\r", 1), ("k\r", 0), ("\033[A\n", 0)],
)
def test_an_item_is_chosen_with_the_arrow_keys(person: Person, keys: str, chosen: int) -> None:
    items = ["one", "two", "three"]
    typed = [("▸ one", keys)] if "\033" in keys else [("▸", key) for key in keys]

    def ask() -> int:
        return prompt.select("Which?", items, name="Thing")

    assert person.answer(ask, *typed) == chosen
    assert f"✔ Thing: {items[chosen]}" in plain(person.screen)


@pytest.mark.parametrize(
    "ask",
    [
        lambda: prompt.ask_text("x", flag="name"),
        lambda: prompt.ask_password("x", flag="name"),
        lambda: prompt.select("x", ["a"], name="X", flag="name"),
        lambda: prompt.confirm_overwrite("x", flag="name"),
    ],
)
def test_without_a_terminal_the_flag_that_answers_is_named(
    ask: Callable[[], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(path: str, flags: int) -> int:
        raise OSError(6, "No such device or address")

    monkeypatch.setattr(os, "open", missing)
    with pytest.raises(prompt.NoTerminal) as refused:
        ask()
    assert refused.value.message.splitlines() == [
        "error allocating terminal: open /dev/tty: no such device or address",
        "use the flag '--name' to run without a terminal",
    ]
    assert refused.value.status == 1
