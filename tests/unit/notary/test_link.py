"""The socket between workers and notary: lost answers, restarts, strangers, nonsense."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from provisor.errors import Malformed, NotSupported, OutcomeUnknown, Unavailable
from provisor.notary import frames
from provisor.notary.frames import Kind
from provisor.notary.inline import InlineNotary
from provisor.notary.link import LinkNotary
from provisor.notary.server import MAX_IN_FLIGHT
from support.entries import entry, spend
from support.notary_world import Server, World, open_store

Scenario = Callable[[World, Server, LinkNotary], Awaitable[None]]
Play = Callable[..., None]


async def echo(payload: bytes) -> bytes:
    return payload[::-1]


async def refuse(payload: bytes) -> bytes:
    raise Malformed(payload.decode())


async def stumble(_: bytes) -> bytes:
    raise ZeroDivisionError


@pytest.fixture
def play(tmp_path: Path) -> Play:
    def run(scenario: Scenario, *, user: int | None = None, deadline: float = 15.0, patience: float = 0.3) -> None:
        async def on_stage() -> None:
            asyncio.get_running_loop().set_exception_handler(lambda *_: None)
            store = open_store("file", tmp_path)
            world = World(store)
            calls = {"echo": echo, "refuse": refuse, "stumble": stumble}
            server = Server(tmp_path / "notary", calls, user=user)
            await server.start(world.inline)
            client = LinkNotary(server.path, patience_seconds=patience, deadline_seconds=deadline)
            async with asyncio.timeout(20):
                await scenario(world, server, client)
            client.close()
            await server.stop()
            await store.close()

        asyncio.run(on_stage())

    return run


class Killed(Exception):
    """The notary's process is gone."""


class TestLostAnswers:
    def test_a_commit_whose_answer_is_lost_is_found_at_the_next_notary(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            dead = asyncio.Event()

            def die() -> None:
                server.kill()
                dead.set()

            world.store.after_commit = die
            request = world.issue("t")
            answer = asyncio.ensure_future(client.submit(request))
            await dead.wait()
            await server.start(InlineNotary(world.core))
            outcome = await answer
            assert outcome.committed
            assert outcome.certificate
            assert outcome == await world.store.find_outcome(request.id)

        play(scenario, patience=5.0)

    def test_an_entry_that_died_with_the_notary_is_unavailable_and_its_token_unspent(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            dead = asyncio.Event()

            def die() -> None:
                server.kill()
                dead.set()
                raise Killed

            world.store.before_commit = die
            answer = asyncio.ensure_future(client.submit(world.issue("t")))
            await dead.wait()
            world.store.before_commit = world.store.after_commit = lambda: None
            await server.start(InlineNotary(world.core))
            with pytest.raises(Unavailable, match="before it committed") as failed:
                await answer
            assert not isinstance(failed.value, OutcomeUnknown)
            assert (await client.submit(world.issue("t"))).committed

        play(scenario, patience=5.0)

    def test_if_the_notary_stays_away_the_outcome_is_unknown(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            world.store.after_commit = server.kill
            with pytest.raises(OutcomeUnknown):
                await client.submit(world.issue("t"))

        play(scenario)

    def test_what_was_never_sent_is_unavailable_not_unknown(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            server.kill()
            with pytest.raises(Unavailable) as failed:
                await client.submit(world.issue("t"))
            assert not isinstance(failed.value, OutcomeUnknown)
            with pytest.raises(Unavailable):
                await client.is_spent("t")
            await server.start(InlineNotary(world.core))
            assert (await client.submit(world.issue("t"))).committed

        play(scenario)

    def test_a_look_up_waits_for_an_entry_that_is_still_under_way(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            world.signer.costly = True
            world.signer.may_go_on.clear()
            request = world.issue("t")
            answer = asyncio.ensure_future(client.submit(request))
            await world.signer.called()
            looking = asyncio.ensure_future(client.find_outcome(request.id))
            await client.is_spent("t")
            client.close()
            world.signer.may_go_on.set()
            assert (await answer).committed
            found = await looking
            assert found is not None
            assert found.committed

        play(scenario, patience=5.0)

    def test_an_answer_that_does_not_come_in_time_is_looked_up_too(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            world.signer.costly = True
            world.signer.may_go_on.clear()
            with pytest.raises(OutcomeUnknown):
                await client.submit(world.issue("t"))
            world.signer.may_go_on.set()

        play(scenario, deadline=0.1, patience=0.2)

    def test_questions_are_asked_again_after_a_break(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            assert not await client.is_spent("t")
            server.kill()
            asking = asyncio.ensure_future(client.is_spent("t"))
            await server.start(world.inline)
            assert not await asking

        play(scenario, patience=5.0)


class TestCalls:
    def test_the_application_answers_calls_of_its_own(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            assert await client.call("echo", b"\x00\x01\xff") == b"\xff\x01\x00"
            assert await client.call("echo") == b""
            with pytest.raises(Malformed, match="no good"):
                await client.call("refuse", b"no good")
            with pytest.raises(NotSupported):
                await client.call("nothing")
            with pytest.raises(Unavailable):
                await client.call("stumble")

        play(scenario)

    @pytest.mark.parametrize("body", [b"", b"\x05abc", b"\x01\xff"])
    def test_a_call_without_a_name_is_malformed(self, body: bytes) -> None:
        if body:
            with pytest.raises(Malformed):
                frames.unpack_call(body)
        else:
            assert frames.unpack_call(frames.pack_call("", b"x")) == ("", b"x")


class TestStrangers:
    def test_another_user_is_turned_away(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            with pytest.raises(Unavailable):
                await client.is_spent("t")

        play(scenario, user=os.getuid() + 1)

    @pytest.mark.parametrize(
        "data",
        [
            struct.pack(">IBQ", frames.MAX_BYTES[Kind.SUBMIT] + 1, Kind.SUBMIT, 1),
            struct.pack(">IBQ", 0xFFFFFFFF, Kind.SUBMIT_LIST, 1),
            struct.pack(">IBQ", 0, 0, 1),
            struct.pack(">IBQ", 0, 255, 1),
            struct.pack(">IBQ", 0, Kind.ANSWER, 1),
            b"GET / HTTP/1.1\r\nHost: notary\r\n\r\n",
        ],
        ids=["too long", "far too long", "kind 0", "kind 255", "an answer", "http"],
    )
    def test_what_is_no_frame_ends_the_connection(self, play: Play, data: bytes) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            writer.write(data)
            assert frames.GREETING in await reader.read(100)
            with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
                await reader.readexactly(1)
            writer.close()
            assert not await client.is_spent("t")

        play(scenario)

    @pytest.mark.parametrize("kind", [Kind.SUBMIT, Kind.SUBMIT_LIST, Kind.READ, Kind.CALL, Kind.SIGN_CRL])
    @pytest.mark.parametrize("body", [b"", b"{}", b"null", b"\xff", b'{"id":1}', b'{"type":"DropTables"}', b"[" * 9999])
    def test_a_frame_of_nonsense_is_answered_with_a_fault(self, play: Play, kind: Kind, body: bytes) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            await reader.readexactly(13 + len(frames.GREETING))
            writer.write(struct.pack(">IBQ", len(body), kind, 7) + body)
            length, answer, number = struct.unpack(">IBQ", await reader.readexactly(13))
            assert (answer, number) == (Kind.FAULT, 7)
            await reader.readexactly(length)
            writer.close()
            assert not await client.is_spent("t")

        play(scenario)

    def test_frames_may_come_in_any_pieces(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            reader, writer = await asyncio.open_unix_connection(str(server.path))
            await reader.readexactly(13 + len(frames.GREETING))
            body = frames.encode(entry(spend("t")))
            for octet in struct.pack(">IBQ", len(body), Kind.SUBMIT, 1) + body:
                writer.write(bytes((octet,)))
                await writer.drain()
            _, answer, _ = struct.unpack(">IBQ", await reader.readexactly(13))
            assert answer == Kind.ANSWER
            writer.close()
            assert await client.is_spent("t")

        play(scenario)

    def test_a_worker_with_too_much_under_way_waits_and_loses_nothing(self, play: Play) -> None:
        async def scenario(world: World, server: Server, client: LinkNotary) -> None:
            answers = await asyncio.gather(*(client.is_spent(str(n)) for n in range(3 * MAX_IN_FLIGHT)))
            assert answers == [False] * (3 * MAX_IN_FLIGHT)

        play(scenario, patience=5.0)


def test_another_program_on_the_socket_is_not_the_notary(tmp_path: Path) -> None:
    async def scenario() -> None:
        with socket.socket(socket.AF_UNIX) as listening:
            listening.bind(str(tmp_path / "notary"))
            listening.listen()

            async def impostor(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
                greeting = b"provisor-notary/2"
                writer.write(struct.pack(">IBQ", len(greeting), Kind.GREETING, 0) + greeting)
                await writer.drain()
                writer.close()

            async with await asyncio.start_unix_server(impostor, sock=listening):
                client = LinkNotary(tmp_path / "notary", patience_seconds=0.2)
                with pytest.raises(Unavailable, match="away"):
                    await client.submit(entry(spend("t")))
                client.close()

    asyncio.run(scenario())


def test_stopping_answers_what_was_begun(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store("memory", tmp_path)
        world = World(store, costly=True)
        server = Server(tmp_path / "notary")
        await server.start(world.inline)
        client = LinkNotary(server.path)
        world.signer.may_go_on.clear()
        answer = asyncio.ensure_future(client.submit(world.issue("t")))
        await world.signer.called()
        stopping = asyncio.ensure_future(server.stop())
        await asyncio.sleep(0)
        world.signer.may_go_on.set()
        await stopping
        assert (await answer).committed
        client.close()
        world.inline.close()
        await store.close()

    asyncio.run(scenario())
