"""`crypto jwk`, `jwt`, `jws`, `jwe` and `jose`, by the real `step` and by Provisor."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.two_programs import Bench, lines

pytestmark = pytest.mark.peer

LEFT = "step leaves the public key of a pair whose private key it could not write"
MAKES = "step makes the file that it was asked to read"
ASKS = "step asks for a password that it was given"
DIFFERENT: Mapping[str, str] = {
    "step crypto jwk create a b": LEFT,
    "step crypto jwk create a b --password-file empty": LEFT,
    "step crypto jwk create a b --from-pem e.pem --password-file pw": ASKS,
    "step crypto jwk create a b --from-pem r.pem --use enc --no-password --insecure": "step finds no algorithm for it",
    "step crypto jwk keyset list none": MAKES,
    "step crypto jwk keyset find none --kid x": MAKES,
    "step crypto jwk keyset remove none --kid x": MAKES,
    "step crypto jwt sign --key p.priv --iss me --aud a --aud b --sub him --exp NOW --header alg=none --header kid=z | "
    "step crypto jwt inspect --insecure": "step writes another alg into the header than the one it signs with",
    "echo -n hi | step crypto jwe encrypt --key oe.priv | step crypto jwe decrypt --key oe.priv": (
        "step knows no default for a symmetric key"
    ),
    "echo -n hi | step crypto jwe encrypt --key oe.priv --alg A256GCMKW | other crypto jwe decrypt --key oe.priv": (
        "step cannot encrypt with a symmetric key at all"
    ),
    "echo -n hi | step crypto jwe encrypt --key enc.pub --alg ECDH-ES --enc A128CBC-HS256 --typ t --cty c | "
    "step crypto jose format | cut -d. -f1 | tr _- /+ | base64 -d 2>/dev/null | "
    "jq -c 'keys_unsorted,.alg,.enc,.typ,.cty'": "another order of the members",
    "step crypto jwk create a b --use enc --password-file pw && echo -n hi | other crypto jwe encrypt --key a | "
    "step crypto jwe decrypt --key b --password-file pw": ASKS,
}
"""What Provisor does otherwise, and why."""
LINES = lines("command_lines_jose.txt")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("jose"))


@pytest.mark.parametrize("line", [line for line in LINES if line not in DIFFERENT])
def test_the_same_line_does_the_same(bench: Bench, line: str) -> None:
    assert bench.run(line, 1).seen() == bench.run(line, 0).seen()


@pytest.mark.parametrize("line", DIFFERENT)
def test_what_differs_on_purpose_still_differs(bench: Bench, line: str) -> None:
    assert line in LINES
    assert bench.run(line, 1).seen() != bench.run(line, 0).seen()
