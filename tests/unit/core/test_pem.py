from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.keys import PasswordNeeded, PrivateKey, WrongPassword, spki_der
from provisor.core.pem import (
    encode_pem,
    encode_private_key,
    encode_public_key,
    find_der,
    parse_blocks,
    parse_certificates,
    parse_private_key,
    parse_public_key,
)
from provisor.core.secret import Secret
from provisor.errors import BadKey, Malformed

EC_KEY = ec.generate_private_key(ec.SECP256R1())
RSA_KEY = rsa.generate_private_key(65537, 2048)
ED_KEY = ed25519.Ed25519PrivateKey.generate()
KEYS: list[PrivateKey] = [EC_KEY, ec.generate_private_key(ec.SECP521R1()), RSA_KEY, ED_KEY]
ONE, TWO = b"\x30\x03\x02\x01\x01", b"\x30\x03\x02\x01\x02"


def spki(key: PrivateKey) -> bytes:
    return spki_der(key.public_key())


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("password", [None, b"", Secret("password"), "pässword".encode()])
def test_a_written_key_is_read_again(key: PrivateKey, password: Secret | bytes | None) -> None:
    data = encode_private_key(key, password=password, random=os.urandom, iterations=1000)
    assert spki(parse_private_key(data, password)) == spki(key)
    if not password:
        return
    with pytest.raises(PasswordNeeded):
        parse_private_key(data, None)
    with pytest.raises(WrongPassword) as refusal:
        parse_private_key(data, b"wrong", where="secrets/root_ca_key")
    assert "secrets/root_ca_key" in refusal.value.detail


def test_each_kind_of_key_has_the_form_the_client_writes() -> None:
    def first(key: PrivateKey, password: bytes) -> list[bytes]:
        return encode_private_key(key, password=password, random=os.urandom, iterations=1).splitlines()[:3]

    for key, label in ((EC_KEY, b"EC"), (RSA_KEY, b"RSA")):
        assert first(key, b"")[0] == b"-----BEGIN " + label + b" PRIVATE KEY-----"
        begin, kind, cipher = first(key, b"x")
        assert begin == b"-----BEGIN " + label + b" PRIVATE KEY-----"
        assert kind == b"Proc-Type: 4,ENCRYPTED"
        assert cipher.startswith(b"DEK-Info: AES-256-CBC,")
    assert first(ED_KEY, b"")[0] == b"-----BEGIN PRIVATE KEY-----"
    assert first(ED_KEY, b"x")[0] == b"-----BEGIN ENCRYPTED PRIVATE KEY-----"


def test_pkcs8_takes_salt_and_iv_from_the_caller_and_openssl_reads_it() -> None:
    sizes: list[int] = []

    def random(size: int) -> bytes:
        sizes.append(size)
        return bytes(size)

    once = encode_private_key(ED_KEY, password=b"x", random=random, iterations=600_000)
    assert sizes == [16, 16]
    assert once == encode_private_key(ED_KEY, password=b"x", random=bytes)
    assert spki_der(load_pem_private_key(once, b"x").public_key()) == spki(ED_KEY)


@pytest.mark.parametrize("key", [EC_KEY, RSA_KEY, ED_KEY])
@pytest.mark.parametrize("form", [PrivateFormat.PKCS8, PrivateFormat.OpenSSH])
def test_other_tools_keys_are_read(key: PrivateKey, form: PrivateFormat) -> None:
    data = key.private_bytes(Encoding.PEM, form, NoEncryption())
    assert spki(parse_private_key(data, None)) == spki(key)
    assert spki(parse_private_key(data, b"a password it does not need")) == spki(key)
    assert spki(parse_private_key(b"\xef\xbb\xbf" + data.replace(b"\n", b"\r\n") + b" \n", None)) == spki(key)


def test_a_pkcs8_key_under_another_library_s_encryption_is_read() -> None:
    data = EC_KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"x"))
    assert spki(parse_private_key(data, b"x")) == spki(EC_KEY)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (b"", "not a valid PEM"),
        (b"secret", "not a valid PEM"),
        (b"-----BEGIN PRIVATE KEY-----\n!!!\n-----END PRIVATE KEY-----\n", "not a valid PEM"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END EC PRIVATE KEY-----\n", "not a valid PEM"),
        (encode_pem("PRIVATE KEY", ONE).encode() * 2, "more than one"),
        (encode_pem("CERTIFICATE", ONE).encode(), "unexpected header 'CERTIFICATE'"),
        (encode_pem("NEBULA P256 PRIVATE KEY", ONE).encode(), "unexpected header"),
        (encode_pem("DSA PRIVATE KEY", ONE).encode(), "unexpected header 'DSA PRIVATE KEY'"),
        (encode_pem("ENCRYPTED COSIGN PRIVATE KEY", ONE).encode(), "error unmarshaling key"),
        (encode_pem("ENCRYPTED PRIVATE KEY", ONE).encode(), "failed to unmarshal private key"),
        (encode_pem("OPENSSH PRIVATE KEY", ONE).encode(), "invalid OpenSSH private key format"),
        (encode_pem("NEBULA X25519 PRIVATE KEY", bytes(32)).encode(), "keys of kind X25519 are not supported"),
        (encode_pem("NEBULA X25519 PRIVATE KEY", bytes(31)).encode(), "32 bytes"),
        (encode_pem("PRIVATE KEY", ONE).encode(), "error decoding f"),
        (encode_pem("EC PRIVATE KEY", b"").encode(), "error decoding f"),
        (
            ed448.Ed448PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "not supported",
        ),
        (
            dsa.generate_private_key(2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()),
            "not supported",
        ),
    ],
)
def test_what_is_no_key_of_ours_is_refused_by_name(text: bytes, reason: str) -> None:
    with pytest.raises(BadKey) as refusal:
        parse_private_key(text, b"x", where="f")
    assert reason in refusal.value.detail


@pytest.mark.parametrize("key", KEYS)
def test_a_public_key_goes_both_ways(key: PrivateKey) -> None:
    text = encode_public_key(key.public_key())
    assert parse_public_key(text.encode()) == key.public_key()
    with pytest.raises(BadKey):
        parse_public_key(text.replace("PUBLIC", "RSA PUBLIC").encode())


def test_a_bundle_gives_its_certificates_in_order_and_nothing_else() -> None:
    one, two = encode_pem("CERTIFICATE", ONE), encode_pem("CERTIFICATE", TWO)
    headed = one.replace("-----\n", "-----\nX: y\n\n", 1)
    text = f"# comment\n{two}subject=x\n{headed}{encode_pem('PRIVATE KEY', ONE)}\r\n{one}".replace("\n", "\r\n")
    assert parse_certificates(text.encode()) == (TWO, ONE)
    assert parse_certificates(b"\xef\xbb\xbf" + one.encode()) == (ONE,)
    assert parse_certificates(ONE) == (ONE,)


@pytest.mark.parametrize(
    "data", [b"", b"text", b"-----BEGIN CERTIFICATE-----\n", encode_pem("X509 CRL", ONE).encode(), b"\x31\x00"]
)
def test_a_file_without_a_certificate_is_malformed(data: bytes) -> None:
    with pytest.raises(Malformed):
        parse_certificates(data)


def test_headers_are_kept_with_their_block() -> None:
    (block,) = parse_blocks(
        b"-----BEGIN A B-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: X,00\n\nMAMCAQE=\n-----END A B-----"
    )
    assert block.label == "A B"
    assert block.headers == {"Proc-Type": "4,ENCRYPTED", "DEK-Info": "X,00"}
    assert block.der == ONE


@given(st.binary(max_size=500), st.text("ABC Z", min_size=1, max_size=20).map(str.strip).filter(bool))
def test_any_octets_survive_pem(der: bytes, label: str) -> None:
    text = encode_pem(label, der)
    assert max(map(len, text.splitlines()[1:-1]), default=0) <= 64
    assert text.endswith("-----\n")
    (block,) = parse_blocks(text.encode())
    assert (block.label, block.der) == (label, der)


@given(st.lists(st.sampled_from([b"-----BEGIN A-----\n", b"-----END A-----\n", b"AAAA\n", b"x: y\n", b"\n", b"-----"])))
def test_broken_blocks_never_raise(lines: list[bytes]) -> None:
    data = b"".join(lines)
    blocks = parse_blocks(data)
    assert find_der(data, "A") == (blocks[0].der if blocks else None)


@pytest.mark.parametrize(
    "change",
    [
        lambda text: text,
        lambda text: text.replace("\n", "\r\n"),
        lambda text: text.rstrip("\n"),
        lambda text: "\n" + text + "\n",
        lambda text: "words\n" + text + "words\n",
        lambda text: text + text,
        lambda text: encode_pem("B", TWO) + text,
        lambda text: text + encode_pem("B", TWO),
        lambda text: text.replace("MAMC", "MA MC"),
        lambda text: text.replace("MAMC", "MA\nMC"),
        lambda text: text.replace("MAMC", "x: y\n\nMAMC"),
        lambda text: text.replace("MAMC", "MA=MC"),
        lambda text: text.replace("AQE=", "AQE"),
        lambda text: text.replace("MAMCAQE=", ""),
        lambda text: text.replace("-----BEGIN A", "-----BEGIN B"),
        lambda text: text.replace("-----END A", "-----END B"),
        lambda text: text.replace("-----END A", "----END A"),
        lambda text: text.replace("\n-----END", "-----END"),
        lambda text: "",
    ],
)
def test_the_first_block_is_found_alike_however_it_is_looked_for(change: Callable[[str], str]) -> None:
    data = change(encode_pem("A", ONE)).encode()
    blocks = parse_blocks(data)
    assert find_der(data, "A") == find_der(data, "C") == (blocks[0].der if blocks else None)


def test_a_long_run_of_borders_takes_no_time() -> None:
    assert parse_blocks(b"-----BEGIN A-----\n" * 50_000 + b"-----END B-----\n") == ()
