from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    init = "ca init --name Lab --dns localhost --address :9140 --provisioner me --password-file pw"
    assert desk.run(init).status == 0
    return desk


def test_a_sound_ca_ends_with_status_0(desk: Desk) -> None:
    ended = desk.run("ca check --password-file pw")
    assert (ended.status, ended.stderr) == (0, "")
    assert all(line.startswith("✔ ") for line in ended.stdout.splitlines())


def test_faults_end_with_status_2_and_are_all_shown(desk: Desk) -> None:
    path = desk.step_path / "config" / "ca.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"address": "x", "root": "/none"}))
    ended = desk.run(["ca", "check", str(path), "--password-file", "pw"])
    assert ended.status == 2
    failed = [line for line in ended.stdout.splitlines() if line.startswith("✗ ")]
    assert ["$.address" in failed[0], "$.root" in failed[1], len(failed)] == [True, True, 2]
    assert ended.stderr == f"{path}: 2 faults\n"


def test_the_report_as_json_has_everything(desk: Desk) -> None:
    ended = desk.run("ca check --json --password-file newpw")
    report = json.loads(ended.stdout)
    assert (ended.status, report["ok"]) == (2, False)
    assert [fault["pointer"] for fault in report["faults"]] == ["$.key"]
    assert [check["ok"] for check in report["checks"] if check["name"] == "chain"] == [True]


def test_without_a_password_and_a_terminal_the_key_is_the_fault(desk: Desk) -> None:
    ended = desk.run("ca check")
    assert ended.status == 2
    assert "give it with --password-file" in ended.stdout


def test_a_file_that_is_not_there_ends_with_status_2(desk: Desk) -> None:
    ended = desk.run("ca check none.json")
    assert (ended.status, ended.stdout) == (
        2,
        '✗ configuration: error reading "none.json": no such file or directory\n',
    )
