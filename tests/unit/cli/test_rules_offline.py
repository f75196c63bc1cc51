"""`template` and `policy`: rules tried without a CA."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.command_line import Desk
from support.credentials import make_csr, make_key

POLICY = {
    "x509": {"allow": {"dns": ["*.corp.test"], "ip": ["10.0.0.0/8"]}, "deny": {"dns": ["bad.corp.test"]}},
    "ssh": {"user": {"allow": {"principal": ["jane"]}}},
}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    desk.write(
        "a.tpl",
        '{"subject": {{ toJson .Subject }}, "sans": {{ toJson .SANs }}, "org": {{ toJson .Insecure.User.org }}}',
    )
    desk.write("bad.tpl", "{{ nofunc }}")
    desk.write("a.csr", make_csr(make_key(), "a.corp.test", ["a.corp.test"]))
    desk.write("policy.json", json.dumps(POLICY))
    desk.write("ca.json", json.dumps({"authority": {"policy": POLICY}}))
    return desk


def test_a_template_is_rendered_about_a_request(desk: Desk) -> None:
    ended = desk.run("template render a.tpl --csr a.csr --set org=ACME")
    assert (ended.status, ended.stderr) == (0, "")
    assert json.loads(ended.stdout) == {
        "subject": {"commonName": "a.corp.test"},
        "sans": [{"type": "dns", "value": "a.corp.test"}],
        "org": "ACME",
    }


def test_data_of_a_file_comes_first(desk: Desk) -> None:
    desk.write("data.json", '{"Subject": {"commonName": "given"}, "SANs": [], "Insecure": {"User": {"org": "File"}}}')
    ended = desk.run("template render a.tpl --csr a.csr --data data.json")
    assert json.loads(ended.stdout) == {"subject": {"commonName": "given"}, "sans": [], "org": "File"}


@pytest.mark.parametrize(
    ("words", "text"),
    [
        ("template render bad.tpl", 'bad.tpl: template: template:1: function "nofunc" not defined'),
        ("template render none.tpl", "none.tpl"),
        ("template render a.tpl --data a.tpl", "error unmarshaling a.tpl"),
        ("template render fails.tpl", "the template refuses: not today"),
        ("policy test a.test", "flag '--policy' is required"),
        ("policy test a.test --policy a.tpl", "error unmarshaling a.tpl"),
        ("policy test a.test --policy policy.json --type y", "flag '--type y' must be one of"),
        ("ca explain", "flag '--token' is required"),
        ("ca explain --token x", "flag '--csr' is required"),
    ],
)
def test_what_is_wrong_is_said(desk: Desk, words: str, text: str) -> None:
    desk.write("fails.tpl", '{{ fail "not today" }}')
    ended = desk.run(words)
    assert ended.status != 0
    assert ended.stdout == ""
    assert text in ended.stderr


def test_templates_are_checked(desk: Desk) -> None:
    ended = desk.run("template check a.tpl bad.tpl")
    assert ended.status == 2
    assert ended.stdout.splitlines() == ["a.tpl: ok", 'bad.tpl: template: template:1: function "nofunc" not defined']
    assert json.loads(desk.run("template check a.tpl --json").stdout) == [{"path": "a.tpl", "ok": True, "fault": ""}]
    desk.write("ssh.tpl", "{{ asn1Enc 1 }}")
    assert desk.run("template check ssh.tpl --ssh").status == 2


@pytest.mark.parametrize("file", ["policy.json", "ca.json"])
def test_a_policy_is_tried(desk: Desk, file: str) -> None:
    ended = desk.run(f"policy test --policy {file} a.corp.test bad.corp.test 10.1.1.1 11.1.1.1 --json")
    assert ended.status == 2
    found = [(each["name"], each["kind"], each["verdict"], each["rule"]) for each in json.loads(ended.stdout)]
    assert found == [
        ("a.corp.test", "dns", "allowed", "*.corp.test"),
        ("bad.corp.test", "dns", "denied", "bad.corp.test"),
        ("10.1.1.1", "ip", "allowed", "10.0.0.0/8"),
        ("11.1.1.1", "ip", "denied", ""),
    ]


def test_principals_are_tried(desk: Desk) -> None:
    assert desk.run("policy test --policy policy.json --type user jane").status == 0
    ended = desk.run("policy test --policy policy.json --type user joe")
    assert ended.status == 2
    assert ended.stdout.startswith("✗ joe: denied (user)")
