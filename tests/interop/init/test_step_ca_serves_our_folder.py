"""A folder that `provisor ca init` made is served by the real step-ca, and is the folder that the real `step` makes."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from support.command_line import Desk, umask
from support.peers import free_port, require_peer

pytestmark = pytest.mark.peer


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@contextmanager
def serving(desk: Desk) -> Iterator[subprocess.Popen[bytes]]:
    """The real step-ca on the folder, answering."""
    program = require_peer("step-ca")
    config = desk.step_path / "config" / "ca.json"
    with (desk.cwd / "log").open("wb") as log:
        process = subprocess.Popen([program, str(config), "--password-file", "pw"], stdout=log, stderr=log)
    try:
        deadline = time.monotonic() + 20
        while desk.run("ca health").status != 0:
            assert process.poll() is None, (desk.cwd / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        yield process
    finally:
        process.terminate()
        process.wait(10)


def step(desk: Desk, *words: str) -> subprocess.CompletedProcess[str]:
    program = require_peer("step")
    return subprocess.run([program, *words], cwd=desk.cwd, capture_output=True, text=True, timeout=30, check=False)


def test_step_ca_issues_from_it(desk: Desk) -> None:
    require_peer("step")
    port = free_port()
    init = f"ca init --name Lab --dns localhost --address 127.0.0.1:{port} --provisioner me --password-file pw --acme"
    assert desk.run(init).status == 0
    assert desk.run("ca provisioner add jane --create --password-file newpw").status == 0
    assert desk.run("ca provisioner remove acme").status == 0
    with serving(desk):
        listed = json.loads(step(desk, "ca", "provisioner", "list").stdout)
        assert [entry["name"] for entry in listed] == ["me", "jane"]
        for provisioner, password in (("me", "pw"), ("jane", "newpw")):
            flags = ("--provisioner", provisioner, "--provisioner-password-file", password, "--force")
            issued = step(desk, "ca", "certificate", "foo.test", "foo.crt", "foo.key", *flags)
            assert issued.returncode == 0, issued.stderr
        root = str(desk.step_path / "certs" / "root_ca.crt")
        verified = desk.run(["certificate", "verify", "foo.crt", "--roots", root, "--host", "foo.test"])
        assert (verified.status, verified.stderr) == (0, "")
        shown = desk.run(["certificate", "inspect", f"https://localhost:{port}", "--roots", root, "--short"])
        assert "Step Online CA" in shown.stdout


VARIANTS = {
    "plain": "--dns localhost --dns 127.0.0.1 --address 127.0.0.1:9140 --provisioner me",
    "acme": "--dns localhost --address :8443 --provisioner acme --acme",
    "no-db": "--dns localhost --address :443 --provisioner me --no-db",
    "pki": "--pki",
    "context": "--dns localhost --address :443 --provisioner me --context alpha --authority beta",
    "url": "--dns localhost --address :443 --provisioner me --with-ca-url https://ca.test:1",
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_folders_of_both_programs_are_alike(desk: Desk, monkeypatch: pytest.MonkeyPatch, variant: str) -> None:
    words = f"ca init --name Lab --password-file pw {VARIANTS[variant]}".split()
    with umask(0o022):
        assert desk.run(words).status == 0
        theirs = desk.cwd.parent / "theirs"
        monkeypatch.setenv("STEPPATH", str(theirs))
        assert step(desk, *words).returncode == 0
    assert picture(desk.step_path) == picture(theirs)


def picture(folder: Path) -> dict[str, tuple[str, str]]:
    """Mode and content of everything, without what is new every time."""
    return {
        str(path.relative_to(folder)): (oct(path.stat().st_mode), content(path, folder)) for path in folder.rglob("*")
    }


def content(path: Path, folder: Path) -> str:
    if path.is_dir():
        return ""
    text = path.read_text().replace(str(folder), "$STEPPATH")
    if path.suffix == ".crt":
        return shape(path)
    if path.parent.name == "secrets":
        return re.sub(r"(?m)^[A-Za-z0-9+/=]+$|(?<=CBC,)\w+", "...", text).replace("...\n...", "...")
    return re.sub(r'"(kid|x|y|encryptedKey|fingerprint)": "[^"]+"', r'"\1": "..."', text)


def shape(path: Path) -> str:
    """The long form of a certificate without numbers, keys, times and signatures."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    inspect = [str(require_peer("step")), "certificate", "inspect", str(path)]
    text = subprocess.run(inspect, capture_output=True, text=True, timeout=30, check=True, env=environment).stdout
    text = re.sub(r"(?m)^ +(?:[0-9A-Fa-f]{2}:?)+\n", "", text)
    return re.sub(r"(Serial Number|Not Before|Not After ): .*", r"\1", text)
