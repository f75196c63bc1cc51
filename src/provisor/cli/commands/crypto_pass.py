"""`crypto change-pass`: the same private key under another password, or under none."""

from __future__ import annotations

import json

from provisor.cli import exits, files, keys, output
from provisor.cli.certificates import newkeys
from provisor.cli.commands import common
from provisor.cli.crypto import reading, writing
from provisor.cli.crypto.reading import Found, Source, is_private
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.core.jose.jwk import jwk_members
from provisor.core.pem import encode_pem
from provisor.core.secret import Secret


@command(
    "crypto change-pass",
    usage="<key-file>",
    flags=(
        text("password-file", metavar="file", help="file with the password that the key has"),
        text("new-password-file", metavar="file", help="file with the password that it gets"),
        text("out", "output-file", metavar="file", help="write here instead of over the old key"),
        common.FORCE,
        switch("insecure", help="allow a key without a password"),
        switch("no-password", help="write the key without a password; needs --insecure"),
    ),
    least=1,
    most=1,
)
def change_pass(call: Call) -> None:
    """change the password of a private key

    The key is a PEM file or a JWK, plain or encrypted.
    """
    if call.switch("no-password") and not call.switch("insecure"):
        raise exits.requires_flag("no-password", "insecure")
    path = call.arguments[0]
    target = call.text("out") or path
    password, flag = keys.password_from(call, "password-file")
    content = _read(path)
    found = reading.read_pem_or_jwk(Source(content, path, password, flag))
    changed = _as_jwk(call, found) if found.jwk is not None else _as_pem(call, found, path)
    files.write_file(target, changed, 0o600, force=call.switch("force"))
    output.note(f"Your key has been saved in {target}.")


def _read(path: str) -> bytes:
    if path == "-":
        # the key is written back to where it was
        raise CommandError("open - failed: no such file or directory")
    return files.read_file(path)


def _as_pem(call: Call, found: Found, path: str) -> bytes:
    key, block = reading.needed(found, path), found.block
    if not is_private(key):
        # step-ca: saves whatever else the file holds as it is
        assert block is not None
        return encode_pem(block.label, block.der).encode()
    password = _new_password(call, f"Please enter the password to encrypt {path}")
    return writing.encode_key(key, writing.PEM, password=password)


def _as_jwk(call: Call, found: Found) -> bytes:
    """Members that say nothing here, such as `x5c`, are kept behind those that do."""
    jwk = found.jwk
    assert jwk is not None
    private = jwk.private_key is not None or jwk.secret is not None
    members: dict[str, object] = {**jwk_members(jwk, private=private)}
    members |= {name: value for name, value in json.loads(found.opened).items() if name not in members}
    password = _new_password(call, "Please enter the password to encrypt the private JWK")
    if password is None:
        return writing.pretty(members)
    compact = json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode()
    return writing.flattened(compact, password, content_type="", indent=2)


def _new_password(call: Call, question: str) -> Secret | None:
    """None with `--no-password`. An empty file does not count as one: it would leave the key in the open."""
    if call.switch("no-password"):
        return None
    password, _ = keys.password_from(call, "new-password-file")
    return password or newkeys.ask_new_password(question)
