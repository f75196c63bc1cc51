"""How a command ends: the errors a user can cause, their texts and the exit statuses.

Commands that `step` has end with its status, which is 1 for nearly every failure. Commands of our own
(`ca check`) use the table `STATUS`, by the nearest ancestor of the error.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from provisor import errors
from provisor.client.errors import CAError

OK = 0
FAILED = 1
UNKNOWN_COMMAND = 3

STATUS: Mapping[type[errors.ProvisorError], int] = {
    errors.ProvisorError: FAILED,
    errors.ConfigError: 2,
    errors.Malformed: 2,
    errors.Unauthenticated: 4,
    errors.Forbidden: 4,
    errors.NotFound: 5,
    errors.Conflict: 6,
    errors.NotSupported: 7,
    errors.Unavailable: 8,
}


class CommandError(Exception):
    """A command cannot go on. `message` is what the user reads on stderr; it may have several lines.

    `near` are words that may have been meant: a person at a terminal is told of them, a script's log stays as it is.
    """

    def __init__(self, message: str, *, status: int = FAILED, near: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.message = message
        self.status = status
        self.near = near


class UsageError(CommandError):
    """The command line itself is wrong; `page`, the help page, goes to stdout before the message."""

    def __init__(self, message: str, *, page: str = "", near: Sequence[str] = ()) -> None:
        super().__init__(message, near=near)
        self.page = page


class UnknownCommand(CommandError):
    """No such command, group or help topic."""

    def __init__(self, name: str, known: Iterable[str] = ()) -> None:
        near = find_near(name.rsplit(" ", 1)[-1], known)
        super().__init__(f"No help topic for '{name}'", status=UNKNOWN_COMMAND, near=near)


def find_near(word: str, known: Iterable[str]) -> list[str]:
    """Those of `known` that may have been meant, the nearest first; three at most."""
    from difflib import get_close_matches

    return get_close_matches(word, list(known), n=3, cutoff=0.6)


def status_of(error: errors.ProvisorError) -> int:
    """The exit status of `error` in a command of our own: the entry of its nearest ancestor."""
    for kind in type(error).__mro__:
        if issubclass(kind, errors.ProvisorError) and kind in STATUS:
            return STATUS[kind]
    return FAILED


def translate(error: errors.ProvisorError, *, own: bool) -> CommandError:
    """What a user reads of an error of the layers below. `own`: a command that `step` does not have."""
    text = error.detail
    if isinstance(error, CAError):
        # step-ca: only the server's own sentence is shown, whatever the client was doing
        text = f"{error.message}\nRe-run with STEPDEBUG=1 for more info."
    return CommandError(text, status=status_of(error) if own else FAILED)


def is_answer(error: errors.ProvisorError) -> bool:
    """The CA itself said this."""
    return isinstance(error, CAError)


def missing_flag(command: str, flag: str) -> CommandError:
    """`command` is the full name, `provisor ca token`; `flag` is without dashes."""
    return CommandError(f"'{command}' requires the '--{flag}' flag")


def requires_flag(flag: str, other: str) -> CommandError:
    """`flag` makes sense only together with `other`."""
    return CommandError(f"flag '--{flag}' requires the '--{other}' flag")


def incompatible_flags(flag: str, other: str) -> CommandError:
    """`flag` cannot be combined with `other`."""
    return CommandError(f"flag '--{flag}' is incompatible with '--{other}'")


def exclusive_flags(flag: str, other: str) -> CommandError:
    """At most one of the two."""
    return CommandError(f"flag '--{flag}' and flag '--{other}' are mutually exclusive")


def invalid_value(value: str, flag: str, options: Sequence[str] | str | None = None) -> CommandError:
    """`options` is a ready phrase, or the list that is joined with commas."""
    text = f"invalid value '{value}' for flag '--{flag}'"
    if options is None:
        return CommandError(text)
    return CommandError(f"{text}; options are {options if isinstance(options, str) else ', '.join(options)}")


def not_built(flag: str) -> CommandError:
    """A flag that `step` knows and this version does not: refused by name, never ignored."""
    return CommandError(f"flag '--{flag}' is not supported by this version of provisor")
