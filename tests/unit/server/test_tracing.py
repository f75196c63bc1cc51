"""Traces: what is believed of a stranger's header, which requests are traced, and what is told of them."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Coroutine, Iterator, Sequence
from itertools import pairwise
from random import Random
from typing import Any, Final, TypeVar

import pytest
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from provisor.app.tracing import Tracing
from provisor.authority.audit import Trail
from provisor.config.ca_json import TracingSettings
from provisor.core.identity import Operation
from provisor.errors import ConfigError, Unavailable
from provisor.server import tracing
from provisor.server.metrics import Metrics
from provisor.server.observer import Observer
from provisor.server.otlp import OTLPSink
from provisor.server.routes import API
from provisor.server.tracing import (
    BATCH_MOST,
    EXPORT_FAILED,
    EXPORTED,
    QUEUE_FULL,
    QUEUE_MOST,
    Parent,
    RequestTrace,
    Sampler,
    SpanSink,
    StepTime,
    Tracer,
    find_parent,
    parse_traceparent,
    step_times,
)
from support.authority import NOW, Answer, MemoryCA, make_config
from support.credentials import make_csr, make_key, make_signer

T = TypeVar("T")

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"


# -- traceparent --------------------------------------------------------------------------------


@pytest.mark.parametrize(("flags", "sampled"), [("00", False), ("01", True), ("02", False), ("03", True), ("ff", True)])
def test_a_traceparent_of_version_00_is_read(flags: str, sampled: bool) -> None:
    assert parse_traceparent(f"00-{TRACE}-{SPAN}-{flags}".encode()) == Parent(TRACE, SPAN, sampled)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "00",
        f"00-{TRACE}-{SPAN}",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}-001",
        f"00-{TRACE}-{SPAN}-01-",
        f"00-{TRACE}-{SPAN}-01-extra",
        f"00-{TRACE}-{SPAN}-0g",
        f"00-{TRACE.upper()}-{SPAN}-01",
        f"00-{TRACE}-{SPAN.upper()}-01",
        f"00-{TRACE}-{SPAN}-0A",
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}0-{SPAN}-01",
        f"00-{TRACE}-{SPAN[:-1]}-01",
        f"01-{TRACE}-{SPAN}-01",
        f"cc-{TRACE}-{SPAN}-01-what-the-future-will-be-like",
        f"ff-{TRACE}-{SPAN}-01",
        f" 00-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01 ",
        f"00-{TRACE}-{SPAN}-01\n",
        f"00_{TRACE}_{SPAN}_01",
        f"00-{TRACE}-{SPAN}-٠١",
        f'00-{TRACE}-{SPAN}-01", "level":"error',
        "x" * 30_000,
    ],
)
def test_whatever_has_not_exactly_its_form_is_none(text: str) -> None:
    assert parse_traceparent(text.encode()) is None


def test_of_two_traceparents_none_is_believed() -> None:
    header = (b"traceparent", f"00-{TRACE}-{SPAN}-01".encode())
    assert find_parent([(b"host", b"x"), header]) is not None
    assert find_parent([header, header]) is None
    assert find_parent([(b"host", b"x")]) is None


# -- the sampler --------------------------------------------------------------------------------


class Time:
    """Seconds that pass by assignment."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def make_sampler(ratio: float, asked: int, timer: Callable[[], float] | None = None) -> Sampler:
    return Sampler(ratio, asked, random=Random(4711).randbytes, timer=timer or Time())


ASKS: Final = Parent(TRACE, SPAN, True)
DECLINES: Final = Parent(TRACE, SPAN, False)


@pytest.mark.parametrize(("ratio", "expected"), [(0.0, 0), (1.0, 1000)])
def test_nothing_and_everything_can_be_sampled(ratio: float, expected: int) -> None:
    sampler = make_sampler(ratio, 0)
    assert sum(sampler.wants(None) for _ in range(1000)) == expected


def test_chance_has_the_odds_of_the_ratio() -> None:
    sampler = make_sampler(0.1, 0)
    assert 900 < sum(sampler.wants(None) for _ in range(10_000)) < 1100


def test_who_does_not_record_is_not_recorded() -> None:
    assert not make_sampler(1.0, 100).wants(DECLINES)


def test_who_asks_for_it_is_traced_so_many_times_a_second() -> None:
    time = Time()
    sampler = make_sampler(0.0, 10, time)
    assert [sampler.wants(ASKS) for _ in range(12)] == [True] * 10 + [False] * 2
    time.now += 0.25
    assert [sampler.wants(ASKS) for _ in range(4)] == [True, True, False, False]
    time.now += 3600
    assert sum(sampler.wants(ASKS) for _ in range(100)) == 10


def test_who_asks_too_often_has_the_odds_of_everybody() -> None:
    sampler = make_sampler(0.1, 0)
    # The same low trace id every time: it is our own chance that decides.
    assert 900 < sum(sampler.wants(Parent("0" * 31 + "1", SPAN, True)) for _ in range(10_000)) < 1100


# -- the times of a trail -----------------------------------------------------------------------


def make_trail(time: Time) -> Trail:
    return Trail(Operation.SIGN, NOW, timer=time)


def test_steps_lie_end_to_end_before_the_end_of_the_last() -> None:
    time = Time()
    trail = make_trail(time)
    for step, seconds in ((1, 0.001), (2, 0.002), (8, 0.004)):
        trail.enter(step)
        time.now += seconds
    trail.leave()
    time.now += 0.5
    found = step_times(trail, 10_000_000_000)
    assert [(step.number, round(step.began / 1e6), round(step.ended / 1e6)) for step in found] == [
        (1, 9493, 9494),
        (2, 9494, 9496),
        (8, 9496, 9500),
    ]
    assert all(before.ended == after.began for before, after in pairwise(found))


def test_the_step_that_refused_lasts_until_the_answer() -> None:
    time = Time()
    trail = make_trail(time)
    trail.enter(1)
    time.now += 1
    trail.enter(2)
    time.now += 2
    assert step_times(trail, 9_000_000_000) == (
        StepTime(1, 6_000_000_000, 7_000_000_000),
        StepTime(2, 7_000_000_000, 9_000_000_000),
    )


def test_a_trail_that_was_not_walked_has_no_steps() -> None:
    assert step_times(make_trail(Time()), 9) == ()


# -- requests -----------------------------------------------------------------------------------


class Basket:
    """A receiver that keeps what it gets; `refuses` and `hangs` are its moods."""

    def __init__(self) -> None:
        self.traces: list[RequestTrace] = []
        self.batches: list[int] = []
        self.refuses = False
        self.fails: Exception | None = None
        self.hangs: threading.Event | None = None
        self.closed = False

    def export(self, traces: Sequence[RequestTrace]) -> bool:
        if self.hangs is not None:
            self.hangs.wait(30)
        if self.fails is not None:
            raise self.fails
        if self.refuses:
            return False
        self.batches.append(len(traces))
        self.traces.extend(traces)
        return True

    def close(self) -> None:
        self.closed = True
        if self.hangs is not None:
            self.hangs.set()


class TracedCA:
    """A CA whose requests are all traced, or those that `ratio` and `asked` say."""

    def __init__(self, ca: MemoryCA, *, ratio: float = 1.0, asked: int = 10) -> None:
        self.ca = ca
        self.observer = ca.context.observer
        self.basket = Basket()
        self.lines: list[str] = []
        ca.run(self._open(ratio, asked))

    async def _open(self, ratio: float, asked: int) -> None:
        self.tracer = make_tracer(self.basket, self.observer.metrics, self.lines.append, make_sampler(ratio, asked))
        self.observer.tracer = self.tracer

    def finish(self) -> list[RequestTrace]:
        """No more tracing; what was traced."""
        self.observer.tracer = None
        self.ca.run(self.tracer.close())
        return self.basket.traces

    def counted(self, outcome: str) -> float:
        return self.observer.metrics.traces.series[(outcome,)][0]

    def log(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.ca.log]


def make_tracer(
    sink: SpanSink, metrics: Metrics, report: Callable[[str], None], sampler: Sampler | None = None
) -> Tracer:
    return Tracer(
        sampler or make_sampler(1.0, 10),
        sink,
        metrics,
        route_of=API.pattern,
        report=report,
        random=Random(7).randbytes,
    )


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


def sign(ca: MemoryCA, *headers: tuple[str, str], ott: str | None = None) -> Answer:
    return ca.call("POST", "/1.0/sign", {"csr": make_csr(make_key()), "ott": ott or ca.token()}, headers)


def test_an_issuance_is_told_with_its_steps(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    assert sign(ca).status == 201
    (trace,) = traced.finish()
    assert (trace.method, trace.route, trace.status) == ("POST", "/sign", 201)
    assert (trace.operation, trace.outcome, trace.provisioner, trace.provisioner_kind) == (
        *("x509-sign", "granted", "ci", "JWK"),
    )
    assert trace.serial == ca.books().events[0].given.serial  # type: ignore[union-attr]
    assert [step.number for step in trace.steps] == [1, 2, 3, 4, 5, 6, 7, 8]
    assert trace.began <= trace.steps[0].began <= trace.steps[-1].ended <= trace.ended
    assert traced.counted(EXPORTED) == 1


def test_a_refusal_is_told_by_its_code_and_the_step_it_came_from(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    token = ca.token()
    assert sign(ca, ott=token).status == 201
    assert sign(ca, ott=token).status == 401
    trace = traced.finish()[1]
    assert (trace.status, trace.outcome, trace.serial, trace.steps[-1].number) == (401, "TokenReused", "", 1)


@pytest.mark.parametrize(
    ("method", "path", "told"),
    [
        ("GET", "/health", ("GET", "/health", 200)),
        ("HEAD", "/1.0/health", ("HEAD", "/health", 200)),
        ("GET", "/root/secret-looking-text", ("GET", "/root/{sha}", 404)),
        ("GET", "/wp-admin/secret-looking-text", ("GET", "", 404)),
        ("PUT", "/health", ("PUT", "", 405)),
        ("SECRET-LOOKING-TEXT", "/health", ("_OTHER", "", 405)),
    ],
)
def test_of_a_path_only_the_route_is_told(ca: MemoryCA, method: str, path: str, told: tuple[str, str, int]) -> None:
    traced = TracedCA(ca)
    ca.call(method, path)
    (trace,) = traced.finish()
    assert (trace.method, trace.route, trace.status) == told
    assert "ecret" not in repr(trace).lower()


def test_nothing_of_token_subject_or_key_is_told() -> None:
    signer = make_signer("ci")
    with MemoryCA(make_config(signer.entry()), signers=[signer]) as ca:
        traced = TracedCA(ca)
        token = ca.token(sub="host-of-mine.example.test", sans=["host-of-mine.example.test"])
        csr = make_csr(make_key(), "host-of-mine.example.test")
        headers = [("X-Request-Id", "id-of-mine"), ("User-Agent", "agent-of-mine"), ("Tracestate", "state-of-mine")]
        ca.call("POST", "/sign", {"csr": csr, "ott": token}, headers)
        text = repr(traced.finish())
        spans = repr([span.to_json() for trace in traced.basket.traces for span in spans_of(trace)])
        for secret in ("of-mine", token, *token.split("."), signer.entry()["key"]["x"]):  # type: ignore[index]
            assert secret not in text
            assert secret not in spans


def test_the_callers_trace_goes_on(ca: MemoryCA) -> None:
    traced = TracedCA(ca, ratio=0.0)
    assert sign(ca, ("Traceparent", f"00-{TRACE}-{SPAN}-01")).status == 201
    assert sign(ca, ("Traceparent", f"00-{TRACE}-{SPAN}-00")).status == 201
    assert sign(ca).status == 201
    (trace,) = traced.finish()
    assert (trace.trace_id, trace.parent_id) == (TRACE, SPAN)
    assert trace.span_id != SPAN


def test_the_log_line_has_the_trace_id_sampled_or_not(ca: MemoryCA) -> None:
    traced = TracedCA(ca, ratio=0.0)
    ca.call("GET", "/health", headers=[("Traceparent", f"00-{TRACE}-{SPAN}-00")])
    ca.call("GET", "/health")
    assert traced.finish() == []
    ca.call("GET", "/health")
    first, second, third = traced.log()
    assert first["trace-id"] == TRACE
    assert len(second["trace-id"]) == 32
    assert second["trace-id"] != TRACE
    assert "trace-id" not in third


def test_a_malformed_traceparent_is_as_none_and_written_nowhere(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    ca.call("GET", "/health", headers=[("Traceparent", f"00-{TRACE}-{SPAN}-01\x01evil")])
    (trace,) = traced.finish()
    assert (trace.parent_id, trace.trace_id == TRACE) == ("", False)
    assert b"evil" not in b"".join(ca.log)
    assert SPAN.encode() not in b"".join(ca.log)


def test_a_stranger_who_asks_without_end_is_traced_to_the_bound(ca: MemoryCA) -> None:
    traced = TracedCA(ca, ratio=0.0, asked=3)
    for _ in range(50):
        ca.call("GET", "/health", headers=[("Traceparent", f"00-{TRACE}-{SPAN}-01")])
    assert len(traced.finish()) == 3


def test_without_tracing_nothing_looks_at_the_header(ca: MemoryCA) -> None:
    assert ca.context.observer.tracer is None
    ca.call("GET", "/health", headers=[("Traceparent", f"00-{TRACE}-{SPAN}-01")])
    assert TRACE.encode() not in b"".join(ca.log)


# -- the way out --------------------------------------------------------------------------------


def test_a_receiver_that_refuses_costs_traces_and_no_request(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    traced.basket.refuses = True
    assert [sign(ca).status for _ in range(3)] == [201] * 3
    assert traced.finish() == []
    assert traced.counted(EXPORT_FAILED) == 3
    assert traced.lines == ["traces: 3 lost (dropped-export-failed); requests are not affected"]


def test_an_exporter_that_breaks_is_a_receiver_that_refuses(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    traced.basket.fails = ValueError("boom")
    assert sign(ca).status == 201
    traced.finish()
    assert traced.counted(EXPORT_FAILED) == 1


def test_what_waits_is_bounded_and_what_is_dropped_is_counted(ca: MemoryCA) -> None:
    traced = TracedCA(ca)
    traced.basket.hangs = threading.Event()
    # One batch may be in the hands of the receiver that hangs.
    for _ in range(QUEUE_MOST + BATCH_MOST + 1):
        assert ca.call("GET", "/health").status == 200
        if traced.counted(QUEUE_FULL):
            break
    else:
        pytest.fail("the queue has no bound")
    traced.basket.hangs.set()
    traces = traced.finish()
    assert len(traces) >= QUEUE_MOST
    assert max(traced.basket.batches) == BATCH_MOST
    assert len(traced.lines) == 1


def test_a_receiver_that_hangs_does_not_hold_the_end(ca: MemoryCA, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tracing, "_FAREWELL_SECONDS", 0.05)
    traced = TracedCA(ca)
    traced.basket.hangs = threading.Event()
    assert sign(ca).status == 201
    traced.finish()
    assert traced.basket.closed


# -- spans --------------------------------------------------------------------------------------


def spans_of(trace: RequestTrace) -> list[ReadableSpan]:
    sink = OTLPSink(TracingSettings(endpoint="http://127.0.0.1:1"), "host:1", random=Random(1).randbytes)
    try:
        return list(sink.spans_of(trace))
    finally:
        sink.close()


TOLD: Final = RequestTrace(
    trace_id=TRACE,
    span_id="1" * 16,
    parent_id=SPAN,
    method="POST",
    route="/sign",
    status=201,
    began=100,
    ended=900,
    operation="sign",
    outcome="granted",
    provisioner="ci",
    provisioner_kind="JWK",
    serial="4711",
    steps=(StepTime(1, 200, 300), StepTime(8, 300, 800)),
)


def test_a_request_is_a_server_span_with_a_child_a_step() -> None:
    root, first, last = spans_of(TOLD)
    assert root.context is not None
    assert root.parent is not None
    assert (f"{root.context.trace_id:032x}", f"{root.context.span_id:016x}") == (TRACE, "1" * 16)
    assert (f"{root.parent.span_id:016x}", root.parent.is_remote) == (SPAN, True)
    assert (root.name, root.kind, root.start_time, root.end_time) == ("POST /sign", SpanKind.SERVER, 100, 900)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/sign",
        "http.response.status_code": 201,
        "provisor.operation": "sign",
        "provisor.outcome": "granted",
        "provisor.provisioner.name": "ci",
        "provisor.provisioner.kind": "JWK",
        "provisor.serial": "4711",
    }
    assert (first.name, last.name) == ("1 authenticate", "8 notarize")
    assert [(span.start_time, span.end_time, span.kind) for span in (first, last)] == [
        (200, 300, SpanKind.INTERNAL),
        (300, 800, SpanKind.INTERNAL),
    ]
    assert all(span.parent == root.context for span in (first, last))
    assert root.resource.attributes["service.name"] == "provisor"


@pytest.mark.parametrize(
    ("status", "expected"), [(401, StatusCode.UNSET), (500, StatusCode.ERROR), (503, StatusCode.ERROR)]
)
def test_a_fault_of_ours_marks_the_span_and_a_clients_does_not(status: int, expected: StatusCode) -> None:
    trace = RequestTrace(
        trace_id=TRACE,
        span_id=SPAN,
        parent_id="",
        method="_OTHER",
        route="",
        status=status,
        began=1,
        ended=2,
        outcome=Unavailable("x").code,
    )
    (span,) = spans_of(trace)
    assert (span.name, span.parent, span.status.status_code) == ("HTTP", None, expected)
    assert ("error.type" in (span.attributes or {})) == (status >= 500)


# -- switched on and off ------------------------------------------------------------------------


def on_a_loop(work: Coroutine[Any, Any, T]) -> T:
    return asyncio.run(work)


@pytest.fixture(autouse=True)
def _no_endpoint_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_SDK_DISABLED"):
        monkeypatch.delenv(name, raising=False)


def test_a_reload_switches_tracing_on_over_and_off() -> None:
    async def scenario() -> None:
        observer = Observer()
        switch = Tracing(observer)
        seen: list[Tracer | None] = []
        endpoint = "http://127.0.0.1:1"
        for wanted in (
            None,
            TracingSettings(endpoint=endpoint),
            TracingSettings(endpoint=endpoint),
            TracingSettings(endpoint=endpoint, sample_ratio=1),
            None,
        ):
            switch.take_over(wanted)
            seen.append(observer.tracer)
        await switch.close()
        none, first, same, other, off = seen
        assert (none, off) == (None, None)
        assert first is same is not None
        assert other not in (None, first)

    on_a_loop(scenario())


def test_tracing_without_an_endpoint_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"tracing has no endpoint: set it, or OTEL_EXPORTER_OTLP_ENDPOINT"):
        Tracing(Observer()).take_over(TracingSettings())


def test_the_environment_alone_switches_it_on(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario() -> None:
        observer = Observer()
        switch = Tracing(observer)
        switch.take_over(None)
        assert observer.tracer is not None
        await switch.close()
        assert observer.tracer is None

    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
    on_a_loop(scenario())
