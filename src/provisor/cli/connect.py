"""From flags to a CA: its address, its roots, a client."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from provisor.cli import exits, files
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.address import CAAddress, parse_ca_url
from provisor.client.ca import CAClient
from provisor.client.transport import Identity
from provisor.core.keys import fingerprint, spki_der
from provisor.core.pem import parse_certificates, parse_private_key
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadRequest, Malformed, ProvisorError


def ca_address(call: Call) -> CAAddress:
    """The value of `--ca-url`. Raises `CommandError`, also when it is missing."""
    if call.has("token") and not call.text("ca-url") and call.command.endswith(("ca certificate", "ca sign")):
        raise CommandError("flag '--ca-url' is required unless the '--token' flag is provided")
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


def own_identity(call: Call) -> Identity | None:
    """The client certificate that `config/identity.json` names, if it can be used now (cli-admin 2.6).

    A CA behind a door that asks for one is reached with it. Missing, unreadable or expired, it is left out.
    """
    try:
        named = msgspec.json.decode(Path(call.paths.identity).read_bytes(), type=_IdentityFile)
        if named.type not in ("mTLS", "tTLS"):
            return None
        identity = Identity(Path(named.crt).read_bytes(), Path(named.key).read_bytes())
        leaf = parse_certificate(parse_certificates(identity.chain)[0])
        key = parse_private_key(identity.key, None, where=named.key)
    except (OSError, ValueError, ProvisorError):
        return None
    now = datetime.now(UTC)
    is_usable = leaf.not_before <= now <= leaf.not_after and leaf.spki == spki_der(key.public_key())
    return identity if is_usable else None


class _IdentityFile(msgspec.Struct):
    type: str = ""
    crt: str = ""
    key: str = ""


def open_client(call: Call, identity: Identity | None = None) -> CAClient:
    """A client for `--ca-url` that trusts `--root`. Raises `CommandError`."""
    address = ca_address(call)
    return CAClient(address, load_roots(call), identity or own_identity(call))
