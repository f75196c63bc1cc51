"""The whole CA in one process, from its files: asked without a network, mounted in another program, listening."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from provisor import Certificate, Client, ProvisionerKey, pki
from provisor.app.inline import InlineCA
from provisor.client.csr import csr_pem, generate_key, make_csr
from provisor.core.names import classify_sans
from provisor.core.pem import parse_certificates
from provisor.startup import StartRefused

PASSWORD = b"password"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[InlineCA]:
    path = str(folder / "config" / "ca.json")
    if not (folder / "config").exists():
        pki.create_pki(
            str(folder), name="Test", dns=["localhost"], address=":443", provisioner="admin", password=PASSWORD
        )
    async with InlineCA.open(path, PASSWORD) as ca:
        yield ca


def network_less(ca: InlineCA) -> Client:
    """Knows where the CA is; never asks there."""
    root = ca.snapshot.roots[0].der
    return Client("https://localhost", Certificate([root]).pem)


async def sign(ca: InlineCA, name: str = "a.test") -> Certificate:
    """With the key that the CA keeps."""
    listed = json.loads((await ca.ask("GET", "/provisioners?limit=1")).body)["provisioners"][0]
    key_id = listed["key"]["kid"]
    encrypted = json.loads((await ca.ask("GET", f"/1.0/provisioners/{key_id}/encrypted-key")).body)["key"]
    token = network_less(ca).token(name, ProvisionerKey.parse("admin", encrypted, PASSWORD))
    key = generate_key()
    body = json.dumps({"csr": csr_pem(make_csr(key, name, classify_sans([name]))), "ott": token}).encode()
    answer = await ca.ask("POST", "/1.0/sign", body, {"Content-Type": "application/json"})
    assert (answer.status, answer.content_type) == (201, "application/json")
    return Certificate(parse_certificates("".join(json.loads(answer.body)["certChain"]).encode()), key)


def test_it_is_asked_without_a_network(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as ca:
            answer = await ca.ask("GET", "/health")
            assert (answer.status, answer.content_type, answer.body) == (200, "application/json", b'{"status":"ok"}\n')
            assert (await ca.ask("GET", "/absent")).status == 404
            certificate = await sign(ca)
            renewed = await ca.ask("POST", "/renew", certificate=certificate.chain[0])
            assert renewed.status == 201
            assert (await ca.ask("POST", "/renew")).status == 400

    asyncio.run(scenario())


def test_what_it_issued_is_there_after_a_restart(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as ca:
            certificate = await sign(ca)
            body = json.dumps({"serial": str(certificate.serial), "passive": True}).encode()
            assert (await ca.ask("POST", "/revoke", body, certificate=certificate.chain[0])).status == 200
        async with opened(tmp_path) as ca:
            assert (await ca.ask("POST", "/renew", certificate=certificate.chain[0])).status == 401

    asyncio.run(scenario())


def test_it_is_mounted_in_another_program(tmp_path: Path) -> None:
    """An ASGI program that has something of its own to say, and leaves the rest to the CA."""

    async def scenario() -> None:
        async with opened(tmp_path) as ca:

            async def program(scope: Any, receive: Any, send: Any) -> None:
                if scope["type"] == "http" and scope["path"] == "/mine":
                    await send({"type": "http.response.start", "status": 200, "headers": []})
                    await send({"type": "http.response.body", "body": b"mine"})
                else:
                    await ca.application(scope, receive, send)

            assert await ask(program, "/mine") == (200, b"mine")
            assert await ask(program, "/health") == (200, b'{"status":"ok"}\n')
            messages = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
            sent: list[str] = []

            async def receive() -> Any:
                return messages.pop(0)

            async def send(message: Any) -> None:
                sent.append(message["type"])

            await program({"type": "lifespan"}, receive, send)
            assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]

    asyncio.run(scenario())


async def ask(program: Any, path: str) -> tuple[int, bytes]:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Any) -> None:
        sent.append(message)

    scope: dict[str, Any] = {
        "type": "http",
        "method": "GET",
        "path": path,
        "raw_path": path.encode(),
        "query_string": b"",
        "headers": [],
        "client": None,
    }
    await program(scope, receive, send)
    return sent[0]["status"], sent[1]["body"]


def test_it_listens_with_a_certificate_of_its_own(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with opened(tmp_path) as ca:
            root = ca.snapshot.roots[0]
            sock = socket.create_server(("127.0.0.1", 0))
            url = f"https://localhost:{sock.getsockname()[1]}"
            with sock:
                async with ca.listening(sock):
                    client = await asyncio.to_thread(Client.bootstrap, url, root.fingerprint)
                    assert await asyncio.to_thread(client.health) == "ok"
                    client.close()

    asyncio.run(scenario())


def test_a_start_that_is_refused_says_every_fault(tmp_path: Path) -> None:
    (tmp_path / "ca.json").write_text("{}")
    with pytest.raises(StartRefused):
        InlineCA.open(str(tmp_path / "ca.json"))
