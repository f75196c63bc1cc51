"""What events claim, against the rows that they speak of: certificates and revocations.

The log's tree covers the events. A certificate is tied to its event by its serial and the SHA-256 of its
TBSCertificate, and beyond that by its issuer's signature; a revocation by serial, reason and second.
"""

from __future__ import annotations

import hashlib
from typing import Final, final

import msgspec
from cryptography.hazmat import asn1

from provisor.authority.audit import Event, parse_event
from provisor.authority.log_forks import Restoration, find_restoration
from provisor.authority.log_heads import Signers
from provisor.authority.log_report import LogReport, Wrong
from provisor.core.durations import parse_rfc3339
from provisor.core.identity import Operation
from provisor.core.x509.algorithms import find_scheme, is_signature_valid
from provisor.core.x509.der import Signed
from provisor.ports import LogArchive, LogEvent, RevocationTrace

_PAGE: Final = 1000
_MOST_EVENTLESS: Final = 100_000


@final
class ClaimCheck:
    """Feed it every event, then `finish`. Without `signatures` only digests of certificates are compared."""

    def __init__(self, archive: LogArchive, signers: Signers, now: int, report: LogReport, *, signatures: bool) -> None:
        """`now` is unix seconds."""
        self._archive = archive
        self._signers = signers
        self._now = now
        self._report = report
        self._signatures = signatures
        self.restorations: list[Restoration] = []
        self._unexplained: dict[int, int] = {}
        self._eventless: set[tuple[bytes, int]] = set()

    async def begin(self) -> None:
        """Read what is stored, before the end of the log is read: what comes later has a later event."""
        self._eventless = set(await self._archive.eventless(_MOST_EVENTLESS))
        after: tuple[bytes, int] | None = None
        while traces := await self._archive.revocation_traces(after, _PAGE):
            self._report.revocations += len(traces)
            for trace in traces:
                self._unexplained[trace.serial] = max(trace.revoked_at, self._unexplained.get(trace.serial, 0))
            after = traces[-1].issuer, traces[-1].serial

    async def take(self, event: LogEvent) -> None:
        """What this event says was signed or revoked."""
        try:
            body = parse_event(event.body)
        except msgspec.MsgspecError as error:
            self._report.add(Wrong.EVENT_ALTERED, name_event(event), f"not an event: {error}", _place(event))
            return
        if event.issuer is not None and event.serial is not None:
            self._eventless.discard((event.issuer, event.serial))
        restoration = find_restoration(event.n, body)
        if restoration is not None:
            self.restorations.append(restoration)
        granted = body.outcome == "granted" and body.given is not None
        if granted and body.operation == Operation.REVOKE:
            await self._check_revocation(event, body)
        elif granted or event.serial is not None:
            self._check_certificate(event, body)

    def finish(self, forgotten_until: int) -> None:
        """What is stored and no event speaks of. Events of before `forgotten_until` (unix seconds) may be forgotten."""
        for _, serial in sorted(self._eventless):
            text = "no event of the log speaks of it"
            self._report.add(Wrong.CERTIFICATE_WITHOUT_EVENT, f"certificate {serial}", text)
        # A revocation whose event is forgotten by age cannot be compared any more.
        forgotten = 0
        for serial, at in sorted(self._unexplained.items()):
            if at <= forgotten_until:
                forgotten += 1
                continue
            text = "no event of the log speaks of it"
            self._report.add(Wrong.REVOCATION_WITHOUT_EVENT, f"revocation of {serial}", text)
        if forgotten:
            text = "revocations are of a time whose events are forgotten by age: they were compared with nothing"
            self._report.note(f"{forgotten} {text}")

    # -- certificates ---------------------------------------------------------------------------

    def _check_certificate(self, event: LogEvent, body: Event) -> None:
        where = f"certificate {body.given.serial if body.given else event.serial}"
        name, n = name_event(event), _place(event)
        if body.given is None or event.serial is None or str(event.serial) != body.given.serial:
            text = f"its row names certificate {event.serial}, the event itself another or none"
            self._report.add(Wrong.REFERENCE_ALTERED, name, text, n)
            return
        if not event.der:
            if not event.fingerprint:
                self._report.add(Wrong.CERTIFICATE_MISSING, where, f"{name} gave it, and it is not stored", n)
            return
        self._report.certificates += 1
        try:
            signed = asn1.decode_der(Signed, event.der)
            tbs, algorithm = asn1.encode_der(signed.content), asn1.encode_der(signed.algorithm)
        except ValueError as error:
            self._report.add(Wrong.CERTIFICATE_ALTERED, where, f"it cannot be read: {error}", n)
            return
        if hashlib.sha256(tbs).hexdigest() != body.given.tbs:
            text = f"it is not the one that {name} gave: the SHA-256 of its TBSCertificate is another"
            self._report.add(Wrong.CERTIFICATE_ALTERED, where, text, n)
            return
        if self._signatures and not self._is_genuine(event, tbs, algorithm, signed.signature.as_bytes()):
            text = f"the signature on it is not that of the issuer {event.issuer.hex() if event.issuer else '(none)'}"
            self._report.add(Wrong.CERTIFICATE_ALTERED, where, text, n)

    def _is_genuine(self, event: LogEvent, tbs: bytes, algorithm: bytes, signature: bytes) -> bool:
        issuer = self._signers.find(event.issuer or b"")
        scheme = find_scheme(algorithm)
        return issuer is not None and scheme is not None and is_signature_valid(issuer.spki, scheme, signature, tbs)

    # -- revocations ----------------------------------------------------------------------------

    async def _check_revocation(self, event: LogEvent, body: Event) -> None:
        assert body.given is not None
        try:
            serial, at = int(body.given.serial), int(parse_rfc3339(body.at).timestamp())
        except ValueError:
            self._report.add(Wrong.EVENT_ALTERED, name_event(event), "not a revocation of a serial", _place(event))
            return
        self._unexplained.pop(serial, None)
        where = f"revocation of {serial}"
        traces = await self._archive.revocation_of(serial)
        if not traces:
            if not await self._may_be_forgotten(serial):
                text = f"{name_event(event)} made it, and it is not stored"
                self._report.add(Wrong.REVOCATION_MISSING, where, text, _place(event))
            return
        if not any(_fits(trace, body, at) for trace in traces):
            found = ", ".join(f"reason {trace.reason_code} at {trace.revoked_at}" for trace in traces)
            text = f"{name_event(event)} says another reason or time than what is stored ({found})"
            self._report.add(Wrong.REVOCATION_ALTERED, where, text, _place(event))

    async def _may_be_forgotten(self, serial: int) -> bool:
        end = await self._archive.certificate_end(serial)
        return end is not None and end < self._now


def name_event(event: LogEvent) -> str:
    """By its place, or by its id while it waits for one."""
    return f"event {event.n}" if event.n else f"event {event.id.hex()}"


def _place(event: LogEvent) -> int | None:
    return event.n or None


def _fits(trace: RevocationTrace, body: Event, at: int) -> bool:
    # An event leaves out what is zero.
    reason = (body.asked.reason if body.asked else None) or 0
    return trace.reason_code == reason and trace.revoked_at == at
