"""What `provisor certificate` writes is read by the programs of others, and what they write by it."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from support.command_line import Desk
from support.peers import REPOSITORY, require_peer

KEYS = {"ec": "--kty EC --curve P-384", "rsa": "--kty RSA", "ed": "--kty OKP"}


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)


def tool(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def run(desk: Desk, *words: str) -> str:
    done = subprocess.run(words, cwd=desk.cwd, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def ours(desk: Desk, *lines: str) -> str:
    for line in lines:
        ended = desk.run(f"certificate {line}")
        assert ended.status == 0, ended.stderr
    return ended.stdout


def make_chain(desk: Desk, kind: str) -> None:
    """root, inter and leaf, whose keys are of one kind; leaf.crt has the intermediate too."""
    plain = f"--no-password --insecure {KEYS[kind]}"
    ours(
        desk,
        f"create Root root.crt root.key --profile root-ca {plain}",
        f"create Inter inter.crt inter.key --profile intermediate-ca --ca root.crt --ca-key root.key {plain}",
        f"create web leaf.crt leaf.key --ca inter.crt --ca-key inter.key --san web.test --san 10.0.0.1 "
        f"--bundle {plain}",
        f"create req req.csr req.key --csr --san a@b.test {plain}",
    )
    (desk.cwd / "signed.crt").write_text(ours(desk, "sign req.csr inter.crt inter.key --bundle"))
    ours(
        desk,
        "p12 leaf.p12 leaf.crt leaf.key --ca root.crt --password-file pw",
        "p12 trust.p12 --ca root.crt --password-file pw",
    )


@pytest.mark.parametrize("kind", KEYS)
def test_openssl_reads_everything(desk: Desk, kind: str) -> None:
    openssl = tool("openssl")
    make_chain(desk, kind)
    for name in ("leaf", "signed"):
        verify = [openssl, "verify", "-x509_strict", "-CAfile", "root.crt", "-untrusted", "inter.crt"]
        assert "OK" in run(desk, *verify, f"{name}.crt")
    assert "OK" in run(desk, openssl, "req", "-in", "req.csr", "-noout", "-verify")
    shown = run(desk, openssl, "pkcs12", "-in", "leaf.p12", "-passin", "pass:capassword", "-nodes", "-info")
    assert shown.count("BEGIN CERTIFICATE") == 3
    assert "MAC: sha256" in shown
    assert shown.count("AES-256-CBC") == 2
    for name in ("leaf", "req"):
        assert run(desk, openssl, "pkey", "-in", f"{name}.key", "-noout") == ""


@pytest.mark.parametrize("kind", KEYS)
def test_an_encrypted_key_opens_elsewhere(desk: Desk, kind: str) -> None:
    openssl = tool("openssl")
    ours(desk, f"create Root root.crt root.key --profile root-ca --password-file pw {KEYS[kind]}")
    run(desk, openssl, "pkey", "-in", "root.key", "-passin", "pass:capassword", "-out", "plain.key")
    assert run(desk, openssl, "x509", "-in", "root.crt", "-noout", "-pubkey") == run(
        desk, openssl, "pkey", "-in", "plain.key", "-pubout"
    )


@pytest.mark.parametrize("kind", KEYS)
def test_gnutls_reads_everything(desk: Desk, kind: str) -> None:
    certtool = tool("certtool")
    make_chain(desk, kind)
    chain = run(desk, certtool, "--verify", "--load-ca-certificate", "root.crt", "--infile", "leaf.crt")
    assert "Chain verification output: Verified. The certificate is trusted." in chain
    assert "Self signature: verified" in run(desk, certtool, "--crq-info", "--infile", "req.csr")
    packed = run(desk, certtool, "--p12-info", "--inder", "--infile", "leaf.p12", "--password", "capassword")
    assert packed.count("BEGIN CERTIFICATE") == 3


@pytest.mark.parametrize("kind", KEYS)
def test_java_reads_both_kinds_of_p12(desk: Desk, kind: str) -> None:
    keytool = tool("keytool")
    make_chain(desk, kind)
    options = ["-storepass", "capassword", "-keystore"]
    assert "PrivateKeyEntry" in run(desk, keytool, "-list", *options, "leaf.p12")
    assert "trustedCertEntry" in run(desk, keytool, "-list", *options, "trust.p12")
    assert "CN=web" in run(desk, keytool, "-printcert", "-file", "leaf.crt")


@pytest.mark.parametrize("legacy", [(), ("-legacy",)], ids=["", "legacy"])
def test_a_legacy_p12_needs_the_legacy_switch_and_no_other_does(desk: Desk, legacy: Sequence[str]) -> None:
    openssl = tool("openssl")
    make_chain(desk, "ec")
    flags = "--legacy" if legacy else ""
    ours(desk, f"p12 out.p12 leaf.crt leaf.key --password-file pw {flags}")
    shown = run(desk, openssl, "pkcs12", *legacy, "-in", "out.p12", "-passin", "pass:capassword", "-nodes", "-info")
    assert ("pbeWithSHA1And3-KeyTripleDES-CBC" in shown) is bool(legacy)


@pytest.mark.peer
@pytest.mark.parametrize("kind", KEYS)
def test_step_and_provisor_read_each_other(desk: Desk, kind: str) -> None:
    step = str(require_peer("step"))
    make_chain(desk, kind)
    assert run(desk, step, "certificate", "verify", "leaf.crt", "--roots", "root.crt", "--host", "web.test") == ""
    run(desk, step, "certificate", "sign", "req.csr", "inter.crt", "inter.key")
    flags = ["--no-password", "--insecure", *KEYS[kind].split()]
    run(desk, step, "certificate", "create", "t", "t.csr", "t.key", "--csr", *flags)
    (desk.cwd / "t.crt").write_text(ours(desk, "sign t.csr inter.crt inter.key --bundle"))
    assert ours(desk, "verify t.crt --roots root.crt") == ""
    run(desk, step, "certificate", "create", "CA", "ca.crt", "ca.key", "--profile", "root-ca", "--password-file", "pw")
    ours(desk, "create u u.crt u.key --ca ca.crt --ca-key ca.key --ca-password-file pw --no-password --insecure")
    assert ours(desk, "verify u.crt --roots ca.crt") == ""
    assert run(desk, step, "certificate", "verify", "u.crt", "--roots", "ca.crt") == ""


PROBE = """
mkdir -p "$1/u" "$1/w" && mount -t overlay overlay -o "lowerdir=/etc/ssl,upperdir=$1/u,workdir=$1/w" /etc/ssl
"""
SYSTEM = """
set -e
for folder in /usr/local/share /etc/ssl /etc/ca-certificates; do
  mkdir -p "$1$folder/upper" "$1$folder/work"
  mount -t overlay overlay -o "lowerdir=$folder,upperdir=$1$folder/upper,workdir=$1$folder/work" "$folder"
done
verify() { openssl verify -CApath /etc/ssl/certs root.crt >/dev/null 2>&1 && echo trusted || echo unknown; }
verify; $PROVISOR certificate install root.crt; verify
grep -c "$(sed -n 2p root.crt)" /etc/ssl/certs/ca-certificates.crt
$PROVISOR certificate uninstall root.crt; verify
grep -c "$(sed -n 2p root.crt)" /etc/ssl/certs/ca-certificates.crt || true
find /etc/ssl/certs -xtype l -name 'Own_Root*'
"""


@pytest.mark.slow
def test_debian_trusts_a_root_that_was_installed_and_no_longer(desk: Desk, tmp_path: Path) -> None:
    """In a mount namespace of its own, where the folders of the system are copies."""
    tool("update-ca-certificates")
    layers = Path("/dev/shm") / f"provisor-{tmp_path.name}"
    try:
        if subprocess.run(
            ["unshare", "-m", "sh", "-c", PROBE, "-", layers], capture_output=True, check=False
        ).returncode:
            pytest.skip("no right to make a mount namespace with overlays")
        ours(desk, "create 'Own Root' root.crt root.key --profile root-ca --no-password --insecure")
        shown = run(desk, "unshare", "-m", "env", f"PROVISOR={provisor()}", "bash", "-c", SYSTEM, "-", str(layers))
    finally:
        shutil.rmtree(layers, ignore_errors=True)
    lines = [line for line in shown.splitlines() if not line.startswith((" ", "X.509v3"))]
    assert lines == [
        "unknown",
        "Certificate root.crt has been installed.",
        "trusted",
        "1",
        "Certificate root.crt has been removed.",
        "unknown",
        "0",
    ]


def provisor() -> str:
    return f"env PYTHONPATH={REPOSITORY / 'src'} {sys.executable} {REPOSITORY / 'tests' / 'support' / 'step_shim.py'}"
