"""The end of a line: what can still be renewed of it is revoked, and so nothing can follow any more.

A renewal under way meanwhile is no way out: it either finds its certificate revoked, or was recorded before,
and then the next look finds its successor.
"""

from __future__ import annotations

import asyncio
from typing import Final

from msgspec import Struct

from provisor.authority.audit import Asked, Trail
from provisor.authority.inventory import find_line, find_serial, go_along_line
from provisor.authority.revoke import RevokeAsk, record_revocation
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation
from provisor.errors import AlreadyRevoked, NotFound, Unavailable
from provisor.ports import Archive, CertificateRecord, IssuerID

_AT_ONCE: Final = 100
_LOOKS: Final = 10


class LineRevoked(Struct, frozen=True):
    """`revoked` are the serials revoked now; `already` how many of the line were revoked before."""

    lineage: int
    revoked: tuple[int, ...]
    already: int


class _Target(Struct, frozen=True):
    """`expires` in unix seconds, None if nobody knows."""

    issuer: IssuerID
    serial: int
    expires: int | None
    provisioner_id: str


async def revoke_lineage(
    ca: Snapshot, archive: Archive, serial: int, reason_code: int, reason: str, trail: Trail
) -> LineRevoked:
    """Revoke every certificate of the line of `serial` that is in force, or can be renewed after its end.

    `trail.who` is the administrator. Each revocation is an entry with an event of its own; a call that was
    cut short is finished by another. Raises `NotFound`, `NotSupported`, `Unavailable`.
    """
    lineage = await find_line(ca, archive, serial)
    revoked: list[int] = []
    already = 0
    for look in range(_LOOKS):
        targets, gone, size = await _look(ca, archive, lineage, trail)
        if look == 0:
            already = gone
            if not size:
                text = f"no certificate of a line with the serial {serial} is recorded"
                raise NotFound(text, public=text)
        if not targets:
            return LineRevoked(lineage, tuple(revoked), already)
        for start in range(0, len(targets), _AT_ONCE):
            some = targets[start : start + _AT_ONCE]
            answers = await asyncio.gather(
                *(_revoke(ca, target, lineage, reason_code, reason, trail) for target in some), return_exceptions=True
            )
            revoked += [target.serial for target, answer in zip(some, answers, strict=True) if answer is True]
            for answer in answers:
                if isinstance(answer, BaseException):
                    raise answer
    raise Unavailable("the line grows faster than it is revoked: try again")


async def _look(ca: Snapshot, archive: Archive, lineage: int, trail: Trail) -> tuple[list[_Target], int, int]:
    """What is to be revoked, how many are revoked, and how many certificates of the line there are."""
    now = int(trail.now.timestamp())
    targets: list[_Target] = []
    revoked = size = 0
    first_is_there = False
    async for row in go_along_line(archive, lineage):
        record = row.certificate
        size += 1
        first_is_there = first_is_there or record.serial == lineage
        if row.revocation is not None:
            revoked += 1
        elif record.not_after > now or _renews_after_expiry(ca, record):
            targets.append(_Target(record.issuer, record.serial, record.not_after, record.provisioner_id))
    if size and not first_is_there and not await find_serial(ca, archive, lineage):
        # A certificate of another program's, renewed here: it could begin the line again.
        unrevoked = [issuer for issuer in ca.issuers if not await ca.ledger.is_revoked(issuer, lineage)]
        targets += [_Target(issuer, lineage, None, "") for issuer in unrevoked]
    return targets, revoked, size


def _renews_after_expiry(ca: Snapshot, record: CertificateRecord) -> bool:
    return any(
        provisioner.claims.allow_renewal_after_expiry
        for provisioner in ca.registry.all
        if provisioner.ref.id == record.provisioner_id or provisioner.ref.name == record.provisioner_name
    )


async def _revoke(ca: Snapshot, target: _Target, lineage: int, reason_code: int, reason: str, trail: Trail) -> bool:
    """False if somebody else was faster."""
    own = Trail(
        Operation.REVOKE,
        trail.now,
        request_id=trail.request_id,
        source=trail.source,
        digest=trail.digest,
        timer=trail.timer,
    )
    own.who = trail.who
    own.asked = Asked(subject=f"line of {lineage}", serial=str(target.serial), reason=reason_code)
    ask = RevokeAsk(target.serial, reason_code, reason)
    try:
        await record_revocation(ca, ask, target.issuer, target.expires, target.provisioner_id, own)
    except AlreadyRevoked:
        return False
    return True
