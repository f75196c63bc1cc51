from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from provisor.cli import truststore
from provisor.cli.exits import CommandError
from provisor.cli.main import run
from provisor.cli.truststore import TrustStore
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from support.certificates import write_certificate
from support.fake_ca import FakeCA
from support.peers import ThrowawayPKI


@pytest.fixture
def root(tmp_path: Path) -> Certificate:
    pki = ThrowawayPKI(tmp_path)
    write_certificate(pki, tmp_path / "x.crt", tmp_path / "x.key", "My Root/1", ends_in=timedelta(hours=1))
    return parse_certificate(parse_certificates((tmp_path / "x.crt").read_bytes())[0])


def store(tmp_path: Path, *update: str) -> TrustStore:
    folder = tmp_path / "anchors"
    folder.mkdir(exist_ok=True)
    return TrustStore(folder, ".crt", update or ("true",))


def test_a_root_comes_and_goes(tmp_path: Path, root: Certificate) -> None:
    stores = (TrustStore(tmp_path / "none", ".pem", ("false",)), store(tmp_path, "touch", str(tmp_path / "updated")))
    truststore.install(root, stores=stores)
    place = tmp_path / "anchors" / f"My_Root_1_{root.serial}.crt"
    assert parse_certificates(place.read_bytes()) == (root.der,)
    assert place.stat().st_mode & 0o777 == 0o644
    assert (tmp_path / "updated").exists()
    truststore.uninstall(root, stores=stores)
    assert not place.exists()
    truststore.uninstall(root, stores=stores)


@pytest.mark.parametrize(
    ("update", "text"),
    [
        (("sh", "-c", "echo why >&2; exit 3"), "exit status 3: why"),
        (("no-such-program",), "failed to execute no-such-program: no such file or directory"),
    ],
)
def test_a_failure_says_why(tmp_path: Path, root: Certificate, update: tuple[str, ...], text: str) -> None:
    with pytest.raises(CommandError) as raised:
        truststore.install(root, stores=(store(tmp_path, *update),))
    assert text in raised.value.message


def test_a_system_without_such_a_folder_is_told(root: Certificate) -> None:
    with pytest.raises(CommandError, match="no folder for trusted certificates"):
        truststore.install(root, stores=())


def test_bootstrap_installs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    stores = (store(tmp_path),)
    monkeypatch.setattr(truststore, "system_store", lambda _: stores[0])
    (tmp_path / "ca").mkdir()
    with FakeCA(tmp_path / "ca") as ca:
        words = ["ca", "bootstrap", "--ca-url", ca.url, "--fingerprint", ca.pki.fingerprint, "--install"]
        assert run(words) == 0
    assert capsys.readouterr().err.splitlines()[-1] == (
        "Installing the root certificate in the system truststore... done."
    )
    (installed,) = (tmp_path / "anchors").iterdir()
    assert parse_certificates(installed.read_bytes()) == parse_certificates(ca.pki.root_pem)
