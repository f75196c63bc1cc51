from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from support.certificate_shapes import write_shapes
from support.command_line import Desk, tree

INIT = "ca init --name Lab --dns localhost --address 127.0.0.1:9140 --provisioner me --password-file pw"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        ("--ssh", "--ssh"),
        ("--remote-management", "--remote-management"),
        ("--remote-management --admin-subject boss", "--remote-management"),
        ("--ra StepCAS", "--ra"),
        ("--ra cloudcas", "--ra"),
        ("--kms azurekms", "--kms"),
        ("--kms-root azurekms:name=x", "--kms-root"),
        ("--issuer https://ca", "--issuer"),
        ("--deployment-type linked", "'linked'"),
    ],
)
def test_what_is_not_built_is_refused_by_name(desk: Desk, flags: str, named: str) -> None:
    ended = desk.run(f"{INIT} {flags}")
    assert ended.status == 1
    assert named in ended.stderr
    assert "not supported by this version of provisor" in ended.stderr
    assert not desk.step_path.exists()


@pytest.mark.parametrize("flag", ["--force", "-f"])
def test_force_replaces_all_without_asking(desk: Desk, flag: str) -> None:
    assert desk.run(INIT).status == 0
    before = desk.tree()
    assert desk.run(f"{INIT} {flag}").status == 0
    after = desk.tree()
    assert before.keys() == after.keys()
    assert all(before[path] != after[path] for path, content in after.items() if content is not None)


def test_without_force_and_without_a_terminal_nothing_is_replaced(desk: Desk) -> None:
    desk.run(INIT)
    before = desk.tree()
    ended = desk.run(INIT)
    assert ended.status == 1
    assert "use the flag '--force'" in ended.stderr
    assert desk.tree() == before


def test_force_does_not_replace_a_folder(desk: Desk) -> None:
    (desk.step_path / "config" / "ca.json").mkdir(parents=True)
    before = desk.tree()
    ended = desk.run(f"{INIT} --force")
    assert (ended.status, ended.stderr.splitlines()[-1]) == (1, "file is a directory")
    assert desk.tree() == before


def test_a_disk_that_is_full_leaves_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    ended = desk.run(INIT)
    assert ended.status == 1
    assert "no space left on device" in ended.stderr
    assert not desk.step_path.exists()


def test_a_context_that_cannot_be_is_refused_before_anything_is_written(desk: Desk) -> None:
    for name in ("..", ".", "a/b"):
        assert desk.run([*INIT.split(), "--context", name]).status == 1
    assert desk.run(f"{INIT} --context good --authority ../evil").status == 1
    assert desk.run(f"{INIT} --context good --profile ../evil").status == 1
    assert not desk.step_path.exists()


@pytest.mark.parametrize("files", [("leaf.crt", "rsa.key"), ("root.crt", "rsa.key"), ("empty", "rsa.key")])
def test_a_root_that_is_none_is_refused(desk: Desk, files: tuple[str, str]) -> None:
    write_shapes(desk.cwd)
    ended = desk.run(f"{INIT} --root {files[0]} --key {files[1]}")
    assert ended.status == 1
    assert not desk.step_path.exists()


def test_the_environment_does_not_choose_the_root(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_ROOT", "none.crt")
    monkeypatch.setenv("STEP_KEY", "none.key")
    assert desk.run(INIT).status == 0


def test_the_environment_answers_the_questions(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in (("NAME", "Env"), ("DNS", "a.test,b.test"), ("ADDRESS", ":1"), ("PROVISIONER", "me")):
        monkeypatch.setenv(f"STEP_{name}", value)
    monkeypatch.setenv("STEP_PASSWORD_FILE", "pw")
    assert desk.run("ca init").status == 0
    config = json.loads((desk.step_path / "config" / "ca.json").read_text())
    assert config["dnsNames"] == ["a.test", "b.test"]


def test_defaults_of_another_ca_are_not_looked_at(desk: Desk) -> None:
    (desk.step_path / "config").mkdir(parents=True)
    (desk.step_path / "config" / "defaults.json").write_text('{"name": "Other", "root": "none.crt"}')
    ended = desk.run("ca init --deployment-type standalone")
    assert ended.stderr.startswith("What would you like to name your new PKI?\n")


def test_names_are_escaped_as_the_reference_does(desk: Desk) -> None:
    name = 'a"<&>\\'
    ended = desk.run(["ca", "init", "--name", name, *INIT.split()[4:], "--provisioner", name])
    assert ended.status == 0
    text = (desk.step_path / "config" / "ca.json").read_text()
    assert '"name": "a\\"\\u003c\\u0026\\u003e\\\\"' in text


def test_no_secret_is_printed_or_left_unencrypted(desk: Desk) -> None:
    ended = desk.run(INIT)
    assert "capassword" not in ended.stdout + ended.stderr
    for path, content in tree(desk.step_path / "secrets").items():
        assert content is not None
        assert b"ENCRYPTED" in content, path
