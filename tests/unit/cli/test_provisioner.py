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
    ("kind", "flags"),
    [
        ("acme", ""),
        ("SSHPOP", ""),
        ("sCep", ""),
        ("AWS", ""),
        ("noop", "--create --password-file newpw"),
    ],
)
def test_the_type_may_be_in_any_case_and_flags_of_others_do_not_matter(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, kind: str, flags: str
) -> None:
    Server(monkeypatch, 404)
    others = "--client-id y --x5c-roots nofile --azure-tenant t --gcp-project p"
    assert desk.run(f"ca provisioner add x --type {kind} {flags} {others}").status == 0
    assert document(desk)["authority"]["provisioners"][1]["type"] == ("JWK" if kind == "noop" else kind.upper())


@pytest.mark.parametrize("words", ["ca provisioner update me --name you", "ca provisioner update me --create=false"])
def test_an_update_asks_the_ca_first(desk: Desk, monkeypatch: pytest.MonkeyPatch, words: str) -> None:
    server = Server(monkeypatch, 404)
    assert desk.run(words).status == 0
    assert server.asked == [("GET", "/admin/admins")]
    Server(monkeypatch, 401)
    before = config_file(desk).read_bytes()
    assert "is not supported by this version of provisor" in desk.run("ca provisioner update x").stderr
    assert config_file(desk).read_bytes() == before


def test_an_update_keeps_what_it_does_not_know(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    kept = {
        "policy": {"x509": {"allow": {"dns": ["*.x"]}}},
        "provisor": {"own": 1},
        "unknown": [1],
    }
    options = {"x509": {"templateFile": "x.tpl", "note": 1}, "webhooks": [{"name": "w", "own": 2}], "wire": {"a": 1}}
    claims = {"minUserSSHCertDuration": "1h0m0s", "enableSSHCA": False, "own": "x"}
    authority["provisioners"].append({"type": "aws", "name": "a", "iidRoots": "/f", "imdsVersions": ["v2"], **kept})
    authority["provisioners"][1] |= {"options": options, "claims": claims}
    change(desk, {"authority": authority})
    assert desk.run("ca provisioner update a --aws-account 1").status == 0
    entry = document(desk)["authority"]["provisioners"][1]
    assert {name: entry[name] for name in kept} == kept
    assert (entry["iidRoots"], entry["imdsVersions"], entry["accounts"]) == ("/f", ["v2"], ["1"])
    assert entry["options"] == {**options, "ssh": {}}
    assert claims.items() <= entry["claims"].items()


def test_a_new_template_takes_the_place_of_a_file(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    authority["provisioners"][0]["options"] = {"x509": {"templateFile": "old.tpl"}}
    change(desk, {"authority": authority})
    desk.write("new.tpl", b"\xef\xbb\xbf{}\n")
    assert desk.run("ca provisioner update me --x509-template new.tpl").status == 0
    assert document(desk)["authority"]["provisioners"][0]["options"]["x509"] == {"template": "{}\n"}


def test_an_unknown_type_is_not_updated(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    authority["provisioners"].append({"type": "NEW", "name": "n"})
    change(desk, {"authority": authority})
    ended = desk.run("ca provisioner update n --disable-renewal")
    assert ended.status == 1
    assert "error loading provisioner: provisioner n not found" in ended.stderr


def test_a_removed_admin_is_gone_however_often_it_was_there(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    authority["provisioners"].append({"type": "AWS", "name": "a", "accounts": ["1", "2", "3", "1", "1"]})
    change(desk, {"authority": authority})
    assert desk.run("ca provisioner update a --remove-aws-account 1").status == 0
    assert sorted(document(desk)["authority"]["provisioners"][1]["accounts"]) == ["2", "3"]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--public-key nofile", "open nofile failed: no such file or directory"),
        ("--public-key ''", "open  failed: no such file or directory"),
        ("--private-key nofile", "error reading nofile: open nofile: no such file or directory"),
        ("--private-key pw", "unexpected error on pw: : unsupported format"),
        ("--create --private-key pw", "flag '--create' is incompatible with 'private-key'"),
        ("--x509-template nofile", "open nofile failed: no such file or directory"),
        ("--x509-min-dur=-20h", "claims: MinTLSCertDuration must be greater than 0"),
        ("--name ''", "error initializing provisioner : provisioner name cannot be empty"),
        ("--create", "error allocating terminal"),
    ],
)
def test_a_refused_update_writes_nothing(desk: Desk, monkeypatch: pytest.MonkeyPatch, flags: str, text: str) -> None:
    Server(monkeypatch, 404)
    before = config_file(desk).read_bytes()
    ended = desk.run(f"ca provisioner update me {flags}")
    assert ended.status == 1
    assert text in ended.stderr
    assert config_file(desk).read_bytes() == before


@pytest.mark.parametrize("content", [b"\x00" * 10, b"[" * 100, b"-----BEGIN X-----\nAAAA\n-----END X-----\n", b"{}"])
@pytest.mark.parametrize(
    "flags",
    [
        "--type X5C --x5c-roots junk",
        "--type Nebula --nebula-root junk",
        "--type K8sSA --public-key junk",
        "--type ACME --attestation-roots junk",
        "--type SCEP --scep-decrypter-certificate-file junk",
        "--type SCEP --scep-decrypter-key-file junk",
        "--private-key junk --public-key junk",
        "--type ACME --x509-template-data junk",
    ],
)
def test_junk_is_refused_in_one_line_or_stored_as_it_is(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, flags: str, content: bytes
) -> None:
    Server(monkeypatch, 404)
    before = config_file(desk).read_bytes()
    desk.write("junk", content)
    ended = desk.run(f"ca provisioner add x {flags}")
    if ended.status == 0:
        assert flags.endswith("template-data junk")
        assert content == b"{}"
        return
    assert len(ended.stderr.splitlines()) in (1, 3)
    assert config_file(desk).read_bytes() == before


@pytest.mark.parametrize("enabled", [True, None])
def test_webhooks_of_remote_management_are_refused_by_name(desk: Desk, enabled: bool | None) -> None:
    if enabled is None:
        config_file(desk).unlink()
    else:
        change(desk, {"authority": document(desk)["authority"] | {"enableAdmin": enabled}})
    for words in ("add a b --url https://x", "update a b --kind NOTIFYING", "remove a b"):
        ended = desk.run(f"ca provisioner webhook {words}")
        assert ended.status == 1
        assert ended.stderr.splitlines()[-1] == (
            "webhooks need remote management, which is not supported by this version of provisor"
        )


def test_the_type_of_certificates_of_a_webhook_is_checked_first(desk: Desk) -> None:
    ended = desk.run("ca provisioner webhook add a b --cert-type FOO")
    assert ended.stderr == "invalid value 'FOO' for flag '--cert-type'; options are ALL, X509, and SSH\n"


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


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"type": "JWK"}, "provisioner key cannot be empty"),
        ({"type": "JWK", "key": {"kty": "EC"}}, "error initializing provisioner b: "),
        ({"type": "X5C"}, "provisioner root(s) cannot be empty"),
        ({"type": "x5c", "roots": "anVuaw=="}, "provisioner root(s) cannot be empty"),
        ({"type": "nebula", "roots": "anVuaw=="}, "provisioner root(s) cannot be empty"),
        ({"type": "k8ssa", "publicKeys": "anVuaw=="}, "cannot be initialized without pub keys"),
        ({"type": "azure"}, "provisioner tenantId cannot be empty"),
        ({"type": "oidc", "clientID": "c"}, "configurationEndpoint cannot be empty"),
        ({"type": "oidc", "configurationEndpoint": "https://x"}, "clientID cannot be empty"),
        ({"type": "scep", "minimumPublicKeyLength": 2049}, "2049 bits is not exactly divisible by 8"),
        ({"type": "scep", "decrypterKey": "pkcs11:id=1"}, "failed initializing kms: unsupported kms type 'pkcs11'"),
        ({"type": "scep", "decrypterKey": "x"}, "failed parsing decrypter key: error parsing x: scheme is missing"),
        ({"type": "scep", "decrypterKey": "softkms:path=/nofile"}, "failed creating decrypter: key not found"),
    ],
)
def test_an_entry_that_no_ca_could_use_is_not_written_again(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, entry: Mapping[str, Any], text: str
) -> None:
    Server(monkeypatch, 404)
    authority = document(desk)["authority"]
    authority["provisioners"].append({**entry, "name": "b"})
    change(desk, {"authority": authority})
    ended = desk.run("ca provisioner update b")
    assert ended.status == 1
    assert "error updating provisioner: error initializing provisioner b: " in ended.stderr
    assert text in ended.stderr
    assert desk.run("ca provisioner remove b").status == 0
