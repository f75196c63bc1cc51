"""Counters of all processes as one Prometheus page.

Each process counts in its own memory and leaves a snapshot in the private directory of the
supervisor, soon after a change. The page adds up all snapshots, also those of processes that are
gone: a counter never goes back. Gauges are not added: the newest wins.

Label values come from the configuration and from closed sets. Should one not, a family stops at a
thousand series and counts the rest under `other`.
"""

from __future__ import annotations

import asyncio
import os
import time
from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final, final

import msgspec
from msgspec import Struct

from provisor.server.exchange import ASGIApp, Receive, Scope, Send

__all__ = ["Counter", "Gauge", "Histogram", "Metrics", "SnapshotFile", "make_metrics_app", "render"]

_SERIES_MAX: Final = 1000
_DEBOUNCE_SECONDS: Final = 0.05
_CONTENT_TYPE: Final = b"text/plain; version=0.0.4; charset=utf-8; escaping=underscores"
_PREFIX: Final = "metrics-"

LATENCY_BUCKETS: Final = (
    5e-05, 0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0,
)  # fmt: skip

Labels = tuple[str, ...]


class _Family:
    """A name with its series by label values. `touched` is called after a change."""

    __slots__ = ("help", "kind", "labels", "name", "series", "touched")

    def __init__(self, kind: str, name: str, help_text: str, labels: Labels = ()) -> None:
        self.kind = kind
        self.name = name
        self.help = help_text
        self.labels = labels
        self.series: dict[Labels, list[float]] = {}
        self.touched: Callable[[], None] | None = None

    def _new(self, labels: Labels, size: int) -> list[float]:
        if len(labels) != len(self.labels):
            raise ValueError(f"{self.name} has the labels {self.labels}")
        if len(self.series) >= _SERIES_MAX:
            labels = ("other",) * len(labels)
        return self.series.setdefault(labels, [0.0] * size)


@final
class Counter(_Family):
    """Only ever goes up."""

    __slots__ = ()

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__("counter", name, help_text, labels)
        if not labels:
            self._new((), 1)

    def inc(self, *labels: str, by: float = 1) -> None:
        cell = self.series.get(labels)
        if cell is None:
            cell = self._new(labels, 1)
        cell[0] += by
        if self.touched is not None:
            self.touched()


@final
class Gauge(_Family):
    """A value of now."""

    __slots__ = ()

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__("gauge", name, help_text, labels)

    def set(self, value: float, *labels: str) -> None:
        cell = self.series.get(labels)
        if cell is None:
            cell = self._new(labels, 1)
        cell[0] = float(value)
        if self.touched is not None:
            self.touched()


@final
class Histogram(_Family):
    """Seconds in buckets. A series holds the count of each bucket, of those above, and the sum."""

    __slots__ = ()

    def __init__(self, name: str, help_text: str, labels: Labels = ()) -> None:
        super().__init__("histogram", name, help_text, labels)

    def observe(self, seconds: float, *labels: str) -> None:
        cells = self.series.get(labels)
        if cells is None:
            cells = self._new(labels, len(LATENCY_BUCKETS) + 2)
        cells[bisect_left(LATENCY_BUCKETS, seconds)] += 1
        cells[-1] += seconds
        if self.touched is not None:
            self.touched()


@final
class Metrics:
    """All families. Names with `step_ca_` and their help texts are those of step-ca."""

    def __init__(self) -> None:
        outcome = ("provisioner", "success")
        self.x509_signed = Counter("step_ca_x509_signed_total", "Number of certificates signed", outcome)
        self.x509_renewed = Counter("step_ca_x509_renewed_total", "Number of certificates renewed", outcome)
        self.x509_rekeyed = Counter("step_ca_x509_rekeyed_total", "Number of certificates rekeyed", outcome)
        self.x509_webhook_authorized = Counter(
            "step_ca_x509_webhook_authorized_total", "Number of authorizing webhooks called", outcome
        )
        self.x509_webhook_enriched = Counter(
            "step_ca_x509_webhook_enriched_total", "Number of enriching webhooks called", outcome
        )
        self.kms_signed = Counter("step_ca_kms_signed", "Number of KMS-backed signatures")
        self.kms_errors = Counter("step_ca_kms_errors", "Number of KMS-related errors")
        self.step_seconds = Histogram("provisor_step_seconds", "Time in a numbered step of issuance", ("step",))
        self.issued = Counter("provisor_issued_total", "Number of certificates issued", ("provisioner",))
        self.refused = Counter("provisor_refused_total", "Number of requests refused", ("provisioner", "reason"))
        self.store_commit_seconds = Histogram("provisor_store_commit_seconds", "Time of a durable commit")
        self.sign_seconds = Histogram("provisor_sign_seconds", "Time of a signature by an issuing key")
        self.connections_refused = Counter(
            "provisor_connections_refused_total",
            "Number of connections and requests ended below the application",
            ("reason",),
        )
        self.certificate_expiry = Gauge(
            "provisor_ca_certificate_expiry_timestamp_seconds", "Expiry of a certificate of the CA", ("certificate",)
        )
        self.leaf_expiry = Gauge(
            "provisor_leaf_not_after_timestamp_seconds", "Expiry of the certificate that a worker shows", ("worker",)
        )
        self.crl_next_update = Gauge(
            "provisor_crl_next_update_timestamp_seconds", "When the newest revocation list is over"
        )
        self.notary_up = Gauge("provisor_notary_up", "Whether the notary answers, 1 or 0")
        self.store_writable = Gauge("provisor_store_writable", "Whether the store takes writes, 1 or 0")
        self.log_lag = Gauge("provisor_log_lag_seconds", "Age of the oldest event that the audit log's tree lacks")
        self.log_gaps = Gauge(
            "provisor_log_gaps", "Events that were gone from the database before the audit log had them"
        )
        self.index_lag = Gauge("provisor_index_lag_seconds", "Age of the oldest event that the inventory lacks")
        self.job_seconds = Histogram("provisor_job_seconds", "Time of a run of a background job", ("kind",))
        self.jobs_failed = Counter("provisor_jobs_failed_total", "Number of failed runs of a background job", ("kind",))
        self.restarts = Counter(
            "provisor_children_restarts_total", "Number of processes that ended and were replaced", ("role",)
        )
        self.internal_errors = Counter(
            "provisor_internal_errors_total", "Number of requests ended by an error that nobody knew", ("cause",)
        )
        self.traces = Counter("provisor_traces_total", "Number of sampled traces by what became of them", ("outcome",))
        self.families: tuple[_Family, ...] = tuple(v for v in vars(self).values() if isinstance(v, _Family))

    def snapshot(self) -> Snapshot:
        return Snapshot(at=time.time(), families={family.name: list(family.series.items()) for family in self.families})


class Snapshot(Struct, frozen=True):
    """The series of one process at a time (unix seconds)."""

    at: float
    families: Mapping[str, Sequence[tuple[Labels, list[float]]]]


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Snapshot).decode


def snapshot_path(directory: Path, name: str) -> Path:
    """Where the process of this name leaves its metrics."""
    return directory / f"{_PREFIX}{name}-{os.getpid()}.json"


def write_snapshot(metrics: Metrics, path: Path) -> None:
    """A full disk costs the page its freshness, nothing else."""
    temporary = path.with_suffix(".new")
    try:
        temporary.write_bytes(_encode(metrics.snapshot()))
        temporary.replace(path)
    except OSError:
        return


@final
class SnapshotFile:
    """Leaves the metrics of this process in a directory, at most every 50 ms and when they change."""

    def __init__(self, metrics: Metrics, directory: Path, name: str, loop: asyncio.AbstractEventLoop) -> None:
        self._metrics = metrics
        self._path = snapshot_path(directory, name)
        self._loop = loop
        self._timer: asyncio.TimerHandle | None = None
        for family in metrics.families:
            family.touched = self._touched

    def _touched(self) -> None:
        if self._timer is None:
            self._timer = self._loop.call_later(_DEBOUNCE_SECONDS, self.publish)

    def publish(self) -> None:
        """Write now."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        write_snapshot(self._metrics, self._path)


def load_snapshots(directory: Path) -> list[Snapshot]:
    """All snapshots, of living and dead processes; one that cannot be read is left out."""
    snapshots = []
    for path in sorted(directory.glob(f"{_PREFIX}*.json")):
        try:
            snapshots.append(_decode(path.read_bytes()))
        except (OSError, msgspec.MsgspecError):
            continue
    return snapshots


def _total(family: _Family, snapshots: Iterable[Snapshot]) -> dict[Labels, list[float]]:
    """The sum of a family's series, or the newest of them if it is a gauge. Snapshots by ascending age."""
    total: dict[Labels, list[float]] = {}
    for snapshot in snapshots:
        for labels, cells in snapshot.families.get(family.name, ()):
            known = total.get(labels)
            if known is None or family.kind == "gauge":
                total[labels] = list(cells)
            else:
                total[labels] = [a + b for a, b in zip(known, cells, strict=True)]
    return total


def render(snapshots: Sequence[Snapshot], *, uptime_seconds: float) -> bytes:
    """The exposition text, format 0.0.4, numbers and order as Go writes them."""
    families: dict[str, tuple[_Family, dict[Labels, list[float]]]] = {}
    ordered = sorted(snapshots, key=lambda snapshot: snapshot.at)
    for family in Metrics().families:
        total = _total(family, ordered)
        families[family.name] = (family, total or family.series)
    uptime = Gauge("step_ca_uptime_seconds", "Number of seconds since service start")
    uptime.set(float(int(uptime_seconds)))
    handler = Counter(
        "promhttp_metric_handler_errors_total",
        "Total number of internal errors encountered by the promhttp metric handler.",
        ("cause",),
    )
    handler.inc("encoding", by=0)
    handler.inc("gathering", by=0)
    for own in (uptime, handler):
        families[own.name] = (own, own.series)
    lines: list[str] = []
    for name in sorted(families):
        family, series = families[name]
        if series:
            lines.append(f"# HELP {name} {family.help}")
            lines.append(f"# TYPE {name} {family.kind}")
        for labels in sorted(series):
            lines.extend(_lines(family, labels, series[labels]))
    return ("\n".join(lines) + "\n").encode()


def _lines(family: _Family, labels: Labels, cells: Sequence[float]) -> list[str]:
    pairs = list(zip(family.labels, labels, strict=True))
    if family.kind != "histogram":
        return [f"{family.name}{_braces(pairs)} {_number(cells[0])}"]
    lines = []
    count = 0.0
    for bound, cell in zip((*map(_number, LATENCY_BUCKETS), "+Inf"), cells, strict=False):
        count += cell
        lines.append(f"{family.name}_bucket{_braces([*pairs, ('le', bound)])} {_number(count)}")
    lines.append(f"{family.name}_sum{_braces(pairs)} {_number(cells[-1])}")
    lines.append(f"{family.name}_count{_braces(pairs)} {_number(count)}")
    return lines


def _braces(pairs: Sequence[tuple[str, str]]) -> str:
    if not pairs:
        return ""
    inside = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
    return "{" + inside + "}"


def _escaped(value: str) -> str:
    return value.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')


def _number(value: float) -> str:
    return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)


def make_metrics_app(directory: Path, started: float, *, clock: Callable[[], float] = time.time) -> ASGIApp:
    """The application of `metricsAddress`: `/metrics` by any method. `started` is unix seconds."""

    async def metrics_app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        if scope["path"] == "/metrics":
            status, headers = 200, [(b"content-type", _CONTENT_TYPE)]
            body = render(load_snapshots(directory), uptime_seconds=clock() - started)
        else:
            status, body = 404, b"404 page not found\n"
            headers = [(b"content-type", b"text/plain; charset=utf-8"), (b"x-content-type-options", b"nosniff")]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    return metrics_app
