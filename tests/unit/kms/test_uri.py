from __future__ import annotations

import pytest

from provisor.errors import ConfigError
from provisor.kms.uri import KMSKind, file_path, find_kind, kind_of, parse_uri


def test_attributes_come_from_both_halves_and_the_first_wins() -> None:
    uri = parse_uri("PKCS11:token=a%20b+c;id=73:31;id=99?id=00&pin-value=p%3Bq&login=TRUE")
    assert uri.scheme == "pkcs11"
    assert uri.text("token") == "a b c"
    assert uri.octets("id") == b"\x73\x31"
    assert uri.text("pin-value") == "p;q"
    assert uri.flag("login")
    assert not uri.flag("token")
    assert uri.text("absent") == ""


@pytest.mark.parametrize(("value", "octets"), [("0x0a", b"\x0a"), ("0a:0b", b"\x0a\x0b"), ("", b"")])
def test_hexadecimal_has_some_freedom(value: str, octets: bytes) -> None:
    assert parse_uri(f"yubikey:management-key={value}").octets("management-key") == octets


def test_broken_uris_are_refused() -> None:
    with pytest.raises(ConfigError):
        parse_uri("yubikey:management-key=xyz").octets("management-key")
    for text in ("", "no-scheme", "1x:y", "softkms:path=%zz", ":x"):
        with pytest.raises(ConfigError):
            parse_uri(text)


@pytest.mark.parametrize(
    ("kind", "uri", "found"),
    [
        ("", "", KMSKind.SOFT),
        ("SoftKMS", "", KMSKind.SOFT),
        ("", "pkcs11:token=x", KMSKind.PKCS11),
        ("yubikey", "pkcs11:token=x", KMSKind.YUBIKEY),
        ("CloudKMS", "", KMSKind.GOOGLE),
        ("", "kms:hw=true", KMSKind.PLATFORM),
    ],
)
def test_the_type_is_given_or_is_the_scheme_or_is_files(kind: str, uri: str, found: KMSKind) -> None:
    assert kind_of(kind, uri) is found


@pytest.mark.parametrize(("kind", "uri"), [("vault", ""), ("", "vault:x=y"), ("soft kms", "")])
def test_an_unknown_type_is_named(kind: str, uri: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        kind_of(kind, uri)
    assert refusal.value.reason.startswith("unsupported kms type ")
    assert find_kind("vault") is None


@pytest.mark.parametrize(
    ("reference", "path"),
    [
        ("secrets/key", "secrets/key"),
        ("/etc/ca/key", "/etc/ca/key"),
        ("file:/etc/ca/key", "/etc/ca/key"),
        ("file:///etc/ca/key", "/etc/ca/key"),
        ("file://localhost/etc/ca/my%20key+1", "/etc/ca/my key+1"),
        ("file:key", "key"),
        ("softkms:path=/etc/ca/key", "/etc/ca/key"),
        ("softkms:path=a%20b", "a b"),
        ("softkms:/etc/ca/key", "/etc/ca/key"),
        ("softkms:name=x;path=y", "y"),
        ("C:/keys/ca", "C:/keys/ca"),
    ],
)
def test_a_reference_to_a_file_is_a_path(reference: str, path: str) -> None:
    assert file_path(reference) == path


@pytest.mark.parametrize(
    "reference", ["pkcs11:id=7331", "awskms:key-id=1", "yubikey:slot-id=9c", "tpmkms:name=x", "kms:name=x"]
)
def test_a_reference_to_another_store_is_refused_by_name(reference: str) -> None:
    with pytest.raises(ConfigError, match="not supported by this version"):
        file_path(reference)
