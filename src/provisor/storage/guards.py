"""The guards of an entry, and those that its writes imply."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec import Struct

from provisor.ports import (
    Entry,
    FreshSerial,
    Guard,
    IssuerID,
    NotRevoked,
    PutCRL,
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


AnyGuard = Guard | LeaseFree | NewerCRL


def all_guards(entry: Entry) -> Sequence[AnyGuard]:
    """Each once: those the entry names, then those that keep its writes from undoing another entry's."""
    guards: dict[AnyGuard, None] = dict.fromkeys(entry.guards)
    for write in entry.writes:
        match write:
            case SpendToken():
                guards[Unspent(write.key)] = None
            case RecordRevocation():
                guards[NotRevoked(write.issuer, write.serial)] = None
            case TakeLease():
                guards[LeaseFree(write.kind, write.key)] = None
            case PutCRL():
                guards[NewerCRL(write.issuer, write.number)] = None
            case _:
                pass
    if entry.sign is not None:
        guards[FreshSerial(entry.sign.issuer, entry.sign.serial)] = None
    return list(guards)


def tag_of(guard: AnyGuard) -> str:
    """The word for a guard in `Outcome.guard`."""
    return str(guard.__struct_config__.tag)
