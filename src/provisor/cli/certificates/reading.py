"""Certificates, requests and keys in files, for the commands that make something of them.

The texts of what is wrong are the recorded ones, as far as they are words and not the parser's own.
"""

from __future__ import annotations

from provisor.cli import files, keys
from provisor.cli.exits import CommandError
from provisor.core.keys import PrivateKey, PublicKey
from provisor.core.pem import PEMBlock, parse_blocks, parse_public_key
from provisor.core.secret import Secret
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.request import CertificateRequest, parse_csr
from provisor.errors import BadCSR, BadKey, Malformed, ProvisorError

CERTIFICATE_LABEL = "CERTIFICATE"
REQUEST_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
PUBLIC_LABEL = "PUBLIC KEY"


def is_pem(content: bytes) -> bool:
    """It has something that looks like a block."""
    return b"-----BEGIN " in content


def read_chain(path: str) -> tuple[Certificate, ...]:
    """All certificates of a PEM file in their order, or the one of a DER file. Raises `CommandError`."""
    content = files.read_pem_file(path)
    if not is_pem(content):
        return (_certificate(content, path),)
    ders = [block.der for block in parse_blocks(content) if block.label == CERTIFICATE_LABEL]
    if not ders:
        raise _no_certificate(path)
    return tuple(_certificate(der, path) for der in ders)


def read_certificate(path: str) -> Certificate:
    """The only certificate of a file, in PEM or DER. Raises `CommandError`, also for a second one."""
    content = files.read_pem_file(path)
    if not is_pem(content):
        return _certificate(content, path)
    block = only_block(content, path)
    if block.label != CERTIFICATE_LABEL:
        raise _no_certificate(path)
    return _certificate(block.der, path)


def only_block(content: bytes, path: str) -> PEMBlock:
    """The block of a file that has exactly one. Raises `CommandError`."""
    blocks = parse_blocks(content)
    if not blocks:
        raise CommandError(f"error decoding {path}: not a valid PEM encoded block")
    if len(blocks) > 1:
        raise CommandError(f"error decoding {path}: contains more than one PEM encoded block")
    return blocks[0]


def read_request(path: str) -> CertificateRequest:
    """The first request of a PEM file, or the one of a DER file. Raises `CommandError`."""
    content = files.read_pem_file(path)
    ders = [block.der for block in parse_blocks(content) if block.label in REQUEST_LABELS] if is_pem(content) else []
    try:
        return parse_csr(ders[0] if ders else content)
    except BadCSR as error:
        form = "error decoding PEM data" if ders else "error parsing certificate request as DER format"
        raise CommandError(f"error parsing {path}: {form}: {parser_words(error)}") from error


def read_key(path: str, password: Secret, *, flag: str = "") -> PrivateKey | PublicKey:
    """A private key, or the public one of a `PUBLIC KEY` block. Raises `CommandError`."""
    content = files.read_pem_file(path)
    blocks = parse_blocks(content)
    try:
        if len(blocks) == 1 and blocks[0].label == PUBLIC_LABEL:
            return parse_public_key(content, where=path)
        return keys.parse_key(content, path, password, flag=flag)
    except BadKey as error:
        raise CommandError(error.detail) from error


def read_private_key(path: str, password: Secret, *, flag: str = "") -> PrivateKey:
    """A private key; a missing password is asked for. Raises `CommandError`."""
    try:
        return keys.load_key(path, password, flag=flag)
    except BadKey as error:
        raise CommandError(error.detail) from error


def _certificate(der: bytes, path: str) -> Certificate:
    try:
        return parse_certificate(der)
    except Malformed as error:
        reason = "x509: malformed certificate" if not der.startswith(b"\x30") else parser_words(error)
        raise CommandError(f"error parsing {path}: error parsing certificate as DER format: {reason}") from error


def parser_words(error: ProvisorError) -> str:
    """Why something cannot be read, without what only the parser's authors understand."""
    if "ShortData" in error.detail:
        return "asn1: syntax error: data truncated"
    return "asn1: structure error" if "ParseError" in error.detail else error.detail


def _no_certificate(path: str) -> CommandError:
    return CommandError(f"error parsing {path}: does not contain a valid PEM encoded certificate")
