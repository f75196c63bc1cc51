"""SSH certificates as octets (OpenSSH PROTOCOL.certkeys, RFC 4251 section 5)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

USER: Final = 1
HOST: Final = 2

CERTIFICATE_TYPES: Final[Mapping[bytes, bytes]] = {
    **{name: name + b"-cert-v01@openssh.com" for name in (b"ssh-ed25519", b"ssh-rsa")},
    **{name: name + b"-cert-v01@openssh.com" for name in (b"ecdsa-sha2-nistp256", b"ecdsa-sha2-nistp384")},
    b"ecdsa-sha2-nistp521": b"ecdsa-sha2-nistp521-cert-v01@openssh.com",
    b"sk-ecdsa-sha2-nistp256@openssh.com": b"sk-ecdsa-sha2-nistp256-cert-v01@openssh.com",
    b"sk-ssh-ed25519@openssh.com": b"sk-ssh-ed25519-cert-v01@openssh.com",
}
"""By the type of the key that is certified. DSA is not among them, nor is a certificate as a key."""


class SSHDraft(Struct, frozen=True):
    """What is to be signed. `key` and `signature_key` are public keys as octets, times unix seconds."""

    key: bytes
    nonce: bytes
    serial: int
    type: int
    key_id: str
    principals: tuple[str, ...]
    valid_after: int
    valid_before: int
    critical_options: Mapping[str, str]
    extensions: Mapping[str, str]
    reserved: bytes
    signature_key: bytes


def string(octets: bytes) -> bytes:
    return len(octets).to_bytes(4, "big") + octets


def split_string(octets: bytes) -> tuple[bytes, bytes]:
    """The first string, and what stands behind it. Raises `ValueError`."""
    length = int.from_bytes(octets[:4], "big")
    if len(octets) < 4 + length or len(octets) < 4:
        raise ValueError("a string ends early")
    return octets[4 : 4 + length], octets[4 + length :]


def encode_to_be_signed(draft: SSHDraft) -> bytes:
    """Everything before the signature. Raises `ValueError` for a key of a kind that has no certificates."""
    kind, fields = split_string(draft.key)
    name = CERTIFICATE_TYPES.get(kind)
    if name is None:
        raise ValueError(f"ssh: unknown key type {kind.decode('latin-1')!r}")
    return b"".join(
        (
            string(name),
            string(draft.nonce),
            fields,
            draft.serial.to_bytes(8, "big"),
            draft.type.to_bytes(4, "big"),
            string(_octets(draft.key_id)),
            string(b"".join(string(_octets(principal)) for principal in draft.principals)),
            draft.valid_after.to_bytes(8, "big"),
            draft.valid_before.to_bytes(8, "big"),
            string(_options(draft.critical_options)),
            string(_options(draft.extensions)),
            string(draft.reserved),
            string(draft.signature_key),
        )
    )


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _options(options: Mapping[str, str]) -> bytes:
    """Sorted by name; a value stands as a string inside a string, an empty one as nothing inside one."""
    found = sorted((_octets(name), _octets(value)) for name, value in options.items())
    return b"".join(string(name) + string(string(value) if value else b"") for name, value in found)
