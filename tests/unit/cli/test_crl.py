from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provisor.cli.main import run

Show = Callable[..., str]
NAME = x509.Name(
    [x509.NameAttribute(NameOID.ORGANIZATION_NAME, "Lab"), x509.NameAttribute(NameOID.COMMON_NAME, "Lab <CA>")]
)
KEY = ec.generate_private_key(ec.SECP256R1())
NOW = datetime.now(UTC).replace(microsecond=0)


def write_ca(path: Path, *, ends: timedelta = timedelta(days=9), crl_sign: bool = True, name: x509.Name = NAME) -> None:
    usage = x509.KeyUsage(
        digital_signature=True,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=True,
        crl_sign=crl_sign,
        encipher_only=False,
        decipher_only=False,
    )
    builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(KEY.public_key())
    builder = builder.serial_number(5).not_valid_before(NOW - timedelta(days=20)).not_valid_after(NOW + ends)
    path.write_bytes(builder.add_extension(usage, critical=True).sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM))


def write_crl(path: Path, *, ends: timedelta = timedelta(days=1), bare: bool = False) -> None:
    builder = x509.CertificateRevocationListBuilder().issuer_name(NAME).last_update(NOW - timedelta(days=3))
    builder = builder.next_update(NOW + ends)
    if not bare:
        entry = x509.RevokedCertificateBuilder().serial_number(0x1234).revocation_date(NOW - timedelta(days=4))
        reason = x509.CRLReason(x509.ReasonFlags.key_compromise)
        builder = builder.add_revoked_certificate(entry.add_extension(reason, critical=False).build())
        plain = x509.RevokedCertificateBuilder().serial_number(0xABC).revocation_date(NOW - timedelta(days=4))
        builder = builder.add_revoked_certificate(plain.build())
        builder = builder.add_extension(x509.CRLNumber(7), critical=False)
        unknown = x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x04\x02ab")
        builder = builder.add_extension(unknown, critical=False)
    path.write_bytes(builder.sign(KEY, hashes.SHA256()).public_bytes(Encoding.PEM))


@pytest.fixture
def show(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Show:
    """Runs `crl inspect`, which must succeed; its stdout."""
    monkeypatch.chdir(tmp_path)
    write_ca(Path("ca.crt"))
    write_crl(Path("a.crl"))

    def do(*words: str) -> str:
        status = run(["crl", "inspect", *words])
        captured = capsys.readouterr()
        assert status == 0, captured.err
        return captured.out

    return do


def test_people_read_text(show: Show) -> None:
    lines = show("a.crl", "--ca", "ca.crt").splitlines()
    assert lines[:7] == [
        "Certificate Revocation List (CRL):",
        "    Data:",
        "        Valid: true",
        "        Version: 2 (0x1)",
        "    Signature algorithm: ECDSA-SHA256",
        "        Issuer: O=Lab,CN=Lab <CA>",
        f"        Last Update: {NOW - timedelta(days=3):%Y-%m-%d %H:%M:%S} +0000 UTC",
    ]
    for line in (
        "            X509v3 CRL Number:",
        "                7",
        "            1.2.3.4",
        "                ..ab",
        "            Serial Number: 4660 (0x1234)",
        "            Serial Number: 2748 (0x0ABC)",
        "                    X509v3 CRL Reason Code:",
        "                        Key Compromise",
    ):
        assert line in lines


def test_programs_read_json(show: Show) -> None:
    shown = show("a.crl", "--ca", "ca.crt", "--format", "json")
    assert "Lab \\u003cCA\\u003e" in shown
    members = json.loads(shown)
    assert members["issuer"] == {"organization": ["Lab"], "common_name": "Lab <CA>"}
    assert members["revoked_certificates"][0]["extensions"] == [{"crl_reason_code": "Key Compromise"}]
    assert members["extensions"] == [{"crl_number": "7"}, {"1.2.3.4": "BAJhYg=="}]
    assert members["signature"]["valid"] is True
    assert list(members)[-2:] == ["AuthorityKeyID", "Raw"]


def test_pem_becomes_pem_and_so_does_der(show: Show) -> None:
    pem = show("a.crl", "--insecure", "--format", "pem")
    assert pem.encode() == Path("a.crl").read_bytes()
    content = x509.load_pem_x509_crl(pem.encode()).public_bytes(Encoding.DER)
    Path("a.der").write_bytes(content)
    assert show("a.der", "--insecure", "--format", "pem") == pem


def test_a_list_without_extensions_is_shown(show: Show) -> None:
    write_crl(Path("bare.crl"), bare=True)
    assert "No Revoked Certificates." in show("bare.crl", "--insecure")
    assert json.loads(show("bare.crl", "--insecure", "--format", "json"))["AuthorityKeyID"] is None


@pytest.mark.parametrize(
    ("authority", "list_ends", "reason"),
    [
        ({}, timedelta(days=-1), "CRL has expired"),
        ({"ends": timedelta(days=-1)}, timedelta(days=1), "CA has expired or is not yet valid"),
        ({"crl_sign": False}, timedelta(days=1), "CA may not sign a CRL"),
        ({"name": x509.Name([])}, timedelta(days=1), "CA is not the issuer of the CRL"),
    ],
)
def test_why_a_list_is_not_valid(show: Show, authority: dict[str, object], list_ends: timedelta, reason: str) -> None:
    write_ca(Path("ca.crt"), **authority)  # type: ignore[arg-type]
    write_crl(Path("a.crl"), ends=list_ends)
    assert show("a.crl", "--ca", "ca.crt").splitlines()[2:4] == ["        Valid: false", f"        Reason: {reason}"]
    signature = json.loads(show("a.crl", "--ca", "ca.crt", "--format", "json"))["signature"]
    assert (signature["valid"], signature["reason"]) == (False, reason)


def test_a_signature_of_somebody_else_does_not_match(show: Show) -> None:
    content = bytearray(x509.load_pem_x509_crl(Path("a.crl").read_bytes()).public_bytes(Encoding.DER))
    content[-1] ^= 1
    Path("b.crl").write_bytes(content)
    assert "Reason: Signature does not match" in show("b.crl", "--ca", "ca.crt")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("a.crl",), "'provisor crl inspect' requires the '--insecure' flag"),
        (("nofile", "--insecure"), "open nofile failed: no such file or directory"),
        (("ca.crt", "--insecure"), "error parsing crl: error parsing crl: x509: malformed crl"),
        (("a.crl", "--ca", "nofile"), 'error reading "nofile": no such file or directory'),
        (("ca.crt", "--from"), "failed to get CRL distribution points from ca.crt"),
        (("a", "b"), "too many positional arguments were provided in 'provisor crl inspect <file|url>'"),
        (("ftp://x/y", "--insecure"), 'error downloading crl: Get "ftp://x/y": unsupported protocol scheme "ftp"'),
    ],
)
def test_refusals(show: Show, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str) -> None:
    assert run(["crl", "inspect", *words]) == 1
    captured = capsys.readouterr()
    assert (captured.out, captured.err) == ("", f"{text}\n")
