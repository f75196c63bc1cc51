"""The other `crypto` commands and `base64`, by the real `step` and by Provisor."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.two_programs import Bench, lines

pytestmark = pytest.mark.peer

LEFT = "step leaves the public key of a pair whose private key it could not write"
LOST = "step loses the argument behind the flag"
READABLE = "step makes a private key that others can read"
DIFFERENT: Mapping[str, str] = {
    "step crypto keypair a b": LEFT,
    "step crypto key format k.csr --ssh": "step cannot take the key of a request",
    "step crypto key sign text --key e.pem --password-file pw2": "step asks again",
    "step crypto otp generate --issuer i --account a --qr q.png; file q.png | cut -c1-14": (
        "step makes a picture of the secret that others can read"
    ),
    "step crypto change-pass e.pem --password-file pw --no-password --insecure --out o": READABLE,
    "step crypto change-pass skp --password-file pw --new-password-file pw2 --out o": READABLE,
    "step crypto change-pass p8.pem --password-file pw --new-password-file pw2 --out o": READABLE,
    "step crypto kdf compare $(cat bcrypt.h) --insecure pass": LOST,
    "step crypto kdf compare $(cat a2id.h) --insecure pass": LOST,
    "step crypto kdf compare $(cat a2i.h) --insecure pass": LOST,
    "step crypto kdf compare $(cat a2i.h) --insecure wrong": LOST,
    "step crypto kdf compare $(cat scrypt.h) --insecure wrong": LOST,
}
"""What Provisor does otherwise, and why."""
LINES = lines("command_lines_tools.txt")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("tools"))


@pytest.mark.parametrize("line", [line for line in LINES if line not in DIFFERENT])
def test_the_same_line_does_the_same(bench: Bench, line: str) -> None:
    assert bench.run(line, 1).seen() == bench.run(line, 0).seen()


@pytest.mark.parametrize("line", DIFFERENT)
def test_what_differs_on_purpose_still_differs(bench: Bench, line: str) -> None:
    assert line in LINES
    assert bench.run(line, 1).seen() != bench.run(line, 0).seen()
