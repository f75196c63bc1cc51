"""What handlers share beside the snapshot: limits, the CRL copy, counters, and how a trail begins."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from time import perf_counter
from typing import Final, final

from provisor.authority.audit import Trail
from provisor.authority.lists import CRLCache
from provisor.authority.snapshot import Snapshot
from provisor.config.ca_json import Limits
from provisor.core.identity import Operation
from provisor.errors import ProvisorError
from provisor.server.request import Request, Response

API_VERSION: Final = "0.30.2"
"""The version of step-ca whose API this server speaks: clients compare it, so it is what `/version` says."""


@final
class Context:
    """One per application. `ready` says why this process should get no traffic, or nothing."""

    def __init__(self, limits: Limits, ready: Callable[[], str] = lambda: "") -> None:
        self.limits = limits
        self.crl = CRLCache()
        self.ready = ready

    def observe(
        self, ca: Snapshot, request: Request, response: Response, error: ProvisorError | None, seconds: float
    ) -> None:
        """Step 9: counters and the access log line."""

    def trail(self, ca: Snapshot, request: Request, operation: Operation, body: bytes) -> Trail:
        """The trail of a request; the clock is read once, here."""
        trail = Trail(
            operation,
            ca.clock(),
            request_id=request.request_id.decode("latin-1"),
            source=request.source,
            digest=hashlib.sha256(body).digest(),
            timer=perf_counter,
        )
        request.trail = trail
        return trail
