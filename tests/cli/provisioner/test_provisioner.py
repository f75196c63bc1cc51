"""Recorded uses of `step ca provisioner add|remove` on ca.json, run with Provisor's program and compared."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import JWK, encode_jwk, jwk_members, make_jwk
from provisor.core.keys import PrivateKey
from provisor.core.pem import encode_private_key, encode_public_key
from support.command_line import Desk
from support.peers import free_port
from support.terminal import plain, run_on_terminal

HERE = Path(__file__).parent
RECORDINGS = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "recorded").glob("*.json"))}
BASE = (HERE / "base-ca.json").read_text()
ON_TERMINAL = [name for name, recorded in RECORDINGS.items() if "terminal" in recorded]
OTHER_TYPES = ["add-duplicate", "add-ca-config-other", "add-no-ca-url"]
"""Recorded with `--type ACME`, where the type does not matter; asked for with JWK here."""

# A boolean before the name is understood here, the reference counts the name as its value.
DIFFERENT = ["flag-bool-before-positional"]
WITHOUT = [name for name in RECORDINGS if name not in ON_TERMINAL and name not in DIFFERENT]


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """A folder of key files, and a $STEPPATH whose CA does not run."""
    desk = Desk(tmp_path, monkeypatch, capsys)
    assert desk.run("ca init --name Lab --dns localhost --address :9140 --provisioner x --password-file pw").status == 0
    defaults = desk.step_path / "config" / "defaults.json"
    members = json.loads(defaults.read_text()) | {"ca-url": f"https://localhost:{free_port()}"}
    defaults.write_text(json.dumps(members))
    ca_json(desk).write_text(BASE.replace("$STEPPATH", str(desk.step_path)))
    write_keys(desk)
    return desk


def ca_json(desk: Desk) -> Path:
    return desk.step_path / "config" / "ca.json"


def write_keys(desk: Desk) -> None:
    ec_key, rsa_key = ec.generate_private_key(ec.SECP256R1()), rsa.generate_private_key(65537, 2048)
    write_jwk(desk, "jwk", ec.generate_private_key(ec.SECP256R1()), "newpassword")
    write_jwk(desk, "plain", ec.generate_private_key(ec.SECP256R1()), "")
    write_jwk(desk, "ed", ed25519.Ed25519PrivateKey.generate(), "newpassword")
    desk.write("oct.pub", json.dumps({"kty": "oct", "kid": "o", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0"}))
    desk.write("ec.pem", encode_private_key(ec_key, random=os.urandom))
    desk.write("ec.pub.pem", encode_public_key(ec_key.public_key()))
    desk.write("rsa.pub.pem", encode_public_key(rsa_key.public_key()))
    note = '"note": "<b>&"'
    desk.write("x.tpl", f'{{"subject": {{{{ toJson .Subject }}}}, "sans": {{{{ toJson .SANs }}}}, {note}}}\n')
    kinds = ("type", "keyId", "principals")
    values = (".Type", ".KeyID", ".Principals")
    members = ", ".join(f'"{kind}": {{{{ toJson {value} }}}}' for kind, value in zip(kinds, values, strict=True))
    desk.write("s.tpl", f"{{{members}}}\n")
    desk.write("bad.tpl", '{"subject": {{ toJson .Subject }\n')
    desk.write("data.json", '{"ou": "Eng", "list": [1, 2]}\n')
    desk.write("baddata.json", "{nope\n")


def write_jwk(desk: Desk, name: str, key: PrivateKey, password: str) -> None:
    jwk: JWK = make_jwk(key)
    desk.write(f"{name}.pub", json.dumps(jwk_members(jwk)))
    private = encode_jwk(jwk, private=True)
    sealed = encrypt_pbes2(private, password.encode(), os.urandom, iterations=1000) if password else private
    desk.write(f"{name}.priv", sealed)


def words_of(name: str) -> list[str]:
    command = RECORDINGS[name]["command"]
    command = command.replace("STEPPATH=$PWD/nosp ", "")
    if name in OTHER_TYPES:
        command = command.replace("--type ACME", "--create --password-file newpw")
    return shlex.split(command)[1:]


def masked(text: str) -> str:
    """Keys are new every time."""
    text = re.sub(r'"(kid|x|y|n|encryptedKey)": "[^"]+"', r'"\1": "..."', text)
    return text.replace("'step ca", "'provisor ca")


def difference(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=1)
    return [masked(line) for line in lines]


@pytest.mark.parametrize("name", WITHOUT)
def test_editing_does_what_step_does(desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    recorded = RECORDINGS[name]
    before = ca_json(desk).read_text()
    if name == "add-no-ca-url":
        monkeypatch.setenv("STEPPATH", str(desk.cwd / "nosp"))
    ended = desk.run(words_of(name))
    stderr = ended.stderr.replace(str(desk.step_path), "$STEPPATH")
    stderr = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", stderr)
    assert stderr == masked(recorded["stderr"])
    assert ended.status == recorded["exit"]
    assert ended.stdout.splitlines()[:1] == recorded["stdout"].splitlines()
    expected = [masked(line) for line in recorded.get("caJsonDiff", [])]
    if name == "add-jwk-private-as-public":  # what is private is not stored here
        expected = [line for line in expected if '"d": ' not in line]
        expected = [line.replace('"y": "...",', '"y": "..."') for line in expected]
    found = difference(before, ca_json(desk).read_text())
    assert [line for line in found if not line.startswith("@@")] == [e for e in expected if not e.startswith("@@")]


@pytest.mark.parametrize("name", ON_TERMINAL)
def test_a_missing_password_is_asked_for(desk: Desk, name: str) -> None:
    recorded = RECORDINGS[name]
    before = ca_json(desk).read_text()
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src")}
    words = [sys.executable, "-c", "from provisor.cli.main import main; main()", *words_of(name)]
    status, screen = run_on_terminal(words, [tuple(pair) for pair in recorded["terminal"]], env=env, cwd=str(desk.cwd))
    assert status == recorded["exit"], screen
    for line in recorded["screen"].splitlines():
        assert line.strip() in plain(screen).replace(str(desk.step_path), "$STEPPATH")
    found = difference(before, ca_json(desk).read_text())
    assert [line for line in found if not line.startswith("@@")] == [
        masked(line) for line in recorded["caJsonDiff"] if not line.startswith("@@")
    ]


def test_a_switch_may_stand_before_the_name(desk: Desk) -> None:
    assert desk.run("ca provisioner add --create jane@doe.com --password-file newpw").status == 0
    names = [entry["name"] for entry in json.loads(ca_json(desk).read_text())["authority"]["provisioners"]]
    assert names[-1] == "jane@doe.com"
