from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from provisor.checking import Report, check_configuration
from provisor.core.secret import Secret
from provisor.pki import create_pki
from provisor.storage.sqlite import SQLiteStore
from support.coroutines import finish

PASSWORD = Secret("capassword")
NOW = datetime(2026, 5, 4, 3, 2, 1, tzinfo=UTC)

Change = Callable[[dict[str, Any], Path], None]


@pytest.fixture
def step_path(tmp_path: Path) -> Path:
    create_pki(
        str(tmp_path),
        name="Lab",
        dns=["localhost"],
        address="127.0.0.1:0",
        provisioner="me",
        password=PASSWORD,
        now=NOW,
    )
    return tmp_path


def changed(step_path: Path, change: Change) -> Path:
    path = step_path / "config" / "ca.json"
    document = json.loads(path.read_text())
    change(document, step_path)
    path.write_text(json.dumps(document))
    return path


def report(
    step_path: Path,
    change: Change = lambda _document, _path: None,
    *,
    password: Secret | None = PASSWORD,
    now: datetime = NOW,
    strict: bool = False,
) -> Report:
    path = changed(step_path, change)
    return check_configuration(str(path), password=password, now=now, strict=strict)


def pointers(found: Report) -> list[str]:
    return [fault.pointer for fault in found.faults]


def test_a_sound_ca_has_every_check_passed(step_path: Path) -> None:
    found = report(step_path)
    assert (found.faults, found.warnings) == ((), ())
    assert [check.name for check in found.checks] == [
        *("configuration", "root certificates", "issuer certificate", "issuer key", "key and certificate", "chain"),
        *("names", "store", "provisioners"),
    ]


def test_checking_writes_nothing(step_path: Path) -> None:
    before = sorted(step_path.rglob("*"))
    report(step_path)
    assert sorted(step_path.rglob("*")) == before


def put(**members: Any) -> Change:
    return lambda document, _path: document.update(members)


def other_issuer(document: dict[str, Any], path: Path) -> None:
    create_pki(str(path / "other"), name="Other", dns=["x"], address=":1", provisioner="p", password=PASSWORD, now=NOW)
    document["crt"] = str(path / "other" / "certs" / "intermediate_ca.crt")


def root_as_issuer(document: dict[str, Any], path: Path) -> None:
    document["crt"], document["key"] = document["root"], str(path / "secrets" / "root_ca_key")


def twice(document: dict[str, Any], _path: Path) -> None:
    document["authority"]["provisioners"] *= 2


def badger(_document: dict[str, Any], path: Path) -> None:
    (path / "db" / "MANIFEST").write_bytes(b"")


def not_a_database(_document: dict[str, Any], path: Path) -> None:
    (path / "db" / "provisor.db").write_bytes(b"SQLite format 3\0" + bytes(100))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (put(address="8443"), ["$.address"]),
        (put(root="/none"), ["$.root"]),
        (put(crt="/none"), ["$.crt"]),
        (put(key="/none"), ["$.key"]),
        (put(dnsNames=["Ünicode"]), ["$.dnsNames"]),
        (put(dnsNames=[]), ["$.dnsNames"]),
        (put(tls={"minVersion": 1.3, "maxVersion": 1.2}), ["$.tls"]),
        (other_issuer, ["$.key", "$.crt"]),
        (badger, ["$.db.dataSource"]),
        (not_a_database, ["$.db.dataSource"]),
        (put(root="/none", key="/none", address="x"), ["$.address", "$.root", "$.key"]),
    ],
)
def test_every_fault_is_in_one_report(step_path: Path, change: Change, expected: list[str]) -> None:
    assert pointers(report(step_path, change)) == expected


def test_two_provisioners_of_one_name_are_a_fault(step_path: Path) -> None:
    assert pointers(report(step_path, twice))


def with_options(**options: object) -> Change:
    def change(document: dict[str, Any], _path: Path) -> None:
        document["authority"]["provisioners"][0]["options"] = options

    return change


@pytest.mark.parametrize(
    ("options", "member", "text"),
    [
        ({"x509": {"template": '{"subject": {{ nofunc }}}'}}, "x509", 'function "nofunc" not defined'),
        ({"x509": {"template": "not base64!"}}, "x509", "error decoding template"),
        ({"x509": {"templateFile": "/none.tpl"}}, "x509", 'error reading "/none.tpl": no such file or directory'),
        ({"x509": {"template": "{}", "templateData": []}}, "x509", "error unmarshaling template data"),
        ({"ssh": {"template": "{{ asn1Enc 1 }}"}}, "ssh", 'function "asn1Enc" not defined'),
        (
            {"webhooks": [{"name": "w", "url": "https://h/{{ if }}", "kind": "ENRICHING"}]},
            "webhooks[0].url",
            "missing value for if",
        ),
    ],
)
def test_a_template_that_cannot_be_used_is_a_fault(
    step_path: Path, options: dict[str, object], member: str, text: str
) -> None:
    (fault,) = report(step_path, with_options(**options)).faults
    assert fault.pointer == f"$.authority.provisioners[0].options.{member}"
    assert text in fault.text


def test_templates_that_can_be_used_are_counted(step_path: Path) -> None:
    found = report(step_path, with_options(x509={"template": '{"subject": {{ toJson .Subject }}}'}))
    assert [check.detail for check in found.checks if check.name == "templates"] == ["1 can be parsed"]
    assert not found.faults


def test_a_root_may_issue_itself(step_path: Path) -> None:
    assert report(step_path, root_as_issuer).faults == ()


@pytest.mark.parametrize(
    ("after", "faults"),
    [
        (timedelta(seconds=-1), ["$.root", "$.crt"]),
        (timedelta(0), []),
        (timedelta(days=3650), []),
        (timedelta(days=3650, seconds=1), ["$.root", "$.crt"]),
    ],
)
def test_certificates_are_in_date(step_path: Path, after: timedelta, faults: list[str]) -> None:
    assert sorted(set(pointers(report(step_path, now=NOW + after)))) == sorted(faults)


def test_an_end_that_is_near_is_worth_a_warning(step_path: Path) -> None:
    assert report(step_path, now=NOW + timedelta(days=3619)).warnings == ()
    soon = report(step_path, now=NOW + timedelta(days=3621))
    assert soon.faults == ()
    assert "ends on" in soon.warnings[0].text


@pytest.mark.parametrize("password", [None, Secret("capasswor"), Secret("capassword "), Secret("")])
def test_the_key_has_to_open(step_path: Path, password: Secret | None) -> None:
    found = report(step_path, password=password or None)
    assert pointers(found) == ["$.key"]
    assert found.password_for == ("" if password else str(step_path / "secrets" / "intermediate_ca_key"))
    assert "capassword" not in found.faults[0].text


def test_what_step_would_drop_is_told(step_path: Path) -> None:
    found = report(step_path, lambda document, _path: document["authority"].update(provisor={}))
    assert [warning.pointer for warning in found.warnings if "step ca provisioner" in warning.text] == [
        "$.authority.provisor"
    ]


def test_revocations_that_step_would_not_know_are_told(step_path: Path) -> None:
    finish(SQLiteStore.open(step_path / "db" / "provisor.db").close())
    found = report(step_path)
    assert found.faults == ()
    assert "renews what is revoked here" in found.warnings[0].text


@pytest.mark.parametrize("content", ["", "{", "[]", "null", "not JSON"])
def test_a_file_that_is_no_configuration_is_one_fault(tmp_path: Path, content: str) -> None:
    path = tmp_path / "ca.json"
    path.write_text(content)
    assert check_configuration(str(path), password=None, now=NOW).faults


def test_a_file_that_is_not_there_is_one_fault(tmp_path: Path) -> None:
    found = check_configuration(str(tmp_path / "none"), password=None, now=NOW)
    assert [fault.text for fault in found.faults] == [f'error reading "{tmp_path / "none"}": no such file or directory']


def test_strict_makes_faults_of_warnings(step_path: Path) -> None:
    assert report(step_path, put(dnsNamez=[])).faults == ()
    assert pointers(report(step_path, strict=True)) == ["$.dnsNamez"]
