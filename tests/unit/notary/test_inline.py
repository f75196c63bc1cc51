from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from provisor.errors import OutcomeUnknown
from provisor.notary import inline
from provisor.notary.keyring import GateRules
from provisor.notary.notary import NotaryCore
from provisor.ports import Outcome
from support.coroutines import finish
from support.entries import entry, spend
from support.notary_world import World, open_store


def test_a_fault_of_ours_leaves_nobody_waiting(tmp_path: Path) -> None:
    async def scenario() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda *_: None)
        store = open_store("memory", tmp_path)
        world = World(store)

        def stumble() -> None:
            raise ZeroDivisionError

        world.store.before_commit = stumble
        with pytest.raises(OutcomeUnknown):
            await world.inline.submit(world.issue("t"))
        world.store.before_commit = lambda: None
        assert (await world.inline.submit(world.issue("t"))).committed
        await world.inline.drain()
        finish(store.close())

    asyncio.run(scenario())


def test_beyond_a_limit_entries_are_turned_away_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inline, "MAX_WAITING", 3)

    async def scenario() -> None:
        store = open_store("memory", tmp_path)
        world = World(store)
        outcomes = await asyncio.gather(*(world.inline.submit(entry(spend(str(n)))) for n in range(5)))
        assert [outcome.status for outcome in outcomes] == ["committed"] * 3 + ["unavailable"] * 2
        finish(store.close())

    asyncio.run(scenario())


def test_a_long_queue_is_worked_off_in_batches(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store("memory", tmp_path)
        world = World(store)
        outcomes: list[Outcome] = []
        for n in range(2 * inline.MAX_BATCH + 1):
            world.inline.enqueue(entry(spend(str(n))), outcomes.append)
        await world.inline.drain()
        assert {outcome.status for outcome in outcomes} == {"committed"}
        assert world.store.batches[1:] == [inline.MAX_BATCH, inline.MAX_BATCH, 1]
        finish(store.close())

    asyncio.run(scenario())


def test_the_core_alone_does_everything_at_once(tmp_path: Path) -> None:
    store = open_store("memory", tmp_path)

    async def scenario() -> None:
        world = World(store, costly=True)
        core: NotaryCore = world.core
        first, twin, plain = world.issue("t"), world.issue("t"), entry(spend("u"))
        outcomes = await core.commit([first, twin, plain, first], [None] * 4)
        assert [outcome.guard or outcome.status for outcome in outcomes] == [
            "committed",
            "unspent",
            "committed",
            "committed",
        ]
        assert outcomes[0] == outcomes[3]
        world.signer.failing = True
        assert [outcome.status for outcome in await core.commit([world.issue("v"), entry(spend("w"))], [None] * 2)] == [
            "unavailable",
            "committed",
        ]

    asyncio.run(scenario())
    finish(store.close())


def test_a_key_that_is_replaced_lets_its_threads_go(tmp_path: Path) -> None:
    async def scenario() -> None:
        store = open_store("memory", tmp_path)
        world = World(store, costly=True)
        assert (await world.inline.submit(world.issue("t"))).committed
        await world.inline.install({}, GateRules())
        assert world.inline._pools == {}
        assert [record.state for record in await store.issuers()] == ["retiring"]
        world.inline.close()
        finish(store.close())

    asyncio.run(scenario())
