"""Recorded uses of `step ca init`, run with Provisor's program and compared: texts, statuses, files, modes, members."""

from __future__ import annotations

import json
import os
import re
import shlex
import stat
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provisor.core.keys import PrivateKey, describe_key, spki_der
from provisor.core.pem import encode_pem, encode_private_key
from provisor.core.x509.algorithms import default_algorithm
from provisor.core.x509.build import build_ca
from provisor.core.x509.draft import assemble, encode_tbs
from provisor.kms.soft import SoftSigner
from provisor.pki import LIFETIME
from support.command_line import Desk, umask
from support.terminal import plain, run_on_terminal

HERE = Path(__file__).parent
RECORDINGS = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "recorded").glob("*.json"))}
ON_TERMINAL = [name for name, recorded in RECORDINGS.items() if "terminal" in recorded]
WITHOUT = [name for name in RECORDINGS if name not in ON_TERMINAL]
STANDALONE = RECORDINGS["standalone"]["command"]

BEFORE = {
    "standalone-again-no-terminal": [STANDALONE],
    "standalone-again-terminal-no": [STANDALONE],
    "context-after-plain": [STANDALONE],
    "context-second": [f"{STANDALONE} --context alpha"],
    "context-third-unnamed": [f"{STANDALONE} --context alpha", RECORDINGS["context-second"]["command"]],
}
"""What was run first."""


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    desk.write("empty", "")
    p256 = ec.generate_private_key(ec.SECP256R1())
    write_root(desk, "old", p256, "")
    write_root(desk, "oldrsa", rsa.generate_private_key(65537, 2048), "provisionerpassword")
    write_root(desk, "olded", ed25519.Ed25519PrivateKey.generate(), "provisionerpassword")
    write_root(desk, "leaf", ec.generate_private_key(ec.SECP256R1()), "")
    return desk


def write_root(desk: Desk, name: str, key: PrivateKey, password: str) -> None:
    """A self-signed root in NAME.crt and its key in NAME.key."""
    algorithm = default_algorithm(describe_key(key.public_key()))
    now = datetime.now(UTC).replace(microsecond=0)
    draft = build_ca(
        organization="",
        common_name="Old Root",
        path_length=1,
        spki=spki_der(key.public_key()),
        serial=7,
        not_before=now,
        not_after=now + LIFETIME,
        signature_algorithm=algorithm,
    )
    tbs = encode_tbs(draft)
    der = assemble(tbs, algorithm, SoftSigner(key).sign(tbs, algorithm))
    desk.write(f"{name}.crt", encode_pem("CERTIFICATE", der))
    desk.write(f"{name}.key", encode_private_key(key, password=password.encode(), random=os.urandom, iterations=1000))


def words_of(command: str) -> list[str]:
    """The words of the last command of a recorded line, without the program's name."""
    return shlex.split(command.rsplit(";", 1)[-1])[1:]


def normal(text: str) -> str:
    """Without what differs on every run, or on purpose."""
    text = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", plain(text))
    # ours alone: who serves the folder afterwards should know
    text = text.replace(
        "If you serve this folder by step-ca after Provisor: it renews what is revoked only here.\n", ""
    )
    text = re.sub(r"fingerprint: [0-9a-f]{64}", "fingerprint: SHA256", text)
    # the advice in the middle is for a reader of other documentation
    text = re.sub(r"(configured to connect to an authority\.\n)(?:.+\n)+", r"\1", text)
    text = re.sub(r"\n{2,}", "\n\n", text)
    return text.replace("'step help", "'provisor help").strip()


@pytest.mark.parametrize("name", WITHOUT)
def test_init_prints_what_step_prints(desk: Desk, name: str) -> None:
    recorded = RECORDINGS[name]
    for command in BEFORE.get(name, []):
        assert desk.run(words_of(command)).status == 0
    ended = desk.run(words_of(recorded["command"]))
    assert normal(ended.stderr.replace(str(desk.step_path), "$STEPPATH")) == normal(recorded["stderr"])
    assert (ended.status, ended.stdout) == (recorded["exit"], recorded["stdout"])


@pytest.mark.parametrize("name", [name for name in WITHOUT if RECORDINGS[name]["exit"] == 0])
def test_init_writes_what_step_writes(desk: Desk, name: str) -> None:
    for command in BEFORE.get(name, []):
        desk.run(words_of(command))
    before = desk.tree()
    with umask(0o022):
        desk.run(words_of(RECORDINGS[name]["command"]))
    after = desk.tree()
    written = {path: seen(desk, path) for path, content in after.items() if before.get(path, b"") != content}
    files = [file for file in RECORDINGS[name]["files"] if file["path"].startswith("$STEPPATH/")]
    expected = {file["path"].removeprefix("$STEPPATH/"): told(file) for file in files}
    for path, file in expected.items():
        if "content" not in file:  # not every content was kept
            written.get(path, {}).pop("content", None)
    assert written == expected


def seen(desk: Desk, path: str) -> dict[str, Any]:
    place = desk.step_path / path
    found: dict[str, Any] = {"mode": oct(stat.S_IMODE(place.stat().st_mode))}
    if place.is_file():
        content = place.read_text()
        found |= {"first": masked(content.splitlines()[0]), "newline": content.endswith("\n")}
        if path.endswith(".json"):
            found["content"] = masked(content.replace(str(desk.step_path), "$STEPPATH"))
    return found


def told(file: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"mode": file["mode"]}
    if not file.get("dir"):
        found |= {"first": masked(file["first"]), "newline": file["endsWithNewline"]}
        if file["path"].endswith(".json"):
            found |= {"content": masked(file["content"])} if "content" in file else {}
    return found


def masked(text: str) -> str:
    """Keys and fingerprints are new every time."""
    return re.sub(r'"(kid|x|y|encryptedKey|fingerprint)": "[^"]+"', r'"\1": "..."', text)


@pytest.mark.parametrize("name", [name for name in WITHOUT if RECORDINGS[name]["exit"] != 0])
def test_a_refused_init_changes_nothing(desk: Desk, name: str) -> None:
    # step leaves four empty folders when it stops at the password
    for command in BEFORE.get(name, []):
        desk.run(words_of(command))
    before = desk.tree()
    desk.run(words_of(RECORDINGS[name]["command"]))
    assert desk.tree() == before


@pytest.mark.parametrize("name", ON_TERMINAL)
def test_init_asks_what_step_asks(desk: Desk, name: str) -> None:
    recorded = RECORDINGS[name]
    for command in BEFORE.get(name, []):
        desk.run(words_of(command))
    source = HERE.parents[2] / "src"
    env = {**os.environ, "PYTHONPATH": str(source)}
    words = [sys.executable, "-c", "from provisor.cli.main import main; main()", *words_of(recorded["command"])]
    status, screen = run_on_terminal(words, [tuple(pair) for pair in recorded["terminal"]], env=env, cwd=str(desk.cwd))
    assert status == recorded["exit"], screen
    shown = plain(screen).replace(str(desk.step_path), "$STEPPATH")
    for line in recorded["screen"].splitlines():
        if line.strip().startswith("✔ ") and "generate one" not in line and "Deployment" not in line:
            assert re.sub(r": [0-9a-f]{64}$|Password: \w{32}$", "", line.strip()) in shown, shown
