"""Webhooks: what one is, what is signed with its secret, and what its answer means (core-api 9).

Pure: who sends is elsewhere. A webhook of kind ENRICHING adds data for the template, one of kind AUTHORIZING has a
veto over what is about to be signed.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping
from enum import StrEnum
from typing import Final, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct

from provisor.core.secret import Secret
from provisor.errors import ConfigError, Forbidden

T = TypeVar("T")


class WebhookKind(StrEnum):
    ENRICHING = "ENRICHING"
    AUTHORIZING = "AUTHORIZING"
    SCEP_CHALLENGE = "SCEPCHALLENGE"
    NOTIFYING = "NOTIFYING"


class CertificateType(StrEnum):
    X509 = "X509"
    SSH = "SSH"


class WebhookCredentials(Struct, frozen=True):
    """What the reference keeps in its admin database. `secret` signs; without one the key is empty.

    `bearer` wins over `user` and `password`.
    """

    secret: Secret = Secret(b"")
    bearer: Secret = Secret(b"")
    user: str = ""
    password: Secret = Secret(b"")


class Webhook(Struct, frozen=True):
    """One entry of `options.webhooks`. `url` may be a template; `certificate_type` empty or ALL: every certificate."""

    id: str
    name: str
    url: str
    kind: WebhookKind
    certificate_type: str = ""
    without_client_certificate: bool = False
    credentials: WebhookCredentials = WebhookCredentials()

    def is_for(self, kind: WebhookKind, certificate: CertificateType) -> bool:
        """A type that nobody knows matches nothing."""
        return self.kind is kind and self.certificate_type in ("", "ALL", certificate.value)


class WebhookRefused(Forbidden):
    """A webhook said no, or could not be asked. `answered` is the error object of its answer: code and message."""

    def __init__(
        self, webhook: str, detail: str, *, public: str | None, answered: tuple[str, str] | None = None
    ) -> None:
        super().__init__(detail, public=public)
        self.webhook = webhook
        self.answered = answered


def check_webhook(name: str, url: str, kind: str) -> WebhookKind:
    """The rules of an entry, in the reference's order and words. Raises `ConfigError`."""
    if not name:
        raise ConfigError("name", "webhook name is required")
    _check_url(url)
    if not kind:
        raise ConfigError("kind", "webhook kind is required")
    try:
        return WebhookKind(kind.upper())
    except ValueError:
        raise ConfigError("kind", "webhook kind is invalid") from None


def _check_url(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.netloc.rpartition("@")[2]
        _ = parts.port
    except ValueError:
        raise ConfigError("url", "webhook url is invalid") from None
    if not host or not parts.scheme or any(character in host for character in ' {}<>"\\^`|'):
        raise ConfigError("url", "webhook url is invalid")
    if parts.scheme.lower() != "https":
        raise ConfigError("url", "webhook url must use https")
    if "@" in parts.netloc:
        raise ConfigError("url", "webhook url may not contain username or password")


def parse_secret(text: str) -> Secret:
    """Standard base64 with padding. Raises `ConfigError`."""
    try:
        octets = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        octets = b""
    if not text or base64.b64encode(octets).decode() != text:
        raise ConfigError("secret", "webhook secret is not base64")
    return Secret(octets)


SIGNATURE_HEADER: Final = "X-Smallstep-Signature"
ID_HEADER: Final = "X-Smallstep-Webhook-Id"


def webhook_headers(webhook: Webhook, body: bytes, request_id: str) -> dict[str, str]:
    """Of one call, in the recorded order: whose request it is, and an HMAC-SHA256 of the exact octets."""
    headers: dict[str, str] = {"User-Agent": "Provisor"}
    credentials = webhook.credentials
    if credentials.bearer:
        headers["Authorization"] = f"Bearer {credentials.bearer.reveal().decode()}"
    elif credentials.user or credentials.password:
        pair = credentials.user.encode() + b":" + credentials.password.reveal()
        headers["Authorization"] = f"Basic {base64.b64encode(pair).decode()}"
    if request_id:
        headers["X-Request-Id"] = request_id
    headers[SIGNATURE_HEADER] = hmac.new(credentials.secret.reveal(), body, hashlib.sha256).hexdigest()
    headers[ID_HEADER] = webhook.id
    return headers


class WebhookAnswer(Struct, frozen=True):
    """`data` is any JSON value; `error` the code and message of a refusal."""

    allow: bool
    data: object = None
    error: tuple[str, str] | None = None

    @property
    def text(self) -> str:
        """What a refusal says."""
        if self.error is None:
            return "webhook server did not allow request"
        code, message = self.error
        return f"{message} ({code})"


def read_answer(value: object) -> WebhookAnswer:
    """The decoded body. Raises `ValueError` in the words of the reference's JSON reader."""
    if value is None:
        return WebhookAnswer(allow=False)
    if not isinstance(value, Mapping):
        raise ValueError(f"json: cannot unmarshal {_kind(value)} into Go value of type webhook.ResponseBody")
    members = {str(name).lower(): member for name, member in value.items()}
    allow = _member(members, "allow", bool, "bool", "") or False
    error: tuple[str, str] | None = None
    written = members.get("error")
    if isinstance(written, Mapping):
        inner = {str(name).lower(): member for name, member in written.items()}
        error = (
            _member(inner, "code", str, "string", "error.") or "",
            _member(inner, "message", str, "string", "error.") or "",
        )
    elif written is not None:
        raise ValueError(
            f"json: cannot unmarshal {_kind(written)} into Go struct field ResponseBody.error of type webhook.Error"
        )
    return WebhookAnswer(allow=bool(allow), data=members.get("data"), error=error)


def _member(members: Mapping[str, object], name: str, wanted: type[T], go: str, path: str) -> T | None:
    value = members.get(name)
    if value is None or isinstance(value, wanted):
        return value
    raise ValueError(
        f"json: cannot unmarshal {_kind(value)} into Go struct field ResponseBody.{path}{name} of type {go}"
    )


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, str):
        return "string"
    if isinstance(value, int | float):
        return "number"
    return "array" if isinstance(value, list | tuple) else "object"
