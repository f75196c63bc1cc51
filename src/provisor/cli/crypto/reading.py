"""Keys from files of every kind: PEM, DER, JWK, JWE, OpenSSH, and what certificates and requests hold.

Which of them a command takes differs; so do the words in which it refuses the others.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    SSHCertificate,
    load_der_private_key,
    load_ssh_public_identity,
)

from provisor.cli import files, keys, prompt
from provisor.cli.certificates.reading import (
    CERTIFICATE_LABEL,
    PUBLIC_LABEL,
    REQUEST_LABELS,
    is_pem,
    parser_words,
)
from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.prompt import NoTerminal
from provisor.core.jose.jwe import decrypt_pbes2
from provisor.core.jose.jwk import JWK, parse_jwk
from provisor.core.jose.keyfile import is_jwe
from provisor.core.keys import (
    PasswordNeeded,
    PrivateKey,
    PublicKey,
    WrongPassword,
    describe_key,
    parse_public_spki,
)
from provisor.core.pem import PEMBlock, encode_pem, parse_blocks
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.request import parse_csr
from provisor.errors import BadKey, Malformed

Key = PrivateKey | PublicKey

_TRIES = 3
_CURVES = frozenset({"P-224", "P-256", "P-384", "P-521"})
_OPENSSH_LABEL = "OPENSSH PRIVATE KEY"
_NO_FORMAT = "error decoding DER; bad format"


class Source(msgspec.Struct, frozen=True):
    """The content of a file that should hold a key; `where` is its name in messages, `flag` gives its password."""

    content: bytes
    where: str
    password: Secret
    flag: str = ""

    @property
    def is_pem(self) -> bool:
        return is_pem(self.content) and bool(parse_blocks(self.content))


class Found(msgspec.Struct, frozen=True):
    """A key, and what stood around it: the block of a PEM file, or the JWK."""

    key: Key | None
    block: PEMBlock | None = None
    jwk: JWK | None = None
    opened: bytes = b""
    """The JSON of the JWK, decrypted."""


def read_tool_file(path: str) -> bytes:
    """As `files.read_file`, in the words of the commands that leave out what they did."""
    try:
        return files.read_file(path)
    except CommandError as error:
        if isinstance(error.__cause__, OSError):
            raise CommandError(f"unexpected error on {path}: : {system_text(error.__cause__)}") from error
        raise


def is_private(key: Key) -> bool:
    """The key signs."""
    return isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey)


def public_half(key: Key) -> PublicKey:
    """The key itself, if it is public already."""
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return key.public_key()
    return key


def read_any(source: Source, *, first: bool = False) -> Found:
    """A key in any form. With `first` it is that of the first PEM block. Raises `CommandError`."""
    if source.is_pem:
        return read_block(source, first=first)
    text = source.content.strip()
    if text.startswith(b"{") or is_jwe(text):
        return read_jwk(source)
    for attempt in (_from_ssh, _from_der_public, _from_der_private):
        if (key := attempt(source.content)) is not None:
            return Found(_checked(key, source.where))
    raise CommandError(_NO_FORMAT)


def read_pem_or_jwk(source: Source) -> Found:
    """A PEM block or a JWK, encrypted or not. Raises `CommandError`."""
    if source.is_pem:
        return read_block(source)
    text = source.content.strip()
    if text.startswith(b"{") or is_jwe(text):
        return read_jwk(source)
    raise CommandError(f"error reading {source.where}: unsupported format")


def read_block(source: Source, *, first: bool = False) -> Found:
    """The key in a PEM file: a key, or that of a certificate or request. Raises `CommandError`."""
    blocks = parse_blocks(source.content)
    if not blocks:
        raise CommandError(f"error decoding {source.where}: not a valid PEM encoded block")
    if len(blocks) > 1 and not first:
        raise CommandError(f"error decoding {source.where}: contains more than one PEM encoded block")
    block = blocks[0]
    try:
        return Found(_checked(_in_block(block, source), source.where), block)
    except (BadKey, Malformed) as error:
        told = error.detail.startswith(("error parsing", "error decoding", "error decrypting"))
        text = error.detail if told else f"error parsing {source.where}: {parser_words(error)}"
        raise CommandError(text) from error


def _in_block(block: PEMBlock, source: Source) -> Key:
    if block.label == CERTIFICATE_LABEL:
        return parse_public_spki(parse_certificate(block.der).spki)
    if block.label in REQUEST_LABELS:
        return parse_public_spki(parse_csr(block.der).spki)
    if block.label == PUBLIC_LABEL:
        return parse_public_spki(block.der)
    try:
        return keys.parse_key(_whole(block), source.where, source.password, flag=source.flag)
    except NoTerminal as error:
        if block.label == _OPENSSH_LABEL:
            raise NoTerminal(f"error parsing {source.where}: {error.message}") from error
        raise


def _whole(block: PEMBlock) -> bytes:
    """The block as it stood in its file, headers included."""
    if not block.headers:
        return encode_pem(block.label, block.der).encode()
    begin, _, rest = encode_pem(block.label, block.der).partition("\n")
    headers = "".join(f"{name}: {value}\n" for name, value in block.headers.items())
    return f"{begin}\n{headers}\n{rest}".encode()


def read_jwk(source: Source) -> Found:
    """A JWK in JSON, or inside a JWE. Raises `CommandError`."""
    text = source.content.strip()
    try:
        if is_jwe(text):
            text = open_jwe(text.decode(), source)
        jwk = parse_jwk(text)
    except BadKey as error:
        told = error.detail.startswith("failed to decrypt")
        raise CommandError(error.detail if told else f"error parsing {source.where}: {error.detail}") from error
    return Found(jwk.private_key or jwk.public_key, jwk=jwk, opened=text)


def open_jwe(text: str, source: Source) -> bytes:
    """What a password protects; it is asked for up to three times if it is not there."""
    if source.password:
        return decrypt_pbes2(text, source.password)
    for tries_left in reversed(range(_TRIES)):
        asked = prompt.ask_password(f"Please enter the password to decrypt {source.where}", flag=source.flag)
        try:
            return decrypt_pbes2(text, Secret(asked))
        except (WrongPassword, PasswordNeeded):
            if not tries_left:
                raise CommandError("failed to decrypt JWE: invalid password") from None
    raise AssertionError("unreachable")


def needed(found: Found, where: str) -> Key:
    """The key. Raises `CommandError` for a symmetric one, which has neither a public half nor a PEM form."""
    if found.key is None:
        raise CommandError(f"the key in {where} is symmetric: it has neither a public half nor another form")
    return found.key


def _checked(key: Key, where: str) -> Key:
    """Raises `CommandError` for a curve that nothing else here takes."""
    info = describe_key(public_half(key))
    if info.kind == "EC" and info.curve not in _CURVES:
        raise CommandError(f"error parsing {where}: x509: unknown elliptic curve")
    return key


def _loaded(load: Callable[[], object]) -> Key | None:
    try:
        key = load()
    except (ValueError, TypeError, UnsupportedAlgorithm):
        return None
    if isinstance(
        key,
        ec.EllipticCurvePrivateKey
        | rsa.RSAPrivateKey
        | ed25519.Ed25519PrivateKey
        | ec.EllipticCurvePublicKey
        | rsa.RSAPublicKey
        | ed25519.Ed25519PublicKey,
    ):
        return key
    return None


def _from_ssh(content: bytes) -> Key | None:
    """The line of an OpenSSH public key or certificate."""

    def load() -> object:
        identity = load_ssh_public_identity(content.strip())
        return identity.public_key() if isinstance(identity, SSHCertificate) else identity

    return _loaded(load)


def _from_der_public(content: bytes) -> Key | None:
    try:
        return parse_public_spki(content)
    except BadKey:
        return None


def _from_der_private(content: bytes) -> Key | None:
    return _loaded(lambda: load_der_private_key(content, None))
