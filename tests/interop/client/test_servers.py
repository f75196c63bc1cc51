"""Servers and clients that people really use, with contexts whose certificate changes while they run."""

from __future__ import annotations

import asyncio
import http.client
import socketserver
import ssl
import subprocess
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import uvloop

from provisor import Client, LiveCertificate
from provisor.testing import CA

NAMES = ["localhost", "127.0.0.1"]


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA(listen=True) as running:
        yield running


@pytest.fixture
def client(ca: CA) -> Iterator[Client]:
    with Client.bootstrap(ca.url, ca.fingerprint) as found:
        yield found


@pytest.fixture(params=[False, True], ids=["same-key", "new-key"])
def web(ca: CA, client: Client, request: pytest.FixtureRequest) -> Iterator[LiveCertificate]:
    with client.keep(NAMES, ca.provisioner_key, rekey=request.param) as kept:
        yield kept


@pytest.fixture
def app(ca: CA, client: Client) -> Iterator[LiveCertificate]:
    with client.keep("app.internal", ca.provisioner_key) as kept:
        yield kept


class Caller(BaseHTTPRequestHandler):
    """Answers with the serial number of the client's certificate."""

    protocol_version = "HTTP/1.1"
    connection: ssl.SSLSocket

    def do_GET(self) -> None:
        peer = self.connection.getpeercert()
        body = str(int(str(peer["serialNumber"]), 16) if peer else 0).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *words: object) -> None:
        """Tests are quiet."""


@contextmanager
def http_server(context: ssl.SSLContext) -> Iterator[str]:
    """As the manual of `http.server` does it: the listening socket is wrapped."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Caller)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    with running(server):
        yield f"https://localhost:{server.server_address[1]}/"


@contextmanager
def running(server: socketserver.BaseServer) -> Iterator[None]:
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def server_serial(url: str, context: ssl.SSLContext) -> int:
    """Of the certificate that a server shows to a new connection."""
    host, port = url.removeprefix("https://").rstrip("/").split(":")
    connection = http.client.HTTPSConnection(host, int(port), context=context, timeout=10)
    try:
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)
        peer = connection.sock.getpeercert()
        assert peer is not None
        return int(str(peer["serialNumber"]), 16)
    finally:
        connection.close()


def test_http_server_and_urllib(web: LiveCertificate, app: LiveCertificate) -> None:
    caller = app.client_context()
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=caller))
    with http_server(web.server_context(verify_clients=True)) as url:
        seen = []
        for _ in range(3):
            with opener.open(url, timeout=10) as answer:
                assert int(answer.read()) == app.current.serial
            assert server_serial(url, caller) == web.current.serial
            seen.append(web.current.serial)
            web.renew_now()
            app.renew_now()
        assert len(set(seen)) == 3


def test_a_connection_lives_through_a_renewal(web: LiveCertificate, app: LiveCertificate) -> None:
    with http_server(web.server_context(verify_clients=True)) as url:
        host, port = url.removeprefix("https://").rstrip("/").split(":")
        connection = http.client.HTTPSConnection(host, int(port), context=app.client_context(), timeout=10)
        before = app.current.serial
        for _ in range(3):
            connection.request("GET", "/")
            assert int(connection.getresponse().read()) == before
            web.renew_now()
            app.renew_now()
        connection.close()
        assert app.current.serial != before


@pytest.mark.parametrize("new_loop", [asyncio.new_event_loop, uvloop.new_event_loop], ids=["asyncio", "uvloop"])
def test_asyncio(web: LiveCertificate, app: LiveCertificate, new_loop: Callable[[], asyncio.AbstractEventLoop]) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        peer = writer.get_extra_info("peercert")
        writer.write(str(int(peer["serialNumber"], 16)).encode())
        writer.close()

    async def main() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=web.server_context(verify_clients=True))
        caller = app.client_context()
        async with server:
            address = server.sockets[0].getsockname()
            for _ in range(3):
                reader, writer = await asyncio.open_connection(*address, ssl=caller, server_hostname="localhost")
                peer = writer.get_extra_info("peercert")
                assert int(peer["serialNumber"], 16) == web.current.serial
                assert int(await reader.read()) == app.current.serial
                writer.close()
                await asyncio.to_thread(web.renew_now)
                await asyncio.to_thread(app.renew_now)

    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(main())


def test_openssl_and_curl_see_the_new_certificate(web: LiveCertificate, ca: CA, tmp_path: Path) -> None:
    (tmp_path / "root.crt").write_text(ca.root_pem)
    with http_server(web.server_context()) as url:
        address = url.removeprefix("https://").rstrip("/")
        for _ in range(2):
            shown = subprocess.run(
                ["openssl", "s_client", "-connect", address, "-CAfile", "root.crt", "-verify_return_error"],
                cwd=tmp_path,
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout
            serial = subprocess.run(
                ["openssl", "x509", "-noout", "-serial"],
                input=shown,
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            ).stdout
            assert int(serial.strip().removeprefix("serial="), 16) == web.current.serial
            got = subprocess.run(
                ["curl", "-sS", "--noproxy", "*", "--cacert", "root.crt", url],
                cwd=tmp_path,
                capture_output=True,
                text=True,
                timeout=20,
                check=True,
            )
            assert got.stdout == "0"
            web.renew_now()


def test_tls_1_2_clients_that_resume_see_the_new_certificate(web: LiveCertificate, app: LiveCertificate) -> None:
    """A session that is resumed shows no certificate at all."""
    caller = app.client_context()
    caller.maximum_version = ssl.TLSVersion.TLSv1_2
    with http_server(web.server_context()) as url:
        first = server_serial(url, caller)
        web.renew_now()
        assert server_serial(url, caller) == web.current.serial != first
