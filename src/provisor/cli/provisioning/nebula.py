"""The CA certificates of Nebula in a file: which they are, and whether they are whole.

Version 1 is a Protocol Buffers message, version 2 DER. What else they say is left to the CA.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from typing import Final

from msgspec import Struct

from provisor.cli.exits import CommandError
from provisor.cli.provisioning.bundles import read_given
from provisor.core.pem import PEMBlock, encode_pem, parse_blocks

_VERSION_1: Final = "NEBULA CERTIFICATE"
_VERSION_2: Final = "NEBULA CERTIFICATE V2"
_P256: Final = 1


class NebulaCertificate(Struct, frozen=True):
    """What decides whether it may be a root. `curve` 0 is Ed25519, 1 is P-256."""

    name: str
    is_ca: bool
    curve: int
    public_key: bytes
    signed: bytes
    signature: bytes


def nebula_roots(path: str) -> str:
    """The CA certificates of a file, base64 of their PEM. Raises `CommandError`, also when there are none."""
    content = read_given(path)
    blocks = parse_blocks(content)
    if content.strip() and not (blocks and content.rstrip().endswith(b"-----")):
        raise CommandError(f"error reading {path}: input did not contain a valid PEM encoded block")
    kept = [encode_pem(block.label, block.der) for block in blocks if _parse(block, path).is_ca]
    if not kept:
        raise CommandError(f"error reading {path}: no CA certificates found")
    return b64encode("".join(kept).encode()).decode()


def check_roots(value: str) -> None:
    """The certificates in the member `roots` signed themselves. Raises `CommandError`."""
    blocks = parse_blocks(b64decode(value))
    if not blocks:
        raise CommandError("provisioner root(s) cannot be empty")
    for block in blocks:
        certificate = _parse(block, "provisioner root(s)")
        if not certificate.is_ca:
            raise CommandError(f"failed to create CA pool: {certificate.name}: certificate is not a CA")
        if not _is_self_signed(certificate):
            raise CommandError(f"failed to create CA pool: {certificate.name}: certificate is not self-signed")


def _is_self_signed(certificate: NebulaCertificate) -> bool:
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519

    try:
        if certificate.curve == _P256:
            key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), certificate.public_key)
            key.verify(certificate.signature, certificate.signed, ec.ECDSA(hashes.SHA256()))
        else:
            simple = ed25519.Ed25519PublicKey.from_public_bytes(certificate.public_key)
            simple.verify(certificate.signature, certificate.signed)
    except (InvalidSignature, ValueError):
        return False
    return True


def _parse(block: PEMBlock, where: str) -> NebulaCertificate:
    try:
        if block.label == _VERSION_1:
            return _parse_1(block.der)
        if block.label == _VERSION_2:
            return _parse_2(block.der)
    except (ValueError, IndexError) as error:
        raise CommandError(f"error reading {where}: the Nebula certificate cannot be decoded") from error
    raise CommandError(f"error reading {where}: bytes did not contain a proper certificate banner")


def _parse_1(message: bytes) -> NebulaCertificate:
    outer = _fields(message)
    signed = _octets(outer.get(1))
    if not signed:
        raise ValueError("no details")
    details = _fields(signed)
    return NebulaCertificate(
        name=_octets(details.get(1)).decode(errors="replace"),
        is_ca=bool(details.get(8, 0)),
        curve=_P256 if details.get(100) == _P256 else 0,
        public_key=_octets(details.get(7)),
        signed=signed,
        signature=_octets(outer.get(2)),
    )


def _octets(value: int | bytes | None) -> bytes:
    if isinstance(value, int):
        raise ValueError("a number instead of octets")
    return value or b""


def _fields(message: bytes) -> dict[int, int | bytes]:
    """The last value of each field: numbers, and the octets of the rest. Raises `ValueError` or `IndexError`."""
    fields: dict[int, int | bytes] = {}
    at = 0
    while at < len(message):
        key, at = _varint(message, at)
        match key & 7:
            case 0:
                fields[key >> 3], at = _varint(message, at)
                continue
            case 1:
                size = 8
            case 2:
                size, at = _varint(message, at)
            case 5:
                size = 4
            case _:
                raise ValueError("unknown wire type")
        if at + size > len(message):
            raise ValueError("truncated")
        fields[key >> 3] = message[at : at + size]
        at += size
    return fields


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        octet = message[at]
        at += 1
        value |= (octet & 0x7F) << shift
        if octet < 0x80:
            return value, at
        shift += 7
        if shift > 63:
            raise ValueError("a number is too long")


def _parse_2(der: bytes) -> NebulaCertificate:
    """`[0]` details, `[1]` curve, `[2]` public key, `[3]` signature; in the details `[0]` name and `[4]` CA."""
    from provisor.core.der import element, sequence
    from provisor.core.x509.der import split_list

    parts = {bytes(one.tag_bytes): bytes(one.data) for one in split_list(der)}
    if b"\xa0" not in parts:
        raise ValueError("no details")
    details = {bytes(one.tag_bytes): bytes(one.data) for one in split_list(sequence(parts[b"\xa0"]))}
    curve, key = int.from_bytes(parts.get(b"\x81", b"")[:1]), parts.get(b"\x82", b"")
    return NebulaCertificate(
        name=details.get(b"\x80", b"").decode(errors="replace"),
        is_ca=details.get(b"\x84", b"\0") != b"\0",
        curve=curve,
        public_key=key,
        signed=element(b"\xa0", parts[b"\xa0"]) + bytes((curve,)) + key,
        signature=parts.get(b"\x83", b""),
    )
