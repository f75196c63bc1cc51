"""The client of other people's programs against the real step-ca, and against Provisor as it runs; the same tests."""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from provisor import (
    CAError,
    Certificate,
    Client,
    Denied,
    NotFound,
    ProvisionerKey,
    Unauthorized,
    Unreachable,
    WrongPassword,
)
from provisor.client.csr import csr_pem, generate_key, make_csr
from provisor.core.names import classify_sans
from support.peers import PASSWORD, RealStepCA, jwk_provisioner, require_peer
from support.server import RunningProvisor

NAME = "you@smallstep.com"
CLAIMS = {"minTLSCertDuration": "1s", "allowRenewalAfterExpiry": True}


class Side:
    """One of the two CAs."""

    def __init__(self, running: RealStepCA | RunningProvisor) -> None:
        self.running = running
        self.url = running.url
        self.fingerprint = running.pki.fingerprint

    @property
    def folder(self) -> Path:
        return self.running.folder


@pytest.fixture(scope="module", params=[pytest.param("step-ca", marks=pytest.mark.peer), "provisor"])
def side(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Side]:
    folder = tmp_path_factory.mktemp("ca")
    entry = jwk_provisioner(NAME, claims=CLAIMS)
    if request.param == "step-ca":
        with RealStepCA(folder, [entry]) as theirs:
            yield Side(theirs)
    else:
        with RunningProvisor(folder, settings={"authority": {"provisioners": [entry]}}, workers=1) as ours:
            yield Side(ours)


@pytest.fixture
def client(side: Side) -> Iterator[Client]:
    with Client.bootstrap(side.url, side.fingerprint) as found:
        yield found


@pytest.fixture
def key(client: Client) -> ProvisionerKey:
    return client.provisioner_key(NAME, PASSWORD)


def test_what_it_tells_everybody(side: Side, client: Client) -> None:
    assert client.health() == "ok"
    assert client.version()
    assert client.roots() == client.federation() == (client.root_pem,)
    (entry,) = client.provisioners()
    assert (entry["type"], entry["name"]) == ("JWK", NAME)
    with pytest.raises(NotFound):
        Client.bootstrap(side.url, "0" * 64)


def test_the_key_is_opened_with_its_password(client: Client) -> None:
    with pytest.raises(WrongPassword):
        client.provisioner_key(NAME, "wrong")
    with pytest.raises(NotFound):
        client.provisioner_key("absent", PASSWORD)


def test_a_certificate_lives_its_whole_life(client: Client, key: ProvisionerKey) -> None:
    first = client.issue(["web.internal", "10.0.0.1", "::1", "ops@web.internal"], key, not_after=timedelta(hours=2))
    renewed = client.renew(first)
    rekeyed = client.rekey(renewed)
    assert len({each.serial for each in (first, renewed, rekeyed)}) == 3
    assert first.names == renewed.names == rekeyed.names
    assert first.key_pem == renewed.key_pem != rekeyed.key_pem
    assert timedelta(hours=2) <= first.not_after - first.not_before <= timedelta(hours=2, minutes=2)
    client.revoke(rekeyed, reason="over", reason_code=5)
    with pytest.raises(Unauthorized):
        client.renew(rekeyed)
    client.revoke(renewed.serial, key)
    with pytest.raises(Unauthorized):
        client.renew(renewed)


def test_tokens_and_requests(client: Client, key: ProvisionerKey) -> None:
    csr = csr_pem(make_csr(generate_key(), "a.test", classify_sans(["a.test"])))
    assert client.sign(csr, key).names == ("a.test",)
    token = client.token("a.test", key)
    assert client.sign(csr, token).names == ("a.test",)
    with pytest.raises(Unauthorized):
        client.sign(csr, token)
    with pytest.raises(Denied):
        client.sign(csr, client.token("b.test", key))
    bound = client.token("a.test", key, csr=csr)
    with pytest.raises(CAError):
        client.issue("a.test", bound)
    with pytest.raises(Denied):
        client.issue("a.test", key, not_after=timedelta(days=30))


def test_an_expired_certificate_is_renewed(client: Client, key: ProvisionerKey) -> None:
    certificate = client.issue("a.test", key, not_after=timedelta(seconds=1))
    time.sleep(2.1)  # by the clock of a process that nobody can set
    assert client.renew(certificate).serial != certificate.serial


def test_it_renews_itself(client: Client, key: ProvisionerKey, tmp_path: Path) -> None:
    renewed = threading.Event()
    crt, private = tmp_path / "web.crt", tmp_path / "web.key"
    with client.keep(
        "web.internal",
        key,
        cert_file=crt,
        key_file=private,
        not_after=timedelta(seconds=20),
        on_renew=lambda certificate: renewed.set(),
    ) as web:
        first = web.current
        assert renewed.wait(30)
        assert web.error is None
        assert Certificate.load(crt, private).serial == web.current.serial != first.serial


def test_many_threads(client: Client, key: ProvisionerKey) -> None:
    with ThreadPoolExecutor(6) as threads:
        found = list(threads.map(lambda n: client.renew(client.issue(f"h{n}.test", key)).common_name, range(18)))
    assert found == [f"h{n}.test" for n in range(18)]


@pytest.mark.peer
def test_step_reads_what_is_written(side: Side, client: Client, key: ProvisionerKey, tmp_path: Path) -> None:
    step = str(require_peer("step"))
    client.issue("web.internal", key).save(tmp_path / "web.crt", tmp_path / "web.key")
    (tmp_path / "root.crt").write_text(client.root_pem)

    def run(*words: str) -> str:
        return subprocess.run(
            [step, *words],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={"STEPPATH": str(tmp_path), "HOME": str(tmp_path)},
            timeout=60,
            check=True,
        ).stdout

    run("certificate", "verify", "web.crt", "--roots", "root.crt")
    described: Any = json.loads(run("certificate", "inspect", "web.crt", "--format", "json"))
    assert described["extensions"]["subject_alt_name"]["dns_names"] == ["web.internal"]
    run("ca", "renew", "--force", "--ca-url", side.url, "--root", "root.crt", "web.crt", "web.key")
    # and the reverse: what step has renewed is taken up
    with client.keep("web.internal", cert_file=tmp_path / "web.crt", key_file=tmp_path / "web.key") as web:
        assert web.renew_now().names == ("web.internal",)


@pytest.mark.peer
def test_step_made_the_key(client: Client, side: Side, tmp_path: Path) -> None:
    """Each form in which `step` keeps a key: PEM and JWK, plain and under a password."""
    step = str(require_peer("step"))
    (tmp_path / "pw").write_text(PASSWORD)

    def run(*words: str) -> None:
        subprocess.run(
            [step, *words],
            cwd=tmp_path,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env={"STEPPATH": str(tmp_path), "HOME": str(tmp_path)},
            timeout=60,
            check=True,
        )

    run("crypto", "jwk", "create", "pub.json", "plain.json", "--no-password", "--insecure", "--force")
    run("crypto", "jwk", "create", "pub2.json", "locked.json", "--password-file", "pw", "--force")
    run("crypto", "keypair", "pub.pem", "plain.pem", "--no-password", "--insecure", "--force")
    run("crypto", "keypair", "pub2.pem", "locked.pem", "--password-file", "pw", "--force")
    for name in ("plain.json", "locked.json", "plain.pem", "locked.pem"):
        key = ProvisionerKey.load(NAME, tmp_path / name, PASSWORD)
        with pytest.raises(Unauthorized):  # read well, and not one of this CA
            client.issue("a.test", key)


def test_nobody_there_is_said_so(side: Side) -> None:
    with Client(side.url.rpartition(":")[0] + ":1", side.running.pki.root_pem) as nobody, pytest.raises(Unreachable):
        nobody.health()
