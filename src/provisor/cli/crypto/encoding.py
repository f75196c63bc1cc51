"""Base64 and hex from a command line or a pipe, refused with the octet at which they go wrong.

The texts are the recorded ones: `illegal base64 data at input byte 4`, `encoding/hex: odd length hex string`.
Line ends are skipped wherever they stand; bits that are left over at the end are not looked at.
"""

from __future__ import annotations

import binascii
import re

_STRANGER = re.compile(rb"[^A-Za-z0-9+/\r\n]")
_STRANGER_URL = re.compile(rb"[^A-Za-z0-9_\-\r\n]")
_LINE_ENDS = b"\r\n"
_NOT_HEX = re.compile(r"[^0-9A-Fa-f]")


def encode_base64(data: bytes, *, url: bool = False, padded: bool = True) -> str:
    """RFC 4648 section 4, or with `url` section 5; without line ends."""
    text = binascii.b2a_base64(data, newline=False)
    if url:
        text = text.translate(bytes.maketrans(b"+/", b"-_"))
    return (text if padded else text.rstrip(b"=")).decode()


def decode_base64(text: bytes, *, url: bool = False, padded: bool = True) -> bytes:
    """The inverse. Raises `ValueError`, also for padding where there should be none."""
    stranger = (_STRANGER_URL if url else _STRANGER).search(text)
    end = stranger.start() if stranger else len(text)
    digits = text[:end].translate(None, _LINE_ENDS)
    left = len(digits) % 4
    if stranger is None:
        if padded and left:
            raise _illegal(end - left)
        if left == 1:
            raise _illegal(end - 1)
    elif not padded or text[end : end + 1] != b"=" or left < 2:
        raise _illegal(end)
    else:
        _check_padding(text, end, 4 - left)
    if url:
        digits = digits.translate(bytes.maketrans(b"-_", b"+/"))
    return binascii.a2b_base64(digits + b"=" * (-left % 4))


def _check_padding(text: bytes, at: int, count: int) -> None:
    """From `at` on there are `count` equals signs and nothing else but line ends."""
    for _ in range(count):
        at = _skip(text, at)
        if text[at : at + 1] != b"=":
            raise _illegal(at)
        at += 1
    at = _skip(text, at)
    if at < len(text):
        raise _illegal(at)


def _skip(text: bytes, at: int) -> int:
    while at < len(text) and text[at] in _LINE_ENDS:
        at += 1
    return at


def _illegal(at: int) -> ValueError:
    return ValueError(f"illegal base64 data at input byte {at}")


def decode_hex(text: str) -> bytes:
    """Raises `ValueError`."""
    if stranger := _NOT_HEX.search(text):
        raise ValueError(f"encoding/hex: invalid byte: U+{ord(stranger[0]):04X} '{stranger[0]}'")
    if len(text) % 2:
        raise ValueError("encoding/hex: odd length hex string")
    return bytes.fromhex(text)
