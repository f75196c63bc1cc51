"""The client against a CA in this process."""

from __future__ import annotations

import json
import os
import time
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

import provisor
from provisor.client import transport
from provisor.client.ca import CAClient, chain_of, fetch_root
from provisor.client.csr import csr_pem, generate_key, make_csr
from provisor.client.errors import BadAnswer, CAError, Unreachable
from provisor.client.tokens import (
    TokenRequest,
    audience,
    make_renew_token,
    make_token,
    open_provisioner_key,
    token_window,
)
from provisor.client.transport import Identity, Transport, make_tls_context
from provisor.core.keys import PrivateKey
from provisor.core.names import classify_sans
from provisor.core.pem import encode_private_key, parse_certificates
from provisor.core.x509.certificate import parse_certificate
from provisor.wire.api import RevokeRequest, SignRequest, SignResponse
from support.fake_ca import FakeCA, send
from support.peers import PASSWORD, ThrowawayPKI, jwk_provisioner


@pytest.fixture
def ca(tmp_path: Path) -> Iterator[FakeCA]:
    with FakeCA(tmp_path) as running:
        yield running


@pytest.fixture
def client(ca: FakeCA) -> Iterator[CAClient]:
    with CAClient(ca.url, ca.pki.root_pem) as opened:
        yield opened


def issue(client: CAClient, name: str = "foo.internal") -> tuple[PrivateKey, SignResponse]:
    provisioner = client.provisioners()[0]
    key_id = provisioner["key"]["kid"]  # type: ignore[index]
    now = datetime.now(UTC)
    request = TokenRequest(
        issuer=str(provisioner["name"]),
        subject=name,
        audience=audience(client.address, "sign"),
        key_id=key_id,
        window=token_window(now),
        issued_at=now,
        names=[name],
    )
    token = make_token(request, open_provisioner_key(client.encrypted_key(key_id), PASSWORD.encode()))
    key = generate_key()
    csr = csr_pem(make_csr(key, name, classify_sans([name])))
    return key, client.sign(SignRequest(csr=csr, ott=token))


def identity(key: PrivateKey, response: SignResponse) -> Identity:
    return Identity("".join(chain_of(response)).encode(), encode_private_key(key, random=os.urandom))


def test_the_simple_questions_are_answered(ca: FakeCA, client: CAClient) -> None:
    assert client.health().status == "ok"
    assert client.version().version == "0.30.2"
    assert client.roots() == (ca.pki.root_pem.decode(),)
    assert client.federation() == client.roots()


def test_every_request_says_who_asks_and_has_an_id_of_its_own(ca: FakeCA, client: CAClient) -> None:
    client.health()
    client.health()
    agents = {request.headers["User-Agent"] for request in ca.seen}
    ids = [uuid.UUID(request.headers["X-Request-Id"]) for request in ca.seen]
    assert agents == {f"Provisor/{provisor.__version__}"}
    assert len(set(ids)) == 2
    assert {one.version for one in ids} == {4}


def test_the_connection_is_kept(ca: FakeCA, client: CAClient) -> None:
    for _ in range(3):
        client.health()
    assert len({request.connection for request in ca.seen}) == 1


def test_an_idle_connection_is_not_trusted_with_a_post(
    ca: FakeCA, client: CAClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    client.health()
    monkeypatch.setattr(transport, "_IDLE_SECONDS", 0.0)
    client.health()
    assert len({request.connection for request in ca.seen}) == 2


def test_all_pages_of_provisioners_are_read(ca: FakeCA, client: CAClient) -> None:
    ca.provisioners = [jwk_provisioner(f"p{number}") for number in range(5)]
    ca.page_size = 2
    assert [one["name"] for one in client.provisioners()] == ["p0", "p1", "p2", "p3", "p4"]
    assert [request.path for request in ca.seen] == [
        "/provisioners?limit=100",
        "/provisioners?limit=100&cursor=2",
        "/provisioners?limit=100&cursor=4",
    ]


def test_an_empty_list_of_provisioners_is_null_on_the_wire(ca: FakeCA, client: CAClient) -> None:
    ca.provisioners = []
    assert client.provisioners() == ()


def test_a_list_without_end_ends(ca: FakeCA, client: CAClient, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("provisor.client.ca._MAX_PAGES", 3)
    ca.trouble["/provisioners"] = lambda handler: send(handler, 200, b'{"provisioners":[],"nextCursor":"again"}')
    with pytest.raises(BadAnswer, match="does not end"):
        client.provisioners()


def test_a_certificate_is_signed(client: CAClient) -> None:
    _, response = issue(client)
    chain = chain_of(response)
    assert len(chain) == 2
    assert parse_certificate(parse_certificates(chain[0].encode())[0]).common_name == "foo.internal"


def test_a_chain_without_certchain_is_made_of_its_parts() -> None:
    assert chain_of(SignResponse(crt="leaf", ca="issuer")) == ("leaf", "issuer")
    assert chain_of(SignResponse(crt="leaf")) == ("leaf",)


def test_a_token_works_once(ca: FakeCA, client: CAClient) -> None:
    issue(client)
    body = ca.seen[-1].body
    again = json.loads(body)
    with pytest.raises(CAError, match="lacked necessary authorization") as refused:
        client.sign(SignRequest(csr=again["csr"], ott=again["ott"]))
    assert refused.value.status == 401


def test_a_certificate_renews_itself_by_mutual_tls(ca: FakeCA, client: CAClient) -> None:
    key, response = issue(client)
    with CAClient(ca.url, ca.pki.root_pem, identity(key, response)) as mine:
        renewed = mine.renew()
    assert renewed.crt != response.crt
    assert ca.seen[-1].peer is not None
    assert ca.seen[-1].body == b""


def test_a_certificate_renews_itself_by_token(ca: FakeCA, client: CAClient) -> None:
    key, response = issue(client)
    chain = parse_certificates("".join(chain_of(response)).encode())
    now = datetime.now(UTC)
    token = make_renew_token(
        chain,
        key,
        subject="foo.internal",
        audience=f"{client.url}/renew",
        window=token_window(now),
        issued_at=now,
    )
    client.renew(token)
    assert ca.seen[-1].peer is None
    assert "Content-Type" not in ca.seen[-1].headers


def test_a_certificate_is_rekeyed(ca: FakeCA, client: CAClient) -> None:
    key, response = issue(client)
    fresh = generate_key()
    with CAClient(ca.url, ca.pki.root_pem, identity(key, response)) as mine:
        rekeyed = mine.rekey(csr_pem(make_csr(fresh, "")))
    leaf = parse_certificate(parse_certificates(rekeyed.crt.encode())[0])
    assert leaf.common_name == "foo.internal"


def test_a_certificate_revokes_itself_once(ca: FakeCA, client: CAClient) -> None:
    key, response = issue(client)
    serial = str(parse_certificate(parse_certificates(response.crt.encode())[0]).serial)
    request = RevokeRequest(serial=serial, reason_code=1, reason="lost", passive=True)
    with CAClient(ca.url, ca.pki.root_pem, identity(key, response)) as mine:
        assert mine.revoke(request).status == "ok"
        with pytest.raises(CAError):
            mine.revoke(request)
    assert json.loads(ca.seen[-1].body) == {
        "serial": serial,
        "ott": "",
        "reasonCode": 1,
        "reason": "lost",
        "passive": True,
    }


def test_a_root_is_fetched_from_a_ca_that_nobody_trusts_yet(ca: FakeCA) -> None:
    dashed = "-".join((ca.pki.fingerprint[:32].upper(), ca.pki.fingerprint[32:]))
    assert fetch_root(ca.url, dashed) == ca.pki.root_pem.decode()


def test_a_root_that_is_another_is_refused(ca: FakeCA, tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    evil = json.dumps({"ca": ThrowawayPKI(folder).root_pem.decode()}).encode()
    ca.trouble[f"/root/{ca.pki.fingerprint}"] = lambda handler: send(handler, 200, evil)
    with pytest.raises(BadAnswer, match="fingerprint does not match"):
        fetch_root(ca.url, ca.pki.fingerprint)


def test_a_root_with_company_is_refused(ca: FakeCA, tmp_path: Path) -> None:
    folder = tmp_path / "evil"
    folder.mkdir()
    both = ca.pki.root_pem.decode() + ThrowawayPKI(folder).root_pem.decode()
    body = json.dumps({"ca": both}).encode()
    ca.trouble[f"/root/{ca.pki.fingerprint}"] = lambda handler: send(handler, 200, body)
    with pytest.raises(BadAnswer):
        fetch_root(ca.url, ca.pki.fingerprint)


def test_trust_is_the_given_root_and_no_other(ca: FakeCA, tmp_path: Path) -> None:
    folder = tmp_path / "other"
    folder.mkdir()
    with CAClient(ca.url, ThrowawayPKI(folder).root_pem) as stranger, pytest.raises(Unreachable) as refused:
        stranger.health()
    assert refused.value.detail == (
        f"client GET {ca.url}/health failed: "
        "tls: failed to verify certificate: x509: certificate signed by unknown authority"
    )
    assert ca.seen == []


def test_a_name_that_the_certificate_does_not_have_is_refused(ca: FakeCA) -> None:
    with (
        CAClient(f"https://127.0.0.1:{ca.port}", ca.pki.root_pem) as client,
        pytest.raises(Unreachable, match="certificate is not valid for 127"),
    ):
        client.health()


def test_a_ca_that_is_away_is_named_with_the_request() -> None:
    from support.peers import free_port

    port = free_port()
    with pytest.raises(Unreachable, match=rf"client GET https://localhost:{port}/root/x failed: dial tcp .*refused"):
        fetch_root(f"https://localhost:{port}", "x")


def test_roots_that_are_none_are_refused() -> None:
    with pytest.raises(BadAnswer, match="error loading certificates"):
        CAClient("https://ca.internal", b"nothing")


def test_an_answer_that_is_too_large_is_cut_off(ca: FakeCA, client: CAClient, monkeypatch: pytest.MonkeyPatch) -> None:
    ca.trouble["/crl"] = lambda handler: send(handler, 200, b"x" * 5000, "application/pkix-crl")
    assert client.crl() == b"x" * 5000
    monkeypatch.setattr("provisor.client.ca._MAX_CRL_BYTES", 4999)
    with pytest.raises(BadAnswer, match="larger than 4999"):
        client.crl()


def test_an_answer_that_is_cut_off_is_no_answer(ca: FakeCA, client: CAClient) -> None:
    def cut(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100")
        handler.end_headers()
        handler.wfile.write(b'{"status":"ok"}')
        handler.close_connection = True

    ca.trouble["/health"] = cut
    with pytest.raises(Unreachable, match="closed before the answer was complete"):
        client.health()


def test_an_answer_that_comes_in_drops_does_not_take_longer_than_the_limit(ca: FakeCA, client: CAClient) -> None:
    def drip(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        for _ in range(100):
            handler.wfile.write(b" ")
            handler.wfile.flush()
            time.sleep(0.05)

    ca.trouble["/health"] = drip
    hasty = Transport(client.address, make_tls_context(ca.pki.root_pem), timeout_seconds=0.3)
    started = time.monotonic()
    with (
        CAClient(client.address, None, sender=hasty) as impatient,
        pytest.raises(Unreachable, match=r"no answer within 0\.3 seconds"),
    ):
        impatient.health()
    assert time.monotonic() - started < 2


@pytest.mark.parametrize(
    ("status", "body", "content_type", "message"),
    [
        (401, b'{"status":401,"message":"no"}', "application/json", "no"),
        (403, b'{"message":"forbidden, with more","status":403,"extra":1}', "application/json", "forbidden, with more"),
        (404, b"404 page not found\n", "text/plain", "404 page not found"),
        (502, b"<html>bad gateway</html>", "text/html", "Bad Gateway"),
        (500, b"", "application/json", "Internal Server Error"),
        (599, b"{}", "application/json", "HTTP status 599"),
    ],
)
def test_a_refusal_carries_status_and_message(
    ca: FakeCA, client: CAClient, status: int, body: bytes, content_type: str, message: str
) -> None:
    ca.trouble["/health"] = lambda handler: send(handler, status, body, content_type)
    with pytest.raises(CAError) as refused:
        client.health()
    assert (refused.value.status, refused.value.message) == (status, message)


@pytest.mark.parametrize("body", [b"", b"ok", b"[]", b'{"status":1}'])
def test_an_answer_that_cannot_be_read_is_no_answer(ca: FakeCA, client: CAClient, body: bytes) -> None:
    ca.trouble["/health"] = lambda handler: send(handler, 200, body)
    with pytest.raises(BadAnswer):
        client.health()


def test_an_identity_does_not_show_its_key() -> None:
    assert "PRIVATE" not in repr(Identity(b"chain", b"-----BEGIN PRIVATE KEY-----"))


def test_a_key_of_another_certificate_is_no_identity(ca: FakeCA, client: CAClient) -> None:
    _, response = issue(client)
    other = ec.generate_private_key(ec.SECP256R1())
    with pytest.raises(BadAnswer, match="error loading certificates"):
        CAClient(ca.url, ca.pki.root_pem, identity(other, response))
