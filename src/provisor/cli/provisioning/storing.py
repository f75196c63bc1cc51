"""Putting an entry into the document of ca.json, after the checks that `step` makes of it."""

from __future__ import annotations

import json
from base64 import b64decode

from provisor.cli.exits import CommandError
from provisor.cli.provisioning import discovery
from provisor.cli.provisioning.changes import TemplateData
from provisor.cli.provisioning.entry import Entry
from provisor.cli.provisioning.nebula import check_roots
from provisor.cli.provisioning.scep import check_scep
from provisor.config import edit
from provisor.core.jose.jwk import parse_jwk
from provisor.core.json_text import find_syntax_error
from provisor.core.pem import PEMBlock, parse_blocks
from provisor.errors import BadKey, Malformed
from provisor.wire.gojson import decode_value

Document = dict[str, object]


def store_new(document: Document, entry: Entry) -> Document:
    """The document with one provisioner more. Raises `CommandError`, `Conflict`, `ConfigError`."""
    written = entry.members()
    edit.check_addition(document, written)
    _check(document, entry, edit.adding(written))
    return edit.add_provisioner(document, _finished(entry))


def store_changed(document: Document, entry: Entry) -> Document:
    """The document with a provisioner changed. Raises `CommandError`, `NotFound`, `Conflict`, `ConfigError`."""
    _check(document, entry, edit.updating(entry.members()))
    return edit.update_provisioner(document, entry.previous_name, _finished(entry))


def _check(document: Document, entry: Entry, doing: str) -> None:
    try:
        _check_members(entry)
        edit.check_claims(document, entry.members(), doing)
        _check_reachable(entry)
    except CommandError as error:
        raise CommandError(f"{doing}: {error.message}") from error


def _check_members(entry: Entry) -> None:
    """Raises `CommandError` for an entry that the CA could not start."""
    if not entry.name:
        raise CommandError("name cannot be empty" if entry.kind.name == "OIDC" else "provisioner name cannot be empty")
    match entry.kind.name:
        case "JWK":
            _require(entry, "key", "provisioner key cannot be empty")
            _check_key(entry)
        case "OIDC":
            _require(entry, "clientID", "clientID cannot be empty")
            _require(entry, "configurationEndpoint", "configurationEndpoint cannot be empty")
            _check_listen_address(entry.text("listenAddress"))
        case "X5C":
            if not _blocks(entry, "roots"):
                raise CommandError("provisioner root(s) cannot be empty")
        case "Nebula":
            check_roots(entry.text("roots"))
        case "K8sSA":
            if not _blocks(entry, "publicKeys"):
                raise CommandError("K8s Service Account provisioner cannot be initialized without pub keys")
        case "Azure":
            _require(entry, "tenantID", "provisioner tenantId cannot be empty")
        case "SCEP":
            check_scep(entry)


def _blocks(entry: Entry, member: str) -> tuple[PEMBlock, ...]:
    return parse_blocks(b64decode(entry.text(member)))


def _require(entry: Entry, member: str, text: str) -> None:
    if not entry.get(member):
        raise CommandError(text)


def _check_key(entry: Entry) -> None:
    key = entry.get("key")
    try:
        parse_jwk(key if isinstance(key, dict) else {})
    except BadKey as error:
        raise CommandError(error.detail) from error


def _check_listen_address(address: str) -> None:
    _, colon, port = address.rpartition(":")
    if address and (not colon or "]" in port):
        raise CommandError(f"error parsing listenAddress: address {address}: missing port in address")


def _check_reachable(entry: Entry) -> None:
    match entry.kind.name:
        case "OIDC":
            discovery.check_oidc(entry.text("configurationEndpoint"))
        case "GCP":
            discovery.check_google(entry.text("organizationID"))
        case "Azure":
            discovery.check_azure(entry.text("tenantID"))


def _finished(entry: Entry) -> Document:
    for kind in ("x509", "ssh"):
        options = entry.options[kind]
        assert isinstance(options, dict)
        data = options.get("templateData")
        if isinstance(data, TemplateData):
            options["templateData"] = _parse_json(data.content)
    return entry.members()


def _parse_json(content: bytes) -> object:
    try:
        json.loads(content)
        return decode_value(content)
    except (ValueError, Malformed) as error:
        behind = content[error.pos : error.pos + 1].decode() if isinstance(error, json.JSONDecodeError) else ""
        problem = find_syntax_error(content) or f"invalid character '{behind}' after top-level value"
        where = "error encoding configuration: json: error calling MarshalJSON for type json.RawMessage"
        raise CommandError(f"{where}: {problem}") from error
