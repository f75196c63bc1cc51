"""What follows a new certificate: a signal to a process, a program to run (cli-admin 7.5)."""

from __future__ import annotations

import os
import subprocess

from provisor.cli import exits, files
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call


def check_flags(call: Call) -> None:
    """What can be refused before anything is done. Raises `CommandError`."""
    if call.is_set("pid") and call.is_set("pid-file"):
        raise exits.exclusive_flags("pid", "pid-file")
    if call.is_set("pid") and call.number("pid") <= 0:
        raise exits.invalid_value(call.text("pid"), "pid")
    if call.is_set("signal") and call.number("signal") <= 0:
        raise exits.invalid_value(call.text("signal"), "signal")
    _process_id(call)


def run(call: Call) -> None:
    """Signal, then run. Raises `CommandError` when either fails: the certificate is written already."""
    process_id, number = _process_id(call), call.number("signal")
    if process_id:
        try:
            os.kill(process_id, number)
        except (OSError, OverflowError) as error:
            reason = files.system_text(error) if isinstance(error, OSError) else "no such process"
            raise CommandError(f"kill {process_id} with signal {number} failed: {reason}") from error
    if program := call.text("exec"):
        _execute(program.split(" "))


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


def _execute(words: list[str]) -> None:
    """No shell, our own input and output."""
    try:
        status = subprocess.run(words, check=False).returncode
    except OSError as error:
        if "/" in words[0]:
            raise CommandError(f"fork/exec {words[0]}: {files.system_text(error)}") from error
        raise CommandError(f'exec: "{words[0]}": executable file not found in $PATH') from error
    if status < 0:
        raise CommandError(f"signal: {-status}")
    if status > 0:
        raise CommandError(f"exit status {status}")
