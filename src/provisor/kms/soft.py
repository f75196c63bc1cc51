"""Keys in files: PEM of every kind that `core/pem` reads, held in this process's memory."""

from __future__ import annotations

import os
from pathlib import Path
from typing import final

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from msgspec import Struct

from provisor.core.keys import PrivateKey, PublicKey, describe_key
from provisor.core.pem import parse_private_key
from provisor.core.secret import Password
from provisor.errors import ConfigError, NotSupported
from provisor.kms.base import Signer
from provisor.kms.uri import file_path

MAX_KEY_FILE_BYTES = 1024 * 1024


class SignatureScheme(Struct, frozen=True):
    """How one AlgorithmIdentifier signs: the kind of key, the digest (None for Ed25519), PSS or not."""

    key_kind: str
    digest: hashes.HashAlgorithm | None
    pss: bool = False


def _pss(hash_arc: str, salt_length: int) -> bytes:
    """RSASSA-PSS parameters (RFC 4055 section 3.1) with one digest for everything and a salt of its length."""
    digest = bytes.fromhex(f"300d06096086480165030402{hash_arc}0500")
    mask = bytes.fromhex("301a06092a864886f70d010108") + digest
    parts = b"\xa0\x0f" + digest + b"\xa1\x1c" + mask + bytes.fromhex("a2030201") + bytes((salt_length,))
    return bytes.fromhex("304106092a864886f70d01010a3034") + parts


ECDSA_SHA256 = bytes.fromhex("300a06082a8648ce3d040302")
ECDSA_SHA384 = bytes.fromhex("300a06082a8648ce3d040303")
ECDSA_SHA512 = bytes.fromhex("300a06082a8648ce3d040304")
ED25519 = bytes.fromhex("300506032b6570")
RSA_SHA256 = bytes.fromhex("300d06092a864886f70d01010b0500")
RSA_SHA384 = bytes.fromhex("300d06092a864886f70d01010c0500")
RSA_SHA512 = bytes.fromhex("300d06092a864886f70d01010d0500")
PSS_SHA256 = _pss("01", 32)
PSS_SHA384 = _pss("02", 48)
PSS_SHA512 = _pss("03", 64)

SCHEMES: dict[bytes, SignatureScheme] = {
    ECDSA_SHA256: SignatureScheme("EC", hashes.SHA256()),
    ECDSA_SHA384: SignatureScheme("EC", hashes.SHA384()),
    ECDSA_SHA512: SignatureScheme("EC", hashes.SHA512()),
    ED25519: SignatureScheme("Ed25519", None),
    RSA_SHA256: SignatureScheme("RSA", hashes.SHA256()),
    RSA_SHA384: SignatureScheme("RSA", hashes.SHA384()),
    RSA_SHA512: SignatureScheme("RSA", hashes.SHA512()),
    PSS_SHA256: SignatureScheme("RSA", hashes.SHA256(), pss=True),
    PSS_SHA384: SignatureScheme("RSA", hashes.SHA384(), pss=True),
    PSS_SHA512: SignatureScheme("RSA", hashes.SHA512(), pss=True),
}
_PREFERRED = {"P-384": ECDSA_SHA384, "P-521": ECDSA_SHA512}


@final
class SoftSigner:
    """A private key in memory. An RSA signature costs a hundred ECDSA ones, hence `costly`."""

    __slots__ = ("_key", "concurrency", "costly", "public_key", "signature_algorithms")

    def __init__(self, key: PrivateKey) -> None:
        self._key = key
        self.public_key: PublicKey = key.public_key()
        info = describe_key(self.public_key)
        able = [identifier for identifier, scheme in SCHEMES.items() if scheme.key_kind == info.kind]
        preferred = _PREFERRED.get(info.curve, able[0])
        self.signature_algorithms: tuple[bytes, ...] = tuple(sorted(able, key=lambda each: each != preferred))
        self.costly: bool = info.kind == "RSA"
        self.concurrency: int = len(os.sched_getaffinity(0))

    def sign(self, data: bytes, signature_algorithm: bytes) -> bytes:
        """See `Signer.sign`."""
        scheme = SCHEMES.get(signature_algorithm)
        if scheme is None or signature_algorithm not in self.signature_algorithms:
            label = describe_key(self.public_key).label
            raise NotSupported(f"a key of kind {label} does not sign with algorithm {signature_algorithm.hex()}")
        digest = scheme.digest
        if isinstance(self._key, ec.EllipticCurvePrivateKey) and digest is not None:
            return self._key.sign(data, ec.ECDSA(digest))
        if isinstance(self._key, rsa.RSAPrivateKey) and digest is not None:
            if scheme.pss:
                return self._key.sign(data, padding.PSS(padding.MGF1(digest), digest.digest_size), digest)
            return self._key.sign(data, padding.PKCS1v15(), digest)
        if not isinstance(self._key, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey):
            return self._key.sign(data)
        raise NotSupported(f"algorithm {signature_algorithm.hex()} has no digest")

    def __repr__(self) -> str:
        return f"SoftSigner({describe_key(self.public_key).label})"

    def __reduce__(self) -> str:
        raise TypeError("a signer is not pickled")


@final
class SoftKMS:
    """Key files by path, `file:` or `softkms:path=`. Relative paths start at `base`."""

    def __init__(self, base: Path | None = None) -> None:
        self._base = base or Path()

    def open_signer(self, reference: str, password: Password | None) -> Signer:
        """See `KeyManager.open_signer`."""
        path = self._base / file_path(reference)
        return SoftSigner(parse_private_key(_read(path), password, where=str(path)))


def _read(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_KEY_FILE_BYTES + 1)
    except OSError as problem:
        raise ConfigError(
            str(path), f'error reading "{path}": {(problem.strerror or str(problem)).lower()}'
        ) from problem
    if len(data) > MAX_KEY_FILE_BYTES:
        raise ConfigError(str(path), f"a key file of more than {MAX_KEY_FILE_BYTES} octets")
    return data
