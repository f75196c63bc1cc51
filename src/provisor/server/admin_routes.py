"""The routes of the administrator's socket. Workers do not import them: no stranger is near.

Who is at the socket was proven by the kernel before his request is read (app/admin_socket.py).
"""

from __future__ import annotations

from typing import Final

from provisor.server.handlers import admin_audit, admin_local, explain
from provisor.server.routes import Access, Route, Router

OPERATOR: Final = Access()

ADMIN_ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", ("/certificates",), admin_local.certificates, OPERATOR, versioned=False),
    Route("GET", ("/certificates/{reference}",), admin_local.certificate, OPERATOR, versioned=False),
    Route("POST", ("/lineages/{serial}/revoke",), admin_local.end_lineage, OPERATOR, versioned=False),
    Route("GET", ("/audit/events",), admin_audit.events, OPERATOR, versioned=False),
    Route("GET", ("/audit/head",), admin_audit.head, OPERATOR, versioned=False),
    Route("POST", ("/explain",), explain.explain_for_operator, OPERATOR, versioned=False),
    Route("GET", ("/status",), admin_local.status, OPERATOR, versioned=False),
)

ADMIN_LOCAL: Final = Router(ADMIN_ROUTES)
