"""The bodies of the API, shared by server and client (core-api 1).

Requests are decoded with `gojson.decode_json`; that is why they forbid unknown fields: a body with
none is decoded on the fast path. Certificates and requests are PEM text here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from msgspec import UNSET, Raw, Struct, UnsetType

from provisor.core.durations import UNSET_TIME, TimeDuration


class SignRequest(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """POST /sign. `template_data` is any JSON, for templates; clients send unset times as ""."""

    csr: str | None = None
    ott: str = ""
    not_after: TimeDuration = UNSET_TIME
    not_before: TimeDuration = UNSET_TIME
    template_data: Raw | UnsetType = UNSET


class ExplainStep(Struct, frozen=True):
    """One of the nine steps; `facts` are what it found, by name."""

    n: int
    name: str
    verdict: str
    facts: dict[str, Any]


class ExplainResponse(Struct, frozen=True):
    """POST /explain: the status and message of /sign for this request, and how they come about.

    `step` is the one that refuses it, 0 where none does.
    """

    allowed: bool
    status: int
    message: str
    step: int
    steps: tuple[ExplainStep, ...]


class RekeyRequest(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """POST /rekey. Only the key of the request counts."""

    csr: str | None = None


class RevokeRequest(Struct, frozen=True, rename="camel", forbid_unknown_fields=True):
    """POST /revoke. `serial` in any base, `reason_code` as RFC 5280 section 5.3.1; `passive` must be true."""

    serial: str = ""
    ott: str = ""
    reason_code: int = 0
    reason: str = ""
    passive: bool = False


class TLSOptionsResponse(Struct, frozen=True, rename="camel"):
    """How the CA's own TLS is set up. Versions are numbers such as 1.2."""

    cipher_suites: Sequence[str] | None = None
    min_version: float = 0
    max_version: float = 0
    renegotiation: bool = False


class SignResponse(Struct, frozen=True, rename="camel"):
    """The leaf, its issuer (None when there is none) and the whole chain, leaf first."""

    crt: str
    ca: str | None = None
    cert_chain: Sequence[str] | None = None
    tls_options: TLSOptionsResponse | UnsetType = UNSET


class HealthResponse(Struct, frozen=True):
    status: str = "ok"


class VersionResponse(Struct, frozen=True, rename="camel"):
    version: str
    require_client_authentication: bool | UnsetType = UNSET


class RootResponse(Struct, frozen=True):
    ca: str


class RootsResponse(Struct, frozen=True):
    """Of /roots, /federation and /intermediates."""

    crts: Sequence[str]


class ProvisionersResponse(Struct, frozen=True, rename="camel"):
    """One page. step-ca: an empty page is null."""

    provisioners: Sequence[Mapping[str, object]] | None = None
    next_cursor: str = ""


class ProvisionerKeyResponse(Struct, frozen=True):
    """A provisioner's private key as compact JWE."""

    key: str


class RevokeResponse(Struct, frozen=True):
    status: str = "ok"


class ErrorResponse(Struct, frozen=True):
    status: int
    message: str
