"""Time-based one-time passwords (RFC 6238) and the URI that telephones read (Key URI Format)."""

from __future__ import annotations

import base64
import binascii
import hmac
import io
import math
from collections.abc import Callable
from datetime import datetime
from typing import Final
from urllib.parse import parse_qs, quote, urlsplit

import msgspec
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.twofactor.hotp import HOTP

from provisor.cli.exits import CommandError

ALGORITHMS: Final[dict[str, Callable[[], hashes.SHA1 | hashes.SHA256 | hashes.SHA512]]] = {
    "SHA1": hashes.SHA1,
    "SHA256": hashes.SHA256,
    "SHA512": hashes.SHA512,
}
LENGTHS: Final = (6, 7, 8)
PERIOD: Final = 30
LENGTH: Final = 6
SECRET_OCTETS: Final = 20

_SCHEME = "otpauth://"
_PICTURE = 200
"""Points of the picture's side, about."""


class Generator(msgspec.Struct, frozen=True):
    """`period` in seconds; `algorithm` one of `ALGORITHMS`."""

    secret: bytes
    algorithm: str = "SHA1"
    length: int = LENGTH
    period: int = PERIOD

    def passcode(self, counter: int) -> str:
        """Of the period with this number."""
        hotp = HOTP(self.secret, self.length, ALGORITHMS[self.algorithm](), enforce_key_length=False)
        return hotp.generate(counter).decode()

    def accepts(self, passcode: str, at: datetime, *, skew: int) -> bool:
        """Whether it is that of the period of `at`, or of one of `skew` periods before and after."""
        counter = math.floor(at.timestamp() / self.period)
        near = range(max(counter - skew, 0), counter + skew + 1)
        return any(hmac.compare_digest(self.passcode(each), passcode) for each in near)

    def uri(self, issuer: str, account: str) -> str:
        """`otpauth://totp/ISSUER:ACCOUNT?...`"""
        label = quote(f"{issuer}:{account}", safe="$&+,/:;=@")
        values = {
            "algorithm": self.algorithm,
            "digits": str(self.length),
            "issuer": quote(issuer, safe=""),
            "period": str(self.period),
            "secret": encode_secret(self.secret),
        }
        return f"{_SCHEME}totp/{label}?" + "&".join(f"{name}={value}" for name, value in values.items())


def encode_secret(secret: bytes) -> str:
    """Base32 without padding."""
    return base64.b32encode(secret).decode().rstrip("=")


def decode_secret(text: str) -> bytes:
    """Base32 in any case, with or without padding. Raises `CommandError`."""
    try:
        digits = text.strip().upper().rstrip("=")
        return base64.b32decode(digits + "=" * (-len(digits) % 8))
    except (binascii.Error, ValueError) as error:
        raise CommandError("error while validating TOTP: Decoding of secret as base32 failed.") from error


def parse_uri(text: str) -> dict[str, str] | None:
    """The values of an `otpauth` URI by name; None for another text."""
    if not text.startswith(_SCHEME):
        return None
    try:
        return {name: values[-1] for name, values in parse_qs(urlsplit(text).query).items()}
    except ValueError:
        return None


def picture(text: str) -> bytes:
    """A QR code as PNG."""
    import segno

    code = segno.make(text, error="m", micro=False)
    side, _ = code.symbol_size()
    out = io.BytesIO()
    code.save(out, kind="png", scale=max(1, round(_PICTURE / side)))
    return out.getvalue()
