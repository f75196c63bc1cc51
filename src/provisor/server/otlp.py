"""Finished traces as OpenTelemetry spans, sent by OTLP over HTTP.

Imported only where traces are wanted: it needs the extra `otel`. Headers, certificates, timeout and
compression come from the standard variables `OTEL_EXPORTER_OTLP_*`, attributes of the service from
`OTEL_RESOURCE_ATTRIBUTES`.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Final, final

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExportResult
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanContext, SpanKind, Status, StatusCode, TraceFlags

from provisor import __version__
from provisor.config.ca_json import TracingSettings
from provisor.config.tracing import traces_url
from provisor.server.tracing import STEP_NAMES, RequestTrace, StepTime

_TIMEOUT_SECONDS: Final = 5.0
"""Of one export with its retries, where the environment says nothing: the end of the process waits for it."""
_TIMEOUT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "OTEL_EXPORTER_OTLP_TIMEOUT")
_SAMPLED: Final = TraceFlags(TraceFlags.SAMPLED)


@final
class OTLPSink:
    """`tracing.SpanSink` over the exporter of OpenTelemetry."""

    def __init__(self, settings: TracingSettings, instance: str, *, random: Callable[[int], bytes]) -> None:
        """`instance` tells the processes of one service apart."""
        # What it has to say of failures is said in our own log, not once an attempt.
        logging.getLogger("opentelemetry.exporter").addHandler(logging.NullHandler())
        by_environment = any(os.environ.get(name) for name in _TIMEOUT_VARIABLES)
        self._exporter = OTLPSpanExporter(
            endpoint=traces_url(settings), timeout=None if by_environment else _TIMEOUT_SECONDS
        )
        self._random = random
        self._resource = Resource.create(
            {"service.name": settings.service_name, "service.version": __version__, "service.instance.id": instance}
        )
        self._scope = InstrumentationScope("provisor", __version__)

    def export(self, traces: Sequence[RequestTrace]) -> bool:
        spans = [span for trace in traces for span in self.spans_of(trace)]
        return self._exporter.export(spans) is SpanExportResult.SUCCESS

    def close(self) -> None:
        self._exporter.shutdown()  # type: ignore[no-untyped-call]

    def spans_of(self, trace: RequestTrace) -> Iterator[ReadableSpan]:
        """The span of the request, then one a numbered step."""
        trace_id = int(trace.trace_id, 16)
        own = SpanContext(trace_id, int(trace.span_id, 16), is_remote=False, trace_flags=_SAMPLED)
        caller = None
        if trace.parent_id:
            caller = SpanContext(trace_id, int(trace.parent_id, 16), is_remote=True, trace_flags=_SAMPLED)
        yield ReadableSpan(
            name=f"{trace.method} {trace.route}".rstrip() if trace.method != "_OTHER" else "HTTP",
            context=own,
            parent=caller,
            resource=self._resource,
            attributes=_attributes(trace),
            kind=SpanKind.SERVER,
            # A client's mistake is no fault of this service (semantic conventions of HTTP servers).
            status=Status(StatusCode.ERROR, trace.outcome or None) if trace.status >= 500 else Status(),
            start_time=trace.began,
            end_time=trace.ended,
            instrumentation_scope=self._scope,
        )
        for step in trace.steps:
            yield self._step_span(trace_id, own, step)

    def _step_span(self, trace_id: int, parent: SpanContext, step: StepTime) -> ReadableSpan:
        span_id = int.from_bytes(self._random(8), "big") or 1
        return ReadableSpan(
            name=f"{step.number} {STEP_NAMES[step.number - 1]}",
            context=SpanContext(trace_id, span_id, is_remote=False, trace_flags=_SAMPLED),
            parent=parent,
            resource=self._resource,
            attributes={"provisor.step": step.number},
            kind=SpanKind.INTERNAL,
            start_time=step.began,
            end_time=step.ended,
            instrumentation_scope=self._scope,
        )


def _attributes(trace: RequestTrace) -> dict[str, str | int]:
    """What is told of a request. No token, no subject, no name and no key of a certificate is among it."""
    told: dict[str, str | int] = {
        "http.request.method": trace.method,
        "http.route": trace.route,
        "http.response.status_code": trace.status,
        "provisor.operation": trace.operation,
        "provisor.outcome": trace.outcome,
        "provisor.provisioner.name": trace.provisioner,
        "provisor.provisioner.kind": trace.provisioner_kind,
        "provisor.serial": trace.serial,
        "error.type": trace.outcome if trace.status >= 500 else "",
    }
    return {name: value for name, value in told.items() if value != ""}
