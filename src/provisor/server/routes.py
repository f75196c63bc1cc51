"""The whole API as one readable table. Every route says who may call it and what its proof costs.

The authorization tests are generated from this table; a route without `access` does not type-check.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from enum import StrEnum
from typing import Final, final

from msgspec import Struct

from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Operation
from provisor.server.context import Context
from provisor.server.handlers import explain, public, x509
from provisor.server.request import Request, Response

Handler = Callable[[Snapshot, Request, Context], Awaitable[Response]]


class Credential(StrEnum):
    """How a caller may prove itself, in the order they are looked at."""

    TOKEN = "token"
    CERTIFICATE = "certificate"
    BEARER = "bearer"


class Access(Struct, frozen=True):
    """`audience` is the operation whose audiences a token must carry; `spends` whether every answer after the
    verification of a token uses it up. Without credentials anybody may call.
    """

    operation: Operation | None = None
    credentials: tuple[Credential, ...] = ()
    audience: Operation | None = None
    spends: bool = False


class Route(Struct, frozen=True):
    """`paths` stand also below `/1.0`, unless `versioned` is false; `plain` ones are served without TLS too."""

    method: str
    paths: tuple[str, ...]
    handler: Handler
    access: Access
    versioned: bool = True
    plain: bool = False


ANYBODY: Final = Access()

ROUTES: Final[tuple[Route, ...]] = (
    Route("GET", ("/health",), public.health, ANYBODY),
    Route("GET", ("/ready",), public.ready, ANYBODY, versioned=False),
    Route("GET", ("/version",), public.version, ANYBODY),
    Route("GET", ("/root/{sha}",), public.root, ANYBODY),
    Route("GET", ("/roots",), public.roots, ANYBODY),
    Route("GET", ("/roots.pem",), public.roots_pem, ANYBODY),
    Route("GET", ("/intermediates",), public.intermediates, ANYBODY),
    Route("GET", ("/intermediates.pem",), public.intermediates_pem, ANYBODY),
    Route("GET", ("/federation",), public.federation, ANYBODY),
    Route("GET", ("/crl",), public.crl, ANYBODY, plain=True),
    Route("GET", ("/provisioners",), public.provisioners, ANYBODY),
    Route("GET", ("/provisioners/{kid}/encrypted-key",), public.encrypted_key, ANYBODY),
    Route(
        "POST",
        ("/sign",),
        x509.sign,
        Access(Operation.SIGN, (Credential.TOKEN,), Operation.SIGN, spends=True),
    ),
    Route(
        "POST",
        ("/explain",),
        explain.explain,
        Access(Operation.SIGN, (Credential.TOKEN,), Operation.SIGN),
    ),
    Route(
        "POST",
        ("/renew", "/re-sign"),
        x509.renewal,
        Access(Operation.RENEW, (Credential.CERTIFICATE, Credential.BEARER), Operation.RENEW, spends=True),
    ),
    Route("POST", ("/rekey",), x509.rekey, Access(Operation.REKEY, (Credential.CERTIFICATE,))),
    Route(
        "POST",
        ("/revoke",),
        x509.revocation,
        Access(Operation.REVOKE, (Credential.TOKEN, Credential.CERTIFICATE), Operation.REVOKE, spends=True),
    ),
)


class Match(Struct, frozen=True):
    """The route of a path, or the methods it has instead of the one asked for."""

    route: Route | None
    params: Mapping[str, str]
    allowed: tuple[str, ...] = ()


_NOTHING: Final = Match(None, {})


@final
class Router:
    """Paths as the client wrote them: no cleaning, no unescaping, no redirect (core-api 0.5)."""

    def __init__(self, routes: tuple[Route, ...]) -> None:
        self._exact: dict[str, Route] = {}
        self._patterns: list[tuple[str, str, str, Route]] = []
        for route in routes:
            for path in route.paths:
                for full in (path, f"/1.0{path}") if route.versioned else (path,):
                    if "{" in full:
                        before, _, rest = full.partition("{")
                        name, _, after = rest.partition("}")
                        self._patterns.append((before, after, name, route))
                    else:
                        self._exact[full] = route

    def find(self, method: str, path: str) -> Match:
        route = self._exact.get(path)
        params: Mapping[str, str] = {}
        if route is None:
            for before, after, name, candidate in self._patterns:
                value = path[len(before) : len(path) - len(after)]
                if (
                    path.startswith(before)
                    and path.endswith(after)
                    and "/" not in value
                    # step-ca: a part between two others may be empty, the last one may not
                    and len(path) >= len(before) + (len(after) or 1)
                ):
                    route, params = candidate, {name: value}
                    break
        if route is None:
            return _NOTHING
        if method == route.method or (method == "HEAD" and route.method == "GET"):
            return Match(route, params)
        return Match(None, params, (route.method,))

    def pattern(self, method: str, path: str) -> str:
        """What the table calls the route of a path, such as `/root/{sha}`; empty where there is none."""
        route = self.find(method, path).route
        return route.paths[0] if route is not None else ""


API: Final = Router(ROUTES)
PLAIN: Final = Router(tuple(route for route in ROUTES if route.plain))
