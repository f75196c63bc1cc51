"""Commands about trust in a CA: `bootstrap`, `root`, `roots`, `federation`, and `health`."""

from __future__ import annotations

import json
from collections.abc import Sequence

from provisor.cli import connect, exits, files, output, truststore
from provisor.cli.commands.common import CA_URL, CONTEXT, FORCE, ROOT
from provisor.cli.context import Paths, paths_for_new_authority, warn_if_configured
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text, unbuilt
from provisor.client.ca import fetch_root, normal_fingerprint
from provisor.client.errors import BadAnswer, Unreachable
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import parse_certificate

_FINGERPRINT = text("fingerprint", metavar="fingerprint", help="SHA-256 of the root certificate in hex")


@command(
    "ca bootstrap",
    usage="",
    flags=(
        CA_URL,
        _FINGERPRINT,
        switch("install", help="make this machine trust the root certificate"),
        unbuilt("team"),
        unbuilt("team-authority"),
        unbuilt("team-url"),
        text("redirect-url", metavar="url", help="where an OAuth login ends, kept in defaults.json"),
        FORCE,
        text("context", metavar="name", help="create and use this context"),
        text("profile", metavar="name", help="profile of the new context"),
        text("authority", metavar="name", help="authority of the new context"),
    ),
    most=None,
    reads_defaults=False,
)
def bootstrap(call: Call) -> None:
    """configure this machine to use a CA

    Downloads the root certificate, checks it against the fingerprint, and writes it and the defaults of the
    other commands.
    """
    address = connect.ca_address(call)
    fingerprint = normal_fingerprint(call.required("fingerprint"))
    try:
        root = fetch_root(address, fingerprint)
    except (BadAnswer, Unreachable) as error:
        raise CommandError(f"error downloading root certificate: {error.detail}") from error
    if not any(call.text(flag) for flag in ("context", "authority", "profile")):
        warn_if_configured()
    paths = paths_for_new_authority(
        address.host,
        context=call.text("context"),
        authority=call.text("authority"),
        profile=call.text("profile"),
    )
    defaults = {"ca-url": address.url, "fingerprint": fingerprint, "root": paths.root}
    if redirect_url := call.text("redirect-url"):
        defaults["redirect-url"] = redirect_url
    _save(paths, root, defaults, force=call.switch("force"))
    if call.switch("install"):
        output.note("Installing the root certificate in the system truststore... ", end="")
        truststore.install(parse_certificate(parse_certificates(root.encode())[0]))
        output.note("done.")


def _save(paths: Paths, root: str, defaults: dict[str, str], *, force: bool) -> None:
    files.make_folder(f"{paths.step}/certs")
    files.make_folder(f"{paths.step}/config")
    files.write_file(paths.root, root.encode(), 0o600, force=force)
    output.note(f"The root certificate has been saved in {paths.root}.")
    content = json.dumps(defaults, indent=2, ensure_ascii=False).encode()
    files.write_file(paths.defaults, content, 0o644, force=force)
    output.note(f"The authority configuration has been saved in {paths.defaults}.")
    if paths.context is not None:
        output.note(f"The profile configuration has been saved in {paths.profile_defaults}.")


@command("ca health", usage="", flags=(CA_URL, ROOT, CONTEXT))
def health(call: Call) -> None:
    """get the status of the CA"""
    with connect.open_client(call) as client:
        output.data(client.health().status)


@command("ca root", usage="[<root-file>]", flags=(FORCE, _FINGERPRINT, CA_URL, CONTEXT), most=1)
def root(call: Call) -> None:
    """download and check a root certificate"""
    address = connect.ca_address(call)
    fingerprint = call.text("fingerprint")
    if not fingerprint:
        raise exits.missing_flag(call.command, "fingerprint")
    try:
        pem = fetch_root(address, fingerprint)
    except (BadAnswer, Unreachable) as error:
        raise CommandError(f"error downloading root certificate: {error.detail}") from error
    _show_or_save(call, (pem,), "The root certificate")


@command("ca roots", usage="[<roots-file>]", flags=(CA_URL, FORCE, ROOT, CONTEXT), most=1)
def roots(call: Call) -> None:
    """download all the root certificates of the CA"""
    with connect.open_client(call) as client:
        _show_or_save(call, client.roots(), "The root certificate bundle")


@command("ca federation", usage="[<federation-file>]", flags=(CA_URL, FORCE, ROOT, CONTEXT), most=1)
def federation(call: Call) -> None:
    """download all the roots of the federation"""
    with connect.open_client(call) as client:
        _show_or_save(call, client.federation(), "The federation certificate bundle")


def _show_or_save(call: Call, certificates: Sequence[str], what: str) -> None:
    bundle = "".join(pem if pem.endswith("\n") else f"{pem}\n" for pem in certificates)
    if not call.arguments:
        output.data(bundle, end="")
        return
    path = call.arguments[0]
    files.write_file(path, bundle.encode(), 0o600, force=call.switch("force"))
    output.note(f"{what} has been saved in {path}.")
