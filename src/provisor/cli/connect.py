"""From flags to a CA: its address, its roots, a client."""

from __future__ import annotations

import os

from provisor.cli import exits, files
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.address import CAAddress, parse_ca_url
from provisor.client.ca import CAClient
from provisor.client.transport import Identity
from provisor.core.keys import fingerprint
from provisor.core.pem import parse_certificates
from provisor.errors import BadRequest, Malformed


def ca_address(call: Call) -> CAAddress:
    """The value of `--ca-url`. Raises `CommandError`, also when it is missing."""
    value = call.required("ca-url")
    try:
        return parse_ca_url(value)
    except BadRequest as error:
        raise CommandError(f"invalid value '{value}' for flag '--ca-url'; {error.detail}") from error


def root_file(call: Call) -> str:
    """The name of the root file: `--root`, else where `ca bootstrap` puts it. Raises `CommandError`."""
    if value := call.text("root"):
        return value
    if os.path.exists(call.paths.root):
        return call.paths.root
    raise exits.missing_flag(call.command, "root")


def load_roots(call: Call) -> bytes:
    """The root file, which holds at least one certificate. Raises `CommandError`."""
    path = root_file(call)
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CommandError(f"error reading {path}: open {path}: {files.system_text(error)}") from error
    try:
        parse_certificates(content)
    except Malformed as error:
        raise CommandError(f"error parsing {path}: no certificates found") from error
    return content


def root_fingerprint(roots: bytes) -> str:
    """SHA-256 of the first certificate in hex: what tokens call `sha`."""
    return fingerprint(parse_certificates(roots)[0])


def open_client(call: Call, identity: Identity | None = None) -> CAClient:
    """A client for `--ca-url` that trusts `--root`. Raises `CommandError`."""
    address = ca_address(call)
    return CAClient(address, load_roots(call), identity)
