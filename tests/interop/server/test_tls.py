"""TLS over real sockets, compared with the recorded handshakes of step-ca."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509

from provisor.config.ca_json import TLSOptions
from provisor.errors import ConfigError
from provisor.server.exchange import Receive, Scope, Send
from provisor.server.limits import ConnectionLimits
from provisor.server.tls import TLSEndpoint
from support.serving import echo, eventually, run, serving
from support.tls_world import SERVER, Identity, make, world

CLOSING = b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n"
BOTH = pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])


def endpoint(options: TLSOptions | None = None) -> TLSEndpoint:
    return TLSEndpoint(options or TLSOptions(), world().leaf(), world().authorities)


async def tell_tls(scope: Scope, receive: Receive, send: Send) -> None:
    """Leaves the extension in the state of the listener."""
    scope["state"]["seen"].append(scope["extensions"]["tls"])
    assert scope["scheme"] == "https"
    await echo(scope, receive, send)


def handshake_error(context: ssl.SSLContext, options: TLSOptions | None = None) -> str:
    """The reason OpenSSL gives on the client's side, by the time it has read once."""
    reasons: list[str] = []

    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint(options)) as server:
            try:
                await server.exchange(CLOSING, context=context)
            except ssl.SSLError as error:
                reasons.append(error.reason or "")
            assert server.refusals == {"handshake": 1}

    run(scenario())
    return reasons[0]


@BOTH
def test_the_clients_certificate_reaches_the_scope(version: ssl.TLSVersion) -> None:
    seen: list[dict[str, object]] = []

    async def scenario() -> None:
        async with serving(tell_tls, endpoint=endpoint(), state={"seen": seen}) as server:
            await server.exchange(CLOSING, context=world().client_context(world().client, version=version))

    run(scenario())
    tls = seen[0]
    assert tls["client_cert_der"] == world().client.der
    chain = tls["client_cert_chain"]
    assert isinstance(chain, list)
    assert [x509.load_pem_x509_certificate(pem.encode()) for pem in chain] == [world().client.certificate]
    assert tls["client_cert_name"] is None
    assert tls["tls_version"] == version
    assert tls["cipher_suite"] in (0x1301, 0x1302, 0x1303, 0xC02B, 0xCCA9)


@BOTH
def test_a_client_certificate_is_not_required(version: ssl.TLSVersion) -> None:
    seen: list[dict[str, object]] = []

    async def scenario() -> None:
        async with serving(tell_tls, endpoint=endpoint(), state={"seen": seen}) as server:
            answer = await server.exchange(CLOSING, context=world().client_context(version=version))
            assert answer.endswith(b"GET / ")

    run(scenario())
    assert seen[0]["client_cert_chain"] == []
    assert seen[0]["client_cert_der"] is None


@BOTH
@pytest.mark.parametrize(
    ("who", "reason"),
    [
        (lambda: make("foreign.example.test", make("Foreign", ca=True)), "TLSV1_ALERT_UNKNOWN_CA"),
        (lambda: make("self.example.test"), "TLSV1_ALERT_UNKNOWN_CA"),
        (lambda: make("a", world().intermediate, ends=timedelta(minutes=-1)), "SSLV3_ALERT_CERTIFICATE_EXPIRED"),
        (lambda: make("a", world().intermediate, starts=timedelta(minutes=5)), "SSLV3_ALERT_BAD_CERTIFICATE"),
        (lambda: make("a", world().intermediate, usage=(SERVER,)), "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE"),
    ],
)
def test_a_bad_client_certificate_ends_the_handshake_with_an_alert(
    version: ssl.TLSVersion, who: Callable[[], Identity], reason: str
) -> None:
    assert handshake_error(world().client_context(who(), version=version)) == reason


def test_an_old_version_gets_its_alert() -> None:
    context = world().client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    assert handshake_error(context) == "TLSV1_ALERT_PROTOCOL_VERSION"


def test_an_old_version_is_spoken_when_configured() -> None:
    context = world().client_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old = endpoint(TLSOptions(min_version=1.1, cipher_suites=("TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",)))

    async def scenario() -> None:
        async with serving(echo, endpoint=old) as server:
            assert (await server.exchange(CLOSING, context=context)).endswith(b"GET / ")

    run(scenario())


@pytest.mark.parametrize("suite", ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA", "AES128-GCM-SHA256"])
def test_a_suite_that_is_not_configured_gets_its_alert(suite: str) -> None:
    context = world().client_context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(suite)
    assert handshake_error(context) == "SSLV3_ALERT_HANDSHAKE_FAILURE"


@pytest.mark.parametrize(
    "order",
    [
        ("ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ("ECDHE-ECDSA-CHACHA20-POLY1305", "ECDHE-ECDSA-AES128-GCM-SHA256"),
    ],
)
def test_the_client_chooses_among_the_suites(order: tuple[str, str]) -> None:
    context = world().client_context(version=ssl.TLSVersion.TLSv1_2)
    context.set_ciphers(":".join(order))

    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            _, writer = await server.open(context)
            assert writer.get_extra_info("cipher")[0] == order[0]
            writer.close()

    run(scenario())


@pytest.mark.parametrize(
    ("offered", "chosen"), [(["h2", "http/1.1"], "http/1.1"), (["http/1.1"], "http/1.1"), ([], None)]
)
def test_http_1_1_is_chosen_by_alpn(offered: list[str], chosen: str | None) -> None:
    context = world().client_context()
    if offered:
        context.set_alpn_protocols(offered)

    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            _, writer = await server.open(context)
            assert writer.get_extra_info("ssl_object").selected_alpn_protocol() == chosen
            writer.close()

    run(scenario())


@BOTH
def test_sessions_resume_in_tls_1_2_only(version: ssl.TLSVersion) -> None:
    context = world().client_context(world().client, version=version)
    seen: list[dict[str, object]] = []
    reused: list[bool] = []

    def client(port: int) -> None:
        session: ssl.SSLSession | None = None
        for _ in range(2):
            with (
                socket.create_connection(("127.0.0.1", port)) as plain,
                context.wrap_socket(plain, server_hostname="localhost", session=session) as tls,
            ):
                tls.sendall(CLOSING)
                while tls.recv(4096):
                    pass
                session = tls.session
                reused.append(bool(tls.session_reused))

    async def scenario() -> None:
        async with serving(tell_tls, endpoint=endpoint(), state={"seen": seen}) as server:
            await asyncio.to_thread(client, server.port)

    run(scenario())
    assert reused == [False, version is ssl.TLSVersion.TLSv1_2]
    # The certificate of a resumed session is still there: the endpoints check it again.
    assert [tls["client_cert_der"] for tls in seen] == [world().client.der] * 2


def test_plain_http_on_the_tls_port_is_told_so() -> None:
    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            assert await server.exchange(CLOSING) == (
                b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
            )
            assert server.refusals == {"handshake": 1}

    run(scenario())


@pytest.mark.parametrize("sent", [b"", b"\x16\x03\x01\x02\x00\x01"])
def test_a_handshake_that_stops_is_closed(sent: bytes) -> None:
    async def scenario() -> None:
        async with serving(echo, ConnectionLimits(handshake_seconds=0.1), endpoint=endpoint()) as server:
            assert await server.exchange(sent) == b""
            assert server.refusals == {"handshake-time": 1}
            await eventually(lambda: server.connections.admitted == 0)

    run(scenario())


def test_garbage_is_closed() -> None:
    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            await server.exchange(b"\x00" * 100)
            assert server.refusals == {"handshake": 1}

    run(scenario())


def test_connections_are_counted_before_their_handshake() -> None:
    async def scenario() -> None:
        limits = ConnectionLimits(connections_per_address=1)
        async with serving(echo, limits, endpoint=endpoint()) as server:
            _, silent = await asyncio.open_connection("127.0.0.1", server.port)
            await eventually(lambda: server.connections.admitted == 1)
            with pytest.raises(ConnectionError):
                await server.open(world().client_context())
            assert server.refusals == {"connections-per-address": 1}
            silent.close()
            await eventually(lambda: server.connections.admitted == 0)
            assert (await server.exchange(CLOSING, context=world().client_context())).endswith(b"GET / ")

    run(scenario())


def test_a_body_that_is_too_large_is_answered_though_the_client_still_sends() -> None:
    head = b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 3000000\r\n\r\n"

    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            reader, writer = await server.open(world().client_context())
            writer.write(head + b"x" * 3_000_000)
            assert (await asyncio.wait_for(reader.read(), 5)).startswith(b"HTTP/1.1 413 ")
            writer.close()

    run(scenario())


def test_large_bodies_go_both_ways() -> None:
    body = bytes(range(256)) * 4000

    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            reader, writer = await server.open(world().client_context())
            writer.write(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            answer = bytearray(await reader.readuntil(b"\r\n\r\n"))
            got = bytearray()
            while size := int(await reader.readline(), 16):
                got += await reader.readexactly(size)
                assert await reader.readexactly(2) == b"\r\n"
            assert got == b"POST / " + body
            assert answer.startswith(b"HTTP/1.1 200 OK")
            writer.close()

    run(scenario())


def test_requests_sent_ahead_in_one_record_are_all_answered() -> None:
    async def scenario() -> None:
        async with serving(echo, endpoint=endpoint()) as server:
            requests = b"GET /x HTTP/1.1\r\nHost: a\r\n\r\n" * 2000
            answer = await server.exchange(requests + CLOSING, context=world().client_context())
            assert answer.count(b"GET /x ") == 2000
            assert answer.endswith(b"GET / ")

    run(scenario())


def test_a_leaf_is_replaced_under_requests_without_a_failure() -> None:
    servers = [world().new_server() for _ in range(4)]

    async def scenario() -> None:
        live = endpoint()
        shown: set[bytes] = set()
        stop = asyncio.Event()
        done = 0

        async def load(*, kept: bool) -> None:
            nonlocal done
            context = world().client_context()
            reader, writer = await server.open(context)
            while not stop.is_set():
                writer.write(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
                assert (await reader.readuntil(b"GET / ")).startswith(b"HTTP/1.1 200 OK")
                done += 1
                shown.add(writer.get_extra_info("ssl_object").getpeercert(binary_form=True))
                if not kept:
                    writer.close()
                    reader, writer = await server.open(context)
            writer.close()

        async with serving(echo, endpoint=live) as server:
            async with asyncio.TaskGroup() as group:
                for kept in (True, False, False):
                    group.create_task(load(kept=kept))
                for round_ in range(20):
                    live.replace(leaf=world().leaf_of(servers[round_ % 4]))
                    before = done
                    await eventually(lambda before=before: done >= before + 6)  # type: ignore[misc]  # a default argument
                stop.set()
            assert not server.refusals
        assert {each.der for each in servers} <= shown

    run(scenario())


def test_replaced_authorities_hold_for_new_connections() -> None:
    foreign = make("Foreign", ca=True)
    stranger = make("stranger.example.test", foreign)

    async def scenario() -> None:
        live = endpoint()
        async with serving(echo, endpoint=live) as server:
            context = world().client_context(stranger)
            with pytest.raises(ssl.SSLError, match="UNKNOWN_CA"):
                await server.exchange(CLOSING, context=context)
            live.replace(clients=type(world().authorities)((*world().authorities.certificates, foreign.der)))
            assert (await server.exchange(CLOSING, context=context)).endswith(b"GET / ")

    run(scenario())


def test_a_replacement_that_does_not_fit_changes_nothing() -> None:
    live = endpoint()
    before = live.context
    with pytest.raises(ConfigError):
        live.replace(options=TLSOptions(cipher_suites=("TLS_NOPE",)))
    assert live.context is before
