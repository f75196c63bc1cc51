"""The real `step` and `step-ca`, when they are there: found in $PEERS or in `.peers` of the repository.

`make peers` builds them. A test that needs one calls `require_peer` and is skipped, with the reason, where it is not;
with PROVISOR_REQUIRE_PEERS=1 it fails instead.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Self

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, jwk_members, make_jwk

REPOSITORY = Path(__file__).resolve().parents[2]
PASSWORD = "capassword"
"""Of every provisioner key that `jwk_provisioner` makes."""

_START_SECONDS = 20.0


def find_peer(name: str) -> Path | None:
    """The program `name`, None if it is not here."""
    folders = [Path(os.environ["PEERS"])] if os.environ.get("PEERS") else []
    for folder in (*folders, REPOSITORY / ".peers"):
        if os.access(folder / name, os.X_OK) and (folder / name).is_file():
            return folder / name
    return None


def require_peer(name: str) -> Path:
    """The program `name`, or the test is skipped."""
    found = find_peer(name)
    if found is not None:
        return found
    reason = f"{name} is neither in $PEERS nor in {REPOSITORY / '.peers'}: run `make peers`"
    if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def jwk_provisioner(
    name: str,
    *,
    password: str = PASSWORD,
    encrypted: bool = True,
    claims: Mapping[str, object] | None = None,
    options: Mapping[str, object] | None = None,
) -> dict[str, object]:
    """A JWK provisioner as it stands in ca.json, with a new P-256 key. Few iterations: tests are impatient."""
    jwk = make_jwk(ec.generate_private_key(ec.SECP256R1()))
    provisioner: dict[str, object] = {"type": "JWK", "name": name, "key": jwk_members(jwk)}
    if encrypted:
        provisioner["encryptedKey"] = encrypt_pbes2(
            encode_jwk(jwk, private=True), password.encode(), os.urandom, iterations=1000
        )
    if claims:
        provisioner["claims"] = dict(claims)
    if options:
        provisioner["options"] = dict(options)
    return provisioner


class ThrowawayPKI:
    """A root and an intermediate in `folder`: root_ca.crt, intermediate_ca.crt, intermediate_ca_key (no password)."""

    def __init__(self, folder: Path) -> None:
        self.root_file = folder / "root_ca.crt"
        self.intermediate_file = folder / "intermediate_ca.crt"
        self.key_file = folder / "intermediate_ca_key"
        root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
        root = _ca_certificate("Test Root CA", root_key, "Test Root CA", root_key, path_length=1)
        intermediate = _ca_certificate("Test Intermediate CA", key, "Test Root CA", root_key, path_length=0)
        self.root_pem = root.public_bytes(Encoding.PEM)
        self.fingerprint = root.fingerprint(hashes.SHA256()).hex()
        self.root_file.write_bytes(self.root_pem)
        self.intermediate_file.write_bytes(intermediate.public_bytes(Encoding.PEM))
        self.key_file.touch(mode=0o600)
        self.key_file.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))


def _ca_certificate(
    name: str, key: ec.EllipticCurvePrivateKey, issuer: str, issuer_key: ec.EllipticCurvePrivateKey, *, path_length: int
) -> x509.Certificate:
    now = datetime.now(UTC)
    usage = {
        "digital_signature": False,
        "content_commitment": False,
        "key_encipherment": False,
        "data_encipherment": False,
        "key_agreement": False,
        "key_cert_sign": True,
        "crl_sign": True,
        "encipher_only": False,
        "decipher_only": False,
    }
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .issuer_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, issuer)]))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=30))
        .add_extension(x509.BasicConstraints(ca=True, path_length=path_length), critical=True)
        .add_extension(x509.KeyUsage(**usage), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), critical=False)
        .sign(issuer_key, hashes.SHA256())
    )


class RealStepCA:
    """The real step-ca on a loopback port of its own, as long as the `with` block runs.

    `url` is `https://localhost:PORT`; `pki`, `config_file` and `log_file` lie in `folder`. Skips the test where there
    is no step-ca.
    """

    def __init__(
        self,
        folder: Path,
        provisioners: Sequence[Mapping[str, object]] | None = None,
        *,
        settings: Mapping[str, object] | None = None,
    ) -> None:
        self.program = require_peer("step-ca")
        self.folder = folder
        self.provisioners = list(provisioners) if provisioners is not None else [jwk_provisioner("you@smallstep.com")]
        self.config_file = folder / "ca.json"
        self.log_file = folder / "step-ca.log"
        self.pki = ThrowawayPKI(folder)
        self.port = 0
        self._settings = dict(settings or {})
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"https://localhost:{self.port}"

    @property
    def fingerprint(self) -> str:
        """Of the root: SHA-256 in hex."""
        return self.pki.fingerprint

    @property
    def process(self) -> subprocess.Popen[bytes]:
        assert self._process is not None
        return self._process

    def __enter__(self) -> Self:
        for _ in range(3):  # somebody else may take the port between finding and using it
            self.port = free_port()
            self.write_config()
            with self.log_file.open("ab") as log:
                self._process = subprocess.Popen(
                    [self.program, self.config_file],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, "STEPPATH": str(self.folder)},
                )
            if self._wait():
                return self
            self._stop()
        raise RuntimeError(f"step-ca did not start:\n{self.log_file.read_text()}")

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def write_config(self) -> None:
        """ca.json from the provisioners and settings; for a reload, change them, write, and send SIGHUP."""
        config: dict[str, object] = {
            "root": str(self.pki.root_file),
            "crt": str(self.pki.intermediate_file),
            "key": str(self.pki.key_file),
            "address": f"127.0.0.1:{self.port}",
            "dnsNames": ["localhost", "127.0.0.1"],
            "logger": {"format": "json"},
            "db": {"type": "badgerv2", "dataSource": str(self.folder / "db")},
            "authority": {"provisioners": self.provisioners},
        }
        self.config_file.write_text(json.dumps(config | self._settings, indent="\t"))

    def _wait(self) -> bool:
        deadline = time.monotonic() + _START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            with suppress(OSError), socket.create_connection(("127.0.0.1", self.port), timeout=1):
                return True
            time.sleep(0.02)
        return False

    def _stop(self) -> None:
        if self._process is None:
            return
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process = None


def find_go() -> str:
    """The Go that builds the peers: on PATH, or the one that `make peers` took from PyPI. Skips without one."""
    beside = Path(sys.executable).parent / "go"
    for go in (shutil.which("go"), str(beside) if beside.exists() else None):
        if go is None:
            continue
        version = subprocess.run([go, "version"], capture_output=True, text=True, check=False).stdout
        if re.search(r"go1\.(2[5-9]|[3-9]\d)", version):
            return os.path.realpath(go)
    reason = "no Go 1.25 or newer, neither on PATH nor in the environment"
    if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


def free_port() -> int:
    """A loopback port that nobody listens on right now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
