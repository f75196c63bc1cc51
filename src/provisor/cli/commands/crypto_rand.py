"""`crypto rand`: random strings."""

from __future__ import annotations

import re
import secrets
from pathlib import Path

from provisor.cli import exits, output
from provisor.cli.crypto import chance
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.grammar import Call, command, text

_NUMBER = re.compile(r"[+-]?[0-9]{1,18}", re.ASCII)


@command(
    "crypto rand",
    usage="[<length>] [--format=<format>] [--dictionary=<file>]",
    flags=(
        text("format", metavar="format", default="ascii", help=f"one of {', '.join(chance.FORMATS)}"),
        text("dictionary", "dict", metavar="file", help="file with a word on each line to choose from"),
    ),
    most=1,
)
def rand(call: Call) -> None:
    """print a random string

    The length is that of the string, 32 without one; with a dictionary the number of words; of a die the number
    of its sides; of a prime its bits.
    """
    form = (call.text("format") or "ascii").lower()
    length = _length(call.arguments[0]) if call.arguments else None
    if path := call.text("dictionary"):
        if call.is_set("format"):
            raise exits.incompatible_flags("format", "dictionary")
        output.data(chance.random_words(_words(path), length))
    elif form == chance.RAW:
        output.data_bytes(secrets.token_bytes(length or chance.DEFAULT_LENGTH))
    elif form in chance.FORMATS or form in chance.DICE:
        output.data(chance.random_text(form, length))
    else:
        raise exits.invalid_value(call.text("format"), "format")


def _length(given: str) -> int:
    if not _NUMBER.fullmatch(given):
        raise CommandError(f'positional argument <length> "{given}" is not a valid number')
    if int(given) <= 0:
        raise CommandError(f'positional argument <length> "{given}" must be greater than 0')
    return int(given)


def _words(path: str) -> list[str]:
    try:
        lines = Path(path).read_bytes().decode(errors="replace").split("\n")
    except OSError as error:
        raise CommandError(f"open {path}: {system_text(error)}") from error
    # step-ca: an empty line is a word too
    if not (words := [word for line in lines if (word := line.strip())]):
        raise CommandError(f"the dictionary {path} holds no words")
    return words
