"""Random strings, numbers and words."""

from __future__ import annotations

import secrets
import string
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from provisor.cli.exits import CommandError
from provisor.cli.inspection.fingerprint import EMOJI

_SIGNS: Final[Mapping[str, Sequence[str]]] = {
    "ascii": string.ascii_letters + string.digits + string.punctuation,
    "alphanumeric": string.ascii_letters + string.digits,
    "alphabet": string.ascii_letters,
    "hex": "0123456789abcdef",
    "dec": string.digits,
    "lower": string.ascii_lowercase,
    "upper": string.ascii_uppercase,
    "emoji": EMOJI,
}
RAW: Final = "raw"
DICE: Final = ("die", "dice")
FORMATS: Final = (*_SIGNS, RAW, "die", "prime", "uuid")

DEFAULT_LENGTH: Final = 32
DEFAULT_WORDS: Final = 6
_SIDES = 6
_MOST_PRIME_BITS = 16_384


def random_text(form: str, length: int | None) -> str:
    """In one of `FORMATS`, in lower case; `length` None is the default of the form. Raises `CommandError`."""
    if form in _SIGNS:
        return "".join(secrets.choice(_SIGNS[form]) for _ in range(length or DEFAULT_LENGTH))
    if form in DICE:
        return str(1 + secrets.randbelow(length or _SIDES))
    if form == "uuid":
        return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))
    return str(_random_prime(length or DEFAULT_LENGTH))


def _random_prime(bits: int) -> int:
    from Crypto.Util.number import getPrime

    if bits < 2:
        raise CommandError("crypto/rand: prime size must be at least 2-bit")
    if bits > _MOST_PRIME_BITS:
        raise CommandError(f"a prime of {bits} bits takes too long; at most {_MOST_PRIME_BITS}")
    return getPrime(bits, randfunc=secrets.token_bytes)


def random_words(dictionary: Sequence[str], count: int | None) -> str:
    """Joined with dashes."""
    return "-".join(secrets.choice(dictionary) for _ in range(count or DEFAULT_WORDS))
