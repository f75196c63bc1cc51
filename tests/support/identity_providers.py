"""Identity providers on loopback: one that speaks HTTP, and a proxy behind which Google's and Azure's seem to be."""

from __future__ import annotations

import json
import ssl
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

CLOUD = ("www.googleapis.com", "login.microsoftonline.com")
WELL_KNOWN = "/.well-known/openid-configuration"


@contextmanager
def identity_provider(pages: Mapping[str, bytes] | None = None) -> Iterator[str]:
    """The address of a provider that describes itself below every path. `pages` are answered as they are."""
    own = dict(pages or {})

    class Handler(_Quiet):
        def do_GET(self) -> None:
            base = f"http://127.0.0.1:{self.server.server_port}"  # type: ignore[attr-defined]
            found = own.get(self.path)
            if found is None and self.path.endswith(WELL_KNOWN):
                found = json.dumps({"issuer": base, "jwks_uri": f"{base}/jwks"}).encode()
            if found is None and self.path == "/jwks":
                found = b'{"keys": []}'
            self.reply(*((404, b"404 page not found\n") if found is None else (200, found)))

    with _served(Handler) as port:
        yield f"http://127.0.0.1:{port}"


@contextmanager
def fake_cloud(folder: Path) -> Iterator[dict[str, str]]:
    """The environment of programs that take a proxy for Google and Azure."""
    root, chain = folder / "cloud.crt", folder / "cloud-server.pem"
    _write_certificates(root, chain)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(chain)

    class Handler(_Quiet):
        def do_CONNECT(self) -> None:
            self.send_response(200)
            self.end_headers()
            host = self.path.split(":")[0]
            with context.wrap_socket(self.connection, server_side=True) as connection:
                path = connection.recv(65536).split(b"\r\n")[0].decode().split(" ")[1]
                answer: dict[str, Any] = {"keys": []}
                if path.endswith("openid-configuration"):
                    base = f"https://{host}{path.removesuffix(WELL_KNOWN)}"
                    answer = {"issuer": base, "jwks_uri": f"{base}/keys"}
                body = json.dumps(answer).encode()
                head = f"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: {len(body)}\r\n\r\n"
                connection.sendall(head.encode() + body)
            self.close_connection = True

    with _served(Handler) as port:
        yield {
            "HTTPS_PROXY": f"http://127.0.0.1:{port}",
            "SSL_CERT_FILE": str(root),
            "NO_PROXY": "localhost,127.0.0.1",
        }


class _Quiet(BaseHTTPRequestHandler):
    def reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_arguments: Any) -> None:
        """Nothing: the tests' output is for tests."""


@contextmanager
def _served(handler: type[BaseHTTPRequestHandler]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _write_certificates(root: Path, chain: Path) -> None:
    root_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Cloud Root")])
    now = datetime.now(UTC)

    def builder(subject: x509.Name, public: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(name)
            .public_key(public)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(minutes=5))
            .not_valid_after(now + timedelta(days=1))
        )

    authority = x509.BasicConstraints(ca=True, path_length=None)
    own = builder(name, root_key.public_key()).add_extension(authority, critical=True)
    own = own.add_extension(x509.SubjectKeyIdentifier.from_public_key(root_key.public_key()), critical=False)
    root.write_bytes(own.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CLOUD[0])])
    leaf = builder(subject, key.public_key()).add_extension(
        x509.SubjectAlternativeName([x509.DNSName(host) for host in CLOUD]), critical=False
    )
    leaf = leaf.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(root_key.public_key()), critical=False)
    private = key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption())
    chain.write_bytes(private + leaf.sign(root_key, hashes.SHA256()).public_bytes(Encoding.PEM))
    chain.chmod(0o600)
