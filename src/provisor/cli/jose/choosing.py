"""The key that a `crypto jwt`, `jws` or `jwe` command works with: of a file, of a key set, or of a certificate."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NoReturn

import msgspec

from provisor.cli import exits, files
from provisor.cli.crypto import reading
from provisor.cli.crypto.reading import Source
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.grammar import Call
from provisor.core.jose.encoding import NotJOSE, decode_base64url, parse_members
from provisor.core.jose.jwk import JWK, make_jwk, parse_jwk
from provisor.core.jose.jws import drop_space
from provisor.core.jose.keyfile import is_jwe
from provisor.core.json_text import find_syntax_error
from provisor.core.secret import Secret
from provisor.errors import BadKey, BadToken

_MOST_BYTES: Final = 4 * 1024 * 1024
_SECONDS: Final = 15.0
_USES: Final = {"sig": "signature", "enc": "encryption"}


class Chosen(msgspec.Struct, frozen=True):
    """A key, the place it came from, and the header members that tell others about it."""

    jwk: JWK
    where: str
    header: Mapping[str, object] = {}


def choose(call: Call, *, use: str, alg: str = "", flag: str = "--jwks", kid: str = "") -> Chosen:
    """By `--key`, or by `--jwks` and `--kid`, which `kid` stands in for. Raises `CommandError`.

    `use` empty: whatever the key says it is for. `flag` is how the missing one is called.
    """
    key_file, set_file, kid = call.text("key"), call.text("jwks"), call.text("kid") or kid
    if key_file and set_file:
        raise exits.exclusive_flags("key", "jwks")
    if set_file and not kid:
        # step-ca: names the two the wrong way round
        raise exits.requires_flag("kid", "jwks")
    if not key_file and not set_file:
        raise CommandError(f"one of flag --key or {flag} is required")
    password = password_of(call)
    where = key_file or set_file
    if key_file:
        jwk = read_key(key_file, password, "password-file")
        if call.text("kid") and jwk.kid and kid != jwk.kid:
            raise CommandError(f"kid {kid} does not match the kid on {key_file}")
        jwk = msgspec.structs.replace(jwk, kid=jwk.kid or call.text("kid"))
    else:
        jwk = find_in_set(set_file, kid, password, "password-file")
    if use:
        check_use(jwk, use)
    if alg and jwk.alg and alg != jwk.alg and not (call.has("subtle") and call.switch("subtle")):
        raise CommandError(f"alg {alg} does not match the alg on {where}")
    return Chosen(msgspec.structs.replace(jwk, alg=alg or jwk.alg), where)


def password_of(call: Call) -> Secret:
    """What `--password-file` holds, if this command has it."""
    path = call.text("password-file") if call.has("password-file") else ""
    try:
        return Secret(files.read_password(path)) if path else Secret(b"")
    except CommandError as error:
        if call.command.endswith("decrypt") or not isinstance(error.__cause__, OSError):
            raise
        reason = system_text(error.__cause__)
        raise CommandError(f'error reading {path}: error reading "{path}": {reason}') from error


def token_words(detail: str) -> str:
    """What is wrong with a signed message, without who says so."""
    words = detail.removeprefix("error parsing token: ").removeprefix("go-jose/go-jose: ")
    return words.replace("into an object", "into Go value of type jose.rawHeader")


def three_parts(text: str) -> str:
    """The text itself. Raises `BadToken` unless it is JSON, or has two dots and a header that is JSON."""
    if text.lstrip().startswith("{"):
        _check_json(text.encode())
        return text
    if text.count(".") != 2:
        raise BadToken("compact JWS format must have three parts")
    with suppress(NotJOSE):
        header, _, _ = [decode_base64url(part.encode(errors="surrogatepass")) for part in drop_space(text).split(".")]
        _check_json(header)
    return text


def _check_json(text: bytes) -> None:
    if fault := find_syntax_error(text):
        raise BadToken("unexpected end of JSON input" if str(fault).endswith("EOF") else str(fault))


def check_use(jwk: JWK, use: str) -> None:
    """A key says what it is for; without a word it is for everything. Raises `CommandError`."""
    if jwk.use and jwk.use != use:
        # step-ca: explains the one and not the other
        found = " (signature)" if jwk.use == "sig" else ""
        raise CommandError(f"invalid jwk use: found '{jwk.use}'{found}, expecting '{use}' ({_USES[use]})")


def read_key(path: str, password: Secret, flag: str) -> JWK:
    """A JWK, an encrypted JWK, or a PEM file, whose key gets its thumbprint as `kid`. Raises `CommandError`."""
    return as_jwk(reading.read_pem_or_jwk(Source(_read(path), path, password, flag)), path)


def as_jwk(found: reading.Found, path: str) -> JWK:
    if found.jwk is not None:
        return found.jwk
    try:
        return make_jwk(reading.needed(found, path), alg="", use="")
    except BadKey as error:
        raise CommandError(f"error reading {path}: {error.detail}") from error


def _read(path: str) -> bytes:
    if path == "-":
        return files.read_file(path)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        doing = "read" if isinstance(error, IsADirectoryError) else "open"
        raise CommandError(f"error reading {path}: {doing} {path}: {system_text(error)}") from error


def find_in_set(where: str, kid: str, password: Secret, flag: str) -> JWK:
    """The key of that id in a set: a file or an https URL. Raises `CommandError`."""
    found = [members for members in read_set(where, password, flag) if members.get("kid") == kid]
    if not found:
        raise CommandError(f"cannot find key with kid {kid} on {where}")
    if len(found) > 1:
        raise CommandError(f"multiple keys with kid {kid} have been found on {where}")
    try:
        return parse_jwk(found[0])
    except BadKey as error:
        raise CommandError(f"error parsing {where}: {error.detail}") from error


def read_set(where: str, password: Secret, flag: str) -> Sequence[Mapping[str, object]]:
    """The members of each key of a set, in their order; the set may be encrypted. Raises `CommandError`."""
    content = _fetch(where) if where.startswith(("https://", "http://")) else _read(where)
    text = content.strip()
    if is_jwe(text):
        text = reading.open_jwe(text.decode(), Source(text, where, password, flag))
    try:
        return parse_set(text, where)
    except CommandError as error:
        raise CommandError(f"error reading {where}: unsupported format") from error


def parse_set(text: bytes, where: str) -> Sequence[Mapping[str, object]]:
    """An empty file and an object without keys are sets of none. Raises `CommandError`."""
    if not text.strip():
        return []
    if fault := find_syntax_error(text):
        raise CommandError(f"error reading {where}: {fault}")
    try:
        listed = parse_members(text).get("keys") or []
    except NotJOSE as error:
        raise CommandError(f"error reading {where}: {error}") from error
    if not isinstance(listed, list) or not all(isinstance(key, dict) for key in listed):
        raise CommandError(f"error reading {where}: its member keys is not a list of keys")
    return listed


def _fetch(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=_SECONDS) as answer:
            content: bytes = answer.read(_MOST_BYTES + 1)
    except urllib.error.HTTPError as error:
        error.close()
        _unreachable(url, f"failed with {error.code}")
    except (OSError, ValueError) as error:
        _unreachable(url, str(getattr(error, "reason", error)))
    if len(content) > _MOST_BYTES:
        _unreachable(url, f"more than {_MOST_BYTES} octets")
    return content


def _unreachable(url: str, reason: str) -> NoReturn:
    raise CommandError(f"error retrieving {url}: {reason}")


def pretty(value: object) -> str:
    """JSON with two spaces, as the commands print it."""
    return json.dumps(value, indent=2, ensure_ascii=False)
