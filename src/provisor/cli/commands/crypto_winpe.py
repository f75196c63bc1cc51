"""`crypto winpe extract`: what `step` has and this version has not."""

from __future__ import annotations

from provisor.cli.exits import CommandError
from provisor.cli.grammar import PROGRAM, Call, command


@command("crypto winpe extract", usage="<file>", flags=(), least=1, most=1)
def extract(call: Call) -> None:
    """take the certificates out of a signed Windows program (not supported by this version)"""
    raise CommandError(f"'{call.command}' is not supported by this version of {PROGRAM}")
