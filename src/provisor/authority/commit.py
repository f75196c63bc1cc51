"""Step 8, seen from the authority: one entry, its outcome as a value or an error.

Whatever was refused after the caller was proven is recorded too, and its token spent with it.
"""

from __future__ import annotations

from types import TracebackType
from typing import Final, final

from provisor.authority.audit import Trail
from provisor.authority.snapshot import Snapshot
from provisor.errors import (
    AlreadyRevoked,
    CertificateRevoked,
    Forbidden,
    ProvisorError,
    StaleEpoch,
    TokenReused,
    Unavailable,
)
from provisor.ports import Entry, Epoch, Guard, Outcome, SpendToken, ToSign, Unspent, Write

TOKEN_GRACE: Final = 60 + 24 * 3600
"""Seconds a spent token is remembered beyond its own end: the leeway, and a day for clocks that are set back."""


async def commit_granted(
    ca: Snapshot,
    trail: Trail,
    *,
    guards: tuple[Guard, ...] = (),
    writes: tuple[Write, ...] = (),
    sign: ToSign | None = None,
) -> Outcome:
    """Make a granted decision durable, its token spent and its event written in the same transaction.

    Raises `TokenReused`, `CertificateRevoked`, `AlreadyRevoked`, `StaleEpoch` for the guard that did not
    hold, `Forbidden` when the notary's gate would not sign, `Unavailable` or `OutcomeUnknown`; `Unavailable`
    too, with nothing spent, when the client has left: nobody would get the certificate.
    """
    if trail.has_left():
        raise Unavailable("the client has left")
    trail.enter(8)
    outcome = await ca.notary.submit(
        Entry(
            id=ca.generate_id(trail.now),
            guards=(*_unspent(trail), *guards, Epoch(ca.epoch)),
            writes=(*_spend(trail, "granted"), *writes),
            event=trail.event(),
            sign=sign,
        )
    )
    if not outcome.committed:
        raise _error(outcome, revoking=sign is None)
    trail.leave()
    return outcome


@final
class accounted:  # noqa: N801  # used as a statement, like a function that a decorator made a context manager of
    """Around steps 1 to 8: a refusal of a proven caller is recorded, and spends the token, before it is answered.

    A 503 of ours is not a refusal: nothing is spent by it. If the refusal itself cannot be recorded,
    that is a 503 too.
    """

    __slots__ = ("_ca", "_trail")

    def __init__(self, ca: Snapshot, trail: Trail) -> None:
        self._ca = ca
        self._trail = trail

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if isinstance(error, ProvisorError) and not isinstance(error, Unavailable) and self._trail.authenticated:
            raise await _record_refusal(self._ca, self._trail, error) from error


async def _record_refusal(ca: Snapshot, trail: Trail, error: ProvisorError) -> ProvisorError:
    """Spend and record; answers with the refusal, or with `TokenReused` if a twin was faster."""
    if trail.use is not None and not isinstance(error, TokenReused):
        outcome = await ca.notary.submit(
            Entry(
                id=ca.generate_id(trail.now),
                guards=_unspent(trail),
                writes=_spend(trail, error.code),
                event=trail.event(error),
            )
        )
        if outcome.committed:
            return error
        if outcome.status != "refused":
            raise Unavailable(f"refusal not recorded: {outcome.status} {outcome.reason}")
        error = TokenReused("token already used by a request that was faster")
    outcome = await ca.notary.submit(Entry(id=ca.generate_id(trail.now), event=trail.event(error)))
    if not outcome.committed:
        raise Unavailable(f"refusal not recorded: {outcome.status} {outcome.reason}")
    return error


def _unspent(trail: Trail) -> tuple[Guard, ...]:
    return (Unspent(trail.use.key),) if trail.use is not None else ()


def _spend(trail: Trail, outcome: str) -> tuple[Write, ...]:
    use = trail.use
    if use is None:
        return ()
    expires = None if use.expires is None else use.expires + TOKEN_GRACE
    return (SpendToken(use.key, expires, outcome, trail.digest),)


def _error(outcome: Outcome, *, revoking: bool) -> ProvisorError:
    if outcome.status == "unavailable":
        return Unavailable(outcome.reason or "store or key is away")
    if outcome.status == "rejected":
        return Forbidden(f"the notary would not sign: {outcome.reason}")
    match outcome.guard:
        case "unspent":
            return TokenReused("token already used")
        case "epoch":
            return StaleEpoch("the configuration changed under the request")
        case "not-revoked":
            return AlreadyRevoked("already revoked") if revoking else CertificateRevoked("certificate has been revoked")
        case _:
            return Unavailable(f"guard {outcome.guard} did not hold")
