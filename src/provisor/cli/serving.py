"""From a command line to a running supervisor; shared by `provisor serve` and `provisor-ca`."""

from __future__ import annotations

import os
import sys
from typing import Final

from msgspec import Struct

from provisor.cli import prompt
from provisor.cli.exits import CommandError
from provisor.cli.files import read_password


class ServeOptions(Struct, frozen=True):
    """`workers` None: as configured, or one a core. `hints`: say how to get a first certificate."""

    config: str
    password_file: str = ""
    workers: int | None = None
    pidfile: str = ""
    strict: bool = False
    quiet: bool = False
    hints: bool = False


_REFUSED: Final = 2

NO_CONFIGURATION = """{program} can't find or open the configuration file for your CA.
You may need to create a CA first by running `{command}`."""


def serve(options: ServeOptions) -> int:
    """Serve until a signal; the exit status. A start that is refused says why on stderr (status 2)."""
    from provisor.server.supervisor import Supervisor, SupervisorOptions

    try:
        secrets = _find_password(options)
    except CommandError as error:
        error.status = _REFUSED
        raise
    supervisor = Supervisor(
        SupervisorOptions(
            options={
                "config": os.path.abspath(options.config),
                "shown": options.config,
                "strict": options.strict,
                "quiet": options.quiet,
                "hints": options.hints,
            },
            secrets=secrets,
            workers=options.workers,
            pidfile=options.pidfile,
        )
    )
    return supervisor.run()


def _find_password(options: ServeOptions) -> dict[str, str]:
    """The password of the key, if it has one. Raises `CommandError` if it cannot be had."""
    from provisor.startup import needs_password

    if options.password_file:
        return {"password": read_password(options.password_file).decode()}
    if locked := needs_password(options.config):
        question = f"Please enter the password to decrypt {locked}"
        return {"password": prompt.ask_password(question, flag="password-file")}
    return {}


def is_there(path: str) -> bool:
    return os.access(path, os.R_OK)


def tell_missing(program: str, command: str) -> None:
    """step-ca: this one text goes to stdout."""
    sys.stdout.write(NO_CONFIGURATION.format(program=program, command=command) + "\n")
