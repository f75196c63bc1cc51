"""The writing half of a store, as the notary uses it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from msgspec import Struct

from provisor.errors import Unavailable
from provisor.ports import Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth

CLOCK_TOLERANCE_SECONDS = 120
"""How far the clock may stand behind the store's high-water time before nothing is forgotten any more."""


class SignedCertificate(Struct, frozen=True):
    """The DER of a certificate, with its window in unix seconds."""

    der: bytes
    not_before: int
    not_after: int


Sign = Callable[[int], SignedCertificate | Outcome]
"""The certificate for the entry at this index of a batch, or why there is none.

A store calls it when nothing stands against the entry, so that a replay costs no signature; when it has
to begin a batch again it calls it again, and gets the same answer.
"""


class StoreFailed(Unavailable):
    """The database failed: full disk, read error, failed fsync. It must be reopened before the next commit.

    `uncertain`: the commit may have happened all the same; after reopening, its outcome is looked up.
    """

    def __init__(self, detail: str, *, uncertain: bool) -> None:
        super().__init__(detail)
        self.uncertain = uncertain


class Store(Protocol):
    """One writer. `commit` and `touch` are called one at a time; the rest may be asked meanwhile, on the same loop.

    An entry happens whole or not at all, and is durable when `commit` returns. Entries of a batch are
    judged in their order, so of twins the first wins. A bad entry fails alone. An entry whose id is
    recorded already is answered as committed, with its certificate, and nothing is done.
    """

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        """What would become of each entry, None if nothing stands against it. Writes nothing.

        Raises `StoreFailed`.
        """
        ...

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        """One durable transaction; an outcome an entry, in their order.

        `sign` is asked for each entry that is to be signed. `now` is in unix seconds and raises the
        high-water time. Raises `StoreFailed`, then nothing is written, or `uncertain`.
        """
        ...

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        """The outcome of an entry that was committed. Raises `StoreFailed`."""
        ...

    async def issuers(self) -> list[IssuerRecord]:
        """Every issuer that was ever made known. Raises `StoreFailed`."""
        ...

    async def health(self) -> StoreHealth:
        """What the store says of itself. Raises `StoreFailed`."""
        ...

    async def touch(self, *, now: int) -> None:
        """Write the high-water time durably: shows whether the store can be written. Raises `StoreFailed`."""
        ...

    async def reopen(self) -> None:
        """After a failure: new connections to the same store. Raises `StoreFailed`."""
        ...

    async def close(self) -> None:
        """Let go of the database."""
        ...

    @property
    def ledger(self) -> Ledger:
        """Reading over the writer's own connection."""
        ...
