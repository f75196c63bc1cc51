"""What follows a new certificate: a signal to a process, a program to run (cli-admin 7.5)."""

from __future__ import annotations

import os
import subprocess
from contextlib import suppress

from provisor.cli import exits, files
from provisor.cli.daemon import Signals
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call

_LOOK_SECONDS = 0.2
_GRACE_SECONDS = 5.0


def check_flags(call: Call) -> None:
    """What can be refused before anything is done. Raises `CommandError`."""
    if call.is_set("pid") and call.is_set("pid-file"):
        raise exits.exclusive_flags("pid", "pid-file")
    if call.is_set("pid") and call.number("pid") <= 0:
        raise exits.invalid_value(call.text("pid"), "pid")
    if call.is_set("signal") and call.number("signal") <= 0:
        raise exits.invalid_value(call.text("signal"), "signal")
    _process_id(call)


def run(call: Call, signals: Signals | None = None) -> None:
    """Signal, then run. Raises `CommandError` when either fails: the certificate is written already.

    With `signals` the program is ended when one of them wants the end.
    """
    process_id, number = _process_id(call), call.number("signal")
    if process_id:
        try:
            os.kill(process_id, number)
        except (OSError, OverflowError) as error:
            reason = files.system_text(error) if isinstance(error, OSError) else "no such process"
            raise CommandError(f"kill {process_id} with signal {number} failed: {reason}") from error
    if program := call.text("exec"):
        _execute(program.split(" "), signals)


def _process_id(call: Call) -> int:
    """Of `--pid` or `--pid-file`, read anew each time, for it may have been restarted; 0 without them."""
    if path := call.text("pid-file"):
        text = files.read_file(path).decode(errors="replace").strip()
        if not (text.isascii() and text.isdigit()):
            raise CommandError(f"error converting {text} to integer process id: : invalid syntax")
        if int(text) <= 0:
            raise exits.invalid_value(text, "pid-file")
        return int(text)
    return call.number("pid")


def _execute(words: list[str], signals: Signals | None) -> None:
    """No shell, our own input and output."""
    try:
        with subprocess.Popen(words) as process:
            status = process.wait() if signals is None else _attend(process, signals)
    except OSError as error:
        if "/" in words[0]:
            raise CommandError(f"fork/exec {words[0]}: {files.system_text(error)}") from error
        raise CommandError(f'exec: "{words[0]}": executable file not found in $PATH') from error
    if status < 0:
        raise CommandError(f"signal: {-status}")
    if status > 0:
        raise CommandError(f"exit status {status}")


def _attend(process: subprocess.Popen[bytes], signals: Signals) -> int:
    """Its exit status; a daemon that is told to end takes the program with it."""
    while True:
        with suppress(subprocess.TimeoutExpired):
            return process.wait(_LOOK_SECONDS)
        if signals.end_is_wanted:
            process.terminate()
            try:
                return process.wait(_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                return process.wait()
