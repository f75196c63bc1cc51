"""The ASGI application: routing, ids, reloads, and what it does with what it did not expect."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import pytest

from provisor.errors import Unavailable
from provisor.server import application
from provisor.server.application import Application, Authority
from provisor.server.request import Message
from support.authority import Answer, MemoryCA
from support.credentials import make_csr, make_key


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


def test_an_unknown_path_is_plain_text(ca: MemoryCA) -> None:
    answer = ca.call("GET", "/nope")
    assert (answer.status, answer.body) == (404, b"404 page not found\n")
    assert answer.header("content-type") == "text/plain; charset=utf-8"


@pytest.mark.parametrize(("method", "allow"), [("PUT", "GET"), ("OPTIONS", "GET"), ("FOO", ""), ("get", "")])
def test_a_method_that_is_none_is_not_told_another(ca: MemoryCA, method: str, allow: str) -> None:
    answer = ca.call(method, "/health")
    assert (answer.status, answer.body, answer.header("allow")) == (405, b"", allow)
    assert answer.header("content-type") == ""


@pytest.mark.parametrize("path", ["/health", "/nope", "/root/x", "/sign"])
def test_every_answer_has_the_request_id(ca: MemoryCA, path: str) -> None:
    assert ca.call("GET", path, headers=[("X-Request-Id", "mine")]).header("x-request-id") == "mine"


def test_the_request_id_is_in_the_event(ca: MemoryCA) -> None:
    body = {"csr": make_csr(make_key()), "ott": ca.token()}
    assert ca.call("POST", "/sign", body, headers=[("X-Request-Id", "mine")]).status == 201
    (event,) = ca.books().events
    assert (event.request, event.source) == ("mine", "192.0.2.7")


def test_the_address_of_an_event_is_the_connections_whatever_a_header_says(ca: MemoryCA) -> None:
    body = {"csr": make_csr(make_key()), "ott": ca.token()}
    ca.call("POST", "/sign", body, headers=[("X-Forwarded-For", "203.0.113.9"), ("Forwarded", "for=203.0.113.9")])
    assert ca.books().events[0].source == "192.0.2.7"


@pytest.mark.parametrize("kind", ["websocket", "mystery"])
def test_what_is_not_http_is_left_alone(ca: MemoryCA, kind: str) -> None:
    async def receive() -> Message:
        raise AssertionError("nothing is read")

    async def send(message: Message) -> None:
        raise AssertionError("nothing is sent")

    ca.run(ca.app({"type": kind}, receive, send))


def test_a_mounted_application_starts_and_stops(ca: MemoryCA) -> None:
    incoming = iter([{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}])
    sent: list[object] = []

    async def receive() -> Message:
        return next(incoming)

    async def send(message: Message) -> None:
        sent.append(message["type"])

    ca.run(ca.app({"type": "lifespan"}, receive, send))
    assert sent == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


# -- reload -------------------------------------------------------------------------------------------------


def test_a_request_begins_with_the_newest_configuration(ca: MemoryCA) -> None:
    before = ca.snapshot
    ca.reconfigure({**ca.document, "dnsNames": ["other.test"]})
    assert ca.snapshot.epoch == before.epoch + 1
    body = {"csr": make_csr(make_key()), "ott": ca.token()}
    assert ca.call("POST", "/sign", body).status == 401, "the audience is another one now"


def test_who_waits_for_a_newer_configuration_gets_it(ca: MemoryCA) -> None:
    authority = Authority(ca.snapshot)

    async def waits() -> int:
        waiting = asyncio.ensure_future(authority.after(ca.snapshot.epoch))
        await asyncio.sleep(0)
        assert not waiting.done()
        old = ca.snapshot
        ca.reconfigure(ca.document)
        authority.replace(old)
        await asyncio.sleep(0)
        assert not waiting.done(), "the same again is not newer"
        authority.replace(ca.snapshot)
        return (await waiting).epoch

    assert ca.run(waits()) == ca.snapshot.epoch


def test_one_asks_for_all_that_were_overtaken_together(ca: MemoryCA) -> None:
    old = ca.snapshot
    asked: list[int] = []

    async def refresh() -> None:
        asked.append(1)
        await asyncio.sleep(0)
        authority.replace(ca.snapshot)

    authority = Authority(old, refresh)

    async def overtaken() -> list[int]:
        ca.reconfigure(ca.document)
        found = await asyncio.gather(*(authority.after(old.epoch) for _ in range(50)))
        return [each.epoch for each in found]

    assert ca.run(overtaken()) == [old.epoch + 1] * 50
    assert len(asked) == 1


def test_who_asks_and_is_given_up_leaves_the_others_their_turn(ca: MemoryCA) -> None:
    old = ca.snapshot
    started = asyncio.Event()
    asked: list[int] = []

    async def refresh() -> None:
        asked.append(1)
        if len(asked) == 1:
            started.set()
            await asyncio.Event().wait()
        authority.replace(ca.snapshot)

    authority = Authority(old, refresh)

    async def overtaken() -> int:
        ca.reconfigure(ca.document)
        first = asyncio.ensure_future(authority.after(old.epoch))
        second = asyncio.ensure_future(authority.after(old.epoch))
        await started.wait()
        first.cancel()
        return (await second).epoch

    assert ca.run(overtaken()) == old.epoch + 1


def test_who_waits_in_vain_is_told_so(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_RELOAD_PATIENCE", 0.0)
    with pytest.raises(Unavailable):
        ca.run(Authority(ca.snapshot).after(ca.snapshot.epoch))


def test_a_request_that_was_overtaken_and_not_told_is_503(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(application, "_RELOAD_PATIENCE", 0.0)
    before = ca.books()
    ca.reconfigure(ca.document, tell_workers=False)
    answer: Answer = ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": ca.token()})
    assert answer.status == 503
    assert ca.books().since(before).nothing


def test_two_applications_over_one_authority_answer_alike(ca: MemoryCA) -> None:
    other = Application(ca.authority, ca.context)
    first = ca.call("GET", "/roots").body
    ca.app = other
    assert ca.call("GET", "/roots").body == first


# -- ready --------------------------------------------------------------------------------------------------


def test_a_ca_that_can_serve_is_ready(ca: MemoryCA) -> None:
    assert ca.call("GET", "/ready").json == {"status": "ok"}


def test_a_ca_whose_issuer_is_over_says_so(ca: MemoryCA) -> None:
    ca.clock.advance(days=3650)
    answer = ca.call("GET", "/ready")
    assert (answer.status, answer.message) == (503, "issuer: its certificate has expired")
    assert ca.call("GET", "/health").status == 200


def test_a_ca_whose_clock_stands_behind_its_records_says_so(ca: MemoryCA) -> None:
    ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": ca.token()})
    ca.clock.advance(seconds=-120)
    assert ca.call("GET", "/ready").status == 200
    ca.clock.advance(seconds=-1)
    answer = ca.call("GET", "/ready")
    assert answer.status == 503
    assert answer.message.startswith("clock: ")
