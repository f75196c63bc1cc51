"""A certificate as programs hold it."""

from __future__ import annotations

import ssl
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor import BadKey, Certificate, PasswordNeeded, WrongPassword
from provisor.core.pem import encode_private_key
from provisor.errors import Malformed
from provisor.testing import CA


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA() as running:
        yield running


def test_it_says_what_is_in_it(ca: CA) -> None:
    certificate = ca.issue(["web.internal", "10.0.0.1", "ops@web.internal"])
    assert certificate.common_name == "web.internal"
    assert certificate.names == ("web.internal", "ops@web.internal", "10.0.0.1")
    assert certificate.not_before < ca.now < certificate.not_after
    assert len(certificate.chain) == 2
    assert certificate.pem.count("BEGIN CERTIFICATE") == 2
    assert certificate.fingerprint == certificate.leaf.fingerprint


def test_it_does_not_print_its_key(ca: CA) -> None:
    certificate = ca.issue("web.internal")
    assert repr(certificate).startswith("Certificate('web.internal', serial=")
    assert "PRIVATE" not in repr(certificate) + repr(certificate.identity)


def test_two_of_one_chain_are_equal(ca: CA) -> None:
    certificate = ca.issue("web.internal")
    again = Certificate.parse(certificate.pem)
    assert certificate == again
    assert hash(certificate) == hash(again)
    assert certificate != ca.issue("web.internal")
    assert certificate != certificate.pem


def test_without_its_key_it_can_be_read_and_not_shown(ca: CA) -> None:
    certificate = Certificate.parse(ca.issue("web.internal").pem)
    assert not certificate.has_key
    for attempt in (lambda: certificate.key_pem, lambda: certificate.private_key, lambda: certificate.identity):
        with pytest.raises(BadKey, match="the private key of this certificate is not here"):
            attempt()
    with pytest.raises(BadKey):
        certificate.use_in(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER))


def test_the_key_of_another_certificate_is_refused(ca: CA) -> None:
    with pytest.raises(BadKey, match="the private key is not that of the certificate"):
        Certificate.parse(ca.issue("a.test").pem, ca.issue("b.test").key_pem)


def test_it_comes_back_from_two_files(ca: CA, tmp_path: Path) -> None:
    certificate = ca.issue("web.internal")
    crt, key = tmp_path / "web.crt", tmp_path / "web.key"
    certificate.save(crt, key)
    assert [stat.S_IMODE(path.stat().st_mode) for path in (crt, key)] == [0o600, 0o600]
    again = Certificate.load(crt, key)
    assert again == certificate
    assert again.key_pem == certificate.key_pem
    assert sorted(path.name for path in tmp_path.iterdir()) == ["web.crt", "web.key"]


def test_it_comes_back_from_one_file(ca: CA, tmp_path: Path) -> None:
    certificate = ca.issue("web.internal")
    both = tmp_path / "web.pem"
    certificate.save(both, both)
    assert Certificate.load(both, both).key_pem == certificate.key_pem
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)


def test_the_chain_alone_can_be_saved(ca: CA, tmp_path: Path) -> None:
    ca.issue("web.internal").save(tmp_path / "web.crt")
    assert not Certificate.load(tmp_path / "web.crt").has_key
    assert [path.name for path in tmp_path.iterdir()] == ["web.crt"]


def test_a_file_keeps_its_mode(ca: CA, tmp_path: Path) -> None:
    crt = tmp_path / "web.crt"
    crt.touch(0o644)
    crt.chmod(0o644)
    ca.issue("web.internal").save(crt)
    assert stat.S_IMODE(crt.stat().st_mode) == 0o644


def test_a_link_keeps_pointing_at_its_file(ca: CA, tmp_path: Path) -> None:
    real, link = tmp_path / "real.crt", tmp_path / "web.crt"
    real.touch()
    link.symlink_to(real)
    ca.issue("web.internal").save(link)
    assert link.is_symlink()
    assert real.read_text().startswith("-----BEGIN CERTIFICATE-----")


def test_when_one_file_cannot_be_written_neither_changes(ca: CA, tmp_path: Path) -> None:
    key = tmp_path / "web.key"
    key.write_text("old")
    with pytest.raises(FileNotFoundError):
        ca.issue("web.internal").save(tmp_path / "absent" / "web.crt", key)
    assert key.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["web.key"]


def test_an_encrypted_key_needs_its_password(ca: CA) -> None:
    certificate = ca.issue("web.internal", private_key=(key := ec.generate_private_key(ec.SECP256R1())))
    locked = encode_private_key(key, password=b"secret", random=bytes)
    assert Certificate.parse(certificate.pem, locked, "secret").has_key
    assert Certificate.parse(certificate.pem, locked, b"secret").has_key
    with pytest.raises(PasswordNeeded):
        Certificate.parse(certificate.pem, locked)
    with pytest.raises(WrongPassword):
        Certificate.parse(certificate.pem, locked, "other")


@pytest.mark.parametrize("pem", ["", "text", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"])
def test_what_is_no_certificate_is_refused(pem: str) -> None:
    with pytest.raises(Malformed):
        Certificate.parse(pem)
