"""The same request to two CAs of one PKI, and what differs between their answers, in words."""

from __future__ import annotations

import base64
import http.client
import json
import re
import secrets
import socket
import ssl
import tempfile
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding
from msgspec import Struct

from provisor.core.pem import encode_private_key
from support.comparison import certificate_differences
from support.credentials import Party, TokenSigner, make_csr, make_jws, make_key
from support.provisor_process import CAFolder

_OF_THE_CONNECTION: Final = frozenset({"date", "content-length", "transfer-encoding", "connection", "x-request-id"})
_OWN: Final = frozenset({"etag", "last-modified"})
_INSTANT: Final = re.compile(r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(\.\d+)?( \+0000 UTC|Z)")


class Request(Struct, frozen=True):
    """One HTTP request; `client` is who shows a certificate in the handshake."""

    method: str
    target: str
    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    client: Party | None = None


class Answer(Struct, frozen=True):
    """`status` is 0 where the connection ended without an answer."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Side:
    """One of the two: where it listens, and what it was asked for before.

    `signers` are its provisioners' keys by name, the same on both sides.
    """

    def __init__(self, name: str, folder: CAFolder, issuer: Party, signers: Mapping[str, TokenSigner]) -> None:
        self.name = name
        self.folder = folder
        self.issuer = issuer
        self.signers = signers
        self._context = ssl.create_default_context(cafile=str(folder.pki.root_file))

    # -- talking ------------------------------------------------------------------------------------

    def send(self, request: Request) -> Answer:
        context = self._context if request.client is None else self._client_context(request.client)
        with (
            socket.create_connection(("127.0.0.1", self.folder.port), timeout=20) as plain,
            suppress(ssl.SSLError, ConnectionError),
            context.wrap_socket(plain, server_hostname="localhost") as tls,
        ):
            tls.sendall(self._encode(request))
            return _read(tls, request.method)
        return Answer(0, (), b"")

    def _encode(self, request: Request) -> bytes:
        lines = [f"{request.method} {request.target} HTTP/1.1", f"Host: localhost:{self.folder.port}"]
        lines += ["Connection: close", f"Content-Length: {len(request.body)}"]
        lines += [f"{name}: {value}" for name, value in request.headers]
        return "\r\n".join((*lines, "", "")).encode() + request.body

    def _client_context(self, client: Party) -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.folder.pki.root_file))
        with tempfile.NamedTemporaryFile() as file:
            file.write(client.pem.encode() + self.folder.pki.intermediate_file.read_bytes())
            file.write(encode_private_key(client.key, random=secrets.token_bytes))
            file.flush()
            context.load_cert_chain(file.name)
        return context

    # -- tokens and certificates --------------------------------------------------------------------

    def claims(self, signer: str = "ci", operation: str = "sign", **over: Any) -> dict[str, Any]:
        """A good token's; the value ... takes a claim away."""
        now = int(time.time())
        claims = {
            "iss": signer,
            "aud": f"{self.folder.url}/1.0/{operation}",
            "sub": "a.test",
            "sans": ["a.test"],
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": secrets.token_hex(32),
            **over,
        }
        return {name: value for name, value in claims.items() if value is not ...}

    def token(self, signer: str = "ci", *, header: Mapping[str, Any] | None = None, **over: Any) -> str:
        key = self.signers[signer]
        full = {"alg": "ES256", "kid": key.kid, "typ": "JWT", **(header or {})}
        return make_jws({k: v for k, v in full.items() if v is not ...}, self.claims(signer, **over), key.key)

    def revoke_token(self, serial: int | str, **over: Any) -> str:
        return self.token(operation="revoke", **{"sub": str(serial), "sans": ..., **over})

    def issue(self, signer: str = "ci", **over: Any) -> Party:
        """A new certificate for a.test."""
        key = make_key()
        body = {"csr": make_csr(key, "a.test", ["a.test"]), "ott": self.token(signer, **over)}
        answer = self.send(post("/sign", body))
        assert answer.status == 201, answer
        return Party(x509.load_pem_x509_certificate(answer.json["crt"].encode()), key)

    def chain(self, leaf: Party) -> list[str]:
        """For the header of a renewal token."""
        issuer = self.issuer.certificate.public_bytes(Encoding.DER)
        return [base64.b64encode(der).decode() for der in (leaf.der, issuer)]

    def renew_token(self, leaf: Party, *, header: Mapping[str, Any] | None = None, **over: Any) -> str:
        now = int(time.time())
        claims = {
            "iss": "step-ca-client/1.0",
            "aud": f"{self.folder.url}/renew",
            "sub": leaf.common_name,
            "iat": now,
            "nbf": now,
            "exp": now + 300,
            "jti": secrets.token_hex(32),
            **over,
        }
        full = {"alg": "ES256", "typ": "JWT", "x5cInsecure": self.chain(leaf), **(header or {})}
        return make_jws(
            {k: v for k, v in full.items() if v is not ...}, {k: v for k, v in claims.items() if v is not ...}, leaf.key
        )


def _read(tls: ssl.SSLSocket, method: str) -> Answer:
    response = http.client.HTTPResponse(tls, method=method)
    with suppress(http.client.HTTPException, ssl.SSLError, ConnectionError):
        response.begin()
        headers = tuple((name.lower(), value) for name, value in response.getheaders())
        return Answer(response.status, headers, response.read())
    return Answer(0, (), b"")


def get(target: str, **headers: str) -> Request:
    return Request("GET", target, headers=_names(headers))


def post(target: str, body: Mapping[str, object] | bytes = b"", client: Party | None = None, **headers: str) -> Request:
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Request("POST", target, data, _names(headers), client)


def _names(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", "-"), value) for name, value in headers.items())


# -- comparing --------------------------------------------------------------------------------------


def differences(theirs: Answer, ours: Answer, ports: Iterable[int]) -> list[str]:
    """What the reference answered otherwise; ports, times, serials, keys' ids and signatures do not count."""
    found = []
    if ours.status != theirs.status:
        found.append(f"status {ours.status}, reference {theirs.status}")
    mine, other = ([pair for pair in a.headers if pair[0] not in _OF_THE_CONNECTION | _OWN] for a in (ours, theirs))
    if sorted(mine) != sorted(other):
        found.append(f"headers {mine}, reference {other}")
    if dict(ours.headers).keys() & {"x-request-id"} != dict(theirs.headers).keys() & {"x-request-id"}:
        found.append("x-request-id on one side only")
    issued = b'"crt"' in theirs.body and theirs.status == ours.status == 201
    if issued:
        found += _leaf_differences(theirs, ours)
    mine_text, their_text = (_normal(answer.body, ports, leaf=issued) for answer in (ours, theirs))
    if mine_text != their_text:
        found.append(f"body {mine_text}, reference {their_text}")
    return found


def _leaf_differences(theirs: Answer, ours: Answer) -> list[str]:
    reference, mine = (x509.load_pem_x509_certificate(answer.json["crt"].encode()) for answer in (theirs, ours))
    return list(certificate_differences(reference, mine, moment=datetime.now(UTC)))


def _normal(body: bytes, ports: Iterable[int], *, leaf: bool) -> object:
    """JSON as it means, with the certificate that was just issued taken out."""
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return body
    for port in ports:
        text = text.replace(f":{port}", ":PORT")
    text = _INSTANT.sub("INSTANT", re.sub(r"\b\d{30,40}\b", "SERIAL", text))
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return text
    if isinstance(document, dict) and "version" in document:
        document["version"] = "VERSION"
    for entry in document.get("provisioners") or () if isinstance(document, dict) else ():
        if "stateReason" in entry:  # each has its own words for what it cannot use
            entry["stateReason"] = "REASON"
    if leaf and isinstance(document, dict):
        document["crt"] = "LEAF"
        document["certChain"][0] = "LEAF"
    return document
