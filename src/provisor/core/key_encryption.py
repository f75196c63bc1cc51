"""Opening encrypted key files: RFC 1423, PBES2 (RFC 8018 section 6.2) and cosign's JSON envelope.

OpenSSH's form is read by the library whole; here is only how much work one may ask for. The files are
the operator's own, but a number in one must not keep a process busy for hours.
"""

from __future__ import annotations

import binascii
import hashlib
from collections.abc import Callable, Mapping
from typing import Annotated, Final

import msgspec
from cryptography import x509
from cryptography.hazmat import asn1
from cryptography.hazmat.decrepit.ciphers.algorithms import TripleDES
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers import Cipher, CipherAlgorithm, algorithms, modes
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt
from cryptography.hazmat.primitives.padding import PKCS7
from msgspec import Struct

from provisor.core.keys import WrongPassword
from provisor.core.x509.der import AlgorithmWithParameters, read
from provisor.errors import BadKey

MAX_PBKDF2_ITERATIONS: Final = 10_000_000
MAX_SCRYPT_OCTETS: Final = 1 << 30
MAX_BCRYPT_ROUNDS: Final = 1024

_INCORRECT: Final = "x509: decryption password incorrect"
_OPENSSH_MAGIC: Final = b"openssh-key-v1\x00"


class _BlockCipher(Struct, frozen=True):
    """A block cipher in CBC mode; sizes in octets."""

    key_size: int
    block_size: int
    make: Callable[[bytes], CipherAlgorithm]


def _single_des(key: bytes) -> CipherAlgorithm:
    """DES is Triple DES with the same key three times."""
    return TripleDES(key * 3)


_DES: Final = _BlockCipher(8, 8, _single_des)
_DES_EDE3: Final = _BlockCipher(24, 8, TripleDES)
_AES_128: Final = _BlockCipher(16, 16, algorithms.AES)
_AES_192: Final = _BlockCipher(24, 16, algorithms.AES)
_AES_256: Final = _BlockCipher(32, 16, algorithms.AES)

_DEK_CIPHERS: Final = {
    "DES-CBC": _DES,
    "DES-EDE3-CBC": _DES_EDE3,
    "AES-128-CBC": _AES_128,
    "AES-192-CBC": _AES_192,
    "AES-256-CBC": _AES_256,
}
_PBES2_CIPHERS: Final = {
    "1.3.14.3.2.7": _DES,
    "1.2.840.113549.3.7": _DES_EDE3,
    "2.16.840.1.101.3.4.1.2": _AES_128,
    "2.16.840.1.101.3.4.1.22": _AES_192,
    "2.16.840.1.101.3.4.1.42": _AES_256,
}
_PBES2: Final = "1.2.840.113549.1.5.13"
_PBKDF2: Final = "1.2.840.113549.1.5.12"
_HMAC_SHA1: Final = "1.2.840.113549.2.7"
# The reference reads the first two; OpenSSL offers the others, and their keys are as good.
_PRFS: Final[Mapping[str, hashes.HashAlgorithm]] = {
    _HMAC_SHA1: hashes.SHA1(),  # the default of RFC 8018, sound inside an HMAC
    "1.2.840.113549.2.9": hashes.SHA256(),
    "1.2.840.113549.2.8": hashes.SHA224(),
    "1.2.840.113549.2.10": hashes.SHA384(),
    "1.2.840.113549.2.11": hashes.SHA512(),
}


def decrypt_rfc1423(dek_info: str, data: bytes, password: bytes) -> bytes:
    """The content of a block with this `DEK-Info` header. Raises `WrongPassword` or another `BadKey`."""
    name, comma, written = dek_info.partition(",")
    cipher = _DEK_CIPHERS.get(name.strip().upper())
    if not comma:
        raise BadKey("x509: malformed DEK-Info header")
    if cipher is None:
        raise BadKey(f"x509: unknown encryption mode {name.strip()[:40]}")
    try:
        iv = binascii.unhexlify(written.strip())
    except ValueError as problem:
        raise BadKey(f"x509: malformed DEK-Info header: {problem}") from problem
    if len(iv) != cipher.block_size:
        raise BadKey("x509: incorrect IV size")
    return _decrypt(cipher, _stretch_md5(password, iv[:8], cipher.key_size), iv, data)


def decrypt_pkcs8(data: bytes, password: bytes) -> bytes:
    """The PrivateKeyInfo in an EncryptedPrivateKeyInfo (RFC 5958 section 3).

    Raises `WrongPassword`, or another `BadKey`: PBES2 with PBKDF2 is the only scheme.
    """
    try:
        info = asn1.decode_der(_EncryptedPrivateKeyInfo, data)
        if info.scheme.algorithm.dotted_string != _PBES2:
            raise BadKey("unsupported encrypted PEM: only PBES2 is supported")
        scheme = read(info.scheme.parameters, _PBES2Parameters)
        if scheme.kdf.algorithm.dotted_string != _PBKDF2:
            raise BadKey("unsupported encrypted PEM: only PBKDF2 is supported")
        kdf = read(scheme.kdf.parameters, _PBKDF2Parameters)
        iv = read(scheme.cipher.parameters, bytes)
    except ValueError as problem:
        raise BadKey(f"failed to unmarshal private key: {problem}") from problem
    cipher_name = scheme.cipher.algorithm.dotted_string
    cipher = _PBES2_CIPHERS.get(cipher_name)
    if cipher is None:
        raise BadKey(f"unsupported encrypted PEM: unknown algorithm {cipher_name}")
    prf_name = kdf.prf.algorithm.dotted_string if kdf.prf is not None else _HMAC_SHA1
    prf = _PRFS.get(prf_name)
    if prf is None:
        raise BadKey(f"unsupported encrypted PEM: unknown pseudorandom function {prf_name}")
    if not 0 < kdf.iterations <= MAX_PBKDF2_ITERATIONS:
        raise BadKey(f"unsupported encrypted PEM: {kdf.iterations} iterations, at most {MAX_PBKDF2_ITERATIONS}")
    if len(iv) != cipher.block_size:
        raise BadKey("unsupported encrypted PEM: incorrect IV size")
    key = PBKDF2HMAC(prf, cipher.key_size, kdf.salt, kdf.iterations).derive(password)
    return _decrypt(cipher, key, iv, info.data)


def decrypt_cosign(data: bytes, password: bytes) -> bytes:
    """The PrivateKeyInfo in a cosign envelope: scrypt, then XSalsa20 and Poly1305.

    Raises `WrongPassword` or another `BadKey`.
    """
    try:
        envelope = msgspec.json.decode(data, type=_CosignEnvelope)
    except (msgspec.MsgspecError, UnicodeDecodeError) as problem:
        raise BadKey(f"error unmarshaling key: {problem}") from problem
    kdf, cipher = envelope.kdf, envelope.cipher
    if kdf.name != "scrypt":
        raise BadKey(f"error parsing key: unsupported kdf {kdf.name[:40]}")
    if cipher.name != "nacl/secretbox":
        raise BadKey(f"error parsing key: unsupported cipher {cipher.name[:40]}")
    if len(cipher.nonce) != 24:
        raise BadKey("error parsing key: nonce must be 24 bytes long")
    cost, block, parallel = kdf.params.N, kdf.params.r, kdf.params.p
    # RFC 7914 section 6: the table of N blocks of 128·r octets, and the p blocks it is made for.
    if min(cost, block, parallel) < 1 or 128 * block * (cost * parallel) > MAX_SCRYPT_OCTETS:
        raise BadKey(f"error parsing key: scrypt with N={cost} r={block} p={parallel} is not done here")
    try:
        key = Scrypt(kdf.salt, 32, cost, block, parallel).derive(password)
    except (ValueError, MemoryError) as problem:
        raise BadKey(f"error parsing key: scrypt with N={cost} r={block} p={parallel}: {problem}") from problem
    return _open_box(key, cipher.nonce, envelope.ciphertext)


def check_openssh(data: bytes) -> bool:
    """Whether an `openssh-key-v1` is encrypted (its header, PROTOCOL.key section 1).

    Raises `BadKey` for what is not one, and for more rounds than anybody waits for.
    """
    if not data.startswith(_OPENSSH_MAGIC):
        raise BadKey("error parsing private key: invalid OpenSSH private key format")
    cipher, at = _ssh_string(data, len(_OPENSSH_MAGIC))
    kdf, at = _ssh_string(data, at)
    options, _ = _ssh_string(data, at)
    if kdf == b"bcrypt":
        _, after_salt = _ssh_string(options, 0)
        rounds = int.from_bytes(options[after_salt : after_salt + 4], "big")
        if rounds > MAX_BCRYPT_ROUNDS:
            raise BadKey(f"error parsing private key: {rounds} rounds of bcrypt, at most {MAX_BCRYPT_ROUNDS}")
    return cipher != b"none"


# -- shapes ----------------------------------------------------------------------------------------


@asn1.sequence
class _PseudorandomFunction:
    algorithm: x509.ObjectIdentifier
    parameters: asn1.Null | None


@asn1.sequence
class _EncryptedPrivateKeyInfo:
    scheme: AlgorithmWithParameters
    data: bytes


@asn1.sequence
class _PBES2Parameters:
    kdf: AlgorithmWithParameters
    cipher: AlgorithmWithParameters


@asn1.sequence
class _PBKDF2Parameters:
    """RFC 8018 appendix A.2. The cipher says how long the key is; what is written here is not looked at."""

    salt: bytes
    iterations: int
    key_length: int | None
    prf: _PseudorandomFunction | None


class _ScryptParameters(Struct, frozen=True):
    N: Annotated[int, msgspec.Meta(le=1 << 40)]
    r: Annotated[int, msgspec.Meta(le=1 << 20)]
    p: Annotated[int, msgspec.Meta(le=1 << 20)]


class _CosignKDF(Struct, frozen=True):
    name: str
    params: _ScryptParameters
    salt: bytes


class _CosignCipher(Struct, frozen=True):
    name: str
    nonce: bytes


class _CosignEnvelope(Struct, frozen=True):
    kdf: _CosignKDF
    cipher: _CosignCipher
    ciphertext: bytes


# -- primitives ------------------------------------------------------------------------------------


def _stretch_md5(password: bytes, salt: bytes, size: int) -> bytes:
    """OpenSSL's EVP_BytesToKey with MD5 and one round: weak, and what RFC 1423 files are made with."""
    key = digest = b""
    while len(key) < size:
        digest = hashlib.md5(digest + password + salt, usedforsecurity=False).digest()
        key += digest
    return key[:size]


def _decrypt(cipher: _BlockCipher, key: bytes, iv: bytes, data: bytes) -> bytes:
    if not data or len(data) % cipher.block_size:
        raise BadKey("x509: encrypted PEM data is not a multiple of the block size")
    decryptor = Cipher(cipher.make(key), modes.CBC(iv)).decryptor()
    unpadder = PKCS7(cipher.block_size * 8).unpadder()
    try:
        return unpadder.update(decryptor.update(data) + decryptor.finalize()) + unpadder.finalize()
    except ValueError as problem:
        raise WrongPassword(_INCORRECT) from problem


def _open_box(key: bytes, nonce: bytes, ciphertext: bytes) -> bytes:
    # Loads a library that few keys need.
    from nacl.exceptions import CryptoError
    from nacl.secret import SecretBox

    try:
        return bytes(SecretBox(key).decrypt(ciphertext, nonce))
    except CryptoError as problem:
        raise WrongPassword(_INCORRECT) from problem


def _ssh_string(data: bytes, at: int) -> tuple[bytes, int]:
    """The string at `at` (RFC 4251 section 5) and where it ends. Raises `BadKey` if it is cut off."""
    end = at + 4 + int.from_bytes(data[at : at + 4], "big")
    if at + 4 > len(data) or end > len(data):
        raise BadKey("error parsing private key: invalid OpenSSH private key format")
    return data[at + 4 : end], end
