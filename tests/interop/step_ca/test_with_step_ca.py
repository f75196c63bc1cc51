"""Provisor's program and library against the real step-ca, and side by side with the real `step`."""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from provisor.client.ca import CAClient
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from support.peers import PASSWORD, REPOSITORY, RealStepCA, jwk_provisioner, require_peer

pytestmark = pytest.mark.peer

PROVISIONER = ("--provisioner", "you@smallstep.com", "--provisioner-password-file", "pw")
Run = Callable[..., subprocess.CompletedProcess[str]]


def every_kind() -> list[Mapping[str, object]]:
    """A provisioner of each type that step-ca loads without asking anybody."""
    claims = {"maxTLSCertDuration": "48h", "enableSSHCA": False, "disableRenewal": False}
    return [
        jwk_provisioner("you@smallstep.com", claims=claims),
        jwk_provisioner("nokey", encrypted=False, options={"x509": {"templateFile": "a<b>&c.tpl"}}),
        {"type": "ACME", "name": "acme", "requireEAB": True, "challenges": ["http-01"], "caaIdentities": ["ca.test"]},
        {"type": "ACME", "name": "plain", "claims": claims},
        {"type": "SSHPOP", "name": "sshpop"},
        {"type": "AWS", "name": "aws", "accounts": ["1"], "disableCustomSANs": True, "instanceAge": "90m"},
        {"type": "AWS", "name": "aws2"},
        {
            "type": "SCEP",
            "name": "scep",
            "challenge": "secret",
            "includeRoot": True,
            "options": {"x509": {}, "ssh": {}},
        },
        {"type": "SCEP", "name": "scep2"},
        {"type": "X5C", "name": "broken"},
    ]


@pytest.fixture(scope="module")
def ca(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RealStepCA]:
    with RealStepCA(tmp_path_factory.mktemp("ca"), every_kind()) as running:
        yield running


@pytest.fixture
def cwd(ca: RealStepCA, tmp_path: Path) -> Path:
    """A folder of its own, with a password file and a $STEPPATH that knows the CA."""
    (tmp_path / "pw").write_text(f"{PASSWORD}\n")
    config = tmp_path / "step" / "config"
    config.mkdir(parents=True)
    shutil.copy(ca.pki.root_file, tmp_path / "root_ca.crt")
    defaults = {"ca-url": ca.url, "fingerprint": ca.fingerprint, "root": str(tmp_path / "root_ca.crt")}
    (config / "defaults.json").write_text(json.dumps(defaults))
    return tmp_path


def environment(cwd: Path) -> dict[str, str]:
    env = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    return env | {"STEPPATH": str(cwd / "step"), "PYTHONPATH": str(REPOSITORY / "src"), "NO_COLOR": "1"}


PROVISOR = (sys.executable, "-c", "from provisor.cli.main import main; main()")


def runner(cwd: Path, *program: str) -> Run:
    def run(*words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*program, *words],
            cwd=cwd,
            env=environment(cwd),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            start_new_session=True,
            timeout=60,
            check=False,
        )

    return run


@pytest.fixture
def ours(cwd: Path) -> Run:
    return runner(cwd, *PROVISOR)


@pytest.fixture
def step(cwd: Path) -> Run:
    return runner(cwd, str(require_peer("step")))


def good(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def leaf(path: Path) -> Certificate:
    return parse_certificate(parse_certificates(path.read_bytes())[0])


def token_parts(token: str) -> tuple[dict[str, Any], dict[str, Any]]:
    header, payload = (
        json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))) for part in token.strip().split(".")[:2]
    )
    for name in ("exp", "nbf", "iat", "jti"):
        payload.pop(name, None)
    return header, payload


def test_a_certificate_lives_its_whole_life(ca: RealStepCA, cwd: Path, ours: Run) -> None:
    shutil.rmtree(cwd / "step")
    good(ours("ca", "bootstrap", "--ca-url", ca.url, "--fingerprint", ca.fingerprint))
    assert good(ours("ca", "health")) == "ok\n"
    token = good(ours("ca", "token", "foo.internal", *PROVISIONER)).strip()
    good(ours("ca", "certificate", "foo.internal", "foo.crt", "foo.key", "--token", token))
    serials = [leaf(cwd / "foo.crt").serial]
    for words in (("renew", "-f"), ("renew", "-f", "--mtls=false"), ("rekey", "-f")):
        good(ours("ca", words[0], "foo.crt", "foo.key", *words[1:]))
        serials.append(leaf(cwd / "foo.crt").serial)
    assert len(set(serials)) == 4
    good(ours("ca", "revoke", "--cert", "foo.crt", "--key", "foo.key"))
    refused = ours("ca", "renew", "foo.crt", "foo.key", "-f")
    assert refused.returncode == 1
    assert "lacked necessary authorization" in refused.stderr


@pytest.mark.parametrize("kind", [("EC", "P-256"), ("EC", "P-384"), ("EC", "P-521"), ("OKP", "Ed25519"), ("RSA", "")])
def test_every_kind_of_key_is_certified_and_renewed(cwd: Path, ours: Run, step: Run, kind: tuple[str, str]) -> None:
    curve = ("--curve", kind[1]) if kind[1] else ()
    good(ours("ca", "certificate", "k", "k.crt", "k.key", *PROVISIONER, "--kty", kind[0], *curve))
    good(ours("ca", "renew", "k.crt", "k.key", "-f"))
    good(ours("ca", "renew", "k.crt", "k.key", "-f", "--mtls=false"))
    good(step("ca", "renew", "k.crt", "k.key", "-f"))


@pytest.mark.parametrize(
    "words",
    [
        ("foo",),
        ("foo", "--san", "a.b", "--san", "10.0.0.1", "--san", "x@y.z", "--san", "https://u.r/i"),
        ("foo", "--set", "ou=Eng", "--set", "n=1", "--set", 'o={"x":[1]}'),
        ("1234", "--revoke"),
        ("foo", "--rekey"),
        ("foo", "--cnf", "abc"),
        ("foo", "--not-before", "10m", "--not-after", "20m"),
    ],
)
def test_both_programs_make_the_same_token(ours: Run, step: Run, words: tuple[str, ...]) -> None:
    mine = good(ours("ca", "token", *words, *PROVISIONER))
    theirs = good(step("ca", "token", *words, *PROVISIONER))
    assert token_parts(mine) == token_parts(theirs)


def test_a_token_of_one_program_serves_the_other(cwd: Path, ours: Run, step: Run) -> None:
    mine = good(ours("ca", "token", "a.internal", *PROVISIONER)).strip()
    theirs = good(step("ca", "token", "b.internal", *PROVISIONER)).strip()
    good(step("ca", "certificate", "a.internal", "a.crt", "a.key", "--token", mine))
    good(ours("ca", "certificate", "b.internal", "b.crt", "b.key", "--token", theirs))
    good(ours("ca", "renew", "a.crt", "a.key", "-f"))
    good(step("ca", "renew", "b.crt", "b.key", "-f"))


def test_a_request_of_the_other_program_is_signed_with_a_token_bound_to_it(cwd: Path, ours: Run, step: Run) -> None:
    good(step("certificate", "create", "c.internal", "c.csr", "c.key", "--csr", "--no-password", "--insecure"))
    good(ours("ca", "sign", "c.csr", "c.crt", *PROVISIONER))
    token = good(ours("ca", "token", "c.internal", "--cnf-file", "c.csr", *PROVISIONER)).strip()
    good(step("ca", "sign", "c.csr", "c2.crt", "--token", token))
    assert leaf(cwd / "c2.crt").common_name == "c.internal"


@pytest.mark.parametrize(
    "words",
    [
        ("ca", "provisioner", "list"),
        ("ca", "provisioner", "jwe-key", "nope"),
        ("ca", "roots"),
        ("ca", "federation"),
        ("ca", "root"),
        ("ca", "health", "--root", "pw"),
        ("ca", "certificate", "x", "x.crt", "x.key", *PROVISIONER, "--not-after", "72h"),
    ],
)
def test_both_programs_say_the_same(ours: Run, step: Run, words: tuple[str, ...]) -> None:
    mine, theirs = ours(*words), step(*words)
    assert (mine.returncode, mine.stdout) == (theirs.returncode, theirs.stdout)
    assert mine.stderr == _plain(theirs.stderr)


def _plain(text: str) -> str:
    from support.terminal import plain

    return plain(text)


def test_a_daemon_renews_until_it_is_told_to_end(cwd: Path, ours: Run) -> None:
    good(ours("ca", "certificate", "d.internal", "d.crt", "d.key", *PROVISIONER))
    first = leaf(cwd / "d.crt").serial
    words = ("ca", "renew", "d.crt", "d.key", "--daemon", "--renew-period", "1s")
    with subprocess.Popen([*PROVISOR, *words], cwd=cwd, env=environment(cwd), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        lines = [run.stdout.readline() for _ in range(3)]
        run.send_signal(signal.SIGTERM)
        assert run.wait(10) == 0
    assert "first renewal in 1s" in lines[0]
    assert "d.internal certificate renewed, next in 1s" in lines[2]
    assert leaf(cwd / "d.crt").serial != first


def test_a_hangup_renews_at_once(cwd: Path, ours: Run) -> None:
    good(ours("ca", "certificate", "d.internal", "d.crt", "d.key", *PROVISIONER))
    words = ("ca", "renew", "d.crt", "d.key", "--daemon")
    with subprocess.Popen([*PROVISOR, *words], cwd=cwd, env=environment(cwd), stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        assert "first renewal in 1" in run.stdout.readline()
        started = time.monotonic()
        run.send_signal(signal.SIGHUP)
        assert "certificate renewed, next in 1" in run.stdout.readline()
        assert time.monotonic() - started < 10
        run.send_signal(signal.SIGINT)
        assert run.wait(10) == 0


def test_the_library_reads_all_pages(tmp_path: Path) -> None:
    many: list[Mapping[str, object]] = [{"type": "ACME", "name": f"acme{number}"} for number in range(205)]
    with RealStepCA(tmp_path, many) as running, CAClient(running.url, running.pki.root_pem) as client:
        assert [one["name"] for one in client.provisioners()] == [one["name"] for one in many]
        assert client.health().status == "ok"
        assert client.roots() == (running.pki.root_pem.decode(),)
