"""What handlers share beside the snapshot: limits, the CRL copy, counters, and how a trail begins."""

from __future__ import annotations

import hashlib
from time import perf_counter
from typing import Final, final

from provisor.authority.audit import Trail
from provisor.authority.lists import CRLCache
from provisor.authority.snapshot import Snapshot
from provisor.config.ca_json import Limits
from provisor.core.identity import Operation
from provisor.server.observer import Observer
from provisor.server.request import Request

API_VERSION: Final = "0.30.2"
"""The version of step-ca whose API this server speaks: clients compare it, so it is what `/version` says."""


@final
class Context:
    """One per process."""

    def __init__(self, limits: Limits, observer: Observer | None = None) -> None:
        self.limits = limits
        self.crl = CRLCache()
        self.observer = observer or Observer()

    def trail(self, ca: Snapshot, request: Request, operation: Operation, body: bytes) -> Trail:
        """The trail of a request; the clock is read once, here."""
        trail = Trail(
            operation,
            ca.clock(),
            request_id=request.request_id.decode("latin-1"),
            source=request.source,
            digest=hashlib.sha256(body).digest(),
            timer=perf_counter,
            has_left=lambda: request.client_has_left,
        )
        request.trail = trail
        return trail
