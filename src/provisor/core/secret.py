"""A value that is used but never shown: passwords, webhook secrets, key material."""

from __future__ import annotations

from hmac import compare_digest
from typing import NoReturn, final


@final
class Secret:
    """Bytes that no log line, traceback or `repr` can print.

    Text is kept as its UTF-8 octets. An empty secret is false, so that `if password:` asks
    whether there is one. Comparison takes the same time wherever two secrets differ.
    """

    __slots__ = ("_value",)

    _value: bytes

    def __init__(self, value: bytes | str) -> None:
        octets = value.encode() if isinstance(value, str) else bytes(value)
        object.__setattr__(self, "_value", octets)

    def reveal(self) -> bytes:
        """The octets themselves. Each call is a place to review."""
        return self._value

    def __bool__(self) -> bool:
        return bool(self._value)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Secret):
            return NotImplemented
        return compare_digest(self._value, other._value)

    def __hash__(self) -> int:
        return hash(self._value)

    def __repr__(self) -> str:
        return "Secret(***)"

    def __setattr__(self, name: str, value: object) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __delattr__(self, name: str) -> NoReturn:
        raise AttributeError("a secret does not change")

    def __reduce__(self) -> NoReturn:
        raise TypeError("a secret is not pickled")

    def __copy__(self) -> Secret:
        return self

    def __deepcopy__(self, memo: object) -> Secret:
        return self


Password = Secret | bytes
"""What a function that needs a password takes."""


def password_bytes(password: Password | None) -> bytes:
    """The octets of a password, empty when there is none."""
    if password is None:
        return b""
    return password.reveal() if isinstance(password, Secret) else password
