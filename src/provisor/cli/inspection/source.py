"""Where certificates to look at come from: a file, stdin, or the other end of a TLS connection."""

from __future__ import annotations

import os
import socket
import ssl
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from provisor.cli.exits import CommandError
from provisor.cli.files import system_text
from provisor.cli.inspection import trust
from provisor.cli.inspection.document import Document, parse_certificate, parse_document
from provisor.core.pem import parse_blocks, parse_certificates
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.certificate import parse_certificate as parse_trusted
from provisor.errors import Malformed, Unauthenticated

PORTS = {"https": 443, "tls": 443, "tcp": 443, "smtps": 465, "ldaps": 636}
"""The schemes that are asked over the network, and their ports."""

CERTIFICATE_LABELS = ("CERTIFICATE",)
REQUEST_LABELS = ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")
TIMEOUT_SECONDS = 15.0
_NO_POOL = "failure to load root certificate pool from input path '{}': error reading cert pool"


def is_url(place: str) -> bool:
    """Something to connect to."""
    return place.partition("://")[0].lower() in PORTS and "://" in place


def read_documents(
    place: str, *, roots: str = "", server_name: str = "", trust_anybody: bool = False
) -> list[Document]:
    """The certificates at `place` (a file, `-` or a URL), or else its one signing request. Raises `CommandError`.

    `roots` and the two after it matter for a URL only.
    """
    if is_url(place):
        pool = None if trust_anybody else trusted(roots)
        return [parse_certificate(der) for der in fetch_peer_chain(place, server_name, pool)]
    content = _read(place)
    found = list(_from_pem(content)) or list(_from_der(content))
    if not found:
        raise CommandError(f"file {place} does not contain any valid CERTIFICATE or CERTIFICATE REQUEST blocks")
    return found


def _read(place: str) -> bytes:
    try:
        return sys.stdin.buffer.read() if place == "-" else Path(place).read_bytes()
    except OSError as error:
        doing = "read" if isinstance(error, IsADirectoryError) else "open"
        raise CommandError(f"error reading file {place}: {doing} {place} failed: {system_text(error)}") from error


def _from_pem(content: bytes) -> Iterable[Document]:
    """All certificates; if there are none, the first request."""
    blocks = parse_blocks(content)
    certificates = [block.der for block in blocks if block.label in CERTIFICATE_LABELS]
    requests = [block.der for block in blocks if block.label in REQUEST_LABELS]
    return _readable(certificates) or _readable(requests)[:1]


def _from_der(content: bytes) -> Iterable[Document]:
    return _readable([content])


def _readable(ders: Sequence[bytes]) -> list[Document]:
    found = []
    for der in ders:
        try:
            found.append(parse_document(der))
        except Malformed:
            continue
    return found


# -- roots --------------------------------------------------------------------------------------


def trusted(roots: str, *, may_be_empty: bool = False) -> list[bytes]:
    """The DER of the certificates in `roots`: files, separated by commas, or a folder; the system's if empty.

    Raises `CommandError`, also for no certificate at all unless that `may_be_empty`.
    """
    if not roots:
        return system_roots()
    try:
        paths = _paths(roots)
        found = [der for path in paths for der in _certificates(path)]
    except OSError as error:
        reason = f"open {error.filename}: {system_text(error)}"
        raise CommandError(f"{_NO_POOL.format(roots)}: {reason}") from error
    if not found and not may_be_empty:
        raise CommandError(f"{_NO_POOL.format(roots)}: not certificates found")
    return found


def _paths(roots: str) -> list[Path]:
    folder = Path(roots)
    if folder.is_dir():
        return sorted(path for path in folder.iterdir() if path.is_file())
    return [Path(part) for part in roots.split(",")]


def _certificates(path: Path) -> list[bytes]:
    try:
        return list(parse_certificates(path.read_bytes()))
    except Malformed:
        return []


def system_roots() -> list[bytes]:
    """The certificates that programs on this machine trust."""
    places = ssl.get_default_verify_paths()
    if places.cafile and os.path.isfile(places.cafile):
        return _certificates(Path(places.cafile))
    if places.capath and os.path.isdir(places.capath):
        return [der for path in _paths(places.capath) for der in _certificates(path)]
    return []


# -- the other end ------------------------------------------------------------------------------


def fetch_peer_chain(url: str, server_name: str, roots: Sequence[bytes] | None) -> list[bytes]:
    """The certificates a server shows, its own first; it is verified unless `roots` is None. Raises `CommandError`."""
    host, port = _address(url)
    name = server_name or host
    try:
        return _fetch(host, port, name, _context(roots))
    except ssl.SSLCertVerificationError as error:
        shown = _shown_anyway(host, port, name)
        reason = _why_not(shown, roots or (), name) if shown else ""
        raise CommandError(f"failed to connect: {reason or _reason(error, name)}") from error
    except (OSError, ValueError) as error:
        raise CommandError(f"failed to connect: {_reason(error, name)}") from error


def _context(roots: Sequence[bytes] | None) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if roots is None:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif roots:
        context.load_verify_locations(cadata="".join(map(ssl.DER_cert_to_PEM_cert, roots)))
    return context


def _fetch(host: str, port: int, name: str, context: ssl.SSLContext) -> list[bytes]:
    with (
        _connect(host, port) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        return _shown_chain(connection)


def _shown_anyway(host: str, port: int, name: str) -> list[bytes]:
    """What a server showed that was not believed: only to say why."""
    try:
        return _fetch(host, port, name, _context(None))
    except (OSError, ValueError):
        return []


def _why_not(ders: Sequence[bytes], roots: Sequence[bytes], name: str) -> str:
    """Empty when nothing is found wrong by the rules of `certificate verify`."""
    try:
        leaf, *others = map(parse_trusted, ders)
        trust.verify(leaf, others, _readable_roots(roots), host=name, now=datetime.now(UTC).replace(microsecond=0))
    except Malformed:
        return ""
    except Unauthenticated as error:
        return f"tls: failed to verify certificate: {error.detail}"
    return ""


def _readable_roots(ders: Sequence[bytes]) -> list[Certificate]:
    found = []
    for der in ders:
        try:
            found.append(parse_trusted(der))
        except Malformed:
            continue
    return found


def _connect(host: str, port: int) -> socket.socket:
    """To the first address of a host that answers. Raises `OSError`; a refusal names the address."""
    refusal: OSError | None = None
    for _, _, _, _, (address, *_) in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        try:
            return socket.create_connection((str(address), port), timeout=TIMEOUT_SECONDS)
        except TimeoutError:
            raise
        except OSError as error:
            error.filename = f"[{address}]:{port}" if ":" in str(address) else f"{address}:{port}"
            refusal = refusal or error
    raise refusal or OSError(f"no address for {host}")


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    try:
        return parts.hostname or "", parts.port or PORTS[parts.scheme.lower()]
    except ValueError as error:
        raise CommandError(
            f"failed to connect: dial tcp: address {parts.netloc.rpartition(':')[2]}: invalid port"
        ) from error


def _shown_chain(connection: ssl.SSLSocket) -> list[bytes]:
    """Python 3.13 has a method for it; older ones have it on the object inside."""
    method: Any = getattr(connection, "get_unverified_chain", None)
    if method is not None:
        return [bytes(der) for der in method()]
    inner: Any = connection._sslobj  # type: ignore[attr-defined]  # the only way before 3.13
    return [certificate.public_bytes(_DER) for certificate in inner.get_unverified_chain()]


_DER = 2  # _ssl.ENCODING_DER


def _reason(error: OSError | ValueError, host: str) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return (
            f"tls: failed to verify certificate: x509: {_VERIFY.get(error.verify_code, error.verify_message)}".replace(
                "{host}", host
            )
        )
    if isinstance(error, ssl.SSLError):
        return f"tls: {(error.reason or str(error)).lower().replace('_', ' ')}"
    if isinstance(error, socket.gaierror):
        return f"dial tcp: lookup {host}: no such host"
    if not isinstance(error, OSError):
        return f"dial tcp: {host!r} is not the name of a host"
    if isinstance(error, TimeoutError):
        return f"no answer within {TIMEOUT_SECONDS:g} seconds"
    place = f" {error.filename}" if error.filename else ""
    return f"dial tcp{place}: connect: {system_text(error)}"


_VERIFY = {
    2: "certificate signed by unknown authority",
    9: "certificate has expired or is not yet valid",
    10: "certificate has expired or is not yet valid",
    18: "certificate signed by unknown authority",
    19: "certificate signed by unknown authority",
    20: "certificate signed by unknown authority",
    21: "certificate signed by unknown authority",
    62: "certificate is not valid for {host}",
    64: "certificate is not valid for {host}",
}
"""What the numbers of OpenSSL mean, in the words of the reference."""
