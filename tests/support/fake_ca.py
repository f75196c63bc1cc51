"""A CA in this process that answers as step-ca does, over TLS on a loopback port: enough for a client's tests.

It checks what a client must get right (the token's signature, audience, single use; the CSR's signature; the client
certificate) and issues real certificates. `trouble` makes a path answer something else.
"""

from __future__ import annotations

import base64
import json
import ssl
import threading
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

import msgspec
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, load_pem_private_key
from cryptography.x509.oid import ExtendedKeyUsageOID

from provisor.core.jose.jwk import parse_jwk
from provisor.core.jose.jws import parse_token, verify_signature
from provisor.errors import ProvisorError
from support.certificates import write_certificate
from support.peers import ThrowawayPKI, jwk_provisioner

SEE_LOGS = "Please see the certificate authority logs for more info."
UNAUTHORIZED = f"The request lacked necessary authorization to be completed. {SEE_LOGS}"
NOT_FOUND = f"The requested resource could not be found. {SEE_LOGS}"


class Seen(msgspec.Struct, frozen=True):
    """One request as it came. `peer` is the serial number of the client certificate."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    peer: int | None
    connection: int


class Refusal(Exception):
    """An error answer in the core API's form."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.message = message


class _QuietServer(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that does not like us is not worth a traceback."""


class FakeCA:
    """Runs as long as the `with` block. `seen` are the requests; `revoked` the serials; pages have `page_size`."""

    def __init__(self, folder: Path) -> None:
        self.pki = ThrowawayPKI(folder)
        self.provisioners: list[dict[str, Any]] = [jwk_provisioner("you@smallstep.com")]
        self.page_size = 100
        self.seen: list[Seen] = []
        self.revoked: set[int] = set()
        self.spent: set[str] = set()
        self.certificates: dict[int, x509.Certificate] = {}
        self.trouble: dict[str, Callable[[BaseHTTPRequestHandler], None]] = {}
        self._issuer = x509.load_pem_x509_certificate(self.pki.intermediate_file.read_bytes())
        issuer_key = load_pem_private_key(self.pki.key_file.read_bytes(), None)
        assert isinstance(issuer_key, ec.EllipticCurvePrivateKey)
        self._issuer_key = issuer_key
        write_certificate(
            self.pki, folder / "server.crt", folder / "server.key", "localhost", ends_in=timedelta(hours=1)
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "server.crt", folder / "server.key")
        context.load_verify_locations(self.pki.root_file)
        context.verify_mode = ssl.CERT_OPTIONAL
        self._server = _QuietServer(("127.0.0.1", 0), _handler(self))
        # the handshake belongs to the connection's thread, so that one bad client does not stop the others
        self._server.socket = context.wrap_socket(self._server.socket, server_side=True, do_handshake_on_connect=False)
        self.port: int = self._server.server_address[1]
        self.url = f"https://localhost:{self.port}"

    def __enter__(self) -> Self:
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02})
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def answer(self, request: Seen) -> tuple[int, object]:
        """Status and JSON. Raises `Refusal`."""
        url = urlsplit(request.path)
        parts = url.path.strip("/").split("/")
        match (request.method, *parts):
            case ("GET", "health"):
                return 200, {"status": "ok"}
            case ("GET", "version"):
                return 200, {"version": "0.30.2"}
            case ("GET", "root", fingerprint):
                return 200, {"ca": self._root(fingerprint)}
            case ("GET", "roots" | "federation"):
                return 201, {"crts": [self.pki.root_pem.decode()]}
            case ("GET", "provisioners"):
                return 200, self._page(parse_qs(url.query))
            case ("GET", "provisioners", key_id, "encrypted-key"):
                return 200, {"key": self._encrypted_key(key_id)}
            case ("POST", "sign"):
                return 201, self._sign(json.loads(request.body))
            case ("POST", "renew"):
                return 201, self._renew(request)
            case ("POST", "rekey"):
                return 201, self._rekey(request)
            case ("POST", "revoke"):
                return 200, self._revoke(request)
        raise Refusal(404, NOT_FOUND)

    def _root(self, fingerprint: str) -> str:
        if fingerprint != self.pki.fingerprint:
            raise Refusal(404, f'root certificate with fingerprint "{fingerprint}" was not found')
        return self.pki.root_pem.decode()

    def _page(self, query: Mapping[str, list[str]]) -> dict[str, object]:
        first = int(query.get("cursor", ["0"])[0])
        last = first + min(self.page_size, int(query["limit"][0]))
        following = str(last) if last < len(self.provisioners) else ""
        return {"provisioners": self.provisioners[first:last] or None, "nextCursor": following}

    def _encrypted_key(self, key_id: str) -> str:
        for one in self.provisioners:
            if one.get("encryptedKey") and one["key"]["kid"] == key_id:
                return str(one["encryptedKey"])
        raise Refusal(404, NOT_FOUND)

    def _authorize(self, text: str, purpose: str) -> dict[str, Any]:
        """The claims of a token of one of the JWK provisioners."""
        try:
            token = parse_token(text)
            claims = dict(token.claims)
            found = [one for one in self.provisioners if one["name"] == claims.get("iss")]
            if not found or not str(claims["aud"]).endswith(f"/1.0/{purpose}") or text in self.spent:
                raise Refusal(401, UNAUTHORIZED)
            key = parse_jwk(found[0]["key"]).public_key
            assert key is not None
            verify_signature(token, key)
        except ProvisorError as error:
            raise Refusal(401, UNAUTHORIZED) from error
        self.spent.add(text)
        return claims

    def _sign(self, body: Mapping[str, Any]) -> dict[str, object]:
        claims = self._authorize(body["ott"], "sign")
        csr = x509.load_pem_x509_csr(body["csr"].encode())
        assert csr.is_signature_valid
        names = csr.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        if sorted(claims["sans"]) != sorted(str(name.value) for name in names):
            raise Refusal(403, "The request was forbidden by the certificate authority: names do not match.")
        return self._issue(csr.subject, csr.public_key(), names)

    def _issue(self, subject: x509.Name, key: Any, names: x509.SubjectAlternativeName) -> dict[str, object]:
        now = datetime.now(UTC)
        leaf = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._issuer.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=1))
            .not_valid_after(now + timedelta(hours=24))
            .add_extension(names, critical=False)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .sign(self._issuer_key, hashes.SHA256())
        )
        chain = [one.public_bytes(Encoding.PEM).decode() for one in (leaf, self._issuer)]
        return {"crt": chain[0], "ca": chain[1], "certChain": chain, "tlsOptions": {"minVersion": 1.2}}

    def _peer(self, request: Seen) -> x509.Certificate:
        bearer = request.headers.get("Authorization", "").removeprefix("Bearer ")
        if request.peer is not None:
            leaf = self.certificates[request.peer]
        elif bearer:
            token = parse_token(bearer)
            chain = token.header["x5cInsecure"]
            assert isinstance(chain, list)
            leaf = x509.load_der_x509_certificate(base64.b64decode(chain[0]))
            key = leaf.public_key()
            assert isinstance(key, ec.EllipticCurvePublicKey)
            verify_signature(token, key)
        else:
            raise Refusal(400, "The request could not be completed: missing client certificate.")
        if leaf.serial_number in self.revoked:
            raise Refusal(401, UNAUTHORIZED)
        return leaf

    def _renew(self, request: Seen) -> dict[str, object]:
        leaf = self._peer(request)
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._issue(leaf.subject, leaf.public_key(), names)

    def _rekey(self, request: Seen) -> dict[str, object]:
        leaf = self._peer(request)
        csr = x509.load_pem_x509_csr(json.loads(request.body)["csr"].encode())
        names = leaf.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return self._issue(leaf.subject, csr.public_key(), names)

    def _revoke(self, request: Seen) -> dict[str, object]:
        body = json.loads(request.body)
        serial = int(body["serial"])
        if body["ott"]:
            if self._authorize(body["ott"], "revoke")["sub"] != body["serial"]:
                raise Refusal(401, UNAUTHORIZED)
        elif self._peer(request).serial_number != serial:
            raise Refusal(401, UNAUTHORIZED)
        if serial in self.revoked:
            raise Refusal(
                400,
                f"The request could not be completed: certificate with serial number '{serial}' is already revoked.",
            )
        self.revoked.add(serial)
        return {"status": "ok"}


def _handler(ca: FakeCA) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        timeout = 10

        def setup(self) -> None:
            self.request.do_handshake()
            super().setup()

        def handle(self) -> None:
            try:
                super().handle()
            except (OSError, ssl.SSLError):
                self.close_connection = True

        def log_message(self, format: str, *args: object) -> None:
            """Quiet."""

        def do_GET(self) -> None:
            self._do()

        def do_POST(self) -> None:
            self._do()

        def _do(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            der = self.connection.getpeercert(binary_form=True)
            peer = None
            if der:
                certificate = x509.load_der_x509_certificate(der)
                peer = certificate.serial_number
                ca.certificates[peer] = certificate
            request = Seen(self.command, self.path, dict(self.headers), body, peer, self.client_address[1])
            ca.seen.append(request)
            trouble = ca.trouble.get(self.path.split("?")[0])
            if trouble is not None:
                trouble(self)
                return
            try:
                status, value = ca.answer(request)
            except Refusal as refusal:
                status, value = refusal.status, {"status": refusal.status, "message": refusal.message}
            send(self, status, json.dumps(value).encode())

    return Handler


def send(handler: BaseHTTPRequestHandler, status: int, body: bytes, content_type: str = "application/json") -> None:
    """One answer with a known length."""
    handler.send_response(status)
    handler.send_header("Content-Type", content_type)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)
