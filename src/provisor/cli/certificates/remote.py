"""Flags of the commands that also look at the certificates of a running server."""

from __future__ import annotations

from typing import Final

from provisor.cli.grammar import Flag, switch, text

ROOTS: Final = text("roots", help="a file, files with commas, or a folder with the roots to trust", metavar="FILE")
SERVER_NAME: Final = text("servername", help="the name to ask the server for", metavar="NAME")


def insecure(what: str) -> Flag:
    """`--insecure`, which means something else to each command."""
    return switch("insecure", help=what)
