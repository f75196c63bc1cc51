"""What a file with a certificate, request or key says, without what differs each time it is made."""

from __future__ import annotations

from pathlib import Path

from provisor.cli.inspection.document import Document, parse_certificate, parse_request
from provisor.core.keys import describe_key, parse_spki
from provisor.core.pem import PEMBlock, parse_blocks
from provisor.core.x509 import oids

_OWN = (oids.SUBJECT_KEY_ID, oids.AUTHORITY_KEY_ID)


def describe_file(path: Path) -> object:
    """Mode and content."""
    return oct(path.stat().st_mode & 0o777), describe(path.read_bytes())


def describe(content: bytes) -> object:
    """A list of what is in it; the size of what is no PEM."""
    blocks = parse_blocks(content)
    return [_block(block) for block in blocks] if blocks else bool(content)


def _block(block: PEMBlock) -> object:
    if block.label == "CERTIFICATE":
        return _document(parse_certificate(block.der))
    if block.label == "CERTIFICATE REQUEST":
        return _document(parse_request(block.der))
    return block.label, tuple(block.headers), block.headers.get("DEK-Info", "").partition(",")[0]


def _document(document: Document) -> object:
    lifetime = None
    if document.not_before and document.not_after:
        lifetime = document.not_after - document.not_before
    extensions = [(e.oid, e.critical, None if e.oid in _OWN else e.value) for e in document.extensions]
    key = describe_key(parse_spki(document.spki))
    return document.version, document.subject, document.issuer, lifetime, extensions, key, document.signature_algorithm
