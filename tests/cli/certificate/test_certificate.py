"""Recorded inspections of issued certificates, and live comparisons with the real `step`."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from support.certificate_shapes import write_shapes
from support.command_line import Desk
from support.peers import require_peer

RECORDED = Path(__file__).parent / "recorded"
NAMES = sorted(path.stem for path in RECORDED.glob("*.pem"))


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("name", NAMES)
def test_the_long_form_is_the_recorded_one(desk: Desk, name: str) -> None:
    ended = desk.run(["certificate", "inspect", str(RECORDED / f"{name}.pem")])
    assert ended.stdout == (RECORDED / f"{name}.inspect.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_short_form_is_the_recorded_one(desk: Desk, name: str) -> None:
    ended = desk.run(["certificate", "inspect", "--short", str(RECORDED / f"{name}.pem")])
    assert ended.stdout == (RECORDED / f"{name}.short.txt").read_text()


@pytest.mark.parametrize("name", NAMES)
def test_the_json_form_has_the_recorded_members_in_their_order(desk: Desk, name: str) -> None:
    ended = desk.run(["certificate", "inspect", "--format", "json", str(RECORDED / f"{name}.pem")])
    recorded = json.loads((RECORDED / f"{name}.inspect.json").read_text())
    assert json.dumps(ordered(json.loads(ended.stdout))) == json.dumps(ordered(recorded))


def ordered(members: dict[str, Any]) -> dict[str, Any]:
    """step: prints the names in another order every time."""
    return members | ({"names": sorted(members["names"])} if "names" in members else {})


INSPECTED = [
    *(["inspect", file] for file in ("leaf.crt", "root.crt", "rsa.crt", "ed.crt", "p521.crt", "rsa.csr", "plain.csr")),
    *(
        ["inspect", "--short", file]
        for file in ("leaf.crt", "root.crt", "rsa.crt", "chain.crt", "rsa.csr", "empty.csr")
    ),
    ["inspect", "chain.crt", "--bundle"],
    ["inspect", "chain.crt", "--bundle", "--short"],
    ["inspect", "chain.crt", "--bundle", "--format", "pem"],
    ["inspect", "mixed.pem", "--short"],
    ["inspect", "leaf.der", "--short"],
    ["inspect", "csr.der", "--format", "pem"],
    ["inspect", "constrained.crt"],
    *(["inspect", file] for file in ("nofile", "rsa.key", "pw", "empty")),
    ["inspect", "leaf.crt", "--format", "foo"],
    ["inspect", "leaf.crt", "--short", "--format", "json"],
    ["inspect", "leaf.crt", "root.crt"],
    *(["fingerprint", "leaf.crt", "--format", form] for form in ("hex", "base64", "base64-url", "emoji", "foo")),
    *(["fingerprint", "leaf.crt", "--format", form] for form in ("base64-raw", "base64-url-raw")),
    ["fingerprint", "chain.crt", "--bundle"],
    ["fingerprint", "rsa.csr"],
    ["fingerprint", "leaf.crt", "--sha1"],
    ["fingerprint", "leaf.crt", "--sha1", "--insecure"],
    ["fingerprint", "nofile"],
]
VERIFIED = [
    ["chain.crt", "--roots", "root.crt"],
    ["chain.crt", "--roots", "root.crt", "--verbose"],
    ["leaf.crt", "--roots", "root.crt"],
    ["leaf.crt", "--roots", "inter.crt"],
    ["inter.crt", "--roots", "root.crt"],
    ["root.crt", "--roots", "root.crt"],
    ["chain.crt", "--roots", "rsa.crt"],
    ["chain.crt", "--roots", "root.crt,rsa.crt"],
    ["chain.crt", "--roots", "rsa.key"],
    ["chain.crt"],
    *(
        ["chain.crt", "--roots", "root.crt", "--host", host]
        for host in (
            *("leaf.test", "LEAF.test", "leaf.test.", "leaf.tes", "xleaf.test", "a.wild.test", "a.b.wild.test"),
            *("wild.test", ".wild.test", "10.0.0.1", "10.0.0.2", "::1", "[2001:db8::1]", "2001:db8::2"),
        )
    ),
    ["nosan.crt", "--roots", "nosan.crt", "--host", "nosan.test"],
    ["nosan.crt", "--roots", "nosan.crt", "--host", "1.2.3.4"],
    ["nofile", "--roots", "root.crt"],
    ["rsa.csr", "--roots", "root.crt"],
    ["leaf-below-leaf.crt", "--roots", "root.crt"],
    ["too-long.crt", "--roots", "root.crt"],
    [],
    ["leaf.crt", "root.crt"],
]


@pytest.mark.peer
@pytest.mark.parametrize("words", [*INSPECTED, *(["verify", *words] for words in VERIFIED)], ids=" ".join)
def test_step_says_the_same(desk: Desk, words: Sequence[str]) -> None:
    step = require_peer("step")
    write_shapes(desk.cwd)
    theirs = subprocess.run(
        [step, "certificate", *words], cwd=desk.cwd, capture_output=True, text=True, timeout=30, check=False
    )
    ours = desk.run(["certificate", *words])
    assert ours.stdout == theirs.stdout
    # candidates that failed are not told one by one
    expected = theirs.stderr.split(" (possibly because of")[0].rstrip("\n").replace("'step ", "'provisor ")
    assert ours.stderr.rstrip("\n") == expected
    assert ours.status == theirs.returncode
