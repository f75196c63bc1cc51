from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from provisor.errors import Unavailable
from provisor.notary.signers import PoolLimits, SignerPool


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def play(scenario: Callable[[SignerPool, Clock], Awaitable[None]], limits: PoolLimits, threads: int = 4) -> None:
    async def on_stage() -> None:
        clock = Clock()
        pool = SignerPool(limits, threads=threads, monotonic=clock)
        async with asyncio.timeout(10):
            await scenario(pool, clock)
        pool.close()

    asyncio.run(on_stage())


def fail() -> bytes:
    raise Unavailable("unplugged")


def succeed() -> bytes:
    return b"signature"


def test_signatures_are_made_side_by_side() -> None:
    async def scenario(pool: SignerPool, clock: Clock) -> None:
        together = threading.Barrier(3)
        await asyncio.gather(*(pool.run(together.wait) for _ in range(3)))

    play(scenario, PoolLimits(), threads=3)


def test_beyond_the_limit_in_flight_nothing_is_taken() -> None:
    async def scenario(pool: SignerPool, clock: Clock) -> None:
        go_on = threading.Event()
        running = [asyncio.ensure_future(pool.run(go_on.wait)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await pool.run(succeed)
        go_on.set()
        await asyncio.gather(*running)
        assert await pool.run(succeed) == b"signature"

    play(scenario, PoolLimits(in_flight=2), threads=1)


def test_one_that_takes_too_long_is_given_up_but_keeps_its_place() -> None:
    async def scenario(pool: SignerPool, clock: Clock) -> None:
        go_on = threading.Event()
        with pytest.raises(Unavailable, match="within"):
            await pool.run(go_on.wait)
        with pytest.raises(Unavailable, match="too many"):
            await pool.run(succeed)
        go_on.set()
        while pool._in_flight:  # noqa: ASYNC110 - the thread tells nobody else
            await asyncio.sleep(0)
        assert await pool.run(succeed) == b"signature"

    play(scenario, PoolLimits(in_flight=1, deadline_seconds=0.05), threads=1)


def test_after_failures_in_a_row_nothing_is_tried_for_a_while_then_one_then_all() -> None:
    async def scenario(pool: SignerPool, clock: Clock) -> None:
        for _ in range(3):
            with pytest.raises(Unavailable, match="unplugged"):
                await pool.run(fail)
        with pytest.raises(Unavailable, match="not tried"):
            await pool.run(succeed)
        clock.now += 5
        with pytest.raises(Unavailable, match="unplugged"):
            await pool.run(fail)
        with pytest.raises(Unavailable, match="not tried"):
            await pool.run(succeed)
        clock.now += 5
        go_on = threading.Event()
        probe = asyncio.ensure_future(pool.run(go_on.wait))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="not tried"):
            await pool.run(succeed)
        go_on.set()
        await probe
        for _ in range(2):
            assert await pool.run(succeed) == b"signature"

    play(scenario, PoolLimits(failures=3, pause_seconds=5))


def test_failures_with_successes_between_them_do_not_count() -> None:
    async def scenario(pool: SignerPool, clock: Clock) -> None:
        for _ in range(5):
            with pytest.raises(Unavailable, match="unplugged"):
                await pool.run(fail)
            assert await pool.run(succeed) == b"signature"

    play(scenario, PoolLimits(failures=2))
