"""The signed head of the audit log's tree: what a second party keeps, so that the past cannot be changed behind it.

::

    provisor-tree-head-v1
    3f0c…                the authority's id
    4711                 events in the tree
    jJ9u…=               root of the tree (RFC 9162 section 2.1.1), base64
    1780000000           when, unix seconds
    9be1…                SHA-256 of the issuer's certificate whose key signs, hex

A line feed ends every line. What is signed are these octets; they do not begin as DER does, so that no
signature over a head is one over a certificate or a revocation list. In a file the signature follows as a
seventh line: `signature `, and its base64.
"""

from __future__ import annotations

import base64
import binascii
import re
from typing import Final

from msgspec import Struct

from provisor.core.merkle import HASH
from provisor.core.x509.algorithms import SCHEMES, is_signature_valid
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.issuer import signature_algorithm_for
from provisor.errors import ConfigError, Malformed

VERSION: Final = "provisor-tree-head-v1"
LONGEST: Final = 1024
"""Octets of a head's text."""

_SIGNATURE: Final = b"signature "
_AUTHORITY: Final = re.compile(r"[!-~]{1,128}")
_NUMBER: Final = re.compile(r"0|[1-9][0-9]{0,18}")
_ISSUER: Final = re.compile(r"[0-9a-f]{64}")


class TreeHead(Struct, frozen=True):
    """`at` is unix seconds, `issuer` the SHA-256 of the certificate whose key signs."""

    authority: str
    size: int
    root: bytes
    at: int
    issuer: bytes


class SignedHead(Struct, frozen=True):
    """`text` is what was signed. Nothing is said about its being genuine."""

    text: bytes
    signature: bytes


def encode_head(head: TreeHead) -> bytes:
    """The text that is signed."""
    lines = (
        VERSION,
        head.authority,
        str(head.size),
        base64.b64encode(head.root).decode(),
        str(head.at),
        head.issuer.hex(),
    )
    return "".join(f"{line}\n" for line in lines).encode()


def parse_head(text: bytes) -> TreeHead:
    """The only head with this text. Raises `Malformed`."""
    try:
        lines = text.decode("ascii").split("\n") if len(text) <= LONGEST else []
    except UnicodeDecodeError:
        lines = []
    if len(lines) != 7 or lines[0] != VERSION or lines[6]:
        raise Malformed("not the head of an audit log")
    _, authority, size, root, at, issuer, _ = lines
    if not (_AUTHORITY.fullmatch(authority) and _NUMBER.fullmatch(size) and _NUMBER.fullmatch(at)):
        raise Malformed("head of an audit log: authority, size or time is not in its form")
    if not _ISSUER.fullmatch(issuer):
        raise Malformed("head of an audit log: the issuer is not in its form")
    head = TreeHead(authority, int(size), _parse_root(root), int(at), bytes.fromhex(issuer))
    if encode_head(head) != text:
        raise Malformed("head of an audit log: not in its one form")
    return head


def _parse_root(text: str) -> bytes:
    try:
        root = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        root = b""
    if len(root) != HASH:
        raise Malformed("head of an audit log: the root is no hash")
    return root


def encode_file(head: SignedHead) -> bytes:
    """A head as it is handed to a second party."""
    return head.text + _SIGNATURE + base64.b64encode(head.signature) + b"\n"


def parse_file(data: bytes) -> SignedHead:
    """A head that somebody kept; its text may still be anything. Raises `Malformed`."""
    text, found, signature = data.replace(b"\r\n", b"\n").rpartition(b"\n" + _SIGNATURE)
    if not found:
        raise Malformed("not a signed head of an audit log: it has no line with a signature")
    try:
        return SignedHead(text + b"\n", base64.b64decode(signature.strip(), validate=True))
    except (binascii.Error, ValueError) as error:
        raise Malformed("signed head of an audit log: the signature is not base64") from error


def verify_head(signed: SignedHead, issuer: Certificate) -> TreeHead:
    """The head, if `issuer` is the certificate that it names and its key made the signature. Raises `Malformed`."""
    head = parse_head(signed.text)
    if head.issuer.hex() != issuer.fingerprint:
        raise Malformed(f"head of size {head.size} names another issuer: {head.issuer.hex()}")
    if not is_signed(signed, issuer):
        raise Malformed(f"head of size {head.size}: the signature is not the issuer's")
    return head


def is_signed(signed: SignedHead, issuer: Certificate) -> bool:
    """Whether this key made the signature, with the algorithm that it signs certificates with."""
    try:
        scheme = SCHEMES[signature_algorithm_for(issuer)]
    except ConfigError:
        return False
    return is_signature_valid(issuer.spki, scheme, signed.signature, signed.text)
