"""The guards of an entry, and those that its writes imply."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from provisor.ports import (
    AppendLog,
    Entry,
    FreshSerial,
    Guard,
    IndexTerms,
    IssuerID,
    NotRevoked,
    PutCRL,
    PutHead,
    RecordRevocation,
    SpendToken,
    TakeLease,
    Unspent,
)


class LeaseFree(Struct, frozen=True, tag="lease-free"):
    """The job is due and nobody holds its lease."""

    kind: str
    key: str


class NewerCRL(Struct, frozen=True, tag="newer-crl"):
    """The number is above that of the CRL the store has."""

    issuer: IssuerID
    number: int


class NotIndexed(Struct, frozen=True, tag="not-indexed"):
    """The index does not reach this place of the log yet."""

    place: int


class LogSizeIs(Struct, frozen=True, tag="log-size-is"):
    """The tree of the audit log has so many events."""

    size: int


class NewerHead(Struct, frozen=True, tag="newer-head"):
    """No head of this size or a greater one is recorded."""

    size: int


AnyGuard = Guard | LeaseFree | NewerCRL | NotIndexed | LogSizeIs | NewerHead


def implied_guards(entry: Entry) -> Sequence[AnyGuard]:
    """Those that keep its writes from undoing another entry's."""
    guards: list[AnyGuard] = []
    for write in entry.writes:
        match write:
            case SpendToken():
                guards.append(Unspent(write.key))
            case RecordRevocation():
                guards.append(NotRevoked(write.issuer, write.serial))
            case TakeLease():
                guards.append(LeaseFree(write.kind, write.key))
            case PutCRL():
                guards.append(NewerCRL(write.issuer, write.number))
            case IndexTerms():
                guards.append(NotIndexed(write.upto))
            case AppendLog():
                guards.append(LogSizeIs(write.size))
            case PutHead():
                guards.append(NewerHead(write.size))
            case _:
                pass
    if entry.sign is not None:
        guards.append(FreshSerial(entry.sign.issuer, entry.sign.serial))
    return guards


def tag_of(guard: AnyGuard) -> str:
    """The word for a guard in `Outcome.guard`."""
    return str(guard.__struct_config__.tag)
