"""One-time passwords: the vectors of RFC 6238 appendix B, and the window around now."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from provisor.cli.crypto.one_time import Generator, decode_secret, encode_secret
from provisor.cli.exits import CommandError

SECRET = b"12345678901234567890"
SECRETS = {"SHA1": SECRET, "SHA256": (SECRET * 2)[:32], "SHA512": (SECRET * 4)[:64]}
VECTORS = {
    59: ("94287082", "46119246", "90693936"),
    1111111109: ("07081804", "68084774", "25091201"),
    1111111111: ("14050471", "67062674", "99943326"),
    1234567890: ("89005924", "91819424", "93441116"),
    2000000000: ("69279037", "90698825", "38618901"),
    20000000000: ("65353130", "77737706", "47863826"),
}


@pytest.mark.parametrize(("at", "expected"), VECTORS.items())
def test_the_vectors_of_the_rfc(at: int, expected: tuple[str, ...]) -> None:
    for algorithm, passcode in zip(SECRETS, expected, strict=True):
        assert Generator(SECRETS[algorithm], algorithm, 8).passcode(at // 30) == passcode


@pytest.mark.parametrize(("skew", "off", "accepted"), [(0, 0, True), (0, 30, False), (1, 30, True), (1, 60, False)])
def test_the_window_is_as_wide_as_the_skew(skew: int, off: int, accepted: bool) -> None:
    maker = Generator(SECRET)
    now = 1_111_111_109
    for when in (now - off, now + off):
        passcode = maker.passcode(when // 30)
        assert maker.accepts(passcode, datetime.fromtimestamp(now, UTC), skew=skew) is accepted


def test_secrets_are_base32_with_or_without_padding() -> None:
    for size in range(1, 21):
        octets = SECRET[:size]
        text = encode_secret(octets)
        assert decode_secret(text) == decode_secret(text.lower() + "=") == octets
    with pytest.raises(CommandError):
        decode_secret("0189")
