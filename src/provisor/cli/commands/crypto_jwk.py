"""`crypto jwk create`, `public`, `thumbprint` and `keyset`: JSON Web Keys (RFC 7517)."""

from __future__ import annotations

import fcntl
import json
import os
import secrets
import string
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import msgspec

from provisor.cli import exits, files, output
from provisor.cli.certificates import newkeys
from provisor.cli.commands import common
from provisor.cli.crypto import reading, saving, writing
from provisor.cli.crypto.reading import Source
from provisor.cli.exits import CommandError
from provisor.cli.files import Output, system_text
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.jose import choosing, encryption, signing
from provisor.cli.jose.choosing import pretty
from provisor.client.csr import CURVES, MIN_RSA_BITS, generate_key
from provisor.core.jose.encoding import NotJOSE, parse_members
from provisor.core.jose.jwk import JWK, encode_jwk, jwk_members, make_jwk, parse_jwk, public_jwk
from provisor.core.jose.keyfile import is_jwe
from provisor.core.keys import PrivateKey, PublicKey, describe_key
from provisor.core.secret import Secret
from provisor.errors import BadKey

_SECRET_OCTETS = 32
_MOST_RSA_BITS = 16_384
_LEAST_SECRET_OCTETS = 16
_MOST_SECRET_OCTETS = 65_536
_KINDS = ("EC", "OKP", "RSA", "oct")


@command(
    "crypto jwk create",
    usage="<public-jwk-file> <private-jwk-file>",
    flags=(
        text("kty", "type", metavar="type", help="kind of key: EC, OKP, RSA or oct (default: EC)"),
        common.SIZE,
        common.CURVE,
        text("alg", "algorithm", metavar="algorithm", help="what the key is used with"),
        text("use", metavar="use", default="sig", help="what it is for: sig or enc"),
        text("kid", metavar="id", help="id of the key (default: its thumbprint)"),
        text("from-pem", metavar="file", help="take the key of this PEM file instead of a new one"),
        text("password-file", metavar="file", help="file with the password of the private key"),
        switch("no-password", help="write the private key without a password; needs --insecure"),
        common.FORCE,
        switch("subtle", help="allow what is easily used wrongly", hidden=True),
        switch("insecure", help="allow a key without a password, or a short one"),
    ),
    least=2,
    most=2,
)
def create(call: Call) -> None:
    """make a JSON Web Key

    The private one is encrypted under a password, which is asked for if --password-file does not hold it.
    """
    public_file, private_file = call.arguments
    if public_file == private_file:
        raise CommandError(
            f"positional arguments <public-jwk-file> and <private-jwk-file> cannot be equal in "
            f"'{call.command} <public-jwk-file> <private-jwk-file>'"
        )
    if call.switch("no-password") and call.text("password-file"):
        raise CommandError("flag '--no-password' is incompatible with 'password-file'")
    newkeys.check_no_password(call)
    jwk = _from_pem(call) if call.text("from-pem") else _new(call)
    public = Output(public_file, writing.pretty(_public_members(jwk)))
    outputs: tuple[Output, ...] = (public,)
    if jwk.private_key is not None or jwk.secret is not None:
        outputs = (public, Output(private_file, _private_content(call, jwk)))
    if len(outputs) == 2:
        saving.save_pair(*outputs, force=call.switch("force"))
    else:
        saving.save(public_file, public.content, force=call.switch("force"))
    output.note(f"Your public key has been saved in {public_file}.")
    if len(outputs) == 2:
        output.note(f"Your private key has been saved in {private_file}.")
    else:
        output.note("Only the public JWK was generated.\nCannot retrieve a private key from a public one.")


def _private_content(call: Call, jwk: JWK) -> bytes:
    if call.switch("no-password"):
        return writing.pretty(jwk_members(jwk, private=True))
    path = call.text("password-file")
    password = Secret(files.read_password(path)) if path else Secret(b"")
    password = password or newkeys.ask_new_password("Please enter the password to encrypt the private JWK")
    return writing.flattened(encode_jwk(jwk, private=True), password, indent=2)


def _public_members(jwk: JWK) -> Mapping[str, str]:
    """step-ca: the public form of a symmetric key is the key."""
    return jwk_members(jwk, private=jwk.secret is not None)


def _new(call: Call) -> JWK:
    kind, use, alg = call.text("kty") or "EC", call.text("use"), call.text("alg")
    if kind not in _KINDS:
        raise exits.invalid_value(kind, "kty", "EC, RSA, OKP, or oct")
    if kind in ("EC", "OKP") and call.is_set("size"):
        raise CommandError(f"flag '--size' is incompatible with '--kty {kind}'")
    if kind == "oct":
        signing.check_algorithm(alg, kind, "", use)
        return _new_secret(call, alg, use)
    if kind == "RSA":
        return _complete(call, _new_rsa(call))
    curve = call.text("crv") or (signing.CURVE_OF.get(alg, CURVES[0]) if kind == "EC" else "Ed25519")
    if curve not in (CURVES if kind == "EC" else ("Ed25519",)):
        raise CommandError(f"invalid value for argument crv (crv: '{curve}')")
    if kind == "OKP" and use == "enc":
        raise CommandError("invalid algorithm: Ed25519 cannot be used for encryption")
    signing.check_algorithm(alg, kind, curve, use)
    return _complete(call, generate_key(kind, curve=curve))


def _new_rsa(call: Call) -> PrivateKey:
    if call.text("crv"):
        raise CommandError("flag '--crv' is incompatible with '--kty RSA'")
    bits = _size(call, MIN_RSA_BITS)
    if bits < MIN_RSA_BITS and not call.switch("insecure"):
        raise CommandError(f"flag '--size' requires at least {MIN_RSA_BITS} unless '--insecure' flag is provided")
    if bits < MIN_RSA_BITS:
        raise CommandError(f"the size of the RSA key should be at least {MIN_RSA_BITS} bits")
    if bits > _MOST_RSA_BITS:
        raise CommandError(f"flag '--size' allows at most {_MOST_RSA_BITS}")
    signing.check_algorithm(call.text("alg"), "RSA", "", call.text("use"))
    return generate_key("RSA", bits=bits)


def _size(call: Call, default: int) -> int:
    if not call.is_set("size"):
        return default
    size = call.number("size")
    if size <= 0:
        # step-ca: zero is refused in these words
        raise CommandError("flag '--size' must be greater than or equal to 0")
    return size


def _complete(call: Call, key: PrivateKey | PublicKey) -> JWK:
    use = call.text("use")
    jwk = make_jwk(key, kid=call.text("kid") or None, use=use)
    alg = call.text("alg") or (encryption.DEFAULTS.get(jwk.kty, "") if use == "enc" else jwk.alg)
    if not alg:
        raise CommandError("invalid algorithm: Ed25519 cannot be used for encryption")
    return msgspec.structs.replace(jwk, alg=alg)


def _new_secret(call: Call, alg: str, use: str) -> JWK:
    if call.text("crv"):
        raise CommandError("flag '--crv' is incompatible with '--kty oct'")
    size = _size(call, _SECRET_OCTETS)
    if size < _LEAST_SECRET_OCTETS and not call.switch("insecure"):
        raise CommandError(
            f"flag '--size' requires at least {_LEAST_SECRET_OCTETS} unless '--insecure' flag is provided"
        )
    if size > _MOST_SECRET_OCTETS:
        raise CommandError(f"flag '--size' allows at most {_MOST_SECRET_OCTETS}")
    signs = string.ascii_letters + string.digits
    octets = "".join(secrets.choice(signs) for _ in range(size)).encode()
    alg = alg or ("HS256" if use == "sig" else encryption.DEFAULTS["oct"])
    return JWK(kty="oct", secret=Secret(octets), kid=call.text("kid"), alg=alg, use=use)


def _from_pem(call: Call) -> JWK:
    path = call.text("from-pem")
    source = Source(files.read_pem_file(path), path, choosing.password_of(call), "password-file")
    key = reading.needed(reading.read_block(source), path)
    info = describe_key(reading.public_half(key))
    kind = info.kind if info.kind in ("EC", "RSA") else "OKP"
    signing.check_algorithm(call.text("alg"), kind, info.curve if kind == "EC" else "", call.text("use"))
    return _complete(call, key)


@command("crypto jwk public", usage="", flags=(), most=None)
def public(call: Call) -> None:
    """print the public half of a JSON Web Key from stdin"""
    jwk = _from_stdin()
    output.data(pretty(_public_members(jwk if jwk.secret is not None else public_jwk(jwk))))


@command("crypto jwk thumbprint", usage="", flags=(), most=None)
def thumbprint(call: Call) -> None:
    """print the thumbprint (RFC 7638) of a JSON Web Key from stdin"""
    jwk = _from_stdin()
    if jwk.secret is not None:
        # step-ca: in these words; the thumbprint of a secret could be used to guess it
        raise CommandError("error generating JWK thumbprint: go-jose/go-jose: unknown key type '[]uint8'")
    output.data(jwk.thumbprint())


def _from_stdin() -> JWK:
    return _opened_from_stdin()[0]


def _opened_from_stdin() -> tuple[JWK, Mapping[str, object]]:
    """A key, and all members it is written with. Raises `CommandError`."""
    content = sys.stdin.buffer.read().strip()
    try:
        if is_jwe(content):
            content = reading.open_jwe(content.decode(), Source(content, "the key", Secret(b"")))
        return parse_jwk(content), parse_members(content)
    except (BadKey, NotJOSE) as error:
        if isinstance(error, BadKey) and error.detail.startswith("failed to decrypt"):
            raise CommandError(error.detail) from error
        raise CommandError("error reading JWK: unsupported format") from error


_KID = text("kid", metavar="id", help="id of the key")


@command("crypto jwk keyset add", usage="<jwks-file>", flags=(), least=1, most=1)
def keyset_add(call: Call) -> None:
    """add the JSON Web Key from stdin to a key set

    The file is made if it is not there.
    """
    _, members = _opened_from_stdin()
    with _editing(call.arguments[0], create=True) as listed:
        listed.append(dict(members))


@command("crypto jwk keyset remove", usage="<jwks-file>", flags=(_KID,), least=1, most=1)
def keyset_remove(call: Call) -> None:
    """remove the key of an id from a key set"""
    kid = call.text("kid")
    with _editing(call.arguments[0]) as listed:
        listed[:] = [each for each in listed if each.get("kid") != kid]


@command(
    "crypto jwk keyset list", usage="<jwks-file>", flags=(switch("json", help="print the whole keys"),), least=1, most=1
)
def keyset_list(call: Call) -> None:
    """print the ids of the keys of a key set"""
    listed = choosing.parse_set(files.read_file(call.arguments[0]), call.arguments[0])
    if call.switch("json"):
        output.data(pretty(listed))
        return
    for each in listed:
        output.data(str(each.get("kid", "")))


@command("crypto jwk keyset find", usage="<jwks-file>", flags=(_KID,), least=1, most=1)
def keyset_find(call: Call) -> None:
    """print the key of an id in a key set"""
    kid = call.text("kid")
    for each in choosing.parse_set(files.read_file(call.arguments[0]), call.arguments[0]):
        if each.get("kid") == kid:
            output.data(pretty(each))


@contextmanager
def _editing(path: str, *, create: bool = False) -> Iterator[list[dict[str, object]]]:
    """The keys of a set; what is left of them at the end is written. Nobody else edits the file meanwhile."""
    try:
        handle = os.open(path, os.O_RDWR | (os.O_CREAT if create else 0), 0o600)
    except OSError as error:
        raise CommandError(f"open {path} failed: {system_text(error)}") from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        content = Path(path).read_bytes()
        listed = [dict(each) for each in choosing.parse_set(content, path)] if content.strip() else []
        before = json.dumps(listed)
        yield listed
        if json.dumps(listed) != before:
            files.write_file(path, pretty({"keys": listed}).encode(), 0o600, force=True)
    finally:
        os.close(handle)
