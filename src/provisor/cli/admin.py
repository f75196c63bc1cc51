"""From flags to the administrator's socket, and from flags to a search on it."""

from __future__ import annotations

import hashlib
import os
import re
import time
from typing import Final

import msgspec

from provisor.cli import context, exits, files
from provisor.cli.commands import common
from provisor.cli.context import Paths
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind
from provisor.client.admin import AdminClient
from provisor.config.admin_socket import SETTING, admin_socket_path
from provisor.config.load import load_config
from provisor.core.durations import SECOND, DurationError, parse_duration
from provisor.core.keys import spki_der
from provisor.core.pem import parse_blocks, parse_private_key
from provisor.core.terms import parse_digest
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.request import parse_csr
from provisor.errors import BadKey, BadRequest, Malformed

_DAYS: Final = re.compile(r"(\d{1,6})d(.*)")


def _condition(name: str, help: str, metavar: str = "value") -> Flag:
    """Never from the environment: there STEP_FINGERPRINT means a root's."""
    return Flag(names=(name,), help=help, metavar=metavar, ignores_environment=True)


def _condition_switch(name: str, help: str) -> Flag:
    return Flag(names=(name,), help=help, kind=FlagKind.BOOL, default="false", ignores_environment=True)


ADMIN_SOCKET: Final = Flag(names=("admin-socket",), help="the server's admin socket", metavar="file")
PLACE: Final = (ADMIN_SOCKET, common.CA_CONFIG, common.CONTEXT)
"""How a command finds the socket."""

CONDITIONS: Final = (
    _condition("name", "a name, or *.example.com, *@example.com, 10.0.0.0/8, spiffe://example.com/*", "pattern"),
    _condition("provisioner", "name of the provisioner", "name"),
    _condition("key", "SHA-256 of the public key in hex, or a file with a certificate, request or key", "file|hex"),
    _condition("fingerprint", "SHA-256 of the certificate in hex", "hex"),
    _condition("serial", "serial number: decimal, 0x... or aa:bb:...", "serial"),
    _condition("lineage", "the line of this serial: what it renewed and what renewed it", "serial"),
    _condition("expiring-within", "valid, and ends within this time, such as 30d or 12h", "duration"),
    _condition_switch("expired", "its time is over"),
    _condition_switch("active", "valid and not revoked"),
    _condition_switch("revoked", "revoked"),
)


def find_paths(call: Call) -> Paths:
    """Of the context that is in use. The defaults of other commands are no conditions of a search."""
    return context.find_paths(call.text("context"))


def open_admin(call: Call, paths: Paths) -> AdminClient:
    """A client for `--admin-socket`, else for the socket that ca.json names. Raises `CommandError`."""
    if path := call.text("admin-socket"):
        return AdminClient(path)
    config = call.text("ca-config") or paths.ca_config
    if not os.path.exists(config):
        if call.text("ca-config"):
            raise CommandError(f"open {config} failed: no such file or directory")
        return AdminClient(admin_socket_path(None, config))
    loaded = load_config(files.read_file(config), where=config)
    path = admin_socket_path(loaded.config.provisor.admin_socket, config)
    if not path:
        raise CommandError(f"{config} switches the admin socket off: {SETTING} is empty")
    return AdminClient(path)


def conditions(call: Call) -> dict[str, str]:
    """The parameters of a search. Raises `CommandError` for what contradicts itself or cannot be read."""
    names = ("name", "provisioner", "fingerprint", "serial", "lineage")
    asked = {name: call.text(name) for name in names if call.text(name)}
    if call.text("key"):
        asked["key"] = _key_digest(call.text("key"))
    for one, other in (("expired", "active"), ("revoked", "active")):
        if call.switch(one) and call.switch(other):
            raise exits.exclusive_flags(one, other)
    if call.switch("expired") and call.text("expiring-within"):
        raise exits.exclusive_flags("expired", "expiring-within")
    now = int(time.time())
    if call.switch("expired"):
        asked["endsBefore"] = str(now + 1)
    if call.switch("active") or call.text("expiring-within"):
        asked["endsFrom"] = str(now + 1)
    if call.text("expiring-within"):
        asked["endsBefore"] = str(now + _seconds(call.text("expiring-within")) + 1)
    if call.switch("revoked") or call.switch("active"):
        asked["revoked"] = "true" if call.switch("revoked") else "false"
    return asked


def _seconds(text: str) -> int:
    """A duration in Go's manner, with days in front if one likes."""
    days = _DAYS.fullmatch(text)
    rest = days[2] if days else text
    try:
        spare = parse_duration(rest) if rest else 0
    except DurationError as error:
        raise exits.invalid_value(text, "expiring-within", "a duration such as 30d, 12h or 90m") from error
    if spare < 0:
        raise exits.invalid_value(text, "expiring-within", "a duration such as 30d, 12h or 90m")
    return (int(days[1]) * 24 * 3600 if days else 0) + spare // SECOND


def _key_digest(text: str) -> str:
    """Of a digest, or of the key in a file."""
    try:
        return parse_digest(text, "key").hex()
    except BadRequest:
        if not os.path.exists(text):
            raise CommandError(f"flag '--key': {text} is neither a file nor a SHA-256 digest in hex") from None
    try:
        return hashlib.sha256(_spki(files.read_file(text))).hexdigest()
    except (Malformed, BadKey) as error:
        raise CommandError(f"error reading {text}: {error.detail}") from error


def _spki(content: bytes) -> bytes:
    blocks = parse_blocks(content) if b"-----BEGIN " in content else ()
    for block in blocks:
        match block.label:
            case "CERTIFICATE":
                return parse_certificate(block.der).spki
            case "CERTIFICATE REQUEST" | "NEW CERTIFICATE REQUEST":
                return parse_csr(block.der).spki
            case "PUBLIC KEY":
                return block.der
            case _:
                pass
    if blocks:
        return spki_der(parse_private_key(content, None).public_key())
    return parse_certificate(content).spki


def plain_json(value: object) -> str:
    """One line."""
    return msgspec.json.encode(value).decode()
