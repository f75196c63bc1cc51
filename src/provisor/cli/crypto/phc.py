"""Password hashes in the PHC string format: `$scrypt$ln=15,r=8,p=1$SALT$HASH`, and bcrypt's own."""

from __future__ import annotations

import hmac
import secrets
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.kdf.argon2 import Argon2i, Argon2id
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from provisor.cli.crypto.encoding import decode_base64, encode_base64
from provisor.cli.exits import CommandError

ALGORITHMS: Final = ("scrypt", "bcrypt", "argon2i", "argon2id")

_SALT_OCTETS = 16
_HASH_OCTETS = 32
_SCRYPT: Final = {"ln": 15, "r": 8, "p": 1}
_ARGON: Final = {"argon2i": {"m": 32 * 1024, "t": 3, "p": 4}, "argon2id": {"m": 64 * 1024, "t": 1, "p": 4}}
_ARGON_VERSION = "19"
_BCRYPT_ROUNDS = 10
_BCRYPT_MOST = 72
_BCRYPT_IDS = ("2a", "2b", "2y")

MAX_KIBIBYTES: Final = 4 << 20
MAX_PASSES: Final = 1000
MAX_BCRYPT_ROUNDS: Final = 20
"""What somebody may ask for who only wants to know whether a password fits."""


def hash_secret(secret: bytes, algorithm: str) -> str:
    """With a new salt. Raises `CommandError`."""
    if algorithm == "bcrypt":
        return _bcrypt(secret)
    salt = secrets.token_bytes(_SALT_OCTETS)
    if algorithm == "scrypt":
        parameters: Mapping[str, int] = _SCRYPT
        head = "$scrypt"
    else:
        parameters = _ARGON[algorithm]
        head = f"${algorithm}$v={_ARGON_VERSION}"
    derived = _derive(secret, algorithm, parameters, salt, _HASH_OCTETS)
    shown = ",".join(f"{name}={value}" for name, value in parameters.items())
    return f"{head}${shown}${encode_base64(salt, padded=False)}${encode_base64(derived, padded=False)}"


def _bcrypt(secret: bytes) -> str:
    import bcrypt

    if len(secret) > _BCRYPT_MOST:
        raise CommandError(f"error deriving password: bcrypt: password length exceeds {_BCRYPT_MOST} bytes")
    return bcrypt.hashpw(secret, bcrypt.gensalt(_BCRYPT_ROUNDS, b"2a")).decode()


def is_hash_of(text: str, secret: bytes) -> bool:
    """Whether `text` was made of `secret`. Raises `CommandError` for what is no hash."""
    head, *parts = text.split("$")
    if head or not parts:
        raise CommandError("error decoding hash: cannot decode password hash")
    name, *rest = parts
    if name in _BCRYPT_IDS:
        return _is_bcrypt_of(text, secret)
    if name not in ALGORITHMS:
        raise CommandError(f"invalid or unsupported hash method with id '{name}'")
    if name != "scrypt":
        rest = _without_version(rest)
    return _is_derived(name, rest, secret)


def _is_bcrypt_of(text: str, secret: bytes) -> bool:
    import bcrypt

    rounds = text.split("$")[2]
    if rounds.isdigit() and int(rounds) > MAX_BCRYPT_ROUNDS:
        raise CommandError(
            f"a hash with 2^{int(rounds)} rounds of bcrypt is not computed, at most 2^{MAX_BCRYPT_ROUNDS}"
        )
    try:
        return bcrypt.checkpw(secret, text.encode())
    except ValueError:
        return False


def _without_version(rest: Sequence[str]) -> list[str]:
    version = rest[0].removeprefix("v=") if rest else ""
    if rest and rest[0].startswith("v=") and version != _ARGON_VERSION:
        raise CommandError(f"unsupported argon2 version '{version}'")
    return list(rest[1:]) if rest and rest[0].startswith("v=") else []


def _is_derived(name: str, rest: Sequence[str], secret: bytes) -> bool:
    if len(rest) != 3:
        return False
    try:
        salt, wanted = (decode_base64(part.encode(), padded=False) for part in rest[1:])
    except ValueError as error:
        raise CommandError(f"error decoding hash: {error}") from error
    parameters = _parameters(rest[0])
    if parameters is None or parameters.keys() != (_SCRYPT if name == "scrypt" else _ARGON[name]).keys() or not wanted:
        return False
    _check_cost(name, parameters)
    return hmac.compare_digest(_derive(secret, name, parameters, salt, len(wanted)), wanted)


def _parameters(text: str) -> dict[str, int] | None:
    found = {}
    for part in text.split(","):
        name, _, value = part.partition("=")
        if not (value.isascii() and value.isdigit()) or len(value) > 10:
            return None
        found[name] = int(value)
    return found


def _check_cost(name: str, parameters: Mapping[str, int]) -> None:
    """Raises `CommandError` for more memory or time than a comparison is worth."""
    if name == "scrypt":
        log = parameters["ln"]
        if not 0 < log < 32:
            raise CommandError(f"invalid scrypt parameter ln={log}")
        kibibytes, passes = (parameters["r"] << log) // 8, parameters["p"]
    else:
        kibibytes, passes = parameters["m"], parameters["t"]
    if kibibytes > MAX_KIBIBYTES or passes > MAX_PASSES:
        raise CommandError(f"a hash that takes {kibibytes} KiB and {passes} passes is not computed")


def _derive(secret: bytes, name: str, parameters: Mapping[str, int], salt: bytes, length: int) -> bytes:
    try:
        if name == "scrypt":
            return Scrypt(salt, length, 1 << parameters["ln"], parameters["r"], parameters["p"]).derive(secret)
        kind = Argon2i if name == "argon2i" else Argon2id
        return kind(
            salt=salt,
            length=length,
            iterations=parameters["t"],
            lanes=parameters["p"],
            memory_cost=parameters["m"],
        ).derive(secret)
    except (ValueError, MemoryError, UnsupportedAlgorithm) as error:
        raise CommandError(f"error deriving password: {error}") from error
