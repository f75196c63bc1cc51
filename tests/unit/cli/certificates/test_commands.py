"""The commands that make certificates: what they write, and that nothing is written when something is wrong."""

from __future__ import annotations

import json
import os
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization.pkcs12 import load_pkcs12

from provisor.cli import prompt
from provisor.core.pem import parse_certificates, parse_private_key
from provisor.core.x509.certificate import Certificate, parse_certificate
from support.command_line import Desk, Ended, tree

PLAIN = "--no-password --insecure"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """With a root and an intermediate."""
    desk = Desk(tmp_path, monkeypatch, capsys)
    succeed(desk, f"certificate create Root root.crt root.key --profile root-ca {PLAIN}")
    succeed(
        desk,
        "certificate create Inter inter.crt inter.key --profile intermediate-ca --ca root.crt --ca-key root.key "
        "--password-file pw",
    )
    return desk


def succeed(desk: Desk, words: str) -> Ended:
    ended = desk.run(words)
    assert ended.status == 0, ended.stderr
    return ended


def read(desk: Desk, name: str) -> list[Certificate]:
    return [parse_certificate(der) for der in parse_certificates((desk.cwd / name).read_bytes())]


LEAF = "--ca inter.crt --ca-key inter.key --ca-password-file pw"


def test_a_leaf_has_its_names_and_a_day(desk: Desk) -> None:
    succeed(desk, f"certificate create web leaf.crt leaf.key {LEAF} {PLAIN} --san web.test --san 10.0.0.1 --bundle")
    leaf, inter = read(desk, "leaf.crt")
    assert [name.value for name in leaf.names] == ["web.test", "10.0.0.1"]
    assert leaf.not_after - leaf.not_before == timedelta(days=1)
    assert leaf.akid == inter.skid
    assert succeed(desk, "certificate verify leaf.crt --roots root.crt --host web.test").stdout == ""


def test_authorities_have_ten_years_and_a_path_length(desk: Desk) -> None:
    (root,), (inter,) = read(desk, "root.crt"), read(desk, "inter.crt")
    assert (root.is_ca, root.path_length, inter.is_ca, inter.path_length) == (True, 1, True, 0)
    assert inter.not_after - inter.not_before == timedelta(days=3650)


def test_a_new_key_is_encrypted_and_nobody_else_can_read_it(desk: Desk) -> None:
    content = (desk.cwd / "inter.key").read_bytes()
    assert b"DEK-Info: AES-256-CBC" in content
    assert parse_private_key(content, b"capassword").public_key() is not None
    assert (desk.cwd / "inter.key").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    "flags",
    [
        f"{LEAF} --ca-key nofile",
        "--ca inter.crt --ca-key inter.key --ca-password-file newpw",
        "--ca inter.crt --ca-key root.key",
        "--ca root.key --ca-key root.key",
        f"{LEAF} --kty RSA --curve P-256",
        f"{LEAF} --not-before 2h --not-after 1h",
        f"{LEAF} --not-after -1h",
        f"{LEAF} --template t.tpl",
        "--template pw --profile leaf",
        "--template pw --ca root.crt",
        "--template pw --csr",
        "--template pw",
        f"{LEAF} --kms pkcs11:x",
        f"{LEAF} --ca-kms pkcs11:x",
        f"{LEAF} --san \u00e9",
    ],
)
def test_nothing_is_written_when_something_is_wrong(desk: Desk, flags: str) -> None:
    before = tree(desk.cwd)
    ended = desk.run(f"certificate create x x.crt x.key {PLAIN} {flags}")
    assert (ended.status, ended.stdout, ended.stderr != "") == (1, "", True)
    assert tree(desk.cwd) == before


def test_no_key_is_left_where_the_certificate_finds_no_place(desk: Desk) -> None:
    before = tree(desk.cwd)
    ended = desk.run(f"certificate create x nodir/x.crt x.key {LEAF} {PLAIN}")
    assert (ended.status, ended.stderr) == (1, "open nodir/x.crt failed: no such file or directory\n")
    assert tree(desk.cwd) == before


def test_a_key_that_is_there_is_kept_when_nobody_can_be_asked(desk: Desk) -> None:
    before = tree(desk.cwd)
    assert desk.run(f"certificate create Root root2.crt root.key --profile root-ca {PLAIN}").status == 1
    assert desk.run(f"certificate create Root root.crt root2.key --profile root-ca {PLAIN}").status == 1
    assert tree(desk.cwd) == before
    succeed(desk, f"certificate create Root root.crt root.key --profile root-ca {PLAIN} --force")


def test_a_password_that_is_empty_is_asked_for_again(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    answers = iter(("", "sesame"))
    monkeypatch.setattr(prompt, "ask_password", lambda label, *, flag: next(answers))
    ended = succeed(desk, "certificate create R r.crt r.key --profile root-ca")
    assert "The password cannot be empty" in ended.stderr
    assert parse_private_key((desk.cwd / "r.key").read_bytes(), b"sesame") is not None


def test_a_small_rsa_key_takes_courage(desk: Desk) -> None:
    small = "certificate create R r.crt r.key --profile root-ca --kty RSA --size 1024"
    assert "requires at least 2048" in desk.run(f"{small} --password-file pw").stderr
    succeed(desk, f"{small} {PLAIN}")
    assert read(desk, "r.crt")[0].key.bits == 1024
    assert "at least 1024" in desk.run(f"{small} {PLAIN} --size 512 --force").stderr


@pytest.mark.parametrize("profile", ["root-ca", "self-signed --subtle"])
def test_a_public_key_cannot_sign_itself(desk: Desk, profile: str) -> None:
    succeed(desk, "certificate key root.crt --out root.pub")
    words = f"certificate create x x.crt --key root.pub --profile {profile}"
    assert desk.run(words).stderr == "flag '--skip-csr-signature' is required with a public key\n"
    assert "needs a private key" in desk.run(f"{words} --skip-csr-signature").stderr


def test_a_public_key_can_be_certified(desk: Desk) -> None:
    succeed(desk, "certificate key root.crt --out root.pub")
    succeed(desk, f"certificate create x x.crt --key root.pub {LEAF} --skip-csr-signature")
    assert read(desk, "x.crt")[0].spki == read(desk, "root.crt")[0].spki


@pytest.mark.parametrize("flag", ["--template=x", "--set=x", "--set-file=x", "--kms=x"])
def test_sign_refuses_by_name_what_is_not_built(desk: Desk, flag: str) -> None:
    ended = desk.run(f"certificate sign x root.crt root.key {flag}")
    assert ended.stderr == f"flag '{flag.partition('=')[0]}' is not supported by this version of provisor\n"


def test_a_request_gets_what_it_asks_for_only_by_the_profile_csr(desk: Desk) -> None:
    succeed(desk, f"certificate create web web.csr web.key --csr {PLAIN} --san a.test")
    signed = succeed(desk, "certificate sign web.csr root.crt root.key --profile csr --bundle").stdout
    leaf, _ = (parse_certificate(der) for der in parse_certificates(signed.encode()))
    assert leaf.key_usage is None
    assert [name.value for name in leaf.names] == ["a.test"]


def test_a_bundle_takes_no_key(desk: Desk) -> None:
    before = tree(desk.cwd)
    ended = desk.run("certificate bundle root.crt root.key out.crt")
    assert (ended.status, ended.stderr) == (1, "could not parse certificate file 'root.key'\n")
    assert tree(desk.cwd) == before


def test_the_other_form_has_the_mode_of_the_first(desk: Desk) -> None:
    os.chmod(desk.cwd / "root.crt", 0o640)
    succeed(desk, "certificate format root.crt --out root.der")
    assert (desk.cwd / "root.der").stat().st_mode & 0o777 == 0o640
    succeed(desk, "certificate format root.der --out again.crt")
    assert (desk.cwd / "again.crt").read_bytes() == (desk.cwd / "root.crt").read_bytes()


@pytest.mark.parametrize("name", ["pw", "root.key"])
def test_what_is_no_certificate_keeps_its_form(desk: Desk, name: str) -> None:
    assert desk.run(f"certificate format {name} --out x").status == 1
    assert not (desk.cwd / "x").exists()


@pytest.mark.parametrize("legacy", ["", "--legacy"])
def test_a_p12_file_holds_key_certificate_and_authorities(desk: Desk, legacy: str) -> None:
    succeed(desk, f"certificate create web leaf.crt leaf.key {LEAF} {PLAIN} --bundle")
    succeed(desk, f"certificate p12 out.p12 leaf.crt leaf.key --ca root.crt --password-file pw {legacy}")
    found = load_pkcs12((desk.cwd / "out.p12").read_bytes(), b"capassword")
    assert found.cert is not None
    assert found.key is not None
    subjects = [one.certificate.subject.rfc4514_string() for one in found.additional_certs]
    assert subjects == ["CN=Root", "CN=Inter"]


def test_a_p12_file_without_a_password_takes_courage(desk: Desk) -> None:
    assert desk.run("certificate p12 out.p12 --ca root.crt --no-password").status == 1
    succeed(desk, f"certificate p12 out.p12 --ca root.crt {PLAIN}")
    assert load_pkcs12((desk.cwd / "out.p12").read_bytes(), None).additional_certs


def test_the_key_of_another_certificate_is_not_packed(desk: Desk) -> None:
    ended = desk.run("certificate p12 out.p12 inter.crt root.key --password-file pw")
    assert (ended.status, (desk.cwd / "out.p12").exists()) == (1, False)
    assert ended.stderr == "the key in root.key does not belong to the certificate in inter.crt\n"


@pytest.mark.parametrize(
    ("flags", "due"),
    [
        ("", False),
        ("--expires-in 0%", True),
        ("--expires-in 100%", False),
        ("--expires-in 87601h", True),
        ("--expires-in 1h", False),
        ("--bundle", False),
    ],
)
def test_the_exit_status_says_whether_to_renew(desk: Desk, flags: str, due: bool) -> None:
    ended = desk.run(f"certificate needs-renewal root.crt --json {flags}")
    assert ended.status == (0 if due else 1)
    shown = json.loads(ended.stdout)
    assert shown["needsRenewal"] is due
    assert shown["certificates"][0]["subject"] == "Root"


@pytest.mark.parametrize(
    ("words", "status"),
    [("nofile", 2), ("pw", 255), ("root.key", 255), ("", 255), ("a b", 255), ("root.crt --expires-in 1", 255)],
)
def test_trouble_is_no_answer(desk: Desk, words: str, status: int) -> None:
    ended = desk.run(f"certificate needs-renewal {words}")
    assert (ended.status, ended.stdout, ended.stderr != "") == (status, "", True)


def test_fingerprints_are_there_for_programs_too(desk: Desk) -> None:
    (shown,) = json.loads(succeed(desk, "certificate fingerprint root.crt --json").stdout)
    assert shown == {
        "kind": "certificate",
        "subject": "CN=Root",
        "fingerprint": read(desk, "root.crt")[0].fingerprint,
    }
    assert json.loads(succeed(desk, "certificate inspect root.crt --json").stdout)["subject_dn"] == "CN=Root"
