"""PEM as the tools around a CA write it (RFC 7468, RFC 1421 headers, RFC 1423 encryption).

Reading takes every kind of key file that `step` takes, however it is encrypted (`key_encryption`); writing
gives what `step ca init` gives: SEC 1 and PKCS#1 under RFC 1423 AES-256-CBC, PKCS#8 under PBES2.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Callable, Mapping

from cryptography.exceptions import InvalidTag, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa, x25519
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.padding import PKCS7
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
    load_ssh_private_key,
)
from msgspec import Struct

from provisor.core.der import INTEGER, OCTET_STRING, element, sequence
from provisor.core.key_encryption import check_openssh, decrypt_cosign, decrypt_pkcs8, decrypt_rfc1423
from provisor.core.keys import PasswordNeeded, PrivateKey, PublicKey, WrongPassword, parse_public_spki, spki_der
from provisor.core.secret import Password, password_bytes
from provisor.errors import BadKey, Malformed

PBKDF2_ITERATIONS = 600_000
"""What current clients write."""

_BORDER = re.compile(rb"^-----(BEGIN|END) ([^\r\n]{0,100}?)-----[ \t]*\r?$", re.MULTILINE)
_HEADER = re.compile(rb"^([^:\r\n]{1,100}):[ \t]*([^\r\n]*?)[ \t]*\r?\n", re.MULTILINE)
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_OPENSSH = "OPENSSH PRIVATE KEY"
_PKCS8_ENCRYPTED = "ENCRYPTED PRIVATE KEY"
_COSIGN = "ENCRYPTED COSIGN PRIVATE KEY"
_NEBULA = "NEBULA X25519 PRIVATE KEY"
_KEYS = frozenset({"PRIVATE KEY", "EC PRIVATE KEY", "RSA PRIVATE KEY", _OPENSSH, _PKCS8_ENCRYPTED, _COSIGN, _NEBULA})


class PEMBlock(Struct, frozen=True):
    """One block: the word of its BEGIN line, its RFC 1421 headers, its octets."""

    label: str
    headers: Mapping[str, str]
    der: bytes


def parse_blocks(data: bytes) -> tuple[PEMBlock, ...]:
    """Every well-formed block in order. Text around them, and what is no block after all, is skipped."""
    blocks = []
    begin: re.Match[bytes] | None = None
    for border in _BORDER.finditer(data):
        if border[1] == b"BEGIN":
            begin = border
        elif begin is not None:
            if begin[2] == border[2]:
                block = _block(begin[2], data[begin.end() + 1 : border.start()])
                if block is not None:
                    blocks.append(block)
            begin = None
    return tuple(blocks)


def find_der(data: bytes, label: str) -> bytes | None:
    """The octets of the first block, whatever its label; None if there is no block.

    Data that is nothing but one block of `label`, with lines that end in a line feed, costs no search.
    """
    begin, end = f"-----BEGIN {label}-----\n".encode(), f"\n-----END {label}-----\n".encode()
    if data.startswith(begin) and data.endswith(end):
        try:
            return binascii.a2b_base64(data[len(begin) : -len(end)].replace(b"\n", b""), strict_mode=True)
        except binascii.Error:
            pass  # it may still be text around a block, or several blocks
    blocks = parse_blocks(data)
    return blocks[0].der if blocks else None


def encode_pem(label: str, der: bytes) -> str:
    """One block with 64 characters a line and a newline at the end."""
    lines = [binascii.b2a_base64(der[at : at + 48]) for at in range(0, len(der), 48)]
    return f"-----BEGIN {label}-----\n{b''.join(lines).decode()}-----END {label}-----\n"


def parse_certificates(data: bytes) -> tuple[bytes, ...]:
    """The DER of every certificate in a bundle, or of the one certificate in a DER file.

    Other blocks and blocks with headers are skipped. The DER is not looked into. Raises
    `Malformed` if there is none.
    """
    data = data.removeprefix(_BYTE_ORDER_MARK)
    if b"-----BEGIN " not in data:
        if not data.startswith(b"\x30"):
            raise Malformed("no certificate: neither PEM nor DER")
        return (data,)
    found = tuple(block.der for block in parse_blocks(data) if block.label == "CERTIFICATE" and not block.headers)
    if not found:
        raise Malformed("no CERTIFICATE block in the PEM data")
    return found


def parse_public_key(data: bytes, *, where: str = "") -> PublicKey:
    """The key of one `PUBLIC KEY` block. Raises `BadKey`."""
    block = _only_block(data, where)
    if block.label == "NEBULA X25519 PUBLIC KEY":
        raise BadKey(f"{_decoding(where)}: keys of kind X25519 are not supported")
    if block.label != "PUBLIC KEY":
        raise BadKey(f"{_decoding(where)}: contains an unexpected header '{block.label}'")
    return parse_public_spki(block.der)


def encode_public_key(key: PublicKey) -> str:
    """A `PUBLIC KEY` block."""
    return encode_pem("PUBLIC KEY", spki_der(key))


def parse_private_key(data: bytes, password: Password | None, *, where: str = "") -> PrivateKey:
    """The key of a file with one private key in any of the usual forms; `where` names it in errors.

    A password for a key that has none is ignored. Raises `PasswordNeeded`, `WrongPassword` or
    another `BadKey`.
    """
    block = _only_block(data, where)
    if block.label not in _KEYS:
        raise BadKey(f"{_decoding(where)}: contains an unexpected header '{block.label}'")
    key = _load(block, password, where)
    if isinstance(key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey):
        return key
    raise BadKey(f"{_decoding(where)}: keys of kind {_kind(key)} are not supported")


def encode_private_key(
    key: PrivateKey,
    *,
    password: Password | None = None,
    random: Callable[[int], bytes],
    iterations: int = PBKDF2_ITERATIONS,
) -> bytes:
    """A key file as `step` writes it: `EC PRIVATE KEY`, `RSA PRIVATE KEY`, and PKCS#8 for Ed25519.

    `random(n)` gives the salt and the IV of PBES2; those of RFC 1423 are drawn by the library.
    An empty password is no password.
    """
    octets = password_bytes(password)
    if not isinstance(key, ed25519.Ed25519PrivateKey):
        encryption = BestAvailableEncryption(octets) if octets else NoEncryption()
        return key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, encryption)
    der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    if not octets:
        return encode_pem("PRIVATE KEY", der).encode()
    return encode_pem("ENCRYPTED PRIVATE KEY", encrypt_pkcs8(der, octets, random, iterations)).encode()


def _block(label: bytes, body: bytes) -> PEMBlock | None:
    headers: dict[str, str] = {}
    at = 0
    while header := _HEADER.match(body, at):
        headers[header[1].decode("latin-1").strip()] = header[2].decode("latin-1")
        at = header.end()
    try:
        der = binascii.a2b_base64(b"".join(body[at:].split()), strict_mode=True)
        return PEMBlock(label.decode(), headers, der)
    except (binascii.Error, UnicodeDecodeError):
        return None


def _only_block(data: bytes, where: str) -> PEMBlock:
    blocks = parse_blocks(data.removeprefix(_BYTE_ORDER_MARK))
    if not blocks:
        raise BadKey(f"{_decoding(where)}: not a valid PEM encoded block")
    if len(blocks) > 1:
        raise BadKey(f"{_decoding(where)}: contains more than one PEM encoded block")
    return blocks[0]


def _decoding(where: str) -> str:
    return f"error decoding {where or 'PEM'}"


def _kind(key: object) -> str:
    """The library's name of a kind of key, as `X25519`."""
    return type(key).__name__.removesuffix("PrivateKey")


def _load(block: PEMBlock, password: Password | None, where: str) -> object:
    """The key of a block, of whatever kind."""
    if block.label == _NEBULA:
        return _load_plain(block, where)
    try:
        encrypted = _is_encrypted(block)
        octets = password_bytes(password) if encrypted else b""
        if encrypted and not octets:
            raise PasswordNeeded(f"{_decoding(where)}: the key is encrypted and no password was given")
        if block.label == _OPENSSH:
            return load_ssh_private_key(encode_pem(_OPENSSH, block.der).encode(), octets or None)
        plain = _decrypt(block, octets) if encrypted else block
    except PasswordNeeded:
        raise
    except BadKey as problem:
        raise type(problem)(f"error decrypting {where or 'PEM'}: {problem.detail}") from problem
    except UnsupportedAlgorithm as problem:
        raise BadKey(f"error parsing {where or 'PEM'}: {problem}") from problem
    except (ValueError, TypeError, InvalidTag) as problem:
        raise _unreadable(problem, where, encrypted=encrypted) from problem
    return _load_plain(plain, where, encrypted=encrypted)


def _load_plain(block: PEMBlock, where: str, *, encrypted: bool = False) -> object:
    try:
        if block.label == _NEBULA:
            return x25519.X25519PrivateKey.from_private_bytes(block.der)
        return load_pem_private_key(encode_pem(block.label, block.der).encode(), None)
    except UnsupportedAlgorithm as problem:
        raise BadKey(f"{_decoding(where)}: {problem}") from problem
    except (ValueError, TypeError) as problem:
        raise _unreadable(problem, where, encrypted=encrypted) from problem


def _unreadable(problem: Exception, where: str, *, encrypted: bool) -> BadKey:
    """What was decrypted and is no key after all was decrypted with a wrong password that padded well."""
    if encrypted:
        return WrongPassword(f"error decrypting {where or 'PEM'}: x509: decryption password incorrect")
    return BadKey(f"{_decoding(where)}: {problem}")


def _is_encrypted(block: PEMBlock) -> bool:
    if block.label == _OPENSSH:
        return check_openssh(block.der)
    return block.label in (_PKCS8_ENCRYPTED, _COSIGN) or "DEK-Info" in block.headers


def _decrypt(block: PEMBlock, password: bytes) -> PEMBlock:
    """The block as it was before it was encrypted."""
    if block.label == _PKCS8_ENCRYPTED:
        return PEMBlock("PRIVATE KEY", {}, decrypt_pkcs8(block.der, password))
    if block.label == _COSIGN:
        return PEMBlock("PRIVATE KEY", {}, decrypt_cosign(block.der, password))
    return PEMBlock(block.label, {}, decrypt_rfc1423(block.headers["DEK-Info"], block.der, password))


def encrypt_pkcs8(der: bytes, password: bytes, random: Callable[[int], bytes], iterations: int) -> bytes:
    """EncryptedPrivateKeyInfo (RFC 5958 section 3) with PBKDF2-HMAC-SHA256 and AES-256-CBC."""
    salt, iv = random(16), random(16)
    key = PBKDF2HMAC(hashes.SHA256(), 32, salt, iterations).derive(password)
    padder = PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
    ciphertext = encryptor.update(padder.update(der) + padder.finalize()) + encryptor.finalize()
    count = iterations.to_bytes(iterations.bit_length() // 8 + 1, "big")
    prf = sequence(_HMAC_SHA256, _NULL)
    kdf = sequence(_PBKDF2, sequence(element(OCTET_STRING, salt), element(INTEGER, count), prf))
    scheme = sequence(_AES256_CBC, element(OCTET_STRING, iv))
    return sequence(sequence(_PBES2, sequence(kdf, scheme)), element(OCTET_STRING, ciphertext))


_PBES2 = bytes.fromhex("06092a864886f70d01050d")
_PBKDF2 = bytes.fromhex("06092a864886f70d01050c")
_HMAC_SHA256 = bytes.fromhex("06082a864886f70d0209")
_AES256_CBC = bytes.fromhex("060960864801650304012a")
_NULL = b"\x05\x00"
