"""`certificate install` and `uninstall`: which stores are changed, by which programs, and what is refused."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from provisor.cli import truststore
from provisor.cli.certificates import java_store, nss_store
from provisor.cli.exits import CommandError
from provisor.cli.truststore import TrustStore
from support.command_line import Desk


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    """With root.crt, and a system whose store is the folder anchors."""
    desk = Desk(tmp_path, monkeypatch, capsys)
    anchors = tmp_path / "anchors"
    anchors.mkdir()
    stores = (TrustStore(anchors, ".crt", ("touch", str(tmp_path / "updated"))),)
    monkeypatch.setattr(truststore, "STORES", stores)
    monkeypatch.setattr(java_store, "_DEBIAN", str(tmp_path / "none"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    assert desk.run("certificate create Root root.crt root.key --profile root-ca --no-password --insecure").status == 0
    return desk


def anchors(desk: Desk) -> list[str]:
    return [path.name for path in (desk.cwd.parent / "anchors").iterdir()]


def test_the_system_store_gets_the_root_and_loses_it(desk: Desk) -> None:
    ended = desk.run("certificate install root.crt")
    assert ended.stdout.startswith(
        "Certificate root.crt has been installed.\nX.509v3 Root CA Certificate (ECDSA P-256)"
    )
    (name,) = anchors(desk)
    assert name.startswith("Root_")
    assert (desk.cwd.parent / "anchors" / name).read_bytes() == (desk.cwd / "root.crt").read_bytes()
    assert (desk.cwd.parent / "updated").exists()
    ended = desk.run("certificate uninstall root.crt")
    assert ended.stdout.startswith("Certificate root.crt has been removed.\n")
    assert anchors(desk) == []


def test_without_the_system_its_store_is_left_alone(desk: Desk) -> None:
    assert desk.run("certificate install root.crt --no-system").status == 0
    assert anchors(desk) == []


@pytest.mark.parametrize("verb", ["install", "uninstall"])
@pytest.mark.parametrize("profile", ["self-signed --subtle", "intermediate-ca --ca root.crt --ca-key root.key"])
def test_only_roots_are_taken(desk: Desk, verb: str, profile: str) -> None:
    desk.run(f"certificate create x x.crt x.key --profile {profile} --no-password --insecure")
    ended = desk.run(f"certificate {verb} x.crt")
    assert (ended.status, ended.stderr) == (1, "certificate x.crt is not a root CA\n")
    assert anchors(desk) == []


def test_a_store_that_was_asked_for_and_is_not_there_is_an_error(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(desk.cwd))
    ended = desk.run("certificate install root.crt --java --no-system")
    assert (ended.status, ended.stdout) == (1, "")
    assert "no Java" in ended.stderr
    ended = desk.run("certificate install root.crt --firefox --no-system")
    assert (ended.status, ended.stdout) == (1, "")
    assert "no Firefox profile" in ended.stderr


def test_all_takes_what_is_there_and_mentions_the_rest(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(desk.cwd))
    ended = desk.run("certificate install root.crt --all --no-system")
    assert ended.status == 0
    assert "no Java" in ended.stderr
    assert "no Firefox profile" in ended.stderr


def test_java_gets_the_root_and_loses_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    keytool = shutil.which("keytool")
    if keytool is None:
        pytest.skip("keytool is not installed")
    home = desk.cwd.parent / "java"
    for folder in ("bin", "lib/security"):
        (home / folder).mkdir(parents=True)
    (home / "bin" / "keytool").symlink_to(keytool)
    cacerts = home / "lib" / "security" / "cacerts"
    desk.run("certificate create Other other.crt other.key --profile root-ca --no-password --insecure")
    made = [keytool, "-importcert", "-noprompt", "-keystore", str(cacerts), "-storepass", "changeit", "-alias", "other"]
    subprocess.run([*made, "-file", "other.crt"], check=True, capture_output=True, timeout=60)
    monkeypatch.setenv("JAVA_HOME", str(home))

    def entries() -> str:
        words = [keytool, "-list", "-keystore", str(cacerts), "-storepass", "changeit"]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    for _ in range(2):
        ended = desk.run("certificate install root.crt --java --no-system --prefix lab")
        assert (ended.status, ended.stderr) == (0, "")
        assert "Your keystore contains 2 entries" in entries()
        assert "\nlab" in entries()
    for _ in range(2):
        assert desk.run("certificate uninstall root.crt --java --no-system --prefix lab").status == 0
        assert "Your keystore contains 1 entry" in entries()


def test_firefox_gets_the_root_and_loses_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    certutil = shutil.which("certutil")
    if certutil is None:
        pytest.skip("certutil is not installed")
    home = desk.cwd.parent / "home"
    profiles = [home / ".mozilla/firefox/abc.default", home / ".pki/nssdb"]
    for profile in profiles:
        profile.mkdir(parents=True)
        subprocess.run([certutil, "-N", "-d", f"sql:{profile}", "--empty-password"], check=True, timeout=60)

    def trust(profile: Path) -> str:
        words = [certutil, "-L", "-d", f"sql:{profile}"]
        return subprocess.run(words, check=True, capture_output=True, text=True, timeout=60).stdout

    assert desk.run("certificate install root.crt --firefox --no-system").status == 0
    for profile in profiles:
        assert "Root " in trust(profile)
        assert "C,," in trust(profile)
    for _ in range(2):
        assert desk.run("certificate uninstall root.crt --firefox --no-system").status == 0
        assert not any("Root " in trust(profile) for profile in profiles)


def test_a_missing_certutil_is_named(tmp_path: Path) -> None:
    profile = tmp_path / ".mozilla/firefox/abc"
    profile.mkdir(parents=True)
    (profile / "cert8.db").touch()
    with pytest.raises(CommandError, match="libnss3-tools"):
        nss_store.find_firefox(tmp_path, {"PATH": str(tmp_path)})


def test_a_program_that_fails_is_told_with_its_last_words(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    home = desk.cwd.parent / "java"
    for folder in ("bin", "lib/security"):
        (home / folder).mkdir(parents=True)
    keytool = home / "bin" / "keytool"
    keytool.write_text("#!/bin/sh\necho broken store >&2\nexit 3\n")
    keytool.chmod(0o755)
    (home / "lib/security/cacerts").touch()
    monkeypatch.setenv("JAVA_HOME", str(home))
    ended = desk.run("certificate install root.crt --java --no-system")
    assert (ended.status, ended.stdout) == (1, "")
    assert ended.stderr == f"failed to execute {keytool}: exit status 3: broken store\n"
