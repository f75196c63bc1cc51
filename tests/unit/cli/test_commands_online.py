"""Commands against a CA in this process: what the recordings do not show."""

from __future__ import annotations

import base64
import json
import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from provisor.cli import daemon
from provisor.cli.commands.ca_revoke import parse_serial
from provisor.cli.exits import CommandError
from provisor.cli.main import run
from provisor.core.durations import Duration
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from support.fake_ca import FakeCA, send
from support.peers import PASSWORD, jwk_provisioner

Command = Callable[..., str]


@pytest.fixture
def ca(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeCA]:
    folder, cwd = tmp_path / "ca", tmp_path / "cwd"
    folder.mkdir()
    cwd.mkdir()
    monkeypatch.chdir(cwd)
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    (cwd / "pw").write_text(f"{PASSWORD}\n")
    with FakeCA(folder) as running:
        assert run(["ca", "bootstrap", "--ca-url", running.url, "--fingerprint", running.pki.fingerprint]) == 0
        running.seen.clear()
        yield running


@pytest.fixture
def good(ca: FakeCA, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command that must succeed; its stdout."""
    capsys.readouterr()

    def do(*words: str) -> str:
        status = run(words)
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return do


@pytest.fixture
def bad(ca: FakeCA, capsys: pytest.CaptureFixture[str]) -> Command:
    """Runs a command that must fail with status 1; its stderr without the newline."""
    capsys.readouterr()

    def do(*words: str) -> str:
        status = run(words)
        captured = capsys.readouterr()
        assert status == 1, captured.out
        return captured.err.rstrip("\n")

    return do


PROVISIONER = ("--provisioner", "you@smallstep.com", "--provisioner-password-file", "pw")


def claims_of(token: str) -> dict[str, Any]:
    part = token.strip().split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims


def leaf(path: str) -> Certificate:
    return parse_certificate(parse_certificates(Path(path).read_bytes())[0])


def paths(ca: FakeCA) -> list[str]:
    return [request.path.replace(ca.pki.fingerprint, "SHA") for request in ca.seen]


def test_a_certificate_is_asked_for_in_the_recorded_order(ca: FakeCA, good: Command) -> None:
    good("ca", "certificate", "foo.internal", "foo.crt", "foo.key", *PROVISIONER)
    assert paths(ca)[0] == "/provisioners?limit=100"
    assert paths(ca)[1].endswith("/encrypted-key")
    assert paths(ca)[2:] == ["/root/SHA", "/sign"]
    body = json.loads(ca.seen[-1].body)
    assert sorted(body) == ["csr", "notAfter", "notBefore", "ott"]
    claims = claims_of(body["ott"])
    assert claims["aud"] == f"{ca.url}/1.0/sign"
    assert claims["sha"] == ca.pki.fingerprint
    assert "user" not in claims
    assert leaf("foo.crt").common_name == "foo.internal"
    assert len(parse_certificates(Path("foo.crt").read_bytes())) == 2
    assert Path("foo.key").stat().st_mode & 0o777 == 0o600


def test_template_data_is_sent_as_json_where_it_is_json(ca: FakeCA, good: Command) -> None:
    Path("data.json").write_text('{"a": 1, "s": "file"}')
    good("ca", "certificate", "x", "x.crt", "x.key", *PROVISIONER, "--set", "s=flag", "--set", 'o={"x":[1]}',
         "--set-file", "data.json", "--not-after", "90m")  # fmt: skip
    body = json.loads(ca.seen[-1].body)
    assert body["templateData"] == {"a": 1, "s": "flag", "o": {"x": [1]}}
    assert body["notAfter"] == "1h30m0s"


def test_no_certificate_is_asked_for_that_could_not_be_stored(ca: FakeCA, bad: Command) -> None:
    assert bad("ca", "certificate", "x", "nodir/x.crt", "x.key", *PROVISIONER).endswith(
        "open nodir/x.crt: no such file or directory"
    )
    assert bad("ca", "certificate", "x", "x.crt", "nodir/x.key", *PROVISIONER).endswith("no such file or directory")
    assert "/sign" not in paths(ca)
    assert bad("ca", "certificate", "x", "same", "same", *PROVISIONER) == (
        "the certificate and the key cannot both be written to same"
    )


def test_a_token_needs_neither_address_nor_root(
    ca: FakeCA, good: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    token = good("ca", "token", "foo", *PROVISIONER).strip()
    monkeypatch.setenv("STEPPATH", str(tmp_path / "nothing"))
    assert run(["ca", "certificate", "foo", "foo.crt", "foo.key", "--token", token]) == 0
    assert f"✔ CA: {ca.url}/1.0/sign\n" in capsys.readouterr().err


def test_a_root_that_is_not_the_tokens_is_refused(ca: FakeCA, good: Command, bad: Command) -> None:
    token = good("ca", "token", "foo", *PROVISIONER).strip()
    ca.trouble[f"/root/{ca.pki.fingerprint}"] = lambda handler: send(
        handler, 200, json.dumps({"ca": ca.pki.intermediate_file.read_text()}).encode()
    )
    assert "fingerprint does not match" in bad("ca", "certificate", "foo", "a", "b", "--token", token)
    assert "/sign" not in paths(ca)


@pytest.mark.parametrize(
    ("claims", "message"),
    [
        ({"google": {}}, "tokens of GCP are not supported by this version of provisor"),
        ({"amazon": {}}, "tokens of AWS are not supported by this version of provisor"),
        ({"iss": "kubernetes/serviceaccount"}, "tokens of K8sSA are not supported by this version of provisor"),
        (
            {"aud": "x", "iss": "y", "sub": "z", "exp": 1, "iat": 1},
            "tokens of OIDC are not supported by this version of provisor",
        ),
        ({"sub": "z"}, "token is not supported"),
    ],
)
def test_tokens_of_other_kinds_are_refused_by_name(bad: Command, claims: dict[str, object], message: str) -> None:
    parts = (b'{"alg":"ES256"}', json.dumps(claims).encode(), b"x" * 64)
    token = ".".join(base64.urlsafe_b64encode(part).decode().rstrip("=") for part in parts)
    assert bad("ca", "certificate", "z", "a", "b", "--token", token) == message


@pytest.mark.parametrize(
    ("words", "flag"),
    [
        (("certificate", "x", "a", "b", "--acme", "https://x/directory"), "acme"),
        (("certificate", "x", "a", "b", "--x5c-cert", "c", "--x5c-key", "k"), "x5c-cert"),
        (("certificate", "x", "a", "b", "--attestation-uri", "yubikey:"), "attestation-uri"),
        (("certificate", "x", "a", "b", "--nebula-cert", "c"), "nebula-cert"),
        (("certificate", "x", "a", "b", "--kms", "azurekms:"), "kms"),
        (("token", "x", "--ssh"), "ssh"),
        (("token", "x", "--x5c-cert", "c", "--x5c-key", "k"), "x5c-cert"),
        (("token", "x", "--k8ssa-token-path", "p"), "k8ssa-token-path"),
        (("rekey", "a", "b", "--kms", "x"), "kms"),
        (("bootstrap", "--team", "x"), "team"),
    ],
)
def test_what_is_not_built_is_refused_by_name(bad: Command, words: tuple[str, ...], flag: str) -> None:
    assert bad("ca", *words) == f"flag '--{flag}' is not supported by this version of provisor"


def test_provisioners_of_other_types_are_refused_by_name(ca: FakeCA, bad: Command) -> None:
    ca.provisioners = [{"type": "ACME", "name": "acme"}, {"type": "X5C", "name": "x5c", "roots": ""}]
    assert bad("ca", "token", "x", "--provisioner", "acme").splitlines()[-1] == (
        "provisor ACME provisioners do not support token auth flows"
    )
    assert bad("ca", "certificate", "x", "a", "b", "--provisioner", "acme").splitlines()[-1] == (
        "provisioners of type ACME are not supported by this version of provisor"
    )
    assert bad("ca", "token", "x", "--provisioner", "x5c").splitlines()[-1] == (
        "provisioners of type X5C are not supported by this version of provisor"
    )


def test_the_provisioners_own_password_file_comes_first(ca: FakeCA, good: Command) -> None:
    Path("other").write_text("wrong\n")
    good("ca", "token", "x", *PROVISIONER, "--password-file", "other")


def test_a_password_is_asked_for_three_times(
    ca: FakeCA, bad: Command, good: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = ["one", "two", "three", "", PASSWORD]
    asked: list[str] = []

    def ask(label: str, *, flag: str) -> str:
        asked.append(f"{label} --{flag}")
        return answers.pop(0)

    monkeypatch.setattr("provisor.cli.prompt.ask_password", ask)
    assert bad("ca", "token", "x").endswith("failed to decrypt JWE: invalid password")
    good("ca", "token", "x")
    assert set(asked) == {"Please enter the password to decrypt the provisioner key --provisioner-password-file"}
    assert len(asked) == 5


def test_an_offline_token_asks_nobody(ca: FakeCA, good: Command, bad: Command) -> None:
    config = {"dnsNames": ["ca.internal"], "authority": {"provisioners": ca.provisioners}}
    Path("ca.json").write_text(json.dumps(config))
    claims = claims_of(good("ca", "token", "x", "--offline", "--ca-config", "ca.json", *PROVISIONER))
    assert claims["aud"] == "https://ca.internal/sign"
    assert "user" not in claims
    claims = claims_of(good("ca", "token", "77", "--revoke", "--offline", "--ca-config", "ca.json", *PROVISIONER))
    assert (claims["aud"], claims["sub"]) == ("https://ca.internal/revoke", "77")
    Path("ca.json").write_text("{}")
    assert bad("ca", "token", "x", "--offline", "--ca-config", "ca.json") == (
        "error parsing ca.json: no provisioners found"
    )
    Path("ca.json").write_text("nonsense")
    assert bad("ca", "token", "x", "--offline", "--ca-config", "ca.json").startswith("error parsing ca.json: ")
    assert ca.seen == []


def test_an_offline_provisioner_without_a_key_wants_one(ca: FakeCA, bad: Command) -> None:
    provisioner = jwk_provisioner("nokey", encrypted=False)
    Path("ca.json").write_text(json.dumps({"authority": {"provisioners": [provisioner]}}))
    assert bad("ca", "token", "x", "--offline", "--ca-config", "ca.json").splitlines()[-1] == (
        "provisioner 'nokey' has no encrypted key: use the flag '--key'"
    )


@pytest.mark.parametrize(("words", "same_key"), [(("renew",), True), (("rekey",), False)])
def test_a_certificate_is_replaced(ca: FakeCA, good: Command, words: tuple[str, ...], *, same_key: bool) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    before, key = leaf("foo.crt"), Path("foo.key").read_bytes()
    good("ca", *words, "foo.crt", "foo.key", "--force")
    after = leaf("foo.crt")
    assert after.serial != before.serial
    assert (after.spki == before.spki) is same_key
    assert (Path("foo.key").read_bytes() == key) is same_key
    assert ca.seen[-1].peer == before.serial


def test_a_file_that_may_not_be_replaced_costs_no_renewal(
    ca: FakeCA, good: Command, bad: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    monkeypatch.setattr("provisor.cli.prompt.confirm", lambda label, **_: False)
    assert bad("ca", "renew", "foo.crt", "foo.key") == "file exists"
    assert "/renew" not in paths(ca)


def test_a_key_of_another_certificate_renews_nothing(ca: FakeCA, good: Command, bad: Command) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    good("ca", "certificate", "bar", "bar.crt", "bar.key", *PROVISIONER)
    ca.seen.clear()
    assert bad("ca", "renew", "foo.crt", "bar.key", "-f").endswith("private key does not match public key")
    assert ca.seen == []


def test_a_daemon_renews_retries_and_ends(
    ca: FakeCA, good: Command, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    serials = [leaf("foo.crt").serial]
    waits: list[float] = []
    script: list[tuple[signal.Signals | None, Callable[[], object]]] = [
        (None, lambda: None),
        (signal.SIGHUP, lambda: ca.trouble.update({"/renew": lambda handler: send(handler, 500, b"{}")})),
        (None, ca.trouble.clear),
        (signal.SIGTERM, lambda: None),
    ]

    def wait(self: daemon.Signals, left: daemon.Left) -> signal.Signals | None:
        serials.append(leaf("foo.crt").serial)
        waits.append(left())
        number, change = script.pop(0)
        change()
        return number

    monkeypatch.setattr(daemon.Signals, "wait", wait)
    monkeypatch.setattr(daemon, "jitter", lambda limit: Duration(0))
    assert run(["ca", "renew", "foo.crt", "foo.key", "--daemon"]) == 0
    captured = capsys.readouterr()
    lines = [line.split(" ", 3)[3] for line in captured.out.splitlines()]
    assert lines[0].startswith("first renewal in 1")
    assert [line.split(",")[0] for line in lines[1:]] == ["foo certificate renewed"] * 2
    assert captured.err.startswith("ERROR: ")
    assert len(set(serials)) == 3
    assert 55 < waits[2] < 61


def test_what_follows_a_renewal_is_done(ca: FakeCA, good: Command) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    received: list[int] = []
    before = signal.signal(signal.SIGUSR1, lambda number, frame: received.append(number))
    try:
        Path("pid").write_text(f"{os.getpid()}\n")
        number = str(int(signal.SIGUSR1))
        good("ca", "renew", "foo.crt", "foo.key", "-f", "--pid-file", "pid", "--signal", number, "--exec", "touch done")
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert received == [signal.SIGUSR1]
    assert Path("done").exists()


def test_a_revocation_says_why(ca: FakeCA, good: Command) -> None:
    good("ca", "certificate", "foo", "foo.crt", "foo.key", *PROVISIONER)
    good("ca", "revoke", "--cert", "foo.crt", "--key", "foo.key", "--reason", "lost", "--reasonCode", "Key Compromise")
    body = json.loads(ca.seen[-1].body)
    assert (body["reasonCode"], body["reason"], body["ott"], body["passive"]) == (1, "lost", "", True)
    assert body["serial"] == str(leaf("foo.crt").serial)


def test_a_revocation_by_serial_takes_any_base(ca: FakeCA, good: Command) -> None:
    token = good("ca", "token", "255", "--revoke", *PROVISIONER).strip()
    good("ca", "revoke", "0xFF", "--token", token)
    assert json.loads(ca.seen[-1].body)["serial"] == "255"


@pytest.mark.parametrize(
    ("text", "number"),
    [("10", 10), ("0x1F", 31), ("0b11", 3), ("0o17", 15), ("017", 15), ("1_000", 1000), ("0", 0)],
)
def test_a_serial_number_has_a_base(text: str, number: int) -> None:
    assert parse_serial(text) == number


@pytest.mark.parametrize("text", ["", "12zz", "0b12", "-5", "0x", "1.5", "089", "AB:CD"])
def test_what_is_no_serial_number_is_refused(text: str) -> None:
    with pytest.raises(CommandError, match="is not a valid serial number"):
        parse_serial(text)


def test_the_list_of_provisioners_has_known_members_in_their_order(ca: FakeCA, good: Command) -> None:
    ca.provisioners = [
        {
            "name": "acme",
            "TYPE": "",
            "type": "acme",
            "x": 1,
            "claims": {"maxTLSCertDuration": "24h"},
            "requireEAB": True,
        },
        {"type": "Pigeon", "name": "post"},
        {"type": "SSHPOP", "name": "a<b&c"},
    ]
    assert good("ca", "provisioner", "list") == (
        '[\n   {\n      "type": "acme",\n      "name": "acme",\n      "requireEAB": true,\n'
        '      "claims": {\n         "maxTLSCertDuration": "24h0m0s"\n      }\n   },\n'
        '   {\n      "type": "SSHPOP",\n      "name": "a\\u003cb\\u0026c"\n   }\n]\n'
    )
    ca.provisioners = []
    assert good("ca", "provisioner", "list") == "[]\n"


def test_an_encrypted_key_is_printed_as_it_is(ca: FakeCA, good: Command) -> None:
    provisioner = ca.provisioners[0]
    # A thumbprint may begin with a hyphen, and would then be read as a flag.
    provisioner["key"]["kid"] = kid = f"k{provisioner['key']['kid'][1:]}"
    assert good("ca", "provisioner", "jwe-key", kid) == f"{provisioner['encryptedKey']}\n"


def test_a_bootstrap_keeps_nothing_of_a_wrong_root(ca: FakeCA, bad: Command, tmp_path: Path,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:  # fmt: skip
    monkeypatch.setenv("STEPPATH", str(tmp_path / "fresh"))
    message = bad("ca", "bootstrap", "--ca-url", ca.url, "--fingerprint", "0" * 64)
    assert message.startswith('root certificate with fingerprint "000')
    assert not (tmp_path / "fresh").exists()


def test_a_ca_that_refuses_is_quoted(ca: FakeCA, bad: Command) -> None:
    ca.trouble["/health"] = lambda handler: send(handler, 403, b'{"status":403,"message":"Not you."}')
    assert bad("ca", "health") == "Not you.\nRe-run with STEPDEBUG=1 for more info."


def test_a_bootstrap_over_a_ca_of_this_machine_warns(
    ca: FakeCA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "fresh"))
    (tmp_path / "fresh" / "config").mkdir(parents=True)
    (tmp_path / "fresh" / "config" / "ca.json").write_text("{}")
    words = ("ca", "bootstrap", "--ca-url", ca.url, "--fingerprint", ca.pki.fingerprint)
    assert run(words) == 0
    assert "already configured to connect to an authority" in capsys.readouterr().err
    assert run((*words, "--context", "other")) == 0
    assert "already configured" not in capsys.readouterr().err
