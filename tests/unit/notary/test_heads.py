"""What the notary signs as a head of the log, and what not."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from provisor.core.tree_head import SignedHead, TreeHead, encode_head, verify_head
from provisor.errors import Forbidden, Unavailable
from provisor.notary.link import LinkNotary
from provisor.storage.sqlite import MEMORY, SQLiteStore
from support.notary_world import Server, World


def make_world(*, costly: bool = False) -> World:
    return World(SQLiteStore.open(MEMORY), costly=costly)


def head_of(world: World, size: int = 10, root: bytes = b"r" * 32) -> TreeHead:
    authority = asyncio.run(world.store.health()).authority
    return TreeHead(authority, size, root, int(world.now.timestamp()), world.lab.issuer.id)


def sign(world: World, head: TreeHead | bytes) -> bytes:
    text = head if isinstance(head, bytes) else encode_head(head)
    return asyncio.run(world.inline.sign_head(world.lab.issuer.id, text))


def test_a_head_of_this_authority_is_signed() -> None:
    world = make_world()
    head = head_of(world)
    signed = SignedHead(encode_head(head), sign(world, head))
    assert verify_head(signed, world.lab.issuer.certificate) == head


def test_over_the_socket_as_well(tmp_path: Path) -> None:
    world = make_world()
    text = encode_head(head_of(world))

    async def scenario() -> bytes:
        server = Server(tmp_path / "notary")
        await server.start(world.inline)
        client = LinkNotary(server.path)
        try:
            with pytest.raises(Forbidden, match="not the head"):
                await client.sign_head(world.lab.issuer.id, b"0" * 100)
            return await client.sign_head(world.lab.issuer.id, text)
        finally:
            client.close()
            await server.stop()

    verify_head(SignedHead(text, asyncio.run(scenario())), world.lab.issuer.certificate)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda head: replace(head, authority="another"), "another authority"),
        (lambda head: replace(head, issuer=b"\x07" * 32), "another issuer"),
        (lambda head: replace(head, at=head.at + 400), "another time"),
        (lambda head: replace(head, at=head.at - 400), "another time"),
        (lambda head: encode_head(head) + b"more", "not the head"),
        (lambda head: b"\x30\x03\x02\x01\x05", "not the head"),
    ],
)
def test_nothing_else_is(change: Callable[[TreeHead], TreeHead | bytes], reason: str) -> None:
    world = make_world()
    with pytest.raises(Forbidden, match=reason):
        sign(world, change(head_of(world)))
    assert world.signer.count == 0


def test_the_log_does_not_fork_under_its_hands() -> None:
    world = make_world()
    assert sign(world, head_of(world, 10))
    assert sign(world, head_of(world, 10))
    assert sign(world, head_of(world, 12))
    for size, root in ((11, b"r"), (12, b"s"), (0, b"r")):
        with pytest.raises(Forbidden, match="would fork"):
            sign(world, head_of(world, size, root * 32))


def test_an_issuer_that_does_not_sign_signs_no_head() -> None:
    world = make_world()
    world.install(state="retiring")
    with pytest.raises(Forbidden):
        sign(world, head_of(world))


def test_a_costly_key_rests_between_heads() -> None:
    world = make_world(costly=True)
    assert sign(world, head_of(world, 1))
    world.now += timedelta(seconds=9)
    assert sign(world, head_of(world, 2)) == b""
    world.now += timedelta(seconds=1)
    assert sign(world, head_of(world, 3))
    assert world.signer.count == 2


def test_a_costly_key_that_lies_is_found_out() -> None:
    world = make_world(costly=True)
    world.signer.lying = True
    with pytest.raises(Unavailable, match="does not verify"):
        sign(world, head_of(world))
