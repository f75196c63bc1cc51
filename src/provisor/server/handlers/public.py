"""What anybody may read: health, version, roots, provisioners, the revocation list."""

from __future__ import annotations

import base64
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Final

from provisor.authority.snapshot import Snapshot
from provisor.core.pem import encode_pem
from provisor.core.text import go_quoted
from provisor.errors import NotFound, NotSupported, Unavailable
from provisor.provisioners.registry import parse_limit
from provisor.server.context import API_VERSION, Context
from provisor.server.request import Request, Response, unescape
from provisor.wire.gojson import encode_json

_PEM: Final = ((b"content-type", b"application/x-pem-file"),)


async def health(ca: Snapshot, request: Request, context: Context) -> Response:
    return Response(200, encode_json({"status": "ok"}))


async def ready(ca: Snapshot, request: Request, context: Context) -> Response:
    """Ready for traffic: store writable, clock not behind it, notary there, issuer in date; else 503 and why."""
    reason = await _unready(ca)
    if reason:
        raise Unavailable(reason, public=reason)
    return Response(200, encode_json({"status": "ok"}))


async def _unready(ca: Snapshot) -> str:
    now = ca.clock()
    state = await ca.notary.health()
    if not state.writable:
        return f"store: {state.reason}"
    if state.high_water - now.timestamp() > ca.config.provisor.clock_tolerance_seconds:
        return "clock: it stands behind the time of the last record; correct it"
    if now >= ca.issuer.certificate.not_after:
        return "issuer: its certificate has expired"
    return ""


async def version(ca: Snapshot, request: Request, context: Context) -> Response:
    return Response(200, encode_json({"version": API_VERSION}))


async def root(ca: Snapshot, request: Request, context: Context) -> Response:
    """One root by fingerprint: the way clients that trust nothing yet begin."""
    wanted = unescape(request.params["sha"]).replace("-", "").lower()
    for certificate in (*ca.roots, *ca.federated):
        if certificate.fingerprint == wanted:
            return Response(200, encode_json({"ca": encode_pem("CERTIFICATE", certificate.der)}))
    text = f"root certificate with fingerprint {go_quoted(wanted)} was not found"
    raise NotFound(text, public=text)


async def roots(ca: Snapshot, request: Request, context: Context) -> Response:
    return _certificates([certificate.der for certificate in ca.roots])


async def federation(ca: Snapshot, request: Request, context: Context) -> Response:
    return _certificates(list(dict.fromkeys(certificate.der for certificate in (*ca.roots, *ca.federated))))


async def intermediates(ca: Snapshot, request: Request, context: Context) -> Response:
    return _certificates(_chain(ca))


async def roots_pem(ca: Snapshot, request: Request, context: Context) -> Response:
    return _pem_file([certificate.der for certificate in ca.roots])


async def intermediates_pem(ca: Snapshot, request: Request, context: Context) -> Response:
    return _pem_file(_chain(ca))


def _chain(ca: Snapshot) -> list[bytes]:
    if not ca.issuer.chain:
        raise NotSupported("the issuing chain is not known")
    return list(ca.issuer.chain)


def _certificates(ders: list[bytes]) -> Response:
    return Response(201, encode_json({"crts": [encode_pem("CERTIFICATE", der) for der in ders]}))


def _pem_file(ders: list[bytes]) -> Response:
    return Response(200, "".join(encode_pem("CERTIFICATE", der) for der in ders).encode(), headers=_PEM)


async def provisioners(ca: Snapshot, request: Request, context: Context) -> Response:
    limit = parse_limit(text) if (text := request.query("limit")) else 0
    page = ca.registry.page(request.query("cursor") or "", limit)
    return Response(200, encode_json({"provisioners": list(page.provisioners) or None, "nextCursor": page.next_cursor}))


async def encrypted_key(ca: Snapshot, request: Request, context: Context) -> Response:
    key = ca.registry.find_encrypted_key(unescape(request.params["kid"]))
    if key is None:
        raise NotFound(f"no encrypted key for kid {request.params['kid'][:100]}")
    return Response(200, encode_json({"key": key}))


async def crl(ca: Snapshot, request: Request, context: Context) -> Response:
    """The newest list, DER or PEM; `ETag` is its number."""
    if not ca.config.crl.enabled:
        text = (
            "The certificate authority received an unexpected HTTP status code - '404'. "
            "Please see the certificate authority logs for more info."
        )
        raise NotFound("CRL is not enabled", public=text)
    record = await context.crl.get(ca)
    as_pem = request.query("pem") is not None
    etag = f'"{record.number}{"-pem" if as_pem else ""}"'.encode()
    modified = format_datetime(datetime.fromtimestamp(record.this_update, UTC), usegmt=True).encode()
    # step-ca: the zone is called UTC here, where HTTP says GMT.
    expires = datetime.fromtimestamp(record.next_update, UTC).strftime("%a, %d %b %Y %H:%M:%S UTC").encode()
    validators = ((b"expires", expires), (b"etag", etag), (b"last-modified", modified))
    if request.header(b"if-none-match") == etag:
        return Response(304, headers=validators)
    if as_pem:
        body = b"-----BEGIN X509 CRL-----\n" + _columns(record.der) + b"-----END X509 CRL-----\n"
        kind, name = b"application/x-pem-file", b'attachment; filename="crl.pem"'
    else:
        body, kind, name = record.der, b"application/pkix-crl", b'attachment; filename="crl.crl"'
    return Response(200, body, headers=((b"content-type", kind), (b"content-disposition", name), *validators))


def _columns(der: bytes) -> bytes:
    encoded = base64.b64encode(der)
    return b"".join(encoded[at : at + 64] + b"\n" for at in range(0, len(encoded), 64))
