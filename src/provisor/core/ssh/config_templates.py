"""Templates of SSH configuration files, for clients and hosts (templates 3.6): their rules, and what they render."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from msgspec import Struct

from provisor.core.ssh.template_data import public_key
from provisor.core.template.evaluator import Template
from provisor.core.template.library import CONFIGURATION_FUNCTIONS
from provisor.core.template.limits import World
from provisor.core.template.values import Value
from provisor.errors import BadRequest, ConfigError

TYPES: Final = ("snippet", "prepend-line", "file", "directory")
RESERVED: Final = ("Step", "User")
_INCLUDES: Final = "step_includes.tpl"
_VERSION: Final = "StepSSHTemplateVersion"
_STEP_PATH: Final = "${STEPPATH}/"


class ConfigTemplate(Struct, frozen=True):
    """One file of a configuration. `template` is the path of its text, empty for a directory."""

    name: str
    type: str
    path: str
    template: str = ""
    comment: str = ""
    requires: tuple[str, ...] = ()


class ConfigFile(Struct, frozen=True):
    """What a client makes of it; `content` None for a directory, and for a file of nothing."""

    name: str
    type: str
    path: str
    comment: str
    content: bytes | None


class SSHKeys(Struct, frozen=True):
    """Public keys of the CA in SSH's form; the federated ones are those of others."""

    host: bytes | None = None
    user: bytes | None = None
    host_federated: tuple[bytes, ...] = ()
    user_federated: tuple[bytes, ...] = ()


def check_template(template: ConfigTemplate) -> None:
    """Raises `ConfigError`, in the words of the reference."""
    if not template.name:
        raise ConfigError("", "template name cannot be empty")
    if template.type not in TYPES:
        raise ConfigError(
            "", f"invalid template type {template.type}, it must be snippet, prepend-line, file, or directory"
        )
    if template.type == "directory" and template.template:
        raise ConfigError("", "template template must be empty with directory type")
    if template.type != "directory" and not template.template:
        raise ConfigError("", "template template cannot be empty")
    if not template.path:
        raise ConfigError("", "template path cannot be empty")


def check_data(data: Mapping[str, object]) -> None:
    """Raises `ConfigError` for names that the CA fills itself."""
    for name in RESERVED:
        if name in data:
            raise ConfigError("", f"templates variables cannot contain '{name}' as a property")


def render_config(
    templates: Sequence[tuple[ConfigTemplate, str]],
    data: Mapping[str, Value],
    keys: SSHKeys,
    user: Mapping[str, str],
    world: World,
) -> list[ConfigFile]:
    """Every template with its text, about the CA's keys and what the client said.

    Raises `BadRequest` for a value that is required and not there, and the errors of templates.
    """
    seen: dict[str, Value] = {**data, "Step": {"SSH": _keys(keys)}}
    if user:
        seen["User"] = dict(user)
    return [_render(template, text, seen, user, world) for template, text in templates]


def _keys(keys: SSHKeys) -> dict[str, Value]:
    return {
        "HostKey": None if keys.host is None else public_key(keys.host),
        "UserKey": None if keys.user is None else public_key(keys.user),
        "HostFederatedKeys": [public_key(blob) for blob in keys.host_federated],
        "UserFederatedKeys": [public_key(blob) for blob in keys.user_federated],
    }


def _render(
    template: ConfigTemplate, text: str, data: dict[str, Value], user: Mapping[str, str], world: World
) -> ConfigFile:
    for name in template.requires:
        if name not in user:
            raise BadRequest(f"required variable '{name}' is missing, please use `--set <key=value>` flag")
    kind, path = template.type, template.path
    if template.name == _INCLUDES and _VERSION not in user:
        # step-ca: clients from before there were such lines
        kind, path = "file", path.removeprefix(_STEP_PATH)
    content = None
    if template.type != "directory":
        rendered = Template(text, CONFIGURATION_FUNCTIONS).render(data, world)
        content = rendered.encode("utf-8", "surrogateescape") or None
    return ConfigFile(template.name, kind, path, template.comment, content)
