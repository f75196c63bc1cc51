from __future__ import annotations

import datetime
import os
import pickle
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding

from provisor.core.keys import PasswordNeeded, PrivateKey, WrongPassword
from provisor.core.pem import encode_private_key
from provisor.core.secret import Secret
from provisor.errors import BadKey, ConfigError, NotSupported
from provisor.kms.registry import open_key_manager
from provisor.kms.soft import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    PSS_SHA256,
    PSS_SHA384,
    PSS_SHA512,
    RSA_SHA256,
    SCHEMES,
    SoftSigner,
)

RSA = rsa.generate_private_key(65537, 2048)
EC = ec.generate_private_key(ec.SECP256R1())
KEYS: list[tuple[PrivateKey, bytes, int, bool]] = [
    (EC, ECDSA_SHA256, 3, False),
    (ec.generate_private_key(ec.SECP384R1()), ECDSA_SHA384, 3, False),
    (ec.generate_private_key(ec.SECP521R1()), ECDSA_SHA512, 3, False),
    (ed25519.Ed25519PrivateKey.generate(), ED25519, 1, False),
    (RSA, RSA_SHA256, 6, True),
]


def certificate(signer: SoftSigner, algorithm: bytes) -> x509.Certificate:
    """A certificate put together from bytes, so that the library judges algorithm and signature together."""
    template = (
        x509.CertificateBuilder()
        .subject_name(x509.Name([]))
        .issuer_name(x509.Name([]))
        .public_key(signer.public_key)
        .serial_number(1)
        .not_valid_before(datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC))
        .not_valid_after(datetime.datetime(2027, 1, 1, tzinfo=datetime.UTC))
        .sign(EC, hashes.SHA256())
    )
    tbs = template.tbs_certificate_bytes.replace(ECDSA_SHA256, algorithm, 1)
    header = 4 if tbs[1] == 0x82 else 3 if tbs[1] == 0x81 else 2
    tbs = element(0x30, tbs[header:])
    bits = element(0x03, b"\x00" + signer.sign(tbs, algorithm))
    return x509.load_der_x509_certificate(element(0x30, tbs + algorithm + bits))


def element(tag: int, content: bytes) -> bytes:
    return (
        bytes((tag, 0x82)) + len(content).to_bytes(2, "big") + content
        if len(content) > 255
        else (
            bytes((tag, len(content))) + content if len(content) < 128 else bytes((tag, 0x81, len(content))) + content
        )
    )


@pytest.mark.parametrize(("key", "preferred", "count", "costly"), KEYS)
def test_each_key_signs_with_its_algorithms_and_x509_agrees(
    key: PrivateKey, preferred: bytes, count: int, costly: bool
) -> None:
    signer = SoftSigner(key)
    assert signer.signature_algorithms[0] == preferred
    assert len(signer.signature_algorithms) == count
    assert signer.costly == costly
    for algorithm in signer.signature_algorithms:
        made = certificate(signer, algorithm)
        made.verify_directly_issued_by(made)
    for algorithm in SCHEMES.keys() - set(signer.signature_algorithms):
        with pytest.raises(NotSupported):
            signer.sign(b"x", algorithm)
    for nonsense in (b"", b"\x30\x00", preferred + b"\x00", preferred[:-1]):
        with pytest.raises(NotSupported):
            signer.sign(b"x", nonsense)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [(PSS_SHA256, hashes.SHA256()), (PSS_SHA384, hashes.SHA384()), (PSS_SHA512, hashes.SHA512())],
)
def test_pss_parameters_are_those_of_the_library(algorithm: bytes, digest: hashes.SHA256) -> None:
    pss = padding.PSS(padding.MGF1(digest), digest.digest_size)
    request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(RSA, digest, rsa_padding=pss)
    assert algorithm in request.public_bytes(Encoding.DER)


def test_a_signer_is_neither_printed_nor_pickled() -> None:
    signer = SoftSigner(EC)
    assert repr(signer) == "SoftSigner(ECDSA P-256)"
    with pytest.raises(TypeError):
        pickle.dumps(signer)


@pytest.mark.parametrize(
    "spelling", ["{path}", "file:{path}", "file://{path}", "softkms:path={path}", "softkms:{path}"]
)
def test_a_key_file_is_opened_by_any_spelling_of_its_path(tmp_path: Path, spelling: str) -> None:
    path = tmp_path / "key"
    path.write_bytes(encode_private_key(EC, password=b"password", random=os.urandom))
    manager = open_key_manager()
    reference = spelling.format(path=path)
    assert manager.open_signer(reference, Secret("password")).public_key == EC.public_key()
    with pytest.raises(PasswordNeeded):
        manager.open_signer(reference, None)
    with pytest.raises(WrongPassword, match=str(path)):
        manager.open_signer(reference, b"x")


def test_relative_paths_start_at_the_base(tmp_path: Path) -> None:
    (tmp_path / "secrets").mkdir()
    (tmp_path / "secrets" / "key").write_bytes(encode_private_key(EC, random=os.urandom))
    manager = open_key_manager("softkms", base=tmp_path)
    assert manager.open_signer("secrets/key", None).public_key == EC.public_key()


def test_a_file_that_is_not_there_or_no_key_is_named(tmp_path: Path) -> None:
    manager = open_key_manager(base=tmp_path)
    with pytest.raises(ConfigError, match="absent"):
        manager.open_signer("absent", None)
    with pytest.raises(ConfigError):
        manager.open_signer("", None)
    (tmp_path / "key").write_bytes(b"x")
    with pytest.raises(BadKey, match="key"):
        manager.open_signer("key", None)
    (tmp_path / "big").write_bytes(bytes(2 * 1024 * 1024))
    with pytest.raises(ConfigError, match="octets"):
        manager.open_signer("big", None)


@pytest.mark.parametrize(
    ("kind", "uri"), [("pkcs11", ""), ("", "awskms:region=x"), ("YubiKey", ""), ("capi", ""), ("kms", "")]
)
def test_a_known_store_without_code_is_refused_clearly(kind: str, uri: str) -> None:
    with pytest.raises(ConfigError, match="is not supported by this version"):
        open_key_manager(kind, uri)


def test_an_unknown_store_is_unsupported() -> None:
    with pytest.raises(ConfigError, match="unsupported kms type vault"):
        open_key_manager("vault")
