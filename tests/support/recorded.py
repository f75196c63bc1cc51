"""Exchanges recorded with step-ca, and the authority they were recorded from (tests/api/golden)."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from msgspec import Struct

from provisor.core.pem import parse_certificates
from support.authority import PKI
from support.credentials import Party

FOLDER: Final = Path(__file__).resolve().parents[1] / "api" / "golden"
CONFIG: Final = FOLDER / "config"

Document = dict[str, Any]


class Exchange(Struct, frozen=True):
    """One recorded exchange. `status` is None where no answer came, 0 where the server crashed.

    `client` names the client certificate of the handshake, `port` the listener if it is not the API's.
    """

    recording: str
    name: str
    at: datetime
    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes
    client: str
    port: str
    status: int | None
    answer_headers: tuple[tuple[str, str], ...]
    answer: bytes
    shortened: bool

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name), "")

    @property
    def bearer(self) -> str:
        """The token of an `Authorization` header, empty without one."""
        return self.header("authorization").partition("Bearer ")[2]

    @property
    def leaf(self) -> x509.Certificate:
        """The certificate of a 201."""
        return x509.load_pem_x509_certificate(json.loads(self.answer)["crt"].encode())

    @property
    def is_issuance(self) -> bool:
        return self.status == 201 and self.answer.startswith(b'{"crt"')

    @property
    def is_crl(self) -> bool:
        return self.status == 200 and self.target.partition("?")[0].endswith("/crl")


@cache
def load(recording: str) -> tuple[Exchange, ...]:
    lines = (FOLDER / f"{recording}.jsonl").read_text(encoding="utf-8").splitlines()
    return tuple(_parse(recording, json.loads(line)) for line in lines)


def _parse(recording: str, line: Mapping[str, Any]) -> Exchange:
    request, response = line["request"], line.get("response")
    method, _, rest = request["line"].partition(" ")
    return Exchange(
        recording=recording,
        name=line["name"],
        at=datetime.fromisoformat(line["at"]),
        method=method,
        target=rest.rpartition(" ")[0],
        headers=tuple((name, value) for name, value in request["headers"]),
        body=_octets(request),
        client=line.get("client", ""),
        port=line.get("port", ""),
        status=response["status"] if response else None,
        answer_headers=tuple((name.lower(), value) for name, value in response["headers"]) if response else (),
        answer=_octets(response or {}),
        shortened=bool(response and response.get("shortened")),
    )


_CUT: Final = re.compile(r"\.\.\.\[([0-9]+) bytes\]$")
"""What stands at the end of a body that was too long to keep."""


def _octets(part: Mapping[str, str]) -> bytes:
    if "bodyBase64" in part:
        return base64.b64decode(part["bodyBase64"])
    text = part.get("body", "")
    cut = _CUT.search(text)
    return text.encode() if cut is None else text[: cut.start()].encode().ljust(int(cut[1]))


ELSEWHERE: Final[Mapping[tuple[str, str], str]] = {
    ("public", "version HTTP/1.1 without Host"): "answered below the application",
    ("public", "path empty options star"): "answered below the application",
    ("sign-issued", "Expect 100-continue"): "the interim answer is the HTTP layer's",
    ("crl", "plain HTTP to the TLS port"): "answered below the application",
    ("crl", "metrics"): "another listener",
    ("crl", "metrics unknown path"): "another listener",
    ("crl", "metrics POST"): "another listener",
    ("crl", "metrics after some requests"): "another listener",
    ("bare", "bare insecure listener absent"): "nobody listens",
    ("renew", "renew with a certificate of another CA"): "the handshake is refused",
    ("renew", "health with a certificate of another CA"): "the handshake is refused",
    ("renew", "renew not yet valid, mTLS"): "the handshake is refused",
    ("renew", "health with a certificate not yet valid"): "the handshake is refused",
    ("renew", "renew expired, mTLS"): "the handshake is refused",
    ("renew", "renew expired with allowRenewalAfterExpiry, mTLS"): "the handshake is refused",
    ("renew", "health with an expired certificate"): "the handshake is refused",
    ("mtls", "renew: serverAuth only"): "the handshake is refused",
}
"""Not the application's to answer."""


# -- the recorded authority -------------------------------------------------------------------------


def load_document(name: str) -> Document:
    document: Document = json.loads((CONFIG / f"{name}.json").read_text(encoding="utf-8"))
    return document


def load_pki(document: Mapping[str, Any]) -> PKI:
    def read(path: str) -> tuple[bytes, ...]:
        return parse_certificates((CONFIG / path).read_bytes())

    chain = read(document["crt"])
    key = load_pem_private_key((CONFIG / document["key"]).read_bytes(), b"password")
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    federated = tuple(der for path in document.get("federatedRoots", ()) for der in read(path))
    issuer = Party(x509.load_der_x509_certificate(chain[0]), key)
    return PKI(chain, read(document["root"]), issuer, federated)


def load_key(name: str) -> ec.EllipticCurvePrivateKey:
    key = load_pem_private_key((CONFIG / "keys" / f"{name}.pem").read_bytes(), None)
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key
