"""`ca audit list|export|proof|head`: the audit log, for who runs the CA and for who watches him."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec

from provisor.authority.audit import Event, parse_event
from provisor.authority.log_export import export_lines, last_place
from provisor.authority.log_list import EventSearch, search_events
from provisor.authority.log_proof import encode_proof, prove, prove_consistency
from provisor.cli import exits, files, output
from provisor.cli.admin import ADMIN_SOCKET, find_paths, open_admin
from provisor.cli.audit import SOURCE, Reading, read_head, reading
from provisor.cli.commands.common import FORCE
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, command, switch
from provisor.cli.rows import printable
from provisor.cli.times import time_flag
from provisor.core.terms import parse_digest
from provisor.core.tree_head import SignedHead, encode_file
from provisor.ports import Archive
from provisor.server.handlers.admin_audit import event_item
from provisor.server.handlers.admin_local import parse_serial
from provisor.wire.audit import EventItem, EventPage

_HEADINGS: Final = ("PLACE", "TIME", "OPERATION", "OUTCOME", "PROVISIONER", "SUBJECT", "SERIAL")
_WIDEST: Final = 40
_PAGE: Final = 500
_DIGEST_DIGITS: Final = 64


def _condition(name: str, help: str, metavar: str) -> Flag:
    return Flag(names=(name,), help=help, metavar=metavar, ignores_environment=True)


@command(
    "ca audit list",
    usage="[--since=<time>]",
    flags=(
        _condition("since", "not before this time (RFC 3339), or so long ago (24h)", "time|duration"),
        _condition("until", "before this time, or so long ago", "time|duration"),
        _condition("operation", "sign, renew, rekey or revoke", "word"),
        _condition("outcome", "granted or refused", "word"),
        _condition("provisioner", "name of the provisioner", "name"),
        _condition("subject", "who asked, or what for", "text"),
        _condition("serial", "serial number: decimal, 0x... or aa:bb:...", "serial"),
        Flag(names=("limit",), help="how many at most; 0: all", kind=FlagKind.INT, default="100", metavar="number"),
        Flag(names=("cursor", "page"), help="go on where a list ended", metavar="cursor", ignores_environment=True),
        switch("json", help="a line of JSON for each event"),
        switch("offline", help="read the database, do not ask the server"),
        ADMIN_SOCKET,
        *SOURCE,
    ),
    reads_defaults=False,
    own=True,
)
def list_events(call: Call) -> None:
    """list the events of the audit log

    Every condition has to hold. The newest come first.
    """
    conditions = _conditions(call)
    limit = call.number("limit")
    if limit < 0:
        raise exits.invalid_value(call.text("limit"), "limit", "a number from 0")
    if call.switch("offline") or call.text("db"):
        with reading(call) as store:
            _show_pages(call, _read_pages(store, conditions, call.text("cursor"), limit))
        return
    admin = open_admin(call, find_paths(call))
    _show_pages(call, admin.audit_events(conditions, cursor=call.text("cursor"), limit=limit))


def _show_pages(call: Call, pages: Iterable[EventPage]) -> None:
    cursor = ""
    for number, page in enumerate(pages):
        cursor = page.cursor
        if call.switch("json"):
            for item in page.events:
                output.data(msgspec.json.encode(item).decode())
        else:
            output.data(_as_table(page.events, heading=number == 0), end="")
    if cursor:
        output.note(f"There are more: --cursor {cursor}")


def _conditions(call: Call) -> dict[str, str]:
    names = ("operation", "outcome", "provisioner", "subject")
    asked = {name: call.text(name) for name in names if call.text(name)}
    if call.text("serial"):
        asked["serial"] = str(parse_serial(call.text("serial")))
    now = datetime.now(UTC)
    for name in ("since", "until"):
        given = time_flag(call, name)
        if not given.is_unset:
            at = given.at or now - timedelta(microseconds=abs(given.after or 0) // 1000)
            asked[name] = str(max(0, int(at.timestamp())))
    return asked


def _read_pages(store: Reading, conditions: dict[str, str], cursor: str, limit: int) -> Iterator[EventPage]:
    """As the server would answer."""
    search = EventSearch(
        since=int(conditions["since"]) if "since" in conditions else None,
        until=int(conditions["until"]) if "until" in conditions else None,
        **{name: value for name, value in conditions.items() if name not in ("since", "until")},
    )
    if cursor and not cursor.isdecimal():
        raise exits.invalid_value(cursor, "cursor")
    before, left = int(cursor) if cursor else None, limit
    size = store.run(store.archive.log_size())
    while True:
        wanted = min(left, _PAGE) if limit else _PAGE
        found = store.run(search_events(store.archive, search, before, wanted))
        before, left = found.before, left - len(found.events)
        items = tuple(event_item(event, size) for event in found.events)
        yield EventPage(items, "" if before is None else str(before))
        if before is None or (limit and left <= 0):
            return


def _as_table(items: Iterable[EventItem], *, heading: bool) -> str:
    rows = [_cells(item) for item in items]
    if heading:
        rows.insert(0, _HEADINGS)
    if not rows:
        return ""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ("  ".join(f"{cell:<{width}}" for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows)
    return "".join(f"{line}\n" for line in lines)


def _cells(item: EventItem) -> tuple[str, ...]:
    try:
        event = parse_event(bytes(item.event))
    except msgspec.MsgspecError:
        event = Event(v=0, at="", operation="(cannot be read)", outcome="")
    given, asked = event.given, event.asked
    serial = (given.serial if given else "") or (asked.serial if asked else "") or event.certificate
    subject = event.subject or (asked.subject if asked else "")
    place = str(item.place) if item.sequenced else f"{item.place}*"
    outcome = f"{event.outcome} ({event.code})" if event.code else event.outcome
    return tuple(
        _short(cell) for cell in (place, event.at, event.operation, outcome, event.provisioner, subject, serial)
    )


def _short(text: str) -> str:
    plain = printable(text)
    return plain if len(plain) <= _WIDEST else f"{plain[: _WIDEST - 1]}…"


@command(
    "ca audit export",
    usage="<folder|->",
    flags=(
        Flag(names=("from",), help="place of the first event", kind=FlagKind.INT, metavar="number"),
        *SOURCE,
    ),
    least=1,
    most=1,
    reads_defaults=False,
    own=True,
)
def export(call: Call) -> None:
    """write the audit log for a second party

    Events with their places, signed heads and what else it takes to verify them without the database, as lines of
    JSON: to stdout (-), or to a new file in a folder, going on where the last file there ended.
    """
    with reading(call) as store:
        _export(call, store, call.arguments[0])


def _export(call: Call, store: Reading, target: str) -> None:
    first = call.number("from") or (1 if target == "-" else _next_place(Path(target)))
    if first < 1:
        raise exits.invalid_value(call.text("from"), "from", "a number from 1")
    newest = store.run(store.archive.newest_head())
    size = 0 if newest is None else newest.size
    if first > size + 1:
        raise CommandError(f"the log has {size} events under a signed head: none from {first}")
    if target == "-":
        for line in store.drive(export_lines(store.archive, first)):
            output.data_bytes(line)
        return
    if first > size:
        output.note(f"Nothing new: the log has {size} events under a signed head.")
        return
    path = Path(target) / f"events-{first:012}.jsonl"
    files.make_folder(target)
    files.write_parts(path, store.drive(export_lines(store.archive, first)))
    output.done("Audit log", str(path))


def _next_place(folder: Path) -> int:
    """Behind the last event of the newest file. Raises `CommandError` if that file is not whole."""
    exported = sorted(folder.glob("events-*.jsonl")) if folder.is_dir() else []
    if not exported:
        return 1
    place = last_place(files.read_file(str(exported[-1])))
    if place is None:
        raise CommandError(f"{exported[-1]} is not a whole export: remove it, or give --from")
    return place + 1


@command(
    "ca audit proof",
    usage="<serial|fingerprint>|--from=<head>",
    flags=(
        Flag(names=("head",), help="prove it under this head, not the newest", metavar="file"),
        Flag(
            names=("from",),
            help="prove that the log goes on from this head, which somebody kept",
            metavar="file",
            ignores_environment=True,
        ),
        Flag(names=("to",), help="as far as this head, not the newest", metavar="file", ignores_environment=True),
        *SOURCE,
    ),
    most=1,
    reads_defaults=False,
    own=True,
)
def proof(call: Call) -> None:
    """prove that a certificate is in the audit log, or that the log goes on from a head

    Prints JSON that `ca audit verify --proof` checks without the log.
    """
    if call.text("from"):
        _prove_consistency(call)
        return
    if not call.arguments:
        raise CommandError("give the serial or fingerprint of a certificate, or --from a head")
    if call.text("to"):
        raise CommandError("flag '--to' requires the '--from' flag")
    kept = read_head(call.text("head")) if call.text("head") else None
    with reading(call) as store:
        place = store.run(_find_place(store.archive, call.arguments[0]))
        output.data(encode_proof(store.run(prove(store.archive, place, kept))).decode())


def _prove_consistency(call: Call) -> None:
    if call.arguments:
        raise CommandError("flag '--from' is incompatible with '<serial|fingerprint>'")
    if call.text("head"):
        raise exits.incompatible_flags("from", "head")
    older = read_head(call.text("from"))
    newer = read_head(call.text("to")) if call.text("to") else None
    with reading(call) as store:
        output.data(encode_proof(store.run(prove_consistency(store.archive, older, newer))).decode())


async def _find_place(archive: Archive, reference: str) -> int:
    found: list[int] = []
    if len(reference.replace(":", "")) == _DIGEST_DIGITS:
        named = await archive.find_serial(parse_digest(reference, "fingerprint"))
        places = [] if named is None else [await archive.find_place(*named)]
    else:
        serial = parse_serial(reference)
        places = [await archive.find_place(issuer.id, serial) for issuer in await archive.issuers()]
    found = [place for place in places if place is not None]
    if not found:
        raise CommandError(f"no event of the audit log gave a certificate {reference}", status=exits.FAILED)
    return found[0]


@command(
    "ca audit head",
    usage="[<file>]",
    flags=(switch("json", help="as JSON, with what it says"), FORCE, *SOURCE),
    most=1,
    reads_defaults=False,
    own=True,
)
def head(call: Call) -> None:
    """print the newest signed head of the audit log

    Who keeps it can tell later whether anything before it was changed: `ca audit verify --head`.
    """
    with reading(call) as store:
        record = store.run(store.archive.newest_head())
    if record is None:
        raise CommandError("the audit log has no signed head yet")
    file = encode_file(SignedHead(record.text, record.signature))
    if call.arguments:
        files.write_file(call.arguments[0], file, 0o644, force=call.switch("force"))
        output.done("Head", call.arguments[0])
    elif call.switch("json"):
        output.data(json.dumps({"size": record.size, "at": record.at, "head": file.decode()}))
    else:
        output.data(file.decode(), end="")


def exported_files(path: str) -> list[str]:
    """The files of an export, in their order."""
    if os.path.isdir(path):
        return [str(each) for each in sorted(Path(path).glob("events-*.jsonl"))]
    return [path]
