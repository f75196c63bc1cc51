"""Where a CA keeps its provisioners, and editing ca.json when it is there."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path

from provisor.cli import connect, files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.errors import ClientError, Unreachable
from provisor.client.transport import Transport, make_tls_context
from provisor.config.edit import encode_document
from provisor.config.load import load_config
from provisor.errors import ConfigError, Conflict, NotFound

Document = dict[str, object]


def edit_configuration(call: Call, change: Callable[[Document], Document]) -> None:
    """Write what `change` makes of ca.json. Raises `CommandError`, and then nothing was written."""
    _check_not_remote(call)
    path = configuration_file(call)
    output.done("CA Configuration", path)
    document = load_document(path)
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


def configuration_file(call: Call) -> str:
    """`--ca-config`, else the one of the context."""
    return call.text("ca-config") or call.paths.ca_config


def load_document(path: str) -> Document:
    """The file as it is. Raises `CommandError` when it cannot be decoded."""
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
