"""`ca status`: how the server on this machine is."""

from __future__ import annotations

from collections.abc import Iterator

from provisor.cli import output
from provisor.cli.admin import PLACE, find_paths, open_admin, plain_json
from provisor.cli.grammar import Call, command, switch
from provisor.cli.rows import printable
from provisor.wire.admin import StatusBody

_MIB = 1024 * 1024


@command(
    "ca status",
    usage="",
    flags=(switch("json", help="everything as JSON"), *PLACE),
    reads_defaults=False,
    own=True,
)
def status(call: Call) -> None:
    """show the state of the server on this machine"""
    with open_admin(call, find_paths(call)) as admin:
        body = admin.status()
    output.data(plain_json(body) if call.switch("json") else "\n".join(map(printable, _lines(body))))


def _lines(body: StatusBody) -> Iterator[str]:
    log, store = body.log, body.store
    yield f"Provisor {body.version}, up {_span(body.uptime_seconds)} (since {body.started})"
    yield f"Configuration: {body.config}, epoch {body.epoch}"
    yield "Processes:"
    for process in body.processes:
        yield f"  {process.role:<10}  pid {process.pid:<8}  {process.memory_bytes / _MIB:.1f} MiB"
    yield f"Store: {store.kind}, {store.place}, {store.bytes / _MIB:.1f} MiB"
    yield f"  certificates     about {store.certificates}"
    yield f"  revocations      {_counted(store.revocations, store.counted_to)}"
    yield f"  spent tokens     {_counted(store.tokens, store.counted_to)}"
    yield f"Audit log: {log.events} events, {log.sequencer_lag} of them not in its tree yet"
    if log.gaps:
        yield f"  ALARM            {log.gaps} events were taken away before the log had them: ca audit verify"
    if log.head_age_seconds is not None:
        yield f"  newest head      {log.head_size} events, {_span(log.head_age_seconds)} old"
    yield f"Inventory: {log.indexed} events indexed, {log.index_lag} behind"
    yield "Issuers:"
    for issuer in body.issuers:
        yield f"  {issuer.name} ({issuer.id[:16]}), {issuer.state}, until {issuer.not_after}"
    if body.crl is not None:
        yield (
            f"Revocation list: number {body.crl.number}, {_span(body.crl.age_seconds)} old, next by "
            f"{body.crl.next_update}"
        )
    yield "Jobs:"
    for job in body.jobs:
        yield f"  {job.kind:<14}  due {job.due}{', at work' if job.leased else ''}"


def _counted(count: int, most: int) -> str:
    return f"more than {most}" if count > most else str(count)


def _span(seconds: int) -> str:
    """In its two largest units."""
    parts = []
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m"), (1, "s")):
        if seconds >= size:
            parts.append(f"{seconds // size}{unit}")
            seconds %= size
    return " ".join(parts[:2]) or "0s"
