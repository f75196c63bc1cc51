"""Whether a row of an entry would be one the database can hold: found out before anything is asked or signed."""

from __future__ import annotations

from collections.abc import Iterator

from provisor.ports import (
    AppendLog,
    DropEvents,
    DropExpired,
    DropHeads,
    DropReceipts,
    DropSpentTokens,
    Entry,
    Epoch,
    IndexTerms,
    LeaseHeld,
    MetaIs,
    PutCRL,
    PutHead,
    PutIssuer,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    WakeJob,
)

_STATES = frozenset({"next", "active", "retiring", "disabled"})
_LONGEST_SERIAL_BITS = 8 * 1024


def find_unstorable(entry: Entry) -> str:
    """Why the store cannot hold the entry; empty if it can."""
    for value in _values(entry):
        if isinstance(value, int):
            if not -(2**63) <= value < 2**63:
                return "a number is too great"
        elif isinstance(value, str) and not _is_text(value):
            return "a text is not one"
    for write in entry.writes:
        if isinstance(write, PutIssuer) and (len(write.id) != 32 or write.state not in _STATES):
            return "an issuer has an id of 32 octets and a known state"
        if isinstance(write, RecordRevocation) and write.serial.bit_length() > _LONGEST_SERIAL_BITS:
            return "a serial is too long"
    return ""


def _is_text(value: str) -> bool:
    """PostgreSQL's texts hold neither NUL nor half a surrogate pair."""
    if value.isascii():
        return "\x00" not in value
    return "\x00" not in value and not any("\ud800" <= character <= "\udfff" for character in value)


def _values(entry: Entry) -> Iterator[object]:
    for guard in entry.guards:
        match guard:
            case Epoch():
                yield guard.number
            case MetaIs():
                yield guard.key
            case LeaseHeld():
                yield from (guard.kind, guard.key, guard.fence)
            case _:
                pass
    for write in entry.writes:
        match write:
            case SpendToken():
                yield from (write.expires, write.outcome)
            case RecordRevocation():
                yield from (write.reason_code, write.revoked_at, write.expires, write.provisioner_id)
            case PutMeta():
                yield from (write.key, write.value)
            case PutCRL():
                yield from (write.number, write.this_update, write.next_update)
            case TakeLease():
                yield from (write.kind, write.key, write.until)
            case ScheduleJob() | WakeJob():
                yield from (write.kind, write.key, write.due)
            case DropSpentTokens():
                yield from (write.before, write.limit)
            case IndexTerms():
                yield write.upto
                yield from (place for _, place in write.terms)
            case DropReceipts() | DropExpired() | DropEvents():
                yield write.before
            case AppendLog():
                yield write.size
                yield from (tile.index for tile in write.tiles)
            case PutHead():
                yield from (write.size, write.at)
            case DropHeads():
                yield from write.sizes
            case _:
                pass
    if entry.sign is not None:
        sign = entry.sign
        yield from (sign.provisioner_id, sign.provisioner_name, sign.provisioner_kind)


def displayable(text: str) -> str:
    """A text that only people read, with what the database cannot hold replaced."""
    if _is_text(text):
        return text
    return "".join(
        "\ufffd" if character == "\x00" or "\ud800" <= character <= "\udfff" else character for character in text
    )
