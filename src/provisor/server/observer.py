"""Step 9: what a finished request leaves behind, counters and a line in the access log."""

from __future__ import annotations

from binascii import b2a_base64
from collections.abc import Callable, Mapping, MutableMapping
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, Final, final

from provisor.authority.audit import Trail
from provisor.authority.issue import Issued
from provisor.authority.snapshot import Snapshot
from provisor.core.durations import Duration
from provisor.core.identity import Operation
from provisor.core.keys import KeyInfo
from provisor.core.x509.name import parse_common_name
from provisor.core.x509.spki import describe_spki
from provisor.errors import ProvisorError
from provisor.server.logging import AccessLog, RequestLog, error_reporter, format_instant, stamped
from provisor.server.metrics import Metrics
from provisor.server.request import Request, Response
from provisor.server.tracing import Tracer

_NANOSECONDS: Final = 1_000_000_000
_LONGEST_FIELD: Final = 4096


def _discard(line: bytes) -> None:
    """No log is wanted."""


@final
class Observer:
    """One per process. `write` takes whole lines."""

    def __init__(self, metrics: Metrics | None = None, write: Callable[[bytes], None] = _discard) -> None:
        self.metrics = metrics or Metrics()
        self.tracer: Tracer | None = None
        self._write = write
        self._log: AccessLog | None = None
        self._signed = {
            Operation.SIGN: self.metrics.x509_signed,
            Operation.RENEW: self.metrics.x509_renewed,
            Operation.REKEY: self.metrics.x509_rekeyed,
        }
        self._report_failure = error_reporter(write)
        self.metrics.internal_errors.inc("exception", by=0)

    def reconfigure(self, ca: Snapshot) -> None:
        """Take over `logger` of a new configuration. step-ca: without the section there is no access log."""
        logger = ca.config.logger
        self._log = AccessLog(logger.format, self._write) if logger else None
        for certificate in (*ca.roots, ca.issuer.certificate):
            self.metrics.certificate_expiry.set(certificate.not_after.timestamp(), certificate.common_name)

    def note(self, line: str) -> None:
        """A line of the application's own."""
        self._write(stamped(line))

    def failed(self, error: BaseException, scope: MutableMapping[str, Any]) -> None:
        """An exception that no handler knew ended the request of this scope."""
        self.metrics.internal_errors.inc("exception")
        self._report_failure(error, scope)

    def refused_connection(self, reason: str) -> None:
        self.metrics.connections_refused.inc(reason)

    def observe(
        self, ca: Snapshot, request: Request, response: Response, error: ProvisorError | None, seconds: float
    ) -> None:
        if self.tracer is not None:
            self.tracer.record(request, response, error, seconds)
        if request.trail is not None:
            self._count(request.trail, error)
        if self._log is not None:
            self._log.emit(self._line(self._log, request, response, error, ca.clock(), seconds))

    def _count(self, trail: Trail, error: ProvisorError | None) -> None:
        metrics = self.metrics
        for step, took in trail.seconds:
            metrics.step_seconds.observe(took, str(step))
        ref = trail.who.provisioner if trail.who else trail.provisioner
        name = ref.name if ref else ""
        if error is not None:
            metrics.refused.inc(name, error.code)
        counter = self._signed.get(trail.operation)
        if counter is None:
            return
        if error is None:
            metrics.issued.inc(name)
            counter.inc(name, "true")
        elif trail.step >= 2:
            # step-ca: what the authorization refuses is not counted here, what comes after it is.
            counter.inc(name, "false")
        if trail.operation is Operation.SIGN:
            # step-ca: these two go up with every issuance, webhooks or not.
            if trail.step >= 5:
                metrics.x509_webhook_enriched.inc(name, "true")
            if error is None:
                metrics.x509_webhook_authorized.inc(name, "true")

    def _line(
        self,
        log: AccessLog,
        request: Request,
        response: Response,
        error: ProvisorError | None,
        now: datetime,
        seconds: float,
    ) -> RequestLog:
        scope = request.scope
        query: bytes = scope.get("query_string", b"")
        fields = dict(request.fields) if log.shows_fields else {}
        issued = fields.pop("issued", None)
        if isinstance(issued, Issued):
            fields.update(_certificate_fields(issued))
        if error is not None:
            fields["error"] = error.detail[:_LONGEST_FIELD]
        if request.trail is not None and request.trail.use is not None:
            fields["token-id"] = request.trail.use.key[:_LONGEST_FIELD]
        return RequestLog(
            method=request.method,
            path=f"{scope['path']}?{query.decode('latin-1')}" if query else scope["path"],
            protocol=f"HTTP/{scope.get('http_version', '1.1')}",
            status=response.status,
            size=len(response.body),
            request_id=request.request_id.decode("latin-1"),
            remote_address=log.remote_address(request.source, scope["headers"]),
            started=now - timedelta(seconds=seconds),
            duration=Duration(int(seconds * _NANOSECONDS)),
            referer=request.header(b"referer").decode("latin-1"),
            user_agent=request.header(b"user-agent").decode("latin-1"),
            fields=fields,
        )


_issuer_name = lru_cache(maxsize=16)(parse_common_name)


def _certificate_fields(issued: Issued) -> Mapping[str, object]:
    """What the log says of an issued certificate (core-api 0.4)."""
    draft = issued.draft
    sans: dict[str, list[str]] = {}
    for name in draft.names:
        sans.setdefault(name.kind.value, []).append(name.value)
    return {
        "serial": str(draft.serial),
        "subject": parse_common_name(draft.subject),
        "issuer": _issuer_name(draft.issuer),
        "sans": sans,
        "valid-from": format_instant(draft.not_before),
        "valid-to": format_instant(draft.not_after),
        "public-key": _key_words(describe_spki(draft.spki)),
        "certificate": b2a_base64(issued.certificate, newline=False).decode(),
        "provisioner": f"{issued.provisioner} ({issued.credential})" if issued.credential else issued.provisioner,
    }


def _key_words(key: KeyInfo) -> str:
    match key.kind:
        case "EC":
            return f"ECDSA {key.curve}"
        case "RSA":
            return f"RSA {key.bits}"
        case _:
            return key.kind
