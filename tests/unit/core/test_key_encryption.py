from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import load_pem_public_key, load_ssh_public_key

from provisor.core.key_encryption import check_openssh, decrypt_cosign, decrypt_pkcs8, decrypt_rfc1423
from provisor.core.keys import PasswordNeeded, WrongPassword
from provisor.core.pem import encode_pem, parse_blocks, parse_private_key, parse_public_key
from provisor.errors import BadKey

DATA = Path(__file__).parent / "data" / "keys"
PASSWORD = b"sesame"

READABLE = sorted(
    name
    for pattern in (
        "sec1-[ad][!a]*",  # not camellia, not plain
        "pkcs1-[ad]*",
        "pkcs8-*-sha*",
        "openssh-*-aes256-*",
        "cosign-[0-9]*",
    )
    for name in (path.name for path in DATA.glob(pattern))
)
REFUSED = {
    "sec1-camellia256.pem": "x509: unknown encryption mode CAMELLIA-256-CBC",
    "pkcs8-scrypt.pem": "unsupported encrypted PEM: only PBKDF2 is supported",
    "pkcs8-pbe0.pem": "unsupported encrypted PEM: only PBES2 is supported",
    "pkcs8-pbe1.pem": "unsupported encrypted PEM: only PBES2 is supported",
    "pkcs8-camellia.pem": "unsupported encrypted PEM: unknown algorithm 1.2.392.200011.61.1.1.1.4",
    "pkcs8-rc2.pem": "failed to unmarshal private key: ",
    "openssh-ed25519-chacha20-poly1305.pem": "Unsupported cipher",
    "openssh-ed25519-3des-cbc.pem": "Unsupported cipher",
    "cosign-name.pem": "error parsing key: unsupported kdf argon",
    "cosign-cname.pem": "error parsing key: unsupported cipher aes",
    "cosign-badnonce.pem": "error parsing key: nonce must be 24 bytes long",
}


def read(name: str) -> bytes:
    return (DATA / name).read_bytes()


def public_half(name: str) -> object:
    """What another tool says the public key is."""
    form, kind = name.split("-")[:2]
    if form == "openssh":
        return load_ssh_public_key(read(f"openssh-{kind.removesuffix('.pem')}.pub"))
    return load_pem_public_key(read("rsa.pub" if form == "pkcs1" else "ec.pub"))


def test_the_table_has_every_form() -> None:
    assert len(READABLE) == 27
    others = {"nebula-x25519.pem", *(path.name for path in DATA.glob("*-plain.pem"))}
    assert {path.name for path in DATA.glob("*.pem")} == {*READABLE, *REFUSED, *others}


@pytest.mark.parametrize("name", READABLE)
def test_an_encrypted_key_of_another_tool_is_opened(name: str) -> None:
    assert parse_private_key(read(name), PASSWORD).public_key() == public_half(name)


@pytest.mark.parametrize("name", READABLE)
def test_it_needs_its_password(name: str) -> None:
    with pytest.raises(PasswordNeeded):
        parse_private_key(read(name), None, where=name)
    with pytest.raises(PasswordNeeded):
        parse_private_key(read(name), b"", where=name)
    with pytest.raises(WrongPassword) as refusal:
        parse_private_key(read(name), b"mesase", where=name)
    assert refusal.value.detail == f"error decrypting {name}: x509: decryption password incorrect"


@pytest.mark.parametrize("name", sorted(path.name for path in DATA.glob("*-plain.pem")))
def test_a_plain_key_of_another_tool_is_read(name: str) -> None:
    assert parse_private_key(read(name), None).public_key() == public_half(name)


@pytest.mark.parametrize(("name", "reason"), REFUSED.items())
def test_a_scheme_that_is_not_ours_is_refused_by_name(name: str, reason: str) -> None:
    with pytest.raises(BadKey) as refusal:
        parse_private_key(read(name), PASSWORD, where=name)
    assert not isinstance(refusal.value, WrongPassword)
    assert reason in refusal.value.detail
    assert name in refusal.value.detail


def test_a_key_that_cannot_sign_is_read_and_refused_by_its_kind() -> None:
    with pytest.raises(BadKey, match="kind X25519"):
        parse_private_key(read("nebula-x25519.pem"), None)
    with pytest.raises(BadKey, match="kind X25519"):
        parse_public_key(read("nebula-x25519.pub"))


IV = "00112233445566778899AABBCCDDEEFF"


@pytest.mark.parametrize(
    ("header", "data", "reason"),
    [
        ("", bytes(16), "malformed DEK-Info"),
        ("AES-256-CBC", bytes(16), "malformed DEK-Info"),
        ("AES-256-CBC,", bytes(16), "incorrect IV size"),
        ("AES-256-CBC,zz", bytes(16), "malformed DEK-Info"),
        ("AES-256-CBC,é", bytes(16), "malformed DEK-Info"),
        (f"AES-256-CBC,{IV[2:]}", bytes(16), "incorrect IV size"),
        (f"DES-CBC,{IV}", bytes(16), "incorrect IV size"),
        (f"BF-CBC,{IV}", bytes(16), "unknown encryption mode BF-CBC"),
        (f",{IV}", bytes(16), "unknown encryption mode"),
        (f"AES-256-CBC,{IV}", b"", "multiple of the block size"),
        (f"AES-256-CBC,{IV}", bytes(15), "multiple of the block size"),
    ],
)
def test_a_broken_rfc_1423_header_is_refused(header: str, data: bytes, reason: str) -> None:
    with pytest.raises(BadKey, match=reason):
        decrypt_rfc1423(header, data, PASSWORD)


def test_the_name_of_a_cipher_is_read_in_any_case() -> None:
    (block,) = parse_blocks(read("sec1-des.pem"))
    header = block.headers["DEK-Info"]
    assert header.startswith("DES-CBC,")
    assert decrypt_rfc1423(header.lower(), block.der, PASSWORD)[:1] == b"\x30"


def test_iterations_that_would_take_hours_are_refused() -> None:
    (block,) = parse_blocks(read("pkcs8-des3-sha1.pem"))
    assert block.der.count(bytes.fromhex("02020800")) == 1
    for count in ("02023fff", "0202ffff", "02020000"):
        der = block.der.replace(bytes.fromhex("02020800"), bytes.fromhex(count))
        with pytest.raises(BadKey):
            decrypt_pkcs8(der, PASSWORD)
    longer = bytearray(block.der.replace(bytes.fromhex("02020800"), bytes.fromhex("02047fffffff")))
    for at in outer_lengths(longer, longer.index(bytes.fromhex("02047fffffff"))):
        longer[at] += 2
    with pytest.raises(BadKey, match="2147483647 iterations"):
        decrypt_pkcs8(bytes(longer), PASSWORD)


def outer_lengths(der: bytearray, inside: int) -> list[int]:
    """Where the last length octets of the SEQUENCEs around a position are."""
    found, at = [], 0
    while at < inside:
        size = der[at + 1]
        start = at + 2 + (size & 0x7F if size >= 0x80 else 0)
        length = int.from_bytes(der[at + 2 : start], "big") if size >= 0x80 else size
        if der[at] == 0x30 and inside < start + length + 2:
            found.append(start - 1)
            at = start
        else:
            at = start + length
    return found


def envelope(**over: object) -> bytes:
    (block,) = parse_blocks(read("cosign-1024.pem"))
    return json.dumps({**json.loads(block.der), **over}).encode()


def kdf(n: int, r: int, p: int) -> dict[str, object]:
    return {"name": "scrypt", "params": {"N": n, "r": r, "p": p}, "salt": "AAAA"}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "error unmarshaling key"),
        (b"[]", "error unmarshaling key"),
        (b"{}", "error unmarshaling key"),
        (b"\xff", "error unmarshaling key"),
        (envelope(kdf=3), "error unmarshaling key"),
        (envelope(ciphertext="!"), "error unmarshaling key"),
        (envelope(kdf=kdf(1 << 30, 8, 1)), "N=1073741824"),
        (envelope(kdf=kdf(1 << 20, 8, 9)), "p=9"),
        (envelope(kdf=kdf(1 << 60, 8, 1)), "error unmarshaling key"),
        (envelope(kdf=kdf(0, 8, 1)), "N=0"),
        (envelope(kdf=kdf(-2, -8, 1)), "N=-2"),
        (envelope(kdf=kdf(1000, 8, 1)), "N=1000"),
        (envelope(kdf=kdf(16, 1, 1 << 20)), "p=1048576"),
    ],
)
def test_an_envelope_that_is_broken_or_costs_too_much_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadKey, match=reason):
        decrypt_cosign(data, PASSWORD)


@pytest.mark.parametrize("ciphertext", ["", "AAAA", "A" * 40])
def test_an_envelope_that_does_not_open_is_a_wrong_password(ciphertext: str) -> None:
    with pytest.raises(WrongPassword):
        decrypt_cosign(envelope(ciphertext=ciphertext), PASSWORD)


def string(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


MAGIC = b"openssh-key-v1\0"
BCRYPT = MAGIC + string(b"aes256-ctr") + string(b"bcrypt")


def test_the_header_of_openssh_says_whether_a_key_is_encrypted() -> None:
    assert not check_openssh(MAGIC + string(b"none") + string(b"none") + string(b""))
    assert check_openssh(BCRYPT + string(string(b"salt") + (16).to_bytes(4, "big")))


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"", "invalid OpenSSH"),
        (MAGIC[:-1], "invalid OpenSSH"),
        (MAGIC, "invalid OpenSSH"),
        (MAGIC + b"\xff\xff\xff\xff", "invalid OpenSSH"),
        (BCRYPT + string(b""), "invalid OpenSSH"),
        (BCRYPT + string(string(b"salt") + b"\xff\xff\xff\xff"), "4294967295 rounds"),
    ],
)
def test_an_openssh_header_that_is_cut_off_or_costs_too_much_is_refused(data: bytes, reason: str) -> None:
    with pytest.raises(BadKey, match=reason):
        check_openssh(data)
    with pytest.raises(BadKey, match=reason):
        parse_private_key(encode_pem("OPENSSH PRIVATE KEY", data).encode(), PASSWORD)
