"""The one context: every way in which a connection begins waits for a swap, and a swap for it."""

from __future__ import annotations

import os
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress

import pytest

from provisor.client.live_context import LiveContext, live_context
from provisor.testing import CA


class Counter:
    """Whose contexts they are."""

    def __init__(self) -> None:
        self.connections = 0

    def attend(self) -> None:
        self.connections += 1


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA() as running:
        yield running


def by_bio(context: LiveContext) -> None:
    context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)


def by_socket(context: LiveContext) -> None:
    one, other = socket.socketpair()
    with other, context.wrap_socket(one, server_side=True, do_handshake_on_connect=False):
        pass


def by_listening_socket(context: LiveContext) -> None:
    listening = context.wrap_socket(socket.create_server(("127.0.0.1", 0)), True, do_handshake_on_connect=False)
    with listening, socket.create_connection(listening.getsockname()):
        listening.accept()[0].close()


WAYS = [by_bio, by_socket, by_listening_socket]


@pytest.mark.parametrize("begin", WAYS)
def test_a_connection_waits_until_the_swap_is_done(ca: CA, begin: Callable[[LiveContext], None]) -> None:
    """The methods of `ssl` that are overridden for that are not public: this notices if they are called no more."""
    owner = Counter()
    context = live_context(owner, ca.issue("web.test"), ca.root_pem, server=True)
    thread = threading.Thread(target=begin, args=[context])
    with context._lock():
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10)
    assert not thread.is_alive()
    assert owner.connections == 1


def test_a_connecting_socket_waits_too(ca: CA) -> None:
    context = live_context(owner := Counter(), ca.issue("web.test"), ca.root_pem, server=False)

    def connect() -> None:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            context.wrap_socket(socket.socket(), server_hostname="x", do_handshake_on_connect=False) as calling,
        ):
            calling.connect(server.getsockname())

    thread = threading.Thread(target=connect)
    with context._lock():
        thread.start()
        thread.join(0.1)
        assert thread.is_alive()
    thread.join(10)
    assert owner.connections == 1


def test_a_lock_that_was_held_during_a_fork_is_not_held_after_it(ca: CA) -> None:
    context = live_context(Counter(), ca.issue("web.test"), ca.root_pem, server=True)
    with context._lock():
        context._process = os.getpid() + 1  # as if this were the child
        by_bio(context)


def test_what_cannot_be_shown_changes_nothing(ca: CA, monkeypatch: pytest.MonkeyPatch) -> None:
    context = live_context(Counter(), ca.issue("web.test"), ca.root_pem, server=True)

    def no_descriptors(name: str) -> int:
        raise OSError(24, "Too many open files")

    monkeypatch.setattr(os, "memfd_create", no_descriptors)
    with pytest.raises(OSError, match="Too many open files"):
        context.swap(ca.issue("web.test"))
    assert not context._swapping.locked()
    by_bio(context)


def test_a_session_is_not_resumed_past_a_swap(ca: CA) -> None:
    """It would show neither the new certificate of the server, nor that of a client whose time is over."""
    context = live_context(Counter(), ca.issue("localhost"), ca.root_pem, server=True)
    caller = ca.client_context()
    sessions: list[ssl.SSLSession | None] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:
        for _ in range(2):
            with socket.create_connection(listening.getsockname()) as plain:
                serving = context.wrap_socket(listening.accept()[0], server_side=True, do_handshake_on_connect=False)
                thread = threading.Thread(target=serve, args=[serving])
                thread.start()
                session = sessions[-1] if sessions else None
                with caller.wrap_socket(plain, server_hostname="localhost", session=session) as calling:
                    assert calling.recv(5) == b"hello"
                    assert not calling.session_reused
                    sessions.append(calling.session)
                thread.join(10)


def serve(connection: ssl.SSLSocket) -> None:
    with connection, suppress(OSError):
        connection.do_handshake()
        connection.sendall(b"hello")
