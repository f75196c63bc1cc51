"""Is the audit log still the one that was written? Asked of everything the store holds.

Nothing stored is believed because it is stored: every event is hashed again, every level of the tree
compared, every head's signature verified, every certificate and revocation compared with its event. What
somebody who can write to the database could still do, a head that a second party kept shows: give it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence, Set
from typing import Final

from msgspec import Struct

from provisor.authority.log_claims import ClaimCheck, name_event
from provisor.authority.log_forks import Restoration, compare_with_meta, explain, tell
from provisor.authority.log_heads import Signers, check_head
from provisor.authority.log_report import LogReport, Wrong
from provisor.authority.log_tree import TreeCheck
from provisor.core import merkle
from provisor.core.merkle import WIDTH
from provisor.core.tree_head import SignedHead, TreeHead
from provisor.core.x509.certificate import Certificate
from provisor.ports import FARTHEST, EntryID, HeadRecord, LogArchive, LogEvent

_PAGE: Final = 4 * WIDTH
_HEADS: Final = 500
_PLACELESS: Final = 5000
_LATE_SECONDS: Final = 600
"""How much later than an event another one may have got its id that stands before it."""

Overlay = Mapping[tuple[int, int], bytes]


class Auditor(Struct, frozen=True):
    """What the one who verifies brings along.

    `kept` are heads from outside the store. `anchors` are certificates he trusts: with some, only issuers that
    these signed, or that are among them, count. `now` is unix seconds. `accept_restores`: that the log went on from a
    backup, as an event of it says, is no fault. `progress` hears how many of how many events are done.
    """

    now: int
    kept: tuple[SignedHead, ...] = ()
    anchors: tuple[Certificate, ...] = ()
    signatures: bool = True
    accept_restores: bool = False
    progress: Callable[[int, int], None] | None = None


async def verify_log(archive: LogArchive, auditor: Auditor) -> LogReport:
    """Everything that is wrong with the log. Raises `Unavailable` if the store cannot be read."""
    report = LogReport()
    report.authority = await archive.authority_id()
    signers = Signers([record.certificate for record in await archive.issuers()], auditor.anchors)
    for fingerprint in signers.untrusted:
        report.note(f"issuer {fingerprint} is stored, and none of the trusted certificates signed it")
    dropped = await archive.events_dropped()
    claims = ClaimCheck(archive, signers, auditor.now, report, signatures=auditor.signatures)
    # The log may grow meanwhile: what is read first belongs to a shorter log than what is read later.
    await claims.begin()
    waiting = await _read_waiting(archive, claims, report)
    heads = await _read_heads(archive, signers, report)
    report.size, end = await archive.log_size(), await archive.log_end()
    newest = heads[-1] if heads else None
    root = newest.root if newest is not None and newest.size == report.size else None
    tree = TreeCheck(archive, report.size, end, dropped, report)
    last = max(report.size, end)
    await _read_events(archive, last, tree, claims, report, waiting, auditor.progress)
    overlay = await tree.finish(root)
    claims.finish(await _forgotten_until(archive, dropped, heads))
    await _find_placeless(archive, report)
    fitting = await _check_roots(archive, heads, overlay, report)
    compare_with_meta(await archive.log_forks(), claims.restorations, dropped, report)
    for signed in auditor.kept:
        head = check_head(signed, signers, report.authority, "head from outside", report)
        if head is not None:
            await _check_kept(archive, head, overlay, claims.restorations, fitting, auditor, report)
    _take_notes(report, newest, end, tree.forgotten)
    for restoration in claims.restorations:
        report.note(str(restoration))
    return report


async def _read_waiting(archive: LogArchive, claims: ClaimCheck, report: LogReport) -> set[EntryID]:
    """Events that are recorded and have no place yet, compared like all others; their ids."""
    seen: set[EntryID] = set()
    after = b""
    while page := await archive.waiting(after, _PAGE):
        for event in page:
            if event.body:
                report.events += 1
                seen.add(event.id)
                await claims.take(event)
            else:
                text = "it waits for its place, and is not stored"
                report.add(Wrong.EVENT_MISSING, name_event(event), text)
        after = page[-1].id
    if seen:
        report.note(f"{len(seen)} {'event waits' if len(seen) == 1 else 'events wait'} for a place in the log")
    return seen


async def _find_placeless(archive: LogArchive, report: LogReport) -> None:
    """Events that the sequencer will never come to."""
    after: EntryID | None = b""
    while after is not None:
        piece = await archive.placeless(after, _PLACELESS)
        for entry in piece.ids:
            text = "it is stored, has no place in the log, and does not wait for one"
            report.add(Wrong.EVENT_WITHOUT_PLACE, f"event {entry.hex()}", text)
        after = piece.upto


async def _forgotten_until(archive: LogArchive, dropped: int, heads: Sequence[TreeHead]) -> int:
    """Unix seconds: whatever happened later has an event that nobody has forgotten by age."""
    if not dropped:
        return 0
    behind = await archive.events(dropped + 1, 1)
    times = [int.from_bytes(event.id[:6], "big") // 1000 for event in behind]
    times += [head.at for head in heads if head.size >= dropped][:1]
    return min(times) + _LATE_SECONDS if times else 0


async def _read_events(
    archive: LogArchive,
    end: int,
    tree: TreeCheck,
    claims: ClaimCheck,
    report: LogReport,
    seen: Set[EntryID],
    progress: Callable[[int, int], None] | None,
) -> None:
    """All that have a place; the claims of those in `seen` were compared already, before they had one."""
    for stray in await archive.events_before(1, 10):
        text = "places begin with 1"
        report.add(Wrong.EVENT_INSERTED, f"event {stray.n}", text, stray.n)
    for stray in await archive.events(end + FARTHEST, 10):
        text = f"it stands far away from all others, which end at {end}: the log will not come to it"
        report.add(Wrong.EVENT_MOVED, f"event {stray.n}", text, stray.n)
    for first in range(1, end + 1, _PAGE):
        found = await archive.evidence(first, _PAGE)
        page = {event.n: event for event in found if event.n < first + _PAGE and event.n <= end}
        if progress is not None:
            progress(first - 1, end)
        for event in page.values():
            if event.id not in seen:
                report.events += 1
                await claims.take(event)
        for start in range(first, min(first + _PAGE, end + 1), WIDTH):
            events: dict[int, LogEvent] = {n: page[n] for n in range(start, start + WIDTH) if n in page}
            await tree.take((start - 1) // WIDTH, events)


# -- heads ----------------------------------------------------------------------------------------


async def _read_heads(archive: LogArchive, signers: Signers, report: LogReport) -> list[TreeHead]:
    """The genuine ones, by size."""
    genuine: list[TreeHead] = []
    size = 0
    while page := await archive.heads(size, _HEADS):
        for record in page:
            report.heads += 1
            head = check_head(
                SignedHead(record.text, record.signature), signers, report.authority, f"head of {record.size}", report
            )
            if head is not None and _is_filed_right(record, head, report):
                genuine.append(head)
                report.newest_head = record.text
        size = page[-1].size + 1
    return genuine


def _is_filed_right(record: HeadRecord, head: TreeHead, report: LogReport) -> bool:
    if (head.size, head.at) == (record.size, record.at):
        return True
    text = f"it is filed as of {record.size} events at {record.at}, and was signed for {head.size} at {head.at}"
    report.add(Wrong.HEAD_ALTERED, f"head of {record.size}", text, record.size)
    return False


async def _check_roots(
    archive: LogArchive, heads: Sequence[TreeHead], overlay: Overlay, report: LogReport
) -> list[TreeHead]:
    """Those that fit."""
    fitting: list[TreeHead] = []
    for head in heads:
        wrong = await _find_misfit(archive, head, overlay, report.size)
        if wrong is None:
            fitting.append(head)
        else:
            report.add(wrong[0], f"head of {head.size}", *wrong[1:])
    return fitting


async def _check_kept(
    archive: LogArchive,
    head: TreeHead,
    overlay: Overlay,
    restorations: Sequence[Restoration],
    heads: Sequence[TreeHead],
    auditor: Auditor,
    report: LogReport,
) -> None:
    """A genuine head from outside. One that a recorded restoration has cut off is told as that."""
    wrong = await _find_misfit(archive, head, overlay, report.size)
    if wrong is not None:
        lost = explain(head, restorations, heads, report)
        where = f"head from outside, of {head.size}"
        tell(head, where, *wrong, lost, report, accept=auditor.accept_restores)


async def _find_misfit(
    archive: LogArchive, head: TreeHead, overlay: Overlay, tree_size: int
) -> tuple[Wrong, str, int] | None:
    """Why a genuine head is not one of the tree as it is, altered tiles in the place of what they held."""
    if head.size > tree_size:
        text = f"signed at {head.at} over {head.size} events; the tree has {tree_size}"
        return Wrong.LOG_TRUNCATED, text, tree_size + 1
    tiles: dict[tuple[int, int], bytes] = {}
    for level, index in merkle.needed_tiles([(0, head.size)]):
        found = await archive.tiles(level, index, 1)
        hashes = found[0].hashes if found and found[0].index == index else b""
        tiles[level, index] = overlay.get((level, index), hashes)
    try:
        root = merkle.hash_range(0, head.size, tiles)
    except KeyError as error:
        return Wrong.TILE_MISSING, f"tile {error.args[0]} is missing or short", head.size
    if root != head.root:
        text = f"signed at {head.at} over other events than the first {head.size} of this tree: it was rewritten"
        return Wrong.LOG_FORKED, text, head.size
    return None


def _take_notes(report: LogReport, newest: TreeHead | None, end: int, forgotten: int) -> None:
    signed = newest.size if newest is not None else 0
    if report.size and newest is None:
        report.add(Wrong.HEAD_ALTERED, "heads", f"the tree has {report.size} events and no genuine head")
    if max(report.size, end) > signed:
        report.note(f"events {signed + 1} to {max(report.size, end)} are not under a signed head yet")
    if forgotten:
        report.note(f"{forgotten} events are forgotten by age: their hashes are in the tree, what they said is gone")
