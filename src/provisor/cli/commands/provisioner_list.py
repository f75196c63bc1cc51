"""`ca provisioner list` and `ca provisioner jwe-key`: what the running CA says of its provisioners."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from provisor.cli import connect, output
from provisor.cli.commands.common import CA_URL, CONTEXT, ROOT
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command
from provisor.client.ca import CAClient
from provisor.client.errors import BadAnswer, Unreachable
from provisor.wire.provisioners import KINDS, public_form

_FLAGS = (CA_URL, ROOT, CONTEXT)


@command("ca provisioner list", usage="", flags=_FLAGS)
def list_provisioners(call: Call) -> None:
    """list the provisioners of a CA"""
    with _client(call, "error getting the provisioners") as client:
        shown = [form for raw in client.provisioners() if (form := _form(raw)) is not None]
    output.data(_html_safe(json.dumps(shown, indent=3, ensure_ascii=False)))


@contextmanager
def _client(call: Call, doing: str) -> Iterator[CAClient]:
    """A client of the CA. What there is instead of an answer begins with `doing`; the CA speaks for itself."""
    connect.ca_address(call)
    if not call.text("root") and not os.path.exists(call.paths.root):
        raise CommandError(
            f"{doing}: error reading {call.paths.root}: open {call.paths.root}: no such file or directory"
        )
    try:
        with connect.open_client(call) as client:
            yield client
    except CommandError as error:
        raise CommandError(f"{doing}: {error.message}") from error
    except (Unreachable, BadAnswer) as error:
        raise CommandError(f"{doing}: {error.detail}") from error


def _form(raw: Mapping[str, object]) -> dict[str, object] | None:
    """Known members in their order; None for a type nobody knows, which is left out of the list."""
    spelling = str(raw.get("type", ""))
    kind = KINDS.get(spelling.lower())
    if kind is None:
        return None
    form = public_form(kind, spelling, str(raw.get("name", "")), raw)
    if kind.name != "SCEP":
        return form
    # step-ca: always serves the switches of SCEP; `step` shows only those that are on, and placeholders as they came
    shown = {name: raw.get(name, value) if name in _PLACEHOLDERS else value for name, value in form.items()}
    return {name: value for name, value in shown.items() if value or name in _PLACEHOLDERS}


_PLACEHOLDERS = ("challenge", "decrypterCertificate", "decrypterKeyPEM", "decrypterKey", "decrypterKeyPassword")


def _html_safe(text: str) -> str:
    """As the reference's encoder writes strings."""
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@command("ca provisioner jwe-key", usage="<kid>", flags=_FLAGS, least=1, most=1)
def jwe_key(call: Call) -> None:
    """print the encrypted key of a provisioner"""
    with _client(call, "error getting the provisioning key") as client:
        output.data(client.encrypted_key(call.arguments[0]))
