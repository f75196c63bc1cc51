"""What the entries of a transaction lock, so that no two replicas judge about the same thing at once.

Advisory locks of the server, by a number of 64 bits, taken in the order of the numbers: two transactions
cannot wait for each other. Who writes a thing locks it for itself, who only guards on it together with
others; so a revocation waits for a renewal of its certificate, and the epoch does not change under a commit.
A collision of two numbers makes somebody wait for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, assert_never

from provisor.ports import (
    AppendLog,
    DropEvents,
    DropExpired,
    DropHeads,
    DropReceipts,
    DropSpentTokens,
    Entry,
    Epoch,
    FreshSerial,
    IndexTerms,
    IssuerID,
    LeaseHeld,
    MetaIs,
    NotRevoked,
    PutCRL,
    PutHead,
    PutIssuer,
    PutMeta,
    RecordRevocation,
    ScheduleJob,
    SpendToken,
    TakeLease,
    Unspent,
    WakeJob,
)
from provisor.storage.encoding import encode_serial, hash_token_key
from provisor.storage.judging import EPOCH, INDEXED

ISSUERS: Final = b"issuers"


def lock_number(kind: bytes, *parts: bytes) -> int:
    """The signed number that stands for a thing."""
    digest = blake2b(b"\x00".join((kind, *parts)), digest_size=8).digest()
    return int.from_bytes(digest, "big", signed=True)


def find_locks(entries: Iterable[Entry]) -> dict[int, bool]:
    """Numbers, with whether the lock is exclusive."""
    locks: dict[int, bool] = {}
    for entry in entries:
        for guard in entry.guards:
            match guard:
                case Unspent():
                    locks[_token(guard.key)] = True
                case NotRevoked():
                    locks.setdefault(_certificate(guard.issuer, guard.serial), False)
                case Epoch():
                    locks.setdefault(_EPOCH, False)
                case MetaIs():
                    locks.setdefault(_meta(guard.key), False)
                case LeaseHeld():
                    locks.setdefault(_job(guard.kind, guard.key), False)
                case FreshSerial():
                    pass  # the key of the row decides
                case _:
                    assert_never(guard)
        for write in entry.writes:
            match write:
                case SpendToken():
                    locks[_token(write.key)] = True
                case RecordRevocation():
                    locks[_certificate(write.issuer, write.serial)] = True
                case PutMeta():
                    locks[_meta(write.key)] = True
                case PutIssuer():
                    locks[lock_number(ISSUERS)] = True
                case PutCRL():
                    locks[lock_number(b"crl", write.issuer)] = True
                case TakeLease() | ScheduleJob() | WakeJob():
                    locks[_job(write.kind, write.key)] = True
                case IndexTerms():
                    locks[_meta(INDEXED)] = True
                case AppendLog() | PutHead() | DropHeads():
                    locks[lock_number(b"log")] = True
                case DropSpentTokens() | DropReceipts() | DropExpired() | DropEvents():
                    locks[lock_number(b"retention")] = True
                case _:
                    assert_never(write)
    return locks


def _token(key: str) -> int:
    return int.from_bytes(hash_token_key(key)[:8], "big", signed=True)


def _certificate(issuer: IssuerID, serial: int) -> int:
    return lock_number(b"certificate", issuer, encode_serial(serial))


def _meta(key: str) -> int:
    return lock_number(b"meta", key.encode("utf-8", "surrogatepass"))


def _job(kind: str, key: str) -> int:
    return lock_number(b"job", f"{kind}\x00{key}".encode("utf-8", "surrogatepass"))


_EPOCH: Final = _meta(EPOCH)
