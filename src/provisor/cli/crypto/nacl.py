"""What the commands of `crypto nacl` share: keys that are octets in a file, nonces, base64 in and out."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from provisor.cli import files, output
from provisor.cli.crypto.encoding import decode_base64, encode_base64
from provisor.cli.crypto.message import read_message
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, switch

KEY_OCTETS: Final = 32
READING: Final = "error reading input"
RAW_OUT: Final = switch("raw", help="print octets as they are instead of base64")
RAW_IN: Final = switch("raw", help="the input is octets as they are, not base64")

_NONCE_OCTETS = 24
_BASE64 = "base64:"


def read_key(path: str, what: str, size: int = KEY_OCTETS) -> bytes:
    """The content of a file. Raises `CommandError`, also for another size."""
    content = files.read_file(path)
    if len(content) != size:
        raise CommandError(f"invalid {what}: key size is not {size} bytes")
    return content


def parse_nonce(text: str) -> bytes:
    """24 octets, from the text itself or behind `base64:`; a shorter one gets zeros at its end."""
    octets = text.encode(errors="surrogateescape")
    if text.startswith(_BASE64):
        try:
            octets = decode_base64(octets[len(_BASE64) :])
        except ValueError as error:
            raise CommandError(f"error decoding base64 nonce: {error}") from error
    if len(octets) > _NONCE_OCTETS:
        raise CommandError(f"nonce cannot be longer than {_NONCE_OCTETS} bytes")
    return octets.ljust(_NONCE_OCTETS, b"\0")


def read_encoded(call: Call, question: str) -> bytes:
    """What `write` wrote, from stdin. Raises `CommandError`."""
    content = read_message(question, doing=READING)
    if call.switch("raw"):
        return content
    try:
        return decode_base64(content, url=True, padded=False)
    except ValueError as error:
        raise CommandError(f"error decoding base64 input: {error}") from error


def write(call: Call, content: bytes) -> None:
    """On stdout: base64 on a line, or with `--raw` the octets alone."""
    if call.switch("raw"):
        output.data_bytes(content)
    else:
        output.data(encode_base64(content, url=True, padded=False))


@contextmanager
def refusal(text: str) -> Iterator[None]:
    """What the library refuses is a `CommandError` with this text."""
    from nacl.exceptions import CryptoError

    try:
        yield
    except (CryptoError, ValueError, TypeError) as error:
        raise CommandError(text) from error
