"""`ca provisioner add`, `update` and `remove`: editing ca.json, which the CA reads again on SIGHUP."""

from __future__ import annotations

from typing import TYPE_CHECKING

from provisor.cli import exits
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command
from provisor.cli.provisioning.flags import ADD_FLAGS, REMOVE_FLAGS, UPDATE_FLAGS

if TYPE_CHECKING:
    from provisor.wire.provisioners import Kind

_TYPES = ("JWK", "ACME", "OIDC", "SSHPOP", "K8SSA", "NEBULA", "SCEP", "AWS", "GCP", "AZURE")


@command(
    "ca provisioner add",
    usage="<name> --type=JWK [--public-key=<file>]",
    flags=ADD_FLAGS,
    least=1,
    most=1,
)
def add(call: Call) -> None:
    """add a provisioner

    Writes it into ca.json. A running CA takes it up on SIGHUP. Everything else in the file stays as it is.
    Flags of other types of provisioners are taken no notice of.
    """
    from provisor.cli.provisioning.backend import edit_configuration
    from provisor.cli.provisioning.changes import complete_new
    from provisor.cli.provisioning.entry import Entry
    from provisor.cli.provisioning.storing import store_new

    entry = Entry(_kind(call.text("type")), call.arguments[0])
    complete_new(call, entry)
    edit_configuration(call, lambda document: store_new(document, entry))


@command("ca provisioner update", usage="<name> [--public-key=<file>]", flags=UPDATE_FLAGS, least=1, most=1)
def update(call: Call) -> None:
    """update a provisioner

    Changes in ca.json what the flags say; everything else stays as it is. A running CA follows on SIGHUP.
    A JWK provisioner gets a new key with --create, and loses its encrypted key with --private-key "".
    Tokens made with the old key, or for the old name, are worth nothing then.
    """
    from provisor.cli.provisioning.backend import Document, edit_configuration
    from provisor.cli.provisioning.changes import complete_changed
    from provisor.cli.provisioning.entry import Entry
    from provisor.cli.provisioning.storing import store_changed
    from provisor.config.edit import get_provisioner

    name = call.arguments[0]

    def changed(document: Document) -> Document:
        entry = Entry.of(get_provisioner(document, name))
        if entry is None:
            raise CommandError(f"error loading provisioner: provisioner {name} not found")
        complete_changed(call, entry)
        return store_changed(document, entry)

    edit_configuration(call, changed)


@command("ca provisioner remove", usage="<name>", flags=REMOVE_FLAGS, least=1, most=1)
def remove(call: Call) -> None:
    """remove a provisioner

    Takes it out of ca.json, whatever its type. A running CA follows on SIGHUP.
    """
    from provisor.cli.provisioning.backend import edit_configuration
    from provisor.config.edit import remove_provisioner

    edit_configuration(call, lambda document: remove_provisioner(document, call.arguments[0]))


def _kind(word: str) -> Kind:
    """The type that a word means, in any case. Raises `CommandError`."""
    from provisor.wire.provisioners import KINDS

    if not word:
        raise CommandError(f"missing value for flag '--type'; options are {', '.join(_TYPES)}")
    # step-ca: takes NOOP for JWK.
    kind = KINDS.get("jwk" if word.upper() == "NOOP" else word.lower())
    if kind is None:
        raise exits.invalid_value(word, "type", _TYPES)
    return kind
