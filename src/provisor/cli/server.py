"""The program `provisor-ca`: step-ca's own command line, so that a service unit changes one word."""

from __future__ import annotations

import os
import platform
import sys
from collections.abc import Sequence
from typing import Final

from provisor import __version__
from provisor.cli import context, output
from provisor.cli.exits import CommandError, UsageError
from provisor.cli.grammar import FlagKind, Setting, settle, split_words, switch, text, unbuilt
from provisor.cli.serving import ServeOptions, is_there, serve, tell_missing
from provisor.errors import ProvisorError

PROGRAM: Final = "provisor-ca"
_USAGE: Final = f"{PROGRAM} <config> [--password-file=<file>]"
_START_FAILED: Final = 2

_FLAGS: Final = (
    text("password-file", metavar="file", help="file with the password that decrypts the intermediate key"),
    text("ssh-host-password-file", metavar="file", help="file with the password of the SSH host key (not opened yet)"),
    text("ssh-user-password-file", metavar="file", help="file with the password of the SSH user key (not opened yet)"),
    unbuilt("issuer-password-file"),
    text("resolver", metavar="addr", help="DNS server for outbound look-ups (there are none yet)"),
    unbuilt("token"),
    switch("quiet", help="disable startup information"),
    text("context", metavar="name", help="the context whose configuration is used"),
    text("acme-http-port", hidden=True),
    text("acme-tls-port", hidden=True),
    switch("acme-strict-fqdn", hidden=True),
    text("pidfile", metavar="file", help="file for the process id"),
    switch("insecure", help="allow insecure flags", hidden=True),
    switch("help", "h", help="show help"),
    switch("version", "v", help="print the version"),
)
_VARIABLES: Final = {"token": "STEP_CA_TOKEN", "quiet": "STEP_CA_QUIET", "context": "STEP_CA_CONTEXT"}


def main() -> None:
    """The entry point of the program."""
    sys.exit(run(sys.argv[1:]))


def run(words: Sequence[str]) -> int:
    """Serve, or answer a question about the program; the exit status."""
    try:
        return _run(words)
    except UsageError as error:
        output.data(f"Incorrect Usage. {error.message}\n\n{_help()}")
        output.note(error.message)
        return 1
    except CommandError as error:
        output.note(error.message)
        return error.status
    except ProvisorError as error:
        output.note(error.public or error.detail)
        return _START_FAILED
    except OSError as error:
        output.note(f"open {error.filename} failed: {(error.strerror or str(error)).lower()}")
        return _START_FAILED
    except KeyboardInterrupt:
        return 130


def _run(words: Sequence[str]) -> int:
    parsed = split_words(words, _FLAGS)
    settings = settle(_FLAGS, parsed.given, _environment(), {})
    first = parsed.arguments[0] if parsed.arguments else ""
    if _on(settings, "help") or first == "help":
        output.data(_help())
        return 0
    if _on(settings, "version") or first == "version":
        output.data(_version())
        return 0
    if first in ("export", "onboard"):
        raise CommandError(f"'{PROGRAM} {first}' is not supported by this version of Provisor")
    if len(parsed.arguments) > 1:
        raise CommandError(f"too many positional arguments were provided in '{_USAGE}'")
    _refuse(settings)
    config = first or f"{context.find_paths(_value(settings, 'context')).step}/config/ca.json"
    if not is_there(config):
        tell_missing(PROGRAM, "provisor ca init")
        return 1
    return serve(
        ServeOptions(
            config=config,
            password_file=_value(settings, "password-file"),
            pidfile=_value(settings, "pidfile"),
            quiet=_on(settings, "quiet"),
        )
    )


def _environment() -> dict[str, str]:
    """step-ca: its variables begin with STEP_CA_, and only three flags have one."""
    return {
        f"STEP_{flag.upper().replace('-', '_')}": value
        for flag, variable in _VARIABLES.items()
        if (value := os.environ.get(variable))
    }


def _refuse(settings: dict[str, Setting]) -> None:
    """What needs another flag, and what this version has no code for: never ignored."""
    for name in ("acme-http-port", "acme-tls-port"):
        if _value(settings, name) and not _on(settings, "insecure"):
            raise CommandError(f"flag '--{name}' requires the '--insecure' flag")
    for flag in _FLAGS:
        needless = flag.name in ("acme-http-port", "acme-tls-port", "acme-strict-fqdn")
        if settings[flag.name].is_set and (needless or not flag.built):
            raise CommandError(f"flag '--{flag.name}' is not supported by this version of Provisor")


def _on(settings: dict[str, Setting], name: str) -> bool:
    return _value(settings, name) in ("1", "t", "T", "TRUE", "true", "True")


def _value(settings: dict[str, Setting], name: str) -> str:
    values = settings[name].values
    return values[-1] if values else ""


def _version() -> str:
    machine = {"x86_64": "amd64", "aarch64": "arm64"}.get(platform.machine(), platform.machine())
    return f"Provisor CA/{__version__} ({sys.platform}/{machine})"


def _help() -> str:
    lines = [
        "NAME",
        f"  {PROGRAM} -- an online certificate authority for secure automated certificate management",
        "",
        "USAGE",
        f"  {PROGRAM} [config] [--password-file=file] [--context=name] [--pidfile=file] [--quiet]",
        f"  {PROGRAM} version",
        "",
        "OPTIONS",
    ]
    shown = [flag for flag in _FLAGS if flag.built and not flag.hidden]
    lines += [
        f"  --{flag.name + ('=' + flag.metavar if flag.kind is not FlagKind.BOOL else ''):<30} {flag.help}"
        for flag in shown
    ]
    return "\n".join(lines)
