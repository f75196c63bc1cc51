"""An HTTPS server that answers as its path says, and keeps what it was sent."""

from __future__ import annotations

import http.server
import json
import ssl
import threading
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

_ANSWERS: Final[Mapping[str, tuple[int, Mapping[str, str], str]]] = {
    "/allow": (200, {}, '{"allow":true}'),
    "/enrich": (200, {}, '{"allow":true,"data":{"role":"admin","unit":"from webhook"}}'),
    "/deny": (200, {}, '{"allow":false}'),
    "/denied-because": (200, {}, '{"allow":false,"error":{"code":"lookup_failed","message":"no such person"}}'),
    "/not-json": (200, {}, "not json"),
    "/list": (200, {}, "[]"),
    "/error": (500, {}, "{}"),
    "/elsewhere": (302, {"Location": "/allow"}, '{"allow":true}'),
    "/huge": (200, {}, '{"allow":true,"data":"' + "x" * 3_000_000 + '"}'),
}


class Received:
    """One request: its path, headers in lower case, body, and the name in the certificate that was shown."""

    def __init__(self, path: str, headers: Mapping[str, str], body: bytes, client: str) -> None:
        self.path, self.headers, self.body, self.client = path, headers, body, client

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class WebhookReceiver:
    """Serves as long as the `with` block runs. `/close` ends the connection without a word."""

    def __init__(self, certificate: Path, key: Path, clients: Path) -> None:
        self.received: list[Received] = []
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate, key)
        context.verify_mode = ssl.CERT_OPTIONAL
        context.load_verify_locations(clients)
        self._server = _Server(context, self.received)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    @property
    def port(self) -> int:
        return self._server.server_address[1]

    def url(self, path: str) -> str:
        return f"https://localhost:{self.port}{path}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False
    server_address: tuple[str, int]

    def __init__(self, context: ssl.SSLContext, received: list[Received]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.context, self.received = context, received

    def finish_request(self, request: Any, client_address: Any) -> None:
        request.settimeout(20)
        try:
            with self.context.wrap_socket(request, server_side=True) as secured:
                super().finish_request(secured, client_address)
        except OSError:
            return

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that left is nobody's fault."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        shown = self.connection.getpeercert() or {}
        client = next((value for rdn in shown.get("subject", ()) for name, value in rdn if name == "commonName"), "")
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.received.append(Received(self.path, headers, body, client))
        if self.path == "/close":
            self.close_connection = True
            return
        status, more, text = _ANSWERS.get(self.path.partition("?")[0], (404, {}, "no such path"))
        self.send_response_only(status)
        for name, value in more.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())

    def log_message(self, *_words: object) -> None:
        """Quiet."""
