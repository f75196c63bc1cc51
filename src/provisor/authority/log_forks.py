"""Where the log went on from a backup: what the events say of it, and what that explains.

After a restoration, heads that were signed behind the backup are over events that the log has lost. An event tells of
it, in the first place behind those of the backup. The event is what counts: it is under signed heads, what meta says
is not. Whether it was right to restore nobody can see here; that is for the one who verifies to accept.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Final

import msgspec
from msgspec import Struct

from provisor.authority.audit import EVENT_VERSION, Event, Forked, encode_event
from provisor.authority.log_report import LogReport, Wrong
from provisor.core.durations import format_rfc3339, parse_rfc3339
from provisor.core.tree_head import TreeHead
from provisor.ports import LogFork

RESTORE: Final = "restore"
"""The operation of such an event."""

_LEEWAY: Final = 60
"""Seconds by which the clock of who restores may stand behind that of who signed heads."""


class Restoration(Struct, frozen=True):
    """By the event at place `size` + 1. Times are unix seconds; `backup` is RFC 3339."""

    size: int
    at: int
    backup: str

    @property
    def place(self) -> int:
        return self.size + 1

    def __str__(self) -> str:
        return (
            f"event {self.place} says that the log went on at {_rfc3339(self.at)} from a backup of {self.backup}"
            f" with {self.size} events"
        )


def encode_restore(fork: LogFork, head_size: int) -> bytes:
    """The event that tells of it. `head_size` is that of the newest signed head in the backup, 0 without one."""
    backup = _rfc3339(fork.backup_at)
    head = f", signed head of {head_size} events" if head_size else ""
    return encode_event(
        Event(
            v=EVENT_VERSION,
            at=_rfc3339(fork.at),
            operation=RESTORE,
            outcome="granted",
            reason=f"the log goes on from a backup of {backup} with {fork.size} events{head}",
            fork=Forked(fork.size, backup),
        )
    )


def find_restoration(n: int, event: Event) -> Restoration | None:
    """What the event at place `n` says; None unless it tells of a restoration at its own place."""
    if event.operation != RESTORE or event.fork is None or event.fork.size != n - 1:
        return None
    try:
        return Restoration(event.fork.size, int(parse_rfc3339(event.at).timestamp()), event.fork.backup)
    except ValueError:
        return None


def explain(
    head: TreeHead, restorations: Sequence[Restoration], heads: Sequence[TreeHead], report: LogReport
) -> Restoration | None:
    """The first restoration that this head, from outside, was lost by; None if there is none.

    `heads` are genuine ones that fit the log, by size. A restoration counts if its event is under one of them and
    nothing is wrong with it, and if the head was signed before it over more events than the backup had.
    """
    doubted = {finding.place for finding in report.findings}
    for each in restorations:
        first = next((other for other in heads if other.size >= each.place), None)
        if first is None or each.place in doubted or report.more:
            continue
        # Whatever time the event claims, it was there when this head was signed.
        if each.size < head.size and head.at <= min(each.at, first.at) + _LEEWAY:
            return each
    return None


def tell(
    head: TreeHead,
    where: str,
    wrong: Wrong,
    text: str,
    place: int,
    lost: Restoration | None,
    report: LogReport,
    *,
    accept: bool,
) -> None:
    """Report a head from outside that does not fit; `lost` is what `explain` says."""
    if lost is None:
        report.add(wrong, where, text, place)
        return
    text = f"signed at {_rfc3339(head.at)} over {head.size} events, of which those behind {lost.size} are lost: {lost}"
    if accept:
        report.note(f"{where}: {text}; accepted")
    else:
        report.add(Wrong.LOG_RESTORED, where, text, lost.place)


def compare_with_meta(meta: str, restorations: Sequence[Restoration], dropped: int, report: LogReport) -> None:
    """What meta says of restorations against what events say. Up to `dropped` events may be forgotten by age."""
    try:
        forks = msgspec.json.decode(meta, type=list[LogFork]) if meta else []
    except (msgspec.MsgspecError, ValueError) as error:
        report.add(Wrong.RESTORE_UNPROVEN, "meta log_forks", f"it cannot be read: {error}")
        return
    told = {(each.size, each.at) for each in restorations}
    for fork in forks:
        where = f"restore at {_rfc3339(fork.at)}"
        if (fork.size, fork.at) in told:
            told.discard((fork.size, fork.at))
        elif fork.size < dropped:
            report.note(f"{where}, to {fork.size} events: event {fork.size + 1}, which told of it, is forgotten by age")
        else:
            text = f"meta says that the log went on from {fork.size} events; event {fork.size + 1} does not say so"
            report.add(Wrong.RESTORE_UNPROVEN, where, text, fork.size + 1)
    for size, at in sorted(told):
        text = f"event {size + 1} tells of it, and meta does not: `db restore` writes both"
        report.add(Wrong.RESTORE_UNPROVEN, f"restore at {_rfc3339(at)}", text, size + 1)


def _rfc3339(at: int) -> str:
    try:
        return format_rfc3339(datetime.fromtimestamp(at, UTC))
    except (ValueError, OverflowError, OSError):
        return str(at)
