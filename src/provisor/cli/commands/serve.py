"""`serve`: start the CA in the foreground."""

from __future__ import annotations

import click

from provisor.cli.grammar import Call, Flag, FlagKind, command, switch, text
from provisor.cli.serving import ServeOptions, serve


@command(
    "serve",
    usage="[CONFIG] [--password-file=FILE] [--workers=N]",
    flags=(
        text("password-file", metavar="file", help="file with the password that decrypts the key"),
        Flag(names=("workers",), help="processes that meet clients; default one a core", kind=FlagKind.INT),
        text("pidfile", metavar="file", help="file for the process id, removed at the end"),
        switch("strict", help="refuse members of ca.json that nobody knows"),
        switch("quiet", help="no start-up lines but the listening one"),
        switch("hints", help="print how to get a first certificate"),
    ),
    most=1,
)
def serve_command(call: Call) -> None:
    """start the CA in the foreground"""
    config = call.arguments[0] if call.arguments else f"{call.paths.step}/config/ca.json"
    options = ServeOptions(
        config=config,
        password_file=call.text("password-file"),
        workers=call.number("workers") or None,
        pidfile=call.text("pidfile"),
        strict=call.switch("strict"),
        quiet=call.switch("quiet"),
        hints=call.switch("hints"),
    )
    if status := serve(options):
        raise click.exceptions.Exit(status)
