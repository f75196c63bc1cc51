"""`ca provisioner add` and `remove`: editing ca.json, which the CA reads again on SIGHUP."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from provisor.cli import connect, exits, files, output
from provisor.cli.commands.common import CA_CONFIG, CA_URL, CONTEXT, ROOT
from provisor.cli.commands.provisioner_entry import FLAGS_OF_JWK, FLAGS_OF_OTHER_TYPES, read_jwk_entry
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, text
from provisor.client.errors import ClientError, Unreachable
from provisor.client.transport import Transport, make_tls_context
from provisor.config.edit import add_provisioner, encode_document, remove_provisioner
from provisor.config.load import load_config
from provisor.errors import ConfigError, Conflict, NotFound

_TYPES = ("JWK", "ACME", "OIDC", "SSHPOP", "K8SSA", "NEBULA", "SCEP", "AWS", "GCP", "AZURE")
_UNLISTED_TYPES = ("X5C", "NOOP")

# Remote management is not built, so that nobody logs in: known here, because defaults.json may set them.
_ADMIN_FLAGS = (
    text("admin-cert", hidden=True),
    text("admin-key", hidden=True),
    text("admin-subject", "admin-name", hidden=True),
    text("admin-provisioner", "admin-issuer", hidden=True),
    text("admin-password-file", hidden=True),
)
_COMMON = (*_ADMIN_FLAGS, CA_URL, ROOT, CONTEXT, CA_CONFIG)

Document = dict[str, object]


@command(
    "ca provisioner add",
    usage="<name> --type=JWK [--public-key=<file>]",
    flags=(text("type", help="the type: JWK", default="JWK"), *FLAGS_OF_JWK, *FLAGS_OF_OTHER_TYPES, *_COMMON),
    least=1,
    most=1,
)
def add(call: Call) -> None:
    """add a provisioner

    Writes it into ca.json. A running CA takes it up on SIGHUP. Everything else in the file stays as it is.
    """
    _check_type(call.text("type"))
    name = call.arguments[0]
    entry = read_jwk_entry(call, name)
    _edit(call, lambda document: _added(document, entry.members(), name))


def _added(document: Document, entry: Document, name: str) -> Document:
    if not name:
        reason = "provisioner name cannot be empty"
        raise CommandError(
            f'error storing provisioner: error validating configuration for provisioner "{name}": {reason}'
        )
    return add_provisioner(document, entry)


@command("ca provisioner remove", usage="<name>", flags=_COMMON, least=1, most=1)
def remove(call: Call) -> None:
    """remove a provisioner

    Takes it out of ca.json, whatever its type. A running CA follows on SIGHUP.
    """
    _edit(call, lambda document: remove_provisioner(document, call.arguments[0]))


def _check_type(kind: str) -> None:
    """Only JWK is built. Raises `CommandError`."""
    if kind.upper() not in (*_TYPES, *_UNLISTED_TYPES):
        raise exits.invalid_value(kind, "type", _TYPES)
    # step-ca: takes NOOP for JWK.
    if kind.upper() not in ("JWK", "NOOP"):
        raise CommandError(f"provisioner type '{kind}' is not supported by this version of provisor")


def _edit(call: Call, change: Callable[[Document], Document]) -> None:
    """Write what `change` makes of ca.json. Raises `CommandError`, and then nothing was written."""
    _check_not_remote(call)
    path = call.text("ca-config") or call.paths.ca_config
    output.done("CA Configuration", path)
    document = _load(path)
    output.note()
    try:
        changed = encode_document(change(document))
    except ConfigError as error:
        raise CommandError(error.reason) from error
    except (Conflict, NotFound) as error:
        raise CommandError(error.detail) from error
    files.write_file(path, changed, 0o600, force=True)
    output.note(
        "Success! Your `step-ca` config has been updated. To pick up the new configuration SIGHUP (kill -1 <pid>) "
        "or restart the step-ca process."
    )


def _load(path: str) -> Document:
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        reason = f"error opening {path}: open {path}: {files.system_text(error)}"
        raise CommandError(f"error loading configuration: {reason}") from error
    loaded = load_config(content, where=path)
    for fault in loaded.faults:
        # a broken rule may be what the edit is about; a file that cannot be decoded is left alone
        if fault.text.startswith("error parsing"):
            raise CommandError(f"error loading configuration: {fault.text}")
    return loaded.document


def _check_not_remote(call: Call) -> None:
    """Ask the running CA whether its provisioners are in ca.json; a CA that does not run is taken to have them there.

    Raises `CommandError` when it manages them itself, or answers something else.
    """
    try:
        address = connect.ca_address(call)
        transport = Transport(address, make_tls_context(connect.load_roots(call)))
    except (CommandError, ClientError) as error:
        detail = error.message if isinstance(error, CommandError) else error.detail
        raise CommandError(f"error generating admin client: {detail}") from error
    try:
        status = transport.send("GET", "/admin/admins").status
    except Unreachable as error:
        if isinstance(error.__cause__, ssl.SSLError | http.client.HTTPException):
            raise CommandError(f"error generating admin client: {error.detail}") from error
        return
    except ClientError as error:
        raise CommandError(f"error generating admin client: {error.detail}") from error
    finally:
        transport.close()
    if status == HTTPStatus.UNAUTHORIZED:
        raise CommandError(
            f"the CA at {address} manages its provisioners by remote management, "
            "which is not supported by this version of provisor"
        )
    if status not in (HTTPStatus.NOT_FOUND, HTTPStatus.NOT_IMPLEMENTED):
        raise CommandError(f"unexpected status code when performing is-enabled check for Admin API: {status}")
