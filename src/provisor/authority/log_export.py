"""The audit log as lines of JSON, so that a second party can verify it without the database.

A file begins with a line `log`, ends with a line `end`, and has in between the certificates of issuers,
the edge of the tree before its first event (so that a file may go on where another ended), events in
their order and heads, each behind the last event it is signed over.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Sequence
from typing import Final, final

import msgspec
from msgspec import Struct

from provisor.authority.audit import parse_event
from provisor.authority.log import gap_data, leaf_data
from provisor.authority.log_forks import RESTORE, Restoration, explain, find_restoration, tell
from provisor.authority.log_heads import Signers, check_head
from provisor.authority.log_report import LogReport, Wrong
from provisor.authority.log_verify import Auditor
from provisor.core import merkle
from provisor.core.merkle import Edge
from provisor.core.tree_head import SignedHead, TreeHead, parse_head
from provisor.errors import Malformed, Unavailable
from provisor.ports import EntryID, HeadRecord, IssuerID, LogArchive

_PAGE: Final = 1000
_RESTORE: Final = f'"operation":"{RESTORE}"'.encode()


class LogLine(Struct, frozen=True, tag="log", tag_field="line"):
    """The first line. `first` is the place of the first event in the file, `size` that of the last."""

    version: int
    authority: str
    first: int
    size: int


class IssuerLine(Struct, frozen=True, tag="issuer", tag_field="line"):
    id: IssuerID
    certificate: bytes


class EdgeLine(Struct, frozen=True, tag="edge", tag_field="line"):
    """Of one level: the hashes that fill no tile yet, in the tree of the events before the file's first."""

    level: int
    hashes: bytes


class EventLine(Struct, frozen=True, tag="event", tag_field="line"):
    n: int
    id: EntryID
    body: bytes


class ForgottenLine(Struct, frozen=True, tag="forgotten", tag_field="line"):
    """In the place of an event that the store has forgotten by age: its leaf hash."""

    n: int
    leaf: bytes


class GapLine(Struct, frozen=True, tag="gap", tag_field="line"):
    """In the place of an event that was gone before the log got there (`log.gap_data`)."""

    n: int


class HeadLine(Struct, frozen=True, tag="head", tag_field="line"):
    text: bytes
    signature: bytes


class EndLine(Struct, frozen=True, tag="end", tag_field="line"):
    """The last line: a file without it was cut off."""

    size: int


Line = LogLine | IssuerLine | EdgeLine | EventLine | ForgottenLine | GapLine | HeadLine | EndLine

_encode = msgspec.json.Encoder().encode
_decode: msgspec.json.Decoder[Line] = msgspec.json.Decoder(Line)


async def export_lines(archive: LogArchive, first: int = 1) -> AsyncIterator[bytes]:
    """The log from the place `first` to its newest head, a line with its line feed at a time.

    Raises `Unavailable` if the store cannot be read or an event is missing.
    """
    newest = await archive.newest_head()
    size = max(newest.size if newest is not None else 0, first - 1)
    yield _line(LogLine(1, await archive.authority_id(), first, size))
    for issuer in await archive.issuers():
        yield _line(IssuerLine(issuer.id, issuer.certificate))
    edge = await _edge_before(archive, first)
    for level, hashes in enumerate(edge.tails):
        yield _line(EdgeLine(level, hashes))
    heads = [head async for head in _heads(archive, first - 1, min(first + _PAGE - 1, size))]
    for head in [head for head in heads if head.size == first - 1]:
        yield _line(HeadLine(head.text, head.signature))
    for start in range(first, size + 1, _PAGE):
        end = min(start + _PAGE - 1, size)
        due = {head.size: head async for head in _heads(archive, start, end)}
        async for line in _events(archive, start, end):
            yield _line(line)
            if (at := due.get(line.n)) is not None:
                yield _line(HeadLine(at.text, at.signature))
    yield _line(EndLine(size))


def _line(line: Line) -> bytes:
    return _encode(line) + b"\n"


async def _edge_before(archive: LogArchive, first: int) -> Edge:
    tiles: dict[tuple[int, int], bytes] = {}
    for span in merkle.edge_spans(first - 1):
        for tile in await archive.tiles(span.level, span.index, 1) if span.count else ():
            tiles[tile.level, tile.index] = tile.hashes
    try:
        return merkle.read_edge(first - 1, tiles)
    except KeyError as error:
        raise Unavailable(f"audit log: tile {error.args[0]} of the tree is missing or short") from error


async def _heads(archive: LogArchive, start: int, end: int) -> AsyncIterator[HeadRecord]:
    """Those of `start` to `end` events."""
    while page := await archive.heads(start, _PAGE):
        for head in page:
            if head.size > end:
                return
            yield head
        start = page[-1].size + 1


async def _events(archive: LogArchive, start: int, end: int) -> AsyncIterator[EventLine | ForgottenLine | GapLine]:
    found = {event.n: event for event in await archive.events(start, end - start + 1)}
    dropped = await archive.events_dropped()
    for n in range(start, end + 1):
        if (event := found.get(n)) is not None:
            yield EventLine(n, event.id, event.body)
            continue
        leaf = await _leaf(archive, n)
        if leaf == merkle.hash_leaf(gap_data(n)):
            yield GapLine(n)
        elif n <= dropped:
            yield ForgottenLine(n, leaf)
        else:
            raise Unavailable(f"audit log: event {n} is missing")


async def _leaf(archive: LogArchive, n: int) -> bytes:
    tile, offset = divmod(n - 1, merkle.WIDTH)
    found = await archive.tiles(0, tile, 1)
    return found[0].hashes[offset * merkle.HASH : (offset + 1) * merkle.HASH] if found else b""


def last_place(data: bytes) -> int | None:
    """The place of the last event in a file; None if the file is not whole."""
    try:
        begun, ended = _decode.decode(data.split(b"\n", 1)[0]), _decode.decode(data.rstrip().rsplit(b"\n", 1)[-1])
    except (msgspec.MsgspecError, ValueError):
        return None
    return ended.size if isinstance(begun, LogLine) and isinstance(ended, EndLine) else None


# -- verifying ------------------------------------------------------------------------------------


@final
class ExportCheck:
    """Files of one log, in their order: `read` each, then `finish`."""

    def __init__(self, auditor: Auditor) -> None:
        self.report = LogReport()
        self._auditor = auditor
        self._signers = Signers((), auditor.anchors)
        self._edge: Edge | None = None
        self._due = {_size_of(signed): signed for signed in auditor.kept}
        self._matched: set[int] = set()
        self._misfits: list[TreeHead] = []
        self._restorations: list[Restoration] = []
        self._fitting: list[TreeHead] = []
        self._signed = 0

    def read(self, lines: Iterable[bytes], name: str) -> None:
        """One file. What is wrong is in the report; after a line that cannot be read nothing more of it is."""
        tails: dict[int, bytes] = {}
        begun: LogLine | None = None
        ended = False
        for number, data in enumerate(lines, start=1):
            where = f"{name}, line {number}"
            try:
                line = _decode.decode(data)
            except (msgspec.MsgspecError, ValueError) as error:
                self.report.add(Wrong.EXPORT_BROKEN, where, f"it cannot be read: {error}")
                return
            if begun is None or ended:
                if isinstance(line, LogLine) and not ended:
                    begun = line
                    if not self._begin(line, where):
                        return
                    continue
                self.report.add(Wrong.EXPORT_BROKEN, where, "it is not between the first and the last line of a log")
                return
            match line:
                case IssuerLine():
                    self._signers.learn(line.certificate)
                case EdgeLine():
                    tails[line.level] = line.hashes
                case EventLine() | ForgottenLine() | GapLine():
                    self._start(begun, tails, where)
                    if not self._take(line, where):
                        return
                case HeadLine():
                    self._start(begun, tails, where)
                    self._check(SignedHead(line.text, line.signature), where)
                case EndLine():
                    self._start(begun, tails, where)
                    ended = True
                    self._end(line, begun, where)
                case LogLine():
                    self.report.add(Wrong.EXPORT_BROKEN, where, "a second beginning")
                    return
        if not ended:
            text = f"it has no last line: it was cut off after event {self._size}"
            self.report.add(Wrong.LOG_TRUNCATED, name, text, self._size + 1)

    def finish(self) -> LogReport:
        """Heads from outside that do not fit the files, or that no event of the files reached."""
        for misfit in self._misfits:
            self._tell(misfit, Wrong.LOG_FORKED, _forked(misfit), misfit.size)
        for signed in self._auditor.kept:
            head = check_head(signed, self._signers, self.report.authority, "head from outside", self.report)
            if head is None or head.size in self._matched:
                continue
            where = f"head from outside, of {head.size}"
            if head.size > self._size:
                text = f"signed at {head.at} over {head.size} events; the files end with {self._size}"
                self._tell(head, Wrong.LOG_TRUNCATED, text, self._size + 1)
            else:
                self.report.note(f"{where}: the files begin later, it was not compared")
        if self._size > self._signed:
            self.report.note(f"events {self._signed + 1} to {self._size} are not under a signed head yet")
        for fingerprint in self._signers.untrusted:
            self.report.note(f"issuer {fingerprint}: none of the trusted certificates signed it")
        for restoration in self._restorations:
            self.report.note(str(restoration))
        return self.report

    def _tell(self, head: TreeHead, wrong: Wrong, text: str, place: int) -> None:
        """A head from outside that does not fit."""
        lost = explain(head, self._restorations, self._fitting, self.report)
        where = f"head from outside, of {head.size}"
        tell(head, where, wrong, text, place, lost, self.report, accept=self._auditor.accept_restores)

    @property
    def _size(self) -> int:
        return self._edge.size if self._edge is not None else 0

    def _begin(self, line: LogLine, where: str) -> bool:
        if line.version != 1 or line.first < 1:
            self.report.add(Wrong.EXPORT_BROKEN, where, f"a file of version {line.version} from event {line.first}")
            return False
        if self.report.authority and line.authority != self.report.authority:
            self.report.add(Wrong.EXPORT_BROKEN, where, f"the log of another authority: {line.authority}")
            return False
        self.report.authority = line.authority
        if self._edge is not None and line.first != self._edge.size + 1:
            text = f"the file begins with event {line.first}, the one before ended with {self._edge.size}"
            self.report.add(Wrong.EVENT_MISSING, where, text, self._edge.size + 1)
            return False
        return True

    def _start(self, begun: LogLine, tails: dict[int, bytes], where: str) -> None:
        """The tree before the first event: what was read before, and what the file says, must be one."""
        if begun.first - 1 != self._size and self._edge is not None:
            return
        told = Edge(begun.first - 1, tuple(tails.get(level, b"") for level in range(len(tails))))
        spans = merkle.edge_spans(told.size)
        if [len(tail) for tail in told.tails] != [span.count * merkle.HASH for span in spans]:
            self.report.add(Wrong.EXPORT_BROKEN, where, "the edge of the tree does not fit the place of the file")
        if self._edge is None:
            self._edge = told
        elif self._edge != told:
            text = "the file goes on from another tree than the one before it ended with"
            self.report.add(Wrong.LOG_FORKED, where, text, begun.first)
        self._compare_kept()

    def _take(self, line: EventLine | ForgottenLine | GapLine, where: str) -> bool:
        assert self._edge is not None
        if line.n != self._edge.size + 1:
            text = f"event {line.n} follows event {self._edge.size}"
            wrong = Wrong.EVENT_MISSING if line.n > self._edge.size else Wrong.EVENT_MOVED
            self.report.add(wrong, where, text, self._edge.size + 1)
            return False
        self._edge, _ = merkle.append(self._edge, [self._leaf_of(line, where)])
        self.report.events += 1
        self.report.size = self._edge.size
        self._compare_kept()
        return True

    def _leaf_of(self, line: EventLine | ForgottenLine | GapLine, where: str) -> bytes:
        match line:
            case ForgottenLine():
                return line.leaf
            case GapLine():
                text = "taken away before the log got there: the tree has a gap in its place"
                self.report.add(Wrong.LOG_GAP, where, text, line.n)
                return merkle.hash_leaf(gap_data(line.n))
            case EventLine():
                if _RESTORE in line.body:
                    self._remember_restoration(line)
                return merkle.hash_leaf(leaf_data(line.id, line.body))

    def _remember_restoration(self, line: EventLine) -> None:
        try:
            found = find_restoration(line.n, parse_event(line.body))
        except msgspec.MsgspecError:
            return
        if found is not None:
            self._restorations.append(found)

    def _end(self, line: EndLine, begun: LogLine, where: str) -> None:
        if not line.size == begun.size == self._size:
            text = f"the file says that it ends with event {begun.size}, and it ends with {self._size}"
            self.report.add(Wrong.LOG_TRUNCATED, where, text, self._size + 1)

    # -- heads ----------------------------------------------------------------------------------

    def _check(self, signed: SignedHead, where: str) -> None:
        assert self._edge is not None
        self.report.heads += 1
        head = check_head(signed, self._signers, self.report.authority, where, self.report)
        if head is None:
            return
        if head.size != self._edge.size:
            text = f"a head of {head.size} events behind event {self._edge.size}"
            self.report.add(Wrong.HEAD_ALTERED, where, text, head.size)
            return
        if self._edge.root() == head.root:
            self._signed, self.report.newest_head = head.size, signed.text
            self._fitting.append(head)
        else:
            self.report.add(Wrong.LOG_FORKED, where, _forked(head), head.size)

    def _compare_kept(self) -> None:
        """The head from outside that is of the present size."""
        assert self._edge is not None
        signed = self._due.pop(self._edge.size, None)
        # What is wrong with the head itself is said at the end.
        head = check_head(signed, self._signers, self.report.authority, "", LogReport()) if signed else None
        if head is not None:
            self._matched.add(head.size)
            if self._edge.root() != head.root:
                self._misfits.append(head)


def _forked(head: TreeHead) -> str:
    return f"signed at {head.at} over other events than the first {head.size} of these files"


def _size_of(signed: SignedHead) -> int:
    """-1 for what is no head."""
    try:
        return parse_head(signed.text).size
    except Malformed:
        return -1


def verify_export(files: Sequence[tuple[str, Iterable[bytes]]], auditor: Auditor) -> LogReport:
    """Names and lines of the files of an export, in their order."""
    check = ExportCheck(auditor)
    for name, lines in files:
        check.read(lines, name)
    return check.finish()
