"""/sign, /renew, /rekey, /revoke: bytes to calls and back."""

from __future__ import annotations

import base64
import re
from typing import Final

import msgspec

from provisor.authority import issue, renew, revoke
from provisor.authority.issue import Issued
from provisor.authority.revoke import RevokeAsk
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation, X509Ask
from provisor.core.x509.request import CertificateRequest, parse_csr_pem, verify_csr
from provisor.errors import BadRequest, NotSupported
from provisor.server.context import Context
from provisor.server.request import Request, Response
from provisor.wire.api import RekeyRequest, RevokeRequest, SignRequest, TLSOptionsResponse
from provisor.wire.gojson import decode_json, encode_json

_BEARER: Final = b"Bearer "
_HIGHEST_REASON: Final = 10


async def sign(ca: Snapshot, request: Request, context: Context) -> Response:
    body = await request.body()
    asked = decode_json(body, SignRequest, max_depth=context.limits.json_depth)
    csr = csr_of(ca, asked.csr, context)
    if not asked.ott:
        raise BadRequest("missing ott")
    trail = context.trail(ca, request, Operation.SIGN, body)
    ask = X509Ask(csr, asked.not_before, asked.not_after, user_data_of(asked.template_data))
    return _issued(ca, await issue.sign(ca, asked.ott, ask, trail), request)


async def renewal(ca: Snapshot, request: Request, context: Context) -> Response:
    """By client certificate where one was shown, else by bearer token. The body is not read."""
    if request.client_certificate is not None:
        trail = context.trail(ca, request, Operation.RENEW, request.client_certificate)
        return _issued(ca, await renew.renew_by_certificate(ca, request.client_certificate, trail), request)
    token = _bearer(request)
    if not token:
        raise BadRequest("missing client certificate")
    trail = context.trail(ca, request, Operation.RENEW, token.encode())
    return _issued(ca, await renew.renew_by_token(ca, token, trail), request)


async def rekey(ca: Snapshot, request: Request, context: Context) -> Response:
    client = request.client_certificate
    if client is None:
        raise BadRequest("missing client certificate")
    body = await request.body()
    asked = decode_json(body, RekeyRequest, max_depth=context.limits.json_depth)
    csr = csr_of(ca, asked.csr, context)
    trail = context.trail(ca, request, Operation.REKEY, body)
    return _issued(ca, await renew.rekey(ca, client, csr, trail), request)


async def revocation(ca: Snapshot, request: Request, context: Context) -> Response:
    body = await request.body()
    asked = decode_json(body, RevokeRequest, max_depth=context.limits.json_depth)
    ask = RevokeAsk(_serial(asked.serial), asked.reason_code, asked.reason)
    if not 0 <= asked.reason_code <= _HIGHEST_REASON:
        raise BadRequest("reasonCode out of bounds")
    if not asked.passive:
        raise NotSupported("active revocation is not supported")
    trail = context.trail(ca, request, Operation.REVOKE, body)
    if asked.ott:
        await revoke.revoke_by_token(ca, asked.ott, ask, trail)
    elif request.client_certificate is not None:
        await revoke.revoke_by_certificate(ca, request.client_certificate, ask, trail)
    else:
        raise BadRequest("missing ott or client certificate")
    request.fields.update(
        serial=str(ask.serial), reasonCode=ask.reason_code, reason=ask.reason, passiveOnly=True, mTLS=not asked.ott
    )
    return Response(200, encode_json({"status": "ok"}))


def csr_of(ca: Snapshot, pem: str | None, context: Context) -> CertificateRequest:
    """The certificate signing request of a body, its own signature verified."""
    if not pem:
        raise BadRequest("missing csr")
    csr = parse_csr_pem(pem)
    verify_csr(csr, allow_sha1=ca.config.provisor.switches.accept_sha1_requests)
    if len(csr.names) > context.limits.names_per_request:
        raise BadRequest(f"csr has more than {context.limits.names_per_request} names")
    return csr


def user_data_of(given: msgspec.Raw | msgspec.UnsetType) -> bytes | None:
    return None if given is msgspec.UNSET else bytes(given)


def _bearer(request: Request) -> str:
    """What follows the first `Bearer `; the scheme's letters count (core-api 2.4)."""
    _, found, token = request.header(b"authorization").partition(_BEARER)
    return token.decode("latin-1").strip() if found else ""


_GO_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO]?(?:_?[0-7])+|0|[1-9](?:_?[0-9])*)"
)
_LONGEST_SERIAL: Final = 256


def _serial(text: str) -> int:
    """A serial in Go's base-0 syntax: decimal, or with prefix 0x, 0b, 0o, 0 (octal); underscores and sign allowed."""
    if not text:
        raise BadRequest("missing serial")
    if len(text) > _LONGEST_SERIAL or not _GO_INTEGER.fullmatch(text):
        raise BadRequest(
            f"'{text[:_LONGEST_SERIAL]}' is not a valid serial number - use a base 10 representation or a base 16 "
            "representation with '0x' prefix"
        )
    digits = text.replace("_", "").lstrip("+-").lower()
    octal = len(digits) > 1 and digits[0] == "0" and digits[1].isdigit()
    value = int(digits, 8) if octal else int(digits, 0)
    return -value if text.startswith("-") else value


def _issued(ca: Snapshot, issued: Issued, request: Request) -> Response:
    """201 with leaf, issuer, chain and the TLS settings (core-api 1.7)."""
    request.fields["issued"] = issued
    leaf = _json_pem(issued.certificate)
    issuer, rest = _tail(ca)
    return Response(201, b'{"crt":' + leaf + b',"ca":' + issuer + b',"certChain":[' + leaf + rest)


def _tail(ca: Snapshot) -> tuple[bytes, bytes]:
    """What every answer of this epoch ends with, encoded once."""
    cached = ca.encoded.get("sign")
    if cached is None:
        chain = [_json_pem(der) for der in ca.issuer.chain]
        tls = encode_json(msgspec.convert(ca.config.tls, TLSOptionsResponse, from_attributes=True)).rstrip(b"\n")
        rest = b"".join(b"," + certificate for certificate in chain) + b'],"tlsOptions":' + tls + b"}\n"
        cached = ca.encoded["sign"] = (chain[0] if chain else b"null", rest)
    return cached


def _json_pem(der: bytes) -> bytes:
    """A certificate as JSON string of PEM: 64 columns, line feeds escaped."""
    encoded = base64.b64encode(der)
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
    return b'"-----BEGIN CERTIFICATE-----\\n' + b"\\n".join(lines) + b'\\n-----END CERTIFICATE-----\\n"'
