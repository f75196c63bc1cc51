"""What needs no CA, and what is said when there is none, by the real `step` and by Provisor."""

from __future__ import annotations

from collections.abc import Mapping

import pytest

from support.two_programs import Bench, lines

pytestmark = pytest.mark.peer

DIFFERENT: Mapping[str, str] = {
    "step ca certificate a b b": "step finds out when the certificate is there",
    "step ca certificate a b c --ca-url https://localhost:1 --root leaf.crt --token $(cat t.jwt)": (
        "tokens that look like those of a kind which is not built are refused by name"
    ),
    "step ca renew leaf.crt leaf.key --ca-url https://localhost:1 --root leaf.crt": "asks before, not after",
    "step ca renew leaf.crt k.pem --ca-url https://localhost:1 --root leaf.crt": "looks at the key first",
    "step ca rekey leaf.crt leaf.key --ca-url https://localhost:1 --root leaf.crt": "asks before, not after",
    "step certificate verify leaf.crt --roots none": "step verifies with an empty pool",
}
"""What Provisor does otherwise, and why."""
LINES = lines("command_lines_local.txt")


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("local"))


@pytest.mark.parametrize("line", [line for line in LINES if line not in DIFFERENT])
def test_the_same_line_does_the_same(bench: Bench, line: str) -> None:
    assert bench.run(line, 1).seen() == bench.run(line, 0).seen()


@pytest.mark.parametrize("line", DIFFERENT)
def test_what_differs_on_purpose_still_differs(bench: Bench, line: str) -> None:
    assert line in LINES
    assert bench.run(line, 1).seen() != bench.run(line, 0).seen()
