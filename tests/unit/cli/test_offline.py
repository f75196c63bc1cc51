"""`--offline`: everything a running CA does, by its ca.json."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provisor.cli.main import run
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.storage.locate import WriterLock

Command = Callable[..., str]
PASSWORD = ("--password-file", "pw")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Path:
    """$STEPPATH of a new CA that does not run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    Path("pw").write_text("capassword\n")
    words = "ca init --name Lab --dns ca.test --address :9443 --provisioner you --password-file pw"
    assert run(words.split()) == 0
    capsys.readouterr()
    return tmp_path / "step"


@pytest.fixture
def good(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def do(*words: str) -> str:
        status = run(words)
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.err

    return do


@pytest.fixture
def bad(folder: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    def do(*words: str) -> str:
        status = run(words)
        captured = capsys.readouterr()
        assert status == 1, captured.out
        return captured.err

    return do


def leaf(path: str = "a.crt") -> Certificate:
    return parse_certificate(parse_certificates(Path(path).read_bytes())[0])


def test_a_certificate_lives_its_whole_life_without_a_server(folder: Path, good: Command, bad: Command) -> None:
    said = good("ca", "certificate", "a.test", "a.crt", "a.key", "--offline", "--not-after", "1h", *PASSWORD)
    assert said.splitlines()[1:] == ["✔ Certificate: a.crt", "✔ Private Key: a.key"]
    chain = [parse_certificate(der) for der in parse_certificates(Path("a.crt").read_bytes())]
    assert is_issued_by(chain[0], chain[1])
    serials = [leaf().serial]
    for words in (("renew",), ("renew", "--mtls=false"), ("rekey",)):
        good("ca", words[0], "a.crt", "a.key", "-f", "--offline", *PASSWORD, *words[1:])
        serials.append(leaf().serial)
    assert len(set(serials)) == 4
    assert leaf().not_after < datetime.now(UTC) + timedelta(minutes=62)


def test_a_revoked_certificate_stays_revoked(
    folder: Path, good: Command, bad: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisor.cli.prompt.ask_password", lambda label, **_: "capassword")
    good("ca", "certificate", "a.test", "a.crt", "a.key", "--offline", *PASSWORD)
    said = good("ca", "revoke", "--cert", "a.crt", "--key", "a.key", "--offline")
    assert said == f"Certificate with Serial Number {leaf().serial} has been revoked.\n"
    assert "is already revoked" in bad("ca", "revoke", str(leaf().serial), "--offline")
    assert "lacked necessary authorization" in bad("ca", "renew", "a.crt", "a.key", "-f", "--offline", *PASSWORD)


def test_a_request_is_signed(folder: Path, good: Command) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    from provisor.client.csr import csr_pem, make_csr
    from provisor.core.names import classify_sans

    request = make_csr(ec.generate_private_key(ec.SECP256R1()), "b.test", classify_sans(["b.test", "c.test"]))
    Path("b.csr").write_text(csr_pem(request))
    good("ca", "sign", "b.csr", "b.crt", "--offline", *PASSWORD)
    assert [name.value for name in leaf("b.crt").names] == ["b.test", "c.test"]


def test_a_server_on_the_same_database_is_in_the_way(folder: Path, good: Command, bad: Command) -> None:
    good("ca", "certificate", "a.test", "a.crt", "a.key", "--offline", *PASSWORD)
    lock = WriterLock(folder / "db" / "provisor.db")
    try:
        said = bad("ca", "renew", "a.crt", "a.key", "-f", "--offline", *PASSWORD)
    finally:
        lock.release()
    assert "is running" in said
    assert "leave the flag --offline out" in said
    good("ca", "renew", "a.crt", "a.key", "-f", "--offline", *PASSWORD)


@pytest.mark.parametrize(
    ("words", "fault"),
    [
        (("certificate", "a", "x.crt", "x.key", "--offline", "--token", "t"), "incompatible with '--token'"),
        (("sign", "x.csr", "x.crt", "--offline", "--token", "t"), "incompatible with '--token'"),
        (("revoke", "1", "--offline", "--token", "t"), "incompatible with '--token'"),
        (("certificate", "a", "x.crt", "x.key", "--offline", "--password-file", "bad"), "password incorrect"),
        (("certificate", "a", "x.crt", "x.key", "--offline", "--ca-config", "none.json"), "no such file"),
        (("certificate", "a", "x.crt", "x.key", "--offline", *PASSWORD, "--provisioner", "q"), "invalid value 'q'"),
        (("certificate", "a", "x.crt", "x.key", "--offline", *PASSWORD, "--not-after", "99h"), "was forbidden"),
    ],
)
def test_a_refusal_writes_nothing(folder: Path, bad: Command, words: tuple[str, ...], fault: str) -> None:
    Path("bad").write_text("wrong")
    assert fault in bad("ca", *words)
    assert not Path("x.crt").exists()
    assert not Path("x.key").exists()


def test_acme_needs_a_server(folder: Path, bad: Command) -> None:
    import json

    config = folder / "config" / "ca.json"
    document = json.loads(config.read_text())
    document["authority"]["provisioners"].append({"type": "ACME", "name": "acme"})
    config.write_text(json.dumps(document))
    said = bad("ca", "certificate", "a", "x.crt", "x.key", "--offline", *PASSWORD, "--provisioner", "acme")
    assert said == "✔ Provisioner: acme (ACME)\noffline mode and ACME are mutually exclusive\n"
