"""Is the audit log still the one that was written? Asked of everything the store holds.

Nothing stored is believed because it is stored: every event is hashed again, every level of the tree
compared, every head's signature verified, every certificate and revocation compared with its event. What
somebody who can write to the database could still do, a head that a second party kept shows: give it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from provisor.authority.log_claims import ClaimCheck
from provisor.authority.log_heads import Signers, check_head
from provisor.authority.log_report import LogReport, Wrong
from provisor.authority.log_tree import TreeCheck
from provisor.core import merkle
from provisor.core.merkle import WIDTH
from provisor.core.tree_head import SignedHead, TreeHead
from provisor.core.x509.certificate import Certificate
from provisor.ports import HeadRecord, LogArchive, LogEvent

_PAGE: Final = 4 * WIDTH
_HEADS: Final = 500

Overlay = Mapping[tuple[int, int], bytes]


class Auditor(Struct, frozen=True):
    """What the one who verifies brings along.

    `kept` are heads from outside the store. `anchors` are certificates he trusts: with some, only issuers that
    these signed, or that are among them, count. `now` is unix seconds.
    """

    now: int
    kept: tuple[SignedHead, ...] = ()
    anchors: tuple[Certificate, ...] = ()
    signatures: bool = True


async def verify_log(archive: LogArchive, auditor: Auditor) -> LogReport:
    """Everything that is wrong with the log. Raises `Unavailable` if the store cannot be read."""
    report = LogReport()
    report.authority = await archive.authority_id()
    signers = Signers([record.certificate for record in await archive.issuers()], auditor.anchors)
    for fingerprint in signers.untrusted:
        report.note(f"issuer {fingerprint} is stored, and none of the trusted certificates signed it")
    dropped = await archive.events_dropped()
    claims = ClaimCheck(archive, signers, auditor.now, report, signatures=auditor.signatures, dropped=dropped)
    # The log may grow meanwhile: what is read first belongs to a shorter log than what is read later.
    await claims.begin()
    heads = await _read_heads(archive, signers, report)
    report.size, end = await archive.log_size(), await archive.log_end()
    newest = heads[-1] if heads else None
    root = newest.root if newest is not None and newest.size == report.size else None
    tree = TreeCheck(archive, report.size, end, dropped, report)
    await _read_events(archive, max(report.size, end), tree, claims, report)
    overlay = await tree.finish(root)
    claims.finish()
    await _check_roots(archive, heads, overlay, report)
    await _check_kept(archive, auditor.kept, signers, overlay, report)
    _take_notes(report, newest, end, tree.forgotten)
    return report


async def _read_events(archive: LogArchive, end: int, tree: TreeCheck, claims: ClaimCheck, report: LogReport) -> None:
    for stray in await archive.events_before(1, 10):
        text = "places begin with 1"
        report.add(Wrong.EVENT_INSERTED, f"event {stray.n}", text, stray.n)
    for first in range(1, end + 1, _PAGE):
        found = await archive.evidence(first, _PAGE)
        page = {event.n: event for event in found if event.n < first + _PAGE and event.n <= end}
        for event in page.values():
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


async def _check_roots(archive: LogArchive, heads: Sequence[TreeHead], overlay: Overlay, report: LogReport) -> None:
    for head in heads:
        await _check_root(archive, head, f"head of {head.size}", overlay, report)


async def _check_kept(
    archive: LogArchive, kept: Sequence[SignedHead], signers: Signers, overlay: Overlay, report: LogReport
) -> None:
    for signed in kept:
        head = check_head(signed, signers, report.authority, "head from outside", report)
        if head is not None:
            await _check_root(archive, head, f"head from outside, of {head.size}", overlay, report)


async def _check_root(archive: LogArchive, head: TreeHead, where: str, overlay: Overlay, report: LogReport) -> None:
    """A genuine head against the tree as it is, altered tiles in the place of what they held."""
    if head.size > report.size:
        text = f"signed at {head.at} over {head.size} events; the tree has {report.size}"
        report.add(Wrong.LOG_TRUNCATED, where, text, report.size + 1)
        return
    tiles: dict[tuple[int, int], bytes] = {}
    for level, index in merkle.needed_tiles([(0, head.size)]):
        found = await archive.tiles(level, index, 1)
        hashes = found[0].hashes if found and found[0].index == index else b""
        tiles[level, index] = overlay.get((level, index), hashes)
    try:
        root = merkle.hash_range(0, head.size, tiles)
    except KeyError as error:
        report.add(Wrong.TILE_MISSING, where, f"tile {error.args[0]} is missing or short", head.size)
        return
    if root != head.root:
        text = f"signed at {head.at} over other events than the first {head.size} of this tree: it was rewritten"
        report.add(Wrong.LOG_FORKED, where, text, head.size)


def _take_notes(report: LogReport, newest: TreeHead | None, end: int, forgotten: int) -> None:
    signed = newest.size if newest is not None else 0
    if report.size and newest is None:
        report.add(Wrong.HEAD_ALTERED, "heads", f"the tree has {report.size} events and no genuine head")
    if max(report.size, end) > signed:
        report.note(f"events {signed + 1} to {max(report.size, end)} are not under a signed head yet")
    if forgotten:
        report.note(f"{forgotten} events are forgotten by age: their hashes are in the tree, what they said is gone")
