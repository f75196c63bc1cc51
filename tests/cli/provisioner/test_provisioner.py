"""Recorded uses of `step ca provisioner add|update|remove|webhook`, run with Provisor's program and compared."""

from __future__ import annotations

import difflib
import json
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from provisor.core.jose.jwe import decrypt_pbes2
from support.command_line import Desk, Ended
from support.identity_providers import fake_cloud, identity_provider
from support.peers import free_port
from support.provisioner_files import write_provisioner_files
from support.terminal import plain, run_on_terminal

HERE = Path(__file__).parent
RECORDINGS = {path.stem: json.loads(path.read_text()) for path in sorted((HERE / "recorded").glob("*.json"))}
BASE = (HERE / "base-ca.json").read_text()
CA_NAME = "you@smallstep.com"

DIFFERENT: Mapping[str, str] = {
    # a boolean before the name is understood here, the reference counts the name as its value
    "flag-bool-before-positional": "jane@doe.com",
    # the documentation of step calls the flag so, the program does not know it
    "add-k8ssa-seed": "my-kube-provisioner",
    # what gives a provisioner another token id does nothing in the reference
    "seed-rekey": CA_NAME,
    "seed-rekey-password-file": CA_NAME,
    "update-jwk-public-key": CA_NAME,
    "update-jwk-rename": "me@smallstep.com",
    "update-acme-rename": "acme2",
    "update-oidc-client-id": "Google",
}
"""Refused by the reference, done here; with the name of the provisioner that comes of it."""

OIDC = "add Google --type OIDC --client-id cid --client-secret sec --configuration-endpoint"
WELL_KNOWN = "http://127.0.0.1:9145/.well-known/openid-configuration"
BEFORE: Mapping[str, tuple[str, ...]] = {
    "update-acme-durations": ("add-acme",),
    "remove-acme": ("update-acme-durations",),
    "add-oidc-same-client": ("add-oidc",),
    "update-oidc": (f"{OIDC} {WELL_KNOWN} --domain a.com --domain b.com --domain c.com --admin a@a.com --group g1",),
    "update-oidc-remove-scope": ("update-oidc",),
    "update-oidc-client-id": ("update-oidc",),
    "update-oidc-remove-group": ("update-oidc",),
    "update-x5c": ("add x5c --type X5C --x5c-roots x5c.crt",),
    "add-k8ssa-second": ("add-k8ssa",),
    "update-k8ssa": ("add-k8ssa",),
    "update-acme-lists": ("add-acme-all",),
    "update-scep-challenge": ("add-scep",),
    "update-scep-bools": ("update-scep-challenge",),
    "update-aws": ("add-aws-all",),
    "update-gcp": ("add-gcp-seed",),
    "update-azure": ("add-azure-all",),
    "update-jwk-claims-back": ("update-jwk-claims",),
    "update-acme-rename": ("add-acme",),
}
"""What had been done before; a recording's name or a command line."""

ON_TERMINAL = [name for name, recorded in RECORDINGS.items() if "terminal" in recorded and name not in DIFFERENT]
WITHOUT = [name for name in RECORDINGS if name not in ON_TERMINAL and name not in DIFFERENT]


@pytest.fixture(scope="module")
def provider() -> Iterator[str]:
    with identity_provider() as address:
        yield address


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, str]]:
    with fake_cloud(tmp_path_factory.mktemp("cloud")) as environment:
        yield environment


@pytest.fixture(scope="module")
def materials(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("materials")

    def write(name: str, content: str | bytes) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    write_provisioner_files(write)
    for name, source in (("neb.crt", "ca2.crt"), ("nebhost.crt", "host2.crt")):
        shutil.copy(HERE / "nebula" / source, folder / name)
    write("nebmix.crt", (folder / "neb.crt").read_bytes() + (folder / "nebhost.crt").read_bytes())
    write("base.json", BASE)
    return folder


@pytest.fixture
def desk(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    materials: Path,
    cloud: Mapping[str, str],
) -> Desk:
    """A folder of files, and a $STEPPATH whose CA does not run."""
    desk = Desk(tmp_path, monkeypatch, capsys)
    shutil.copytree(materials, desk.cwd, dirs_exist_ok=True)
    assert desk.run("ca init --name Lab --dns localhost --address :9140 --provisioner x --password-file pw").status == 0
    defaults = desk.step_path / "config" / "defaults.json"
    members = json.loads(defaults.read_text()) | {"ca-url": f"https://localhost:{free_port()}"}
    defaults.write_text(json.dumps(members))
    ca_json(desk).write_text(BASE.replace("$STEPPATH", str(desk.step_path)))
    shutil.copy(ca_json(desk), desk.cwd / "copy.json")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("GOOGLE_APPLICATION_CREDENTIALS", raising=False)
    for name, value in cloud.items():
        monkeypatch.setenv(name, value)
    return desk


def ca_json(desk: Desk) -> Path:
    return desk.step_path / "config" / "ca.json"


def entry_of(desk: Desk, name: str) -> dict[str, Any]:
    entries = json.loads(ca_json(desk).read_text())["authority"]["provisioners"]
    found: dict[str, Any] = next(entry for entry in entries if entry["name"] == name)
    return found


def words_of(name: str, desk: Desk, provider: str) -> list[str]:
    """Of a recording, or of a command line behind `ca provisioner`."""
    command = RECORDINGS[name]["command"] if name in RECORDINGS else f"step ca provisioner {name}"
    command = command.replace("STEPPATH=$PWD/nosp ", "").replace("$(step path)", str(desk.step_path))
    command = re.sub(r"https://localhost:\d+", f"https://localhost:{free_port()}", command)
    return shlex.split(command.replace("http://127.0.0.1:9145", provider))[1:]


def prepare(name: str, desk: Desk, provider: str) -> None:
    for earlier in BEFORE.get(name, ()):
        prepare(earlier, desk, provider)
        ended = desk.run(words_of(earlier, desk, provider))
        assert ended.status == 0, ended.stderr


def masked(text: str) -> str:
    """Keys are new every time."""
    text = re.sub(r'"(kid|x|y|n|encryptedKey)": "[^"]+"', r'"\1": "..."', text)
    octets = "roots|publicKeys|attestationRoots|decrypterCertificate|decrypterKeyPEM"
    text = re.sub(rf'"({octets})": "[^"]+"', r'"\1": "..."', text)
    text = re.sub(r"http://127\.0\.0\.1:\d{4,}", "http://PROVIDER", text)
    return text.replace("'step ca", "'provisor ca")


def difference(before: str, after: str) -> list[str]:
    lines = difflib.unified_diff(before.splitlines(), after.splitlines(), "before", "after", lineterm="", n=1)
    return [masked(line) for line in lines if not line.startswith("@@")]


def told(ended: Ended, desk: Desk) -> str:
    stderr = ended.stderr.replace(str(desk.step_path), "$STEPPATH")
    return masked(re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", stderr))


@pytest.mark.parametrize("name", WITHOUT)
def test_a_recorded_edit_does_what_step_does(
    desk: Desk, name: str, monkeypatch: pytest.MonkeyPatch, provider: str
) -> None:
    recorded = RECORDINGS[name]
    prepare(name, desk, provider)
    before = ca_json(desk).read_text()
    if name == "add-no-ca-url":
        monkeypatch.setenv("STEPPATH", str(desk.cwd / "nosp"))
    ended = desk.run(words_of(name, desk, provider))
    assert told(ended, desk) == masked(recorded["stderr"])
    assert ended.status == recorded["exit"]
    assert ended.stdout.splitlines()[:1] == recorded["stdout"].splitlines()[:1]
    expected = [masked(line) for line in recorded.get("caJsonDiff", []) if not line.startswith("@@")]
    if name == "add-jwk-private-as-public":  # what is private is not stored here
        expected = [line for line in expected if '"d": ' not in line]
        expected = [line.replace('"y": "...",', '"y": "..."') for line in expected]
    assert difference(before, ca_json(desk).read_text()) == expected


@pytest.mark.parametrize("name", ON_TERMINAL)
def test_a_missing_password_is_asked_for(desk: Desk, name: str, provider: str) -> None:
    recorded = RECORDINGS[name]
    before = ca_json(desk).read_text()
    status, screen = on_terminal(desk, name, provider)
    assert status == recorded["exit"], screen
    for line in recorded["screen"].splitlines():
        assert line.strip() in screen
    expected = [masked(line) for line in recorded["caJsonDiff"] if not line.startswith("@@")]
    assert difference(before, ca_json(desk).read_text()) == expected


def on_terminal(desk: Desk, name: str, provider: str) -> tuple[int, str]:
    env = {**os.environ, "PYTHONPATH": str(HERE.parents[2] / "src")}
    words = [sys.executable, "-c", "from provisor.cli.main import main; main()", *words_of(name, desk, provider)]
    answers = [tuple(pair) for pair in RECORDINGS[name]["terminal"]]
    status, screen = run_on_terminal(words, answers, env=env, cwd=str(desk.cwd))
    return status, plain(screen).replace(str(desk.step_path), "$STEPPATH")


@pytest.mark.parametrize(("name", "provisioner"), [pair for pair in DIFFERENT.items() if pair[0] != "seed-rekey"])
def test_what_step_refuses_and_should_not_is_done(desk: Desk, name: str, provisioner: str, provider: str) -> None:
    prepare(name, desk, provider)
    assert RECORDINGS[name]["exit"] == 1
    ended = desk.run(words_of(name, desk, provider))
    assert ended.status == 0, ended.stderr
    assert "Success!" in ended.stderr
    assert entry_of(desk, provisioner)["claims"]


def test_the_password_of_a_new_key_is_asked_for(desk: Desk, provider: str) -> None:
    before = entry_of(desk, CA_NAME)
    status, screen = on_terminal(desk, "seed-rekey", provider)
    assert status == 0, screen
    after = entry_of(desk, CA_NAME)
    assert after["key"]["kid"] != before["key"]["kid"]
    assert json.loads(decrypt_pbes2(after["encryptedKey"], b"rekeypass"))["kid"] == after["key"]["kid"]


def test_every_byte_of_a_copy_is_as_recorded_and_its_mode_stays(desk: Desk, provider: str) -> None:
    (recorded,) = RECORDINGS["add-ca-config-copy"]["files"]
    copy = desk.cwd / "copy.json"
    copy.chmod(0o640)
    assert desk.run(words_of("add-ca-config-copy", desk, provider)).status == 0
    assert copy.read_text().replace(str(desk.step_path), "$STEPPATH") == recorded["content"]
    assert copy.stat().st_mode & 0o777 == 0o640
