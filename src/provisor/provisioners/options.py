"""The rules that any kind of provisioner may have: template, webhooks, policy, and who may ask for explanations."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from provisor.core.policy import NO_POLICIES, Policies, PolicyError, read_policies
from provisor.core.secret import Secret
from provisor.core.template.values import Value, from_plain
from provisor.core.webhook import Webhook, WebhookCredentials, check_webhook, parse_secret
from provisor.errors import ConfigError
from provisor.wire.gojson import canonical_members


class TemplateSource(Struct, frozen=True):
    """Where the text of a template comes from: `text`, or the file at `path`.

    `text` None and no `path`: none was written. A blank one is a template too, of nothing. `data` is merged over the
    data of the provisioner. `fault` is what stops every use of it, as the reference finds out only when a certificate
    is asked for.
    """

    text: str | None = None
    path: str = ""
    data: Mapping[str, Value] | None = None
    fault: str = ""

    @property
    def is_custom(self) -> bool:
        """Whether the operator wrote a template; data alone fills the built-in one."""
        return self.text is not None or bool(self.path)


class Options(Struct, frozen=True):
    x509: TemplateSource | None = None
    ssh: TemplateSource | None = None
    webhooks: tuple[Webhook, ...] = ()
    policies: Policies = NO_POLICIES
    explain: bool = False


NO_OPTIONS: Final = Options()
_OWN: Final = ("policy", "webhooks", "explain")


def read_options(raw: Mapping[str, object]) -> Options:
    """The members `options` and `provisor` of a provisioner. Raises `ConfigError`."""
    members = canonical_members(raw, ("options", "provisor"))
    own = members.get("provisor")
    if own is not None and not isinstance(own, Mapping):
        raise ConfigError("provisor", "provisor must be an object")
    own = own or {}
    unknown = next((name for name in own if name not in _OWN), None)
    if unknown is not None:
        raise ConfigError(f"provisor.{unknown}", f"unknown member 'provisor.{unknown}' of a provisioner")
    options = members.get("options")
    parts = canonical_members(options, ("x509", "ssh", "webhooks")) if isinstance(options, Mapping) else {}
    explain = own.get("explain", False)
    if not isinstance(explain, bool):
        raise ConfigError("provisor.explain", "provisor.explain must be true or false")
    if not (parts or own):
        return NO_OPTIONS
    return Options(
        x509=_template(parts.get("x509")),
        ssh=_template(parts.get("ssh")),
        webhooks=_webhooks(parts.get("webhooks"), own.get("webhooks")),
        policies=_policies(own.get("policy")),
        explain=explain,
    )


def _policies(value: object) -> Policies:
    try:
        return read_policies(value)
    except PolicyError as error:
        raise ConfigError("provisor.policy", str(error)) from error


def _template(value: object) -> TemplateSource | None:
    if not isinstance(value, Mapping):
        return None
    members = canonical_members(value, ("template", "templateFile", "templateData"))
    text = str(members.get("template") or "") or None
    path = str(members.get("templateFile") or "")
    written = members.get("templateData")
    if not (text or path or written is not None):
        return None
    data, fault = None, ""
    if isinstance(written, Mapping):
        try:
            data = from_plain(dict(written))
        except ValueError as error:
            fault = f"error unmarshaling template data: {error}"
    elif written is not None:
        fault = "error unmarshaling template data: it is not an object"
    if text is not None and not (text := text.strip()).startswith("{"):
        try:
            octets = base64.b64decode(text.replace("\r", "").replace("\n", ""), validate=True)
            text = octets.decode("utf-8", "surrogateescape")
        except ValueError as error:
            fault = fault or f"error decoding template: {error}"
    return TemplateSource(text, "" if text is not None else path, data, fault)


def _webhooks(value: object, credentials: object) -> tuple[Webhook, ...]:
    secrets = credentials if isinstance(credentials, Mapping) else {}
    if credentials is not None and not isinstance(credentials, Mapping):
        raise ConfigError("provisor.webhooks", "provisor.webhooks must be an object of webhook names")
    hooks = [_webhook(entry, secrets) for entry in value] if isinstance(value, list) else []
    known = {key for hook in hooks for key in (hook.id, hook.name)}
    stray = next((name for name in secrets if name not in known), None)
    if stray is not None:
        raise ConfigError(f"provisor.webhooks.{stray}", f"provisor.webhooks.{stray}: there is no such webhook")
    return tuple(hooks)


_WEBHOOK_MEMBERS: Final = ("id", "name", "url", "kind", "disableTLSClientAuth", "certType")


def _webhook(entry: object, secrets: Mapping[str, object]) -> Webhook:
    if not isinstance(entry, Mapping):
        raise ConfigError("options.webhooks", "a webhook must be an object")
    members = canonical_members(entry, _WEBHOOK_MEMBERS)
    name, url, kind = (str(members.get(key) or "") for key in ("name", "url", "kind"))
    checked = check_webhook(name, url, kind)
    identifier = str(members.get("id") or "")
    return Webhook(
        id=identifier,
        name=name,
        url=url,
        kind=checked,
        certificate_type=str(members.get("certType") or ""),
        without_client_certificate=bool(members.get("disableTLSClientAuth")),
        credentials=_credentials(secrets.get(identifier, secrets.get(name)), name),
    )


_CREDENTIALS: Final = ("secret", "bearerToken", "basicAuth")


def _credentials(value: object, name: str) -> WebhookCredentials:
    if value is None:
        return WebhookCredentials()
    where = f"provisor.webhooks.{name}"
    if not isinstance(value, Mapping):
        raise ConfigError(where, f"{where} must be an object")
    unknown = next((member for member in value if member not in _CREDENTIALS), None)
    if unknown is not None:
        raise ConfigError(where, f"{where}: unknown member {unknown!r}")
    secret = parse_secret(str(value["secret"])) if value.get("secret") else Secret("")
    basic = value.get("basicAuth") or {}
    if not isinstance(basic, Mapping):
        raise ConfigError(where, f"{where}.basicAuth must be an object with username and password")
    return WebhookCredentials(
        secret=secret,
        bearer=Secret(str(value.get("bearerToken") or "")),
        user=str(basic.get("username") or ""),
        password=Secret(str(basic.get("password") or "")),
    )
