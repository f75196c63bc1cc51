"""`ca provisioner webhook`: webhooks belong to remote management, and are refused without it."""

from __future__ import annotations

import os

from provisor.cli import exits, files, output
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.provisioning.flags import REMOVE_FLAGS

_USAGE = "<provisioner_name> <webhook_name>"
_CERTIFICATE_TYPES = ("ALL", "X509", "SSH")
_FLAGS = (
    text("url", metavar="url", help="where the webhook is"),
    text("kind", metavar="kind", help="ENRICHING, AUTHORIZING, SCEPCHALLENGE or NOTIFYING", default="ENRICHING"),
    text("bearer-token-file", metavar="file", help="file with the token that the CA shows"),
    text("basic-auth-username", metavar="name", help="the user that the CA says it is"),
    text("basic-auth-password-file", metavar="file", help="file with that user's password"),
    switch("disable-tls-client-auth", help="the CA shows no client certificate"),
    text("cert-type", metavar="type", help="called for X509, SSH or ALL certificates", default="ALL"),
    *REMOVE_FLAGS,
)


@command("ca provisioner webhook add", usage=_USAGE, flags=_FLAGS, least=2, most=2)
def add(call: Call) -> None:
    """add a webhook to a provisioner"""
    _check_flags(call)
    _refuse(call)


@command("ca provisioner webhook update", usage=_USAGE, flags=_FLAGS, least=2, most=2)
def update(call: Call) -> None:
    """change a webhook of a provisioner"""
    _check_flags(call)
    _refuse(call)


@command("ca provisioner webhook remove", usage=_USAGE, flags=REMOVE_FLAGS, least=2, most=2)
def remove(call: Call) -> None:
    """remove a webhook from a provisioner"""
    _refuse(call)


def _check_flags(call: Call) -> None:
    if (kind := call.text("cert-type")).upper() not in _CERTIFICATE_TYPES:
        raise exits.invalid_value(kind, "cert-type", "ALL, X509, and SSH")
    for flag in ("bearer-token-file", "basic-auth-password-file"):
        if path := call.text(flag):
            files.read_password(path)


def _refuse(call: Call) -> None:
    """The reference's words for a CA whose provisioners are in ca.json; our own for any other."""
    from provisor.cli.provisioning.backend import configuration_file, load_document
    from provisor.wire.gojson import canonical_members

    path = configuration_file(call)
    if os.path.exists(path):
        output.done("CA Configuration", path)
        authority = canonical_members(load_document(path), ("authority",)).get("authority")
        enabled = isinstance(authority, dict) and canonical_members(authority, ("enableAdmin",)).get("enableAdmin")
        if not enabled:
            raise CommandError("the admin API must be enabled to use webhooks")
    raise CommandError("webhooks need remote management, which is not supported by this version of provisor")
