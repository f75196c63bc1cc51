"""The one form of a head, and who may have signed it."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_der_public_key

from provisor.core.tree_head import SignedHead, TreeHead, encode_file, encode_head, parse_file, parse_head, verify_head
from provisor.errors import Malformed
from provisor.kms.soft import SoftSigner
from support.x509_lab import Lab

LAB = Lab()
HEAD = TreeHead("3f0c1b2a-0000-4000-8000-000000000000", 4711, bytes(range(32)), 1_780_000_000, LAB.issuer.id)
TEXT = encode_head(HEAD)


def sign(text: bytes) -> SignedHead:
    signature = SoftSigner(LAB.intermediate.key).sign(text, LAB.issuer.signature_algorithm)
    return SignedHead(text, signature)


def test_it_is_read_as_it_was_written() -> None:
    assert parse_head(TEXT) == HEAD
    assert TEXT.count(b"\n") == 6
    assert TEXT[:1] != b"\x30"


@pytest.mark.parametrize(
    "text",
    [
        b"",
        TEXT[:-1],
        TEXT + b"\n",
        b"\n" + TEXT,
        TEXT.replace(b"\n", b"\r\n"),
        TEXT.replace(b"v1", b"v2"),
        TEXT.replace(b"4711", b"04711"),
        TEXT.replace(b"4711", b"-4711"),
        TEXT.replace(b"4711", b" 4711"),
        TEXT.replace(b"4711", b"4_711"),
        TEXT.replace(b"4711", "٤".encode()),
        TEXT.replace(b"4711", b"9" * 20),
        TEXT.replace(b"Hh8=", b"Hh9="),
        TEXT.replace(b"Hh8=", b"Hh8"),
        TEXT.replace(b"AAEC", b"AA EC"),
        TEXT.replace(b"3f0c", b"3f 0c"),
        TEXT.replace(b"3f0c1b2a-0000-4000-8000-000000000000", b""),
        TEXT.replace(HEAD.issuer.hex().encode(), HEAD.issuer.hex().upper().encode()),
        TEXT.replace(HEAD.issuer.hex().encode(), HEAD.issuer.hex().encode()[2:]),
        TEXT.replace(b"\n", b"\n\n", 1),
        b"\x30\x82" + TEXT,
        TEXT.replace(b"3f0c", b"3f0c" * 400),
    ],
)
def test_there_is_no_other_form(text: bytes) -> None:
    assert text != TEXT
    with pytest.raises(Malformed):
        parse_head(text)


def test_it_is_verified_by_the_issuer_that_it_names() -> None:
    assert verify_head(sign(TEXT), LAB.issuer.certificate) == HEAD
    with pytest.raises(Malformed, match="names another issuer"):
        verify_head(sign(TEXT), Lab().issuer.certificate)
    for bad in (SignedHead(TEXT, b""), SignedHead(TEXT, sign(TEXT + b"x").signature)):
        with pytest.raises(Malformed, match="not the issuer's"):
            verify_head(bad, LAB.issuer.certificate)


def test_a_file_holds_text_and_signature() -> None:
    signed = sign(TEXT)
    assert parse_file(encode_file(signed)) == signed
    assert parse_file(encode_file(signed).replace(b"\n", b"\r\n")) == signed
    for data in (b"", TEXT, TEXT + b"signature !\n", b"signature AAAA\n"):
        with pytest.raises(Malformed):
            parse_file(data)


def test_openssl_verifies_it(tmp_path: Path) -> None:
    """As docs/audit-log.md says."""
    signed = sign(TEXT)
    key = load_der_public_key(LAB.issuer.certificate.spki)
    (tmp_path / "key.pem").write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    (tmp_path / "head").write_bytes(encode_file(signed))
    script = (
        "head -6 head > text && sed -n 's/^signature //p' head | base64 -d > signature"
        " && openssl dgst -sha256 -verify key.pem -signature signature text"
    )
    done = subprocess.run(["sh", "-c", script], cwd=tmp_path, capture_output=True, text=True, timeout=30, check=False)
    assert done.stdout == "Verified OK\n", done.stderr
