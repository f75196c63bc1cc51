"""Traces of requests, put together after the answer from times that were taken anyway.

A process without tracing has no `Tracer`, and its requests pay for the look whether there is one.
Where there is one, a request that is not sampled costs a trace id for its log line; one that is
leaves plain data on a bounded queue, and a thread makes spans of it and sends them away
(`server.otlp`). A receiver that is slow or gone costs traces, which are counted, and no request.

`traceparent` is the one of W3C Trace Context, version 00. It comes from strangers: what does not
have its exact form does not exist, and no text of it is kept or shown but a valid trace id.
"""

from __future__ import annotations

import asyncio
import contextlib
import re
import time
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Final, Protocol, final

from msgspec import Struct

from provisor.authority.audit import Trail
from provisor.errors import ProvisorError
from provisor.server.metrics import Metrics
from provisor.server.request import Request, Response, raw_path

__all__ = ["Parent", "RequestTrace", "Sampler", "SpanSink", "StepTime", "Tracer", "find_parent", "parse_traceparent"]

STEP_NAMES: Final = (
    *("authenticate", "authorize", "match", "enrich", "build", "check", "consent", "notarize", "notify"),
)
"""Of the numbered steps of docs/issuance.md, from 1."""

QUEUE_MOST: Final = 4096
"""Finished traces that wait to be sent; more are dropped."""
BATCH_MOST: Final = 512
_EVERY_SECONDS: Final = 1.0
_FAREWELL_SECONDS: Final = 2.0
_SILENCE_SECONDS: Final = 60.0
"""Between two lines of the log about traces that were lost."""

_NANOSECONDS: Final = 1_000_000_000
_RATIO_BITS: Final = 56
_KNOWN_METHODS: Final = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "CONNECT", "OPTIONS", "TRACE"})

EXPORTED: Final = "exported"
QUEUE_FULL: Final = "dropped-queue-full"
EXPORT_FAILED: Final = "dropped-export-failed"


# -- what a request brings ----------------------------------------------------------------------


class Parent(Struct, frozen=True):
    """A valid `traceparent`: 32 and 16 hexadecimal digits, and whether the caller records."""

    trace_id: str
    span_id: str
    sampled: bool


_TRACEPARENT: Final = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE: Final = b"0" * 32
_NO_SPAN: Final = b"0" * 16


def parse_traceparent(value: bytes) -> Parent | None:
    """Strictly as version 00 is written (W3C Trace Context 3.2.2); None for anything else."""
    found = _TRACEPARENT.fullmatch(value)
    if found is None:
        return None
    trace_id, span_id, flags = found.groups()
    if trace_id == _NO_TRACE or span_id == _NO_SPAN:
        return None
    return Parent(trace_id.decode(), span_id.decode(), bool(int(flags, 16) & 1))


def find_parent(headers: Iterable[tuple[bytes, bytes]]) -> Parent | None:
    """The caller's span; None also when there are two, since then nobody knows which one it is."""
    values = [value for name, value in headers if name == b"traceparent"]
    return parse_traceparent(values[0]) if len(values) == 1 else None


@final
class Sampler:
    """Which requests are traced.

    A caller who says *not sampled* is believed. One who says *sampled* is, `asked_per_second` times a
    second; beyond that, and for all others, chance decides with odds of `ratio`: our own chance, since
    a trace id may be chosen.
    """

    def __init__(
        self, ratio: float, asked_per_second: int, *, random: Callable[[int], bytes], timer: Callable[[], float]
    ) -> None:
        self._bound = int(ratio * 2**_RATIO_BITS)
        self._rate = asked_per_second
        self._left = float(asked_per_second)
        self._random = random
        self._timer = timer
        self._looked = timer()

    def wants(self, parent: Parent | None) -> bool:
        if parent is not None:
            if not parent.sampled:
                return False
            if self._take():
                return True
        return int.from_bytes(self._random(_RATIO_BITS // 8), "big") < self._bound

    def _take(self) -> bool:
        """One of a bucket that holds what comes in a second."""
        now = self._timer()
        self._left = min(float(self._rate), self._left + (now - self._looked) * self._rate)
        self._looked = now
        if self._left < 1:
            return False
        self._left -= 1
        return True


# -- what is left of a request ------------------------------------------------------------------


class StepTime(Struct, frozen=True):
    """A numbered step; times are unix nanoseconds."""

    number: int
    began: int
    ended: int


class RequestTrace(Struct, frozen=True):
    """A finished request, ready to become spans. Words are of closed sets or of the configuration.

    `parent_id` is empty without a caller's span. `outcome` is "granted", the code of an error, or empty for a
    request that is not decided about. `serial` is decimal, of what was issued or revoked.
    """

    trace_id: str
    span_id: str
    parent_id: str
    method: str
    route: str
    status: int
    began: int
    ended: int
    operation: str = ""
    outcome: str = ""
    provisioner: str = ""
    provisioner_kind: str = ""
    serial: str = ""
    steps: tuple[StepTime, ...] = ()


class SpanSink(Protocol):
    """Sends traces away. Both methods wait, and are called from one thread of their own."""

    def export(self, traces: Sequence[RequestTrace]) -> bool:
        """Whether the receiver took them."""
        ...

    def close(self) -> None:
        """Give up what is being tried. May be called from another thread."""
        ...


@final
class Tracer:
    """The traces of one process. Made on its loop; they are sent until `close`."""

    def __init__(
        self,
        sampler: Sampler,
        sink: SpanSink,
        metrics: Metrics,
        *,
        route_of: Callable[[str, str], str],
        report: Callable[[str], None],
        random: Callable[[int], bytes],
    ) -> None:
        """`route_of` names the route of a method and raw path. `report` hears, now and then, of lost traces."""
        self._sampler = sampler
        self._sink = sink
        self._count = metrics.traces.inc
        self._route_of = route_of
        self._report = report
        self._random = random
        self._queue: deque[RequestTrace] = deque()
        self._thread = ThreadPoolExecutor(1, "traces")
        self._lost = 0
        self._reported = -_SILENCE_SECONDS
        self._ending = asyncio.Event()
        self._sending = asyncio.get_running_loop().create_task(self._run())
        for outcome in (EXPORTED, QUEUE_FULL, EXPORT_FAILED):
            self._count(outcome, by=0)

    def record(self, request: Request, response: Response, error: ProvisorError | None, seconds: float) -> None:
        """The answer has just been written, `seconds` after the request began. Adds the trace id to the log line."""
        parent = find_parent(request.scope["headers"])
        trace_id = parent.trace_id if parent is not None else self._random(16).hex()
        request.fields["trace-id"] = trace_id
        if not self._sampler.wants(parent):
            return
        if len(self._queue) >= QUEUE_MOST:
            self._lose(1, QUEUE_FULL)
            return
        parent_id = parent.span_id if parent is not None else ""
        self._queue.append(self._describe(request, response, error, seconds, trace_id, parent_id))

    def _describe(
        self,
        request: Request,
        response: Response,
        error: ProvisorError | None,
        seconds: float,
        trace_id: str,
        parent_id: str,
    ) -> RequestTrace:
        trail = request.trail
        ended = time.time_ns()
        ref = None if trail is None else trail.who.provisioner if trail.who else trail.provisioner
        granted = trail is not None and error is None
        return RequestTrace(
            trace_id=trace_id,
            span_id=self._random(8).hex(),
            parent_id=parent_id,
            method=request.method if request.method in _KNOWN_METHODS else "_OTHER",
            route=self._route_of(request.method, raw_path(request.scope)),
            status=response.status,
            began=ended - int(seconds * _NANOSECONDS),
            ended=ended,
            operation="" if trail is None else trail.operation.value,
            outcome=error.code if error is not None else "granted" if granted else "",
            provisioner=ref.name if ref else "",
            provisioner_kind=ref.kind if ref else "",
            serial=trail.given.serial if granted and trail is not None and trail.given else "",
            steps=() if trail is None else step_times(trail, ended),
        )

    # -- the way out ----------------------------------------------------------------------------

    async def _run(self) -> None:
        """Send what is waiting, about once a second, until the end."""
        while not self._ending.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_EVERY_SECONDS):
                    await self._ending.wait()
            await self._send_all()

    async def _send_all(self) -> None:
        while self._queue:
            batch = [self._queue.popleft() for _ in range(min(BATCH_MOST, len(self._queue)))]
            sent = asyncio.get_running_loop().run_in_executor(self._thread, self._sink.export, batch)
            await asyncio.wait([sent])
            if sent.exception() is None and sent.result():
                self._count(EXPORTED, by=len(batch))
            else:
                self._lose(len(batch), EXPORT_FAILED)

    async def close(self) -> None:
        """Send what is left, if that is quickly done; nothing is recorded any more."""
        self._ending.set()
        if not (await asyncio.wait([self._sending], timeout=_FAREWELL_SECONDS))[0]:
            self._sending.cancel()
            self._lose(len(self._queue), EXPORT_FAILED)
        self._sink.close()
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _lose(self, count: int, outcome: str) -> None:
        if not count:
            return
        self._count(outcome, by=count)
        self._lost += count
        now = time.monotonic()
        if now - self._reported >= _SILENCE_SECONDS:
            self._report(f"traces: {self._lost} lost ({outcome}); requests are not affected")
            self._reported, self._lost = now, 0


def step_times(trail: Trail, ended: int) -> tuple[StepTime, ...]:
    """When each step of a trail was, from how long it took. `ended`: unix nanoseconds of now, the trail's timer's too.

    A step that was not left is the one that refused; it lasts until now, with the record of the refusal in it.
    """
    if not trail.step:
        return ()
    moment = ended - int((trail.timer() - trail.entered) * _NANOSECONDS)
    times: list[StepTime] = []
    if not trail.seconds or trail.seconds[-1][0] != trail.step:
        times.append(StepTime(trail.step, moment, ended))
    for number, seconds in reversed(trail.seconds):
        began = moment - int(seconds * _NANOSECONDS)
        times.append(StepTime(number, began, moment))
        moment = began
    return tuple(reversed(times))
