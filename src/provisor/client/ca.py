"""A blocking client of one CA: a method for each route of the public API.

::

    with CAClient("https://ca.internal", roots=Path("root_ca.crt").read_bytes()) as ca:
        issued = ca.sign(SignRequest(csr=csr_pem, ott=token))

Every method raises `CAError` when the CA refuses, `Unreachable` when it does not answer, `BadAnswer` when the answer
cannot be read.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar
from urllib.parse import quote

from provisor.client.address import CAAddress, parse_ca_url
from provisor.client.errors import BadAnswer, CAError, refusal
from provisor.client.transport import MAX_ANSWER_BYTES, Answer, Identity, Transport, make_tls_context
from provisor.core.pem import parse_certificates
from provisor.errors import BadRequest, Malformed
from provisor.wire import api, gojson

T = TypeVar("T")

_JSON: Final = {"Content-Type": "application/json"}
_PAGE_SIZE = 100
_MAX_PAGES = 10_000
_MAX_CRL_BYTES = 256 * 1024 * 1024


class Sender(Protocol):
    """What carries requests to a CA: a connection, or a CA in this process."""

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer: ...

    def close(self) -> None: ...


class CAClient:
    """`url` is the CA's, with or without `https://`; `roots` the PEM of the roots that it is trusted by.

    With `identity` the connection shows that client certificate, which renewals need. `roots=None` verifies nothing:
    use `fetch_root` for the one case in which that is right.
    """

    def __init__(
        self,
        url: str | CAAddress,
        roots: bytes | None,
        identity: Identity | None = None,
        *,
        sender: Sender | None = None,
    ) -> None:
        """`sender` takes the place of a connection, roots and identity."""
        self.address = url if isinstance(url, CAAddress) else parse_ca_url(url)
        self._transport = sender or Transport(self.address, make_tls_context(roots, identity))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    @property
    def url(self) -> str:
        """`https://host[:port]`."""
        return self.address.url

    def health(self) -> api.HealthResponse:
        """GET /health"""
        return self._get("/health", api.HealthResponse)

    def version(self) -> api.VersionResponse:
        """GET /version"""
        return self._get("/version", api.VersionResponse)

    def root(self, fingerprint: str) -> str:
        """GET /root/{fingerprint}: the PEM of the root with that SHA-256. Raises `BadAnswer` if it is another."""
        pem = self._get(f"/root/{quote(fingerprint, safe='')}", api.RootResponse).ca
        check_fingerprint(pem, fingerprint)
        return pem

    def roots(self) -> tuple[str, ...]:
        """GET /roots, as PEM."""
        return tuple(self._get("/roots", api.RootsResponse).crts)

    def federation(self) -> tuple[str, ...]:
        """GET /federation, as PEM."""
        return tuple(self._get("/federation", api.RootsResponse).crts)

    def provisioners(self) -> tuple[Mapping[str, object], ...]:
        """GET /provisioners, all pages, each as the CA shows it."""
        found: list[Mapping[str, object]] = []
        cursor = ""
        for _ in range(_MAX_PAGES):
            query = f"&cursor={quote(cursor, safe='')}" if cursor else ""
            page = self._get(f"/provisioners?limit={_PAGE_SIZE}{query}", api.ProvisionersResponse)
            found += page.provisioners or ()
            cursor = page.next_cursor
            if not cursor:
                return tuple(found)
        raise BadAnswer("the list of provisioners does not end")

    def encrypted_key(self, key_id: str) -> str:
        """GET /provisioners/{kid}/encrypted-key: a compact JWE."""
        return self._get(f"/provisioners/{quote(key_id, safe='')}/encrypted-key", api.ProvisionerKeyResponse).key

    def sign(self, request: api.SignRequest) -> api.SignResponse:
        """POST /sign"""
        return self._post("/sign", gojson.encode_json(request), api.SignResponse)

    def explain(self, request: api.SignRequest, *, enrich: bool = False) -> api.ExplainResponse:
        """POST /explain: what /sign would answer. `enrich`: enriching webhooks are asked, as a rehearsal."""
        path = "/explain?enrich=true" if enrich else "/explain"
        return self._post(path, gojson.encode_json(request), api.ExplainResponse)

    def renew(self, token: str = "") -> api.SignResponse:
        """POST /renew, by the identity of the connection, or by a bearer token instead of one."""
        if token:
            answer = self._transport.send("POST", "/renew", body=b"", headers={"Authorization": f"Bearer {token}"})
            return decode_answer(answer, api.SignResponse)
        return self._post("/renew", b"", api.SignResponse)

    def rekey(self, csr: str) -> api.SignResponse:
        """POST /rekey, by the identity of the connection; only the key of the request counts."""
        return self._post("/rekey", gojson.encode_json(api.RekeyRequest(csr=csr)), api.SignResponse)

    def revoke(self, request: api.RevokeRequest) -> api.RevokeResponse:
        """POST /revoke, by token, or by the identity of the connection when the request has none."""
        return self._post("/revoke", gojson.encode_json(request), api.RevokeResponse)

    def crl(self) -> bytes:
        """GET /crl, as DER."""
        answer = self._transport.send("GET", "/crl", max_bytes=_MAX_CRL_BYTES)
        if answer.status != HTTPStatus.OK:
            raise error_of(answer)
        return answer.body

    def _get(self, path: str, wanted: type[T]) -> T:
        return decode_answer(self._transport.send("GET", path), wanted)

    def _post(self, path: str, body: bytes, wanted: type[T]) -> T:
        return decode_answer(self._transport.send("POST", path, body=body, headers=_JSON), wanted)


def fetch_root(url: str | CAAddress, fingerprint: str) -> str:
    """The PEM of the root with that SHA-256 from a CA that is not trusted yet (core-api 1.3).

    The connection is not verified; the certificate is, by its fingerprint: only who can invent a second
    preimage of SHA-256 gets another root past this. Raises `CAError`, `Unreachable` or `BadAnswer`.
    """
    with CAClient(url, None) as client:
        return client.root(normal_fingerprint(fingerprint))


def normal_fingerprint(text: str) -> str:
    """Lower case, without dashes."""
    return text.replace("-", "").lower()


def check_fingerprint(pem: str, fingerprint: str) -> None:
    """Raises `BadAnswer` unless `pem` is one certificate with that SHA-256."""
    try:
        certificates = parse_certificates(pem.encode())
    except Malformed as error:
        raise BadAnswer(f"error parsing root certificate: {error.detail}") from error
    actual = hashlib.sha256(certificates[0]).hexdigest()
    if len(certificates) != 1 or actual != normal_fingerprint(fingerprint):
        raise BadAnswer(f'root certificate fingerprint does not match: got "{actual}", want "{fingerprint}"')


def decode_answer(answer: Answer, wanted: type[T]) -> T:
    """The body of a successful answer. Raises `CAError` for a refusal, `BadAnswer` for a body that is not `wanted`."""
    if not HTTPStatus.OK <= answer.status < HTTPStatus.MULTIPLE_CHOICES:
        raise error_of(answer)
    try:
        return gojson.decode_json(answer.body, wanted)
    except BadRequest as error:
        raise BadAnswer(f"error reading the answer of the CA: {error.detail}") from error


def error_of(answer: Answer) -> CAError | BadAnswer:
    """The refusal in an answer: its JSON body, else the phrase of its status."""
    try:
        body = gojson.decode_json(answer.body, api.ErrorResponse)
    except BadRequest:
        text = answer.body[:200].decode(errors="replace").strip() if answer.content_type == "text/plain" else ""
        return refusal(answer.status, text or _phrase(answer.status))
    return refusal(body.status or answer.status, body.message)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return f"HTTP status {status}"


def chain_of(response: api.SignResponse) -> tuple[str, ...]:
    """The PEM certificates of an answer, leaf first: `certChain`, else `crt` and `ca`."""
    if response.cert_chain:
        return tuple(response.cert_chain)
    return (response.crt, response.ca) if response.ca else (response.crt,)
