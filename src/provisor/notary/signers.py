"""Costly keys: signatures made by threads of the notary, so that a slow one holds nobody up.

Threads, not processes: OpenSSL lets go of the interpreter while it computes an RSA signature (two threads
made twice as many of 4096 bits as one, and a third never waited longer than 0.3 ms), and what waits
for a device or a network does not compute at all. So no key has to be copied anywhere.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar, final

from msgspec import Struct

from provisor.errors import Unavailable

T = TypeVar("T")


class PoolLimits(Struct, frozen=True):
    """For one key: signatures under way or waiting, the time for one, and when to stop trying.

    After `failures` in a row nothing is tried for `pause_seconds`; then one is, and if it succeeds all are.
    """

    in_flight: int = 512
    deadline_seconds: float = 10.0
    failures: int = 5
    pause_seconds: float = 5.0


@final
class SignerPool:
    """The threads of one key: as many as its signatures under way. Used from its loop's thread."""

    def __init__(self, limits: PoolLimits, *, threads: int, monotonic: Callable[[], float]) -> None:
        self._limits = limits
        self._monotonic = monotonic
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="signer")
        self._in_flight = 0
        self._failed = 0
        self._closed_until = 0.0
        self._trying = False

    async def run(self, work: Callable[[], T]) -> T:
        """What `work` returns or raises. Raises `Unavailable` when it takes too long, or is not worth trying."""
        self._check_open()
        self._in_flight += 1
        loop = asyncio.get_running_loop()
        future = self._threads.submit(work)

        def release(_: Future[T]) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: a stuck thread came back too late
                loop.call_soon_threadsafe(self._release)

        future.add_done_callback(release)
        try:
            async with asyncio.timeout(self._limits.deadline_seconds):
                result = await asyncio.wrap_future(future)
        except TimeoutError:
            self._note(failed=True)
            raise Unavailable(f"no signature within {self._limits.deadline_seconds:g} s", retry_after=5) from None
        except BaseException:
            self._note(failed=True)
            raise
        self._note(failed=False)
        return result

    def close(self) -> None:
        """Begin nothing more. A thread that is stuck in a device is left to it."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _check_open(self) -> None:
        if self._in_flight >= self._limits.in_flight:
            raise Unavailable("too many signatures under way", retry_after=1)
        if self._failed < self._limits.failures:
            return
        if self._trying or self._monotonic() < self._closed_until:
            raise Unavailable("the key has failed several times; not tried at the moment", retry_after=5)
        self._trying = True

    def _note(self, *, failed: bool) -> None:
        self._trying = False
        self._failed = self._failed + 1 if failed else 0
        if failed:
            self._closed_until = self._monotonic() + self._limits.pause_seconds

    def _release(self) -> None:
        self._in_flight -= 1
