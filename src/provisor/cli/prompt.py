"""Questions to the person at the terminal, always through `/dev/tty`, so that data may come on stdin.

Without a terminal every question fails with the recorded text of `step` and exit status 1; a second line names
the flag that would have answered. There is no "read the password from stdin".
"""

from __future__ import annotations

import os
import secrets
import string
import termios
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from provisor.cli.exits import CommandError

Validator = Callable[[str], str | None]
"""Gives the complaint about an answer, or None when it will do."""

_PATH = "/dev/tty"
_CLEAR_LINE = "\r\033[2K"
_UP = "\033[1A"
_WORDS = {"y": True, "yes": True, "n": False, "no": False}
_GENERATED_LENGTH = 32


class NoTerminal(CommandError):
    """There is nobody to ask."""


class Terminal:
    """The controlling terminal, opened for one question."""

    def __init__(self, handle: int) -> None:
        self._handle = handle
        self._pending = b""

    def write(self, text: str) -> None:
        """All of `text`, as UTF-8."""
        content = text.encode()
        while content:
            content = content[os.write(self._handle, content) :]

    def read_line(self) -> str:
        """One line without its end. Raises `CommandError` when the input is closed."""
        while b"\n" not in self._pending:
            more = os.read(self._handle, 4096)
            if not more:
                raise CommandError("the terminal was closed before the question was answered")
            self._pending += more
        line, _, self._pending = self._pending.partition(b"\n")
        return line.decode(errors="replace").rstrip("\r")

    def read_key(self) -> bytes:
        """One key press; only while `changed` has switched line editing off. Keys typed ahead come one by one."""
        if not self._pending:
            self._pending = os.read(self._handle, 64)
        length = 3 if self._pending[:2] in (b"\033[", b"\033O") else 1
        key, self._pending = self._pending[:length], self._pending[length:]
        return key

    @contextmanager
    def changed(self, *, without: int) -> Iterator[None]:
        """The terminal with the local modes `without` (`termios.ECHO`, `termios.ICANON`) switched off."""
        before = termios.tcgetattr(self._handle)
        after = termios.tcgetattr(self._handle)
        after[3] &= ~without
        termios.tcsetattr(self._handle, termios.TCSADRAIN, after)
        try:
            yield
        finally:
            termios.tcsetattr(self._handle, termios.TCSADRAIN, before)


@contextmanager
def open_terminal(flag: str = "") -> Iterator[Terminal]:
    """`flag` (without dashes) is the one that makes the question unnecessary. Raises `NoTerminal`."""
    try:
        handle = os.open(_PATH, os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        raise NoTerminal(_no_terminal_text(error, flag)) from error
    try:
        yield Terminal(handle)
    finally:
        os.close(handle)


def _no_terminal_text(error: OSError, flag: str) -> str:
    reason = error.strerror or str(error)
    text = f"error allocating terminal: open {_PATH}: {reason[:1].lower()}{reason[1:]}"
    return f"{text}\nuse the flag '--{flag}' to run without a terminal" if flag else text


def ask_text(label: str, *, default: str = "", check: Validator | None = None, flag: str = "") -> str:
    """`? LABEL: `, then `✔ LABEL: answer`. Asked again until `check` has no complaint; empty means `default`."""
    question = f"? {label} [{default}]: " if default else f"? {label}: "
    with open_terminal(flag) as terminal:
        while True:
            terminal.write(question)
            answer = terminal.read_line().strip() or default
            complaint = check(answer) if check else None
            if complaint is None:
                terminal.write(f"{_UP}{_CLEAR_LINE}✔ {label}: {answer}\n")
                return answer
            terminal.write(f"✗ {complaint}\n")


def ask_password(label: str, *, flag: str = "") -> str:
    """`LABEL: ` without echo; trailing white space is not part of the answer, which may be empty."""
    with open_terminal(flag) as terminal:
        # Echo is off before the question is there: somebody may type ahead.
        with terminal.changed(without=termios.ECHO):
            terminal.write(f"{label}: ")
            answer = terminal.read_line()
        terminal.write("\n")
    return answer.rstrip()


def ask_password_or_generate(label: str, *, flag: str = "") -> str:
    """As `ask_password`; an empty answer generates one of 32 letters and digits and shows it once."""
    if answer := ask_password(label, flag=flag):
        return answer
    alphabet = string.ascii_letters + string.digits
    generated = "".join(secrets.choice(alphabet) for _ in range(_GENERATED_LENGTH))
    return ask_text("Password", default=generated, flag=flag)


def confirm(label: str, *, flag: str = "") -> bool:
    """A question answered with y, yes, n or no, in any case."""
    answer = ask_text(label, check=lambda text: None if text.lower() in _WORDS else "answer y or n", flag=flag)
    return _WORDS[answer.lower()]


def confirm_overwrite(path: str, *, flag: str = "") -> None:
    """Ask before `path` is replaced. Raises `CommandError("file exists")` when the answer is no."""
    if not confirm(f"Would you like to overwrite {path} [y/n]", flag=flag):
        raise CommandError("file exists")


def select(label: str, items: Sequence[str], *, name: str, flag: str = "") -> int:
    """An arrow-key list (j and k work too); the index of the choice, shown as `✔ NAME: item`."""
    chosen = 0
    with open_terminal(flag) as terminal:
        with terminal.changed(without=termios.ECHO | termios.ICANON):
            terminal.write(f"Use the arrow keys to navigate: ↓ ↑\n{label}\n")
            while True:
                terminal.write("".join(f"{_CLEAR_LINE}{_item(text, n == chosen)}\n" for n, text in enumerate(items)))
                key = terminal.read_key()
                if key in (b"\r", b"\n"):
                    break
                chosen = _moved(chosen, key, len(items))
                terminal.write(_UP * len(items))
        terminal.write((_UP + _CLEAR_LINE) * (len(items) + 2))
        terminal.write(f"✔ {name}: {items[chosen]}\n")
    return chosen


def _item(text: str, is_chosen: bool) -> str:
    return f"  ▸ {text}" if is_chosen else f"    {text}"


def _moved(chosen: int, key: bytes, count: int) -> int:
    """The next choice after a key press; the list does not wrap around."""
    if not key or key == b"\x04":
        raise CommandError("the terminal was closed before the question was answered")
    if key in (b"\033[A", b"\033OA", b"k"):
        return max(chosen - 1, 0)
    if key in (b"\033[B", b"\033OB", b"j"):
        return min(chosen + 1, count - 1)
    return chosen
