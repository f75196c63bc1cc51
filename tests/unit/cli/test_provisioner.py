from __future__ import annotations

import json
import ssl
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from provisor.client.errors import BadAnswer, Unreachable
from provisor.client.transport import Answer, Transport
from support.command_line import Desk

ADD = "ca provisioner add jane --create --password-file newpw"
OTHER_KIND = {"type": "OIDC", "name": "google", "clientID": "x", "members": {"nobody": ["knows", 1.5]}}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    desk = Desk(tmp_path, monkeypatch, capsys)
    init = "ca init --name Lab --dns localhost --address :9140 --provisioner me --password-file pw"
    assert desk.run(init).status == 0
    return desk


class Server:
    """What the CA answers to the question whether it manages its provisioners itself."""

    def __init__(self, patch: pytest.MonkeyPatch, answer: int | Exception) -> None:
        self.asked: list[tuple[str, str]] = []
        self._answer = answer
        patch.setattr(Transport, "send", self._send)

    def _send(self, method: str, path: str, **_options: Any) -> Answer:
        self.asked.append((method, path))
        if isinstance(self._answer, Exception):
            raise self._answer
        return Answer(self._answer, "text/plain", b"")


def unreachable(cause: Exception) -> Unreachable:
    error = Unreachable("client GET https://localhost:9140/admin/admins failed: reason")
    error.__cause__ = cause
    return error


def config_file(desk: Desk) -> Path:
    return desk.step_path / "config" / "ca.json"


def document(desk: Desk) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(config_file(desk).read_text())
    return found


def change(desk: Desk, members: Mapping[str, Any]) -> None:
    config_file(desk).write_text(json.dumps(document(desk) | dict(members)))


@pytest.mark.parametrize(
    "answer",
    [
        404,
        501,
        unreachable(ConnectionRefusedError()),
        unreachable(TimeoutError()),
        unreachable(OSError(113, "no route")),
    ],
    ids=str,
)
def test_a_ca_without_remote_management_has_its_file_edited(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: int | Exception
) -> None:
    server = Server(monkeypatch, answer)
    assert desk.run(ADD).status == 0
    assert server.asked == [("GET", "/admin/admins")]
    assert [entry["name"] for entry in document(desk)["authority"]["provisioners"]] == ["me", "jane"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (401, "remote management, which is not supported by this version of provisor"),
        (200, "unexpected status code when performing is-enabled check for Admin API: 200"),
        (302, "is-enabled check for Admin API: 302"),
        (403, "is-enabled check for Admin API: 403"),
        (500, "is-enabled check for Admin API: 500"),
        (unreachable(ssl.SSLCertVerificationError("no")), "error generating admin client: client GET"),
        (BadAnswer("too large"), "error generating admin client: too large"),
    ],
    ids=str,
)
@pytest.mark.parametrize("words", [ADD, "ca provisioner remove me"])
def test_another_answer_edits_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, answer: int | Exception, text: str, words: str
) -> None:
    Server(monkeypatch, answer)
    before = config_file(desk).read_bytes()
    ended = desk.run(words)
    assert ended.status == 1
    assert text in ended.stderr
    assert config_file(desk).read_bytes() == before


@pytest.mark.parametrize(
    "kind", ["ACME", "acme", "OIDC", "SSHPOP", "K8sSA", "Nebula", "SCEP", "AWS", "GCP", "Azure", "X5C"]
)
def test_other_types_are_refused_by_name(desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    server = Server(monkeypatch, 404)
    ended = desk.run(f"ca provisioner add x --type {kind} --client-id y --x5c-roots z --challenge http-01")
    assert ended.status == 1
    assert ended.stderr == f"provisioner type '{kind}' is not supported by this version of provisor\n"
    assert server.asked == []


def test_what_we_do_not_know_stays_as_it_is(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    kept = {"provisor": {"workers": 2}, "unknown": {"b": 1, "a": [True, None]}, "commonName": "Mine"}
    authority = document(desk)["authority"]
    authority["provisioners"].append(OTHER_KIND)
    change(desk, kept | {"authority": authority})
    assert desk.run(ADD).status == 0
    assert desk.run("ca provisioner remove me").status == 0
    after = document(desk)
    assert {name: after[name] for name in kept} == kept
    assert [entry["name"] for entry in after["authority"]["provisioners"]] == ["google", "jane"]
    assert after["authority"]["provisioners"][0] == OTHER_KIND


def test_a_provisioner_of_any_type_can_be_removed(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    authority["provisioners"].append(OTHER_KIND)
    change(desk, {"authority": authority})
    assert desk.run("ca provisioner remove google").status == 0
    assert [entry["name"] for entry in document(desk)["authority"]["provisioners"]] == ["me"]


@pytest.mark.parametrize("mode", [0o600, 0o640, 0o644])
def test_the_file_keeps_its_mode(desk: Desk, monkeypatch: pytest.MonkeyPatch, mode: int) -> None:
    Server(monkeypatch, 404)
    config_file(desk).chmod(mode)
    assert desk.run(ADD).status == 0
    assert config_file(desk).stat().st_mode & 0o777 == mode


def test_a_link_to_the_file_stays_a_link(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    real = config_file(desk).rename(desk.cwd / "real.json")
    config_file(desk).symlink_to(real)
    assert desk.run(ADD).status == 0
    assert config_file(desk).is_symlink()
    assert b'"jane"' in real.read_bytes()


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"authority": 5}', b'{"address": 1}'])
def test_a_file_that_cannot_be_read_is_left_alone(desk: Desk, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    Server(monkeypatch, 404)
    config_file(desk).write_bytes(content)
    ended = desk.run(ADD)
    assert ended.status == 1
    assert "error loading configuration: error parsing" in ended.stderr
    assert config_file(desk).read_bytes() == content


def test_a_private_key_given_as_the_public_one_is_not_stored(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    key = desk.run(ADD)
    assert key.status == 0
    entry = document(desk)["authority"]["provisioners"][1]["key"]
    desk.write("both.jwk", json.dumps(entry | {"kid": "k"}))
    assert desk.run("ca provisioner add copy --public-key both.jwk").status == 0
    assert set(document(desk)["authority"]["provisioners"][2]["key"]) == {"use", "kty", "kid", "crv", "alg", "x", "y"}


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"{}",
        b'{"kty":"EC"}',
        b"-----BEGIN PUBLIC KEY-----\nAAAA\n-----END PUBLIC KEY-----\n",
        b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
        b"a.b.c.d.e",
        b"[" * 100,
    ],
)
def test_what_is_no_key_is_refused(desk: Desk, monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    Server(monkeypatch, 404)
    before = config_file(desk).read_bytes()
    desk.write("key", content)
    assert desk.run("ca provisioner add x --public-key key").status == 1
    assert config_file(desk).read_bytes() == before
