"""The proven who, and what it asks for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from provisor.core.durations import TimeDuration
from provisor.core.names import Name
from provisor.core.x509.request import CertificateRequest


class Operation(StrEnum):
    """What a credential is good for. A token is bound to one of these by its audience."""

    SIGN = "x509-sign"
    RENEW = "x509-renew"
    REKEY = "x509-rekey"
    REVOKE = "x509-revoke"


class ProvisionerRef(Struct, frozen=True):
    """Which provisioner spoke. `id` is what records and renewals follow, `number` its type in the extension."""

    id: str
    name: str
    kind: str
    number: int = 0
    credential: str = ""


class TokenUse(Struct, frozen=True):
    """How a verified token is spent.

    `key` is its place in the table of spent tokens; `expires` (unix seconds) is when the token itself
    is over, None if it never is.
    """

    key: str
    expires: int | None


class Identity(Struct, frozen=True):
    """A caller whose proof was verified: by token, by client certificate, or by renewal token.

    `names` is what the proof says it may be called; `confirmation` the SHA-256 of the only request it
    may be used with (RFC 7800), or the text that was there instead; `serial` the client certificate's.
    """

    provisioner: ProvisionerRef
    method: str
    subject: str
    names: tuple[Name, ...] = ()
    sans: tuple[str, ...] = ()
    confirmation: str = ""
    token: TokenUse | None = None
    serial: int | None = None
    claims: Mapping[str, object] | None = None


class X509Ask(Struct, frozen=True):
    """What the client wants. Relative times count from the moment of the request, and `not_after` from `not_before`.

    `user_data` is any JSON the client gives to templates, None without any.
    """

    request: CertificateRequest
    not_before: TimeDuration
    not_after: TimeDuration
    user_data: bytes | None = None

    def window(self, now: datetime, start: datetime | None = None) -> tuple[datetime | None, datetime | None]:
        """The window that was asked for explicitly: each end, or None where nothing was said.

        `start` is where a template begins it, unless the client said otherwise.
        """
        asked = self.not_before.resolve(now)
        return asked, self.not_after.resolve(asked or start or now)
