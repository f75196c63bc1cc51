"""A provisioner's object in ca.json while a command makes or changes it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from provisor.core.claims import CLAIM_MEMBERS, ClaimSettings
from provisor.core.durations import format_duration, parse_duration
from provisor.wire.gojson import canonical_members, fold
from provisor.wire.provisioners import KINDS, Kind

AZURE_AUDIENCE: Final = "https://management.azure.com/"
IMDS_VERSIONS: Final = ("v2", "v1")
SCEP_KEY_LENGTH: Final = 2048

_CLAIMS: Final = tuple(CLAIM_MEMBERS.values())
_OPTIONS: Final = ("x509", "ssh", "webhooks", "wire")
_TEMPLATE: Final = ("template", "templateFile", "templateData")

_NO_CUSTOM_SANS: Final = {"disableCustomSANs": False, "disableTrustOnFirstUse": False}
_WRITTEN: Final[Mapping[str, Mapping[str, object]]] = {
    "OIDC": {"clientID": "", "clientSecret": "", "configurationEndpoint": ""},
    "GCP": {**_NO_CUSTOM_SANS, "disableSSHCAUser": True, "disableSSHCAHost": False, "instanceAge": "0s"},
    "AWS": {"accounts": None, **_NO_CUSTOM_SANS, "imdsVersions": [], "instanceAge": "0s"},
    "Azure": {"tenantID": "", "resourceGroups": None, "subscriptionIDs": None, "objectIDs": None, **_NO_CUSTOM_SANS},
    "X5C": {"roots": None},
    "Nebula": {"roots": None},
}
"""What stands for a member that is not there. Every other member is left out when it is empty."""

_FILLED: Final[Mapping[str, Mapping[str, object]]] = {
    "AWS": {"imdsVersions": list(IMDS_VERSIONS)},
    "Azure": {"audience": AZURE_AUDIENCE},
    "SCEP": {"minimumPublicKeyLength": SCEP_KEY_LENGTH},
}
"""What stands for an empty value."""


class Entry:
    """Members in the order they are written; those nobody knows stay behind them.

    `claims` and the objects in `options` may be changed as they are. `previous_name` is the one it has in the file.
    """

    def __init__(self, kind: Kind, name: str, raw: Mapping[str, object] | None = None) -> None:
        raw = raw or {}
        self.kind = kind
        self.name = self.previous_name = name
        self._known = ("type", "name", *kind.members)
        self._members = canonical_members(raw, self._known)
        self._others = _others(raw, self._known)
        self.claims = _claims(self._members.get("claims"))
        self.options = _options(self._members.get("options"))

    @classmethod
    def of(cls, raw: Mapping[str, object]) -> Entry | None:
        """The entry of an object in ca.json; None for a type this version does not know."""
        head = canonical_members(raw, ("type", "name"))
        kind = KINDS.get(str(head.get("type") or "").lower())
        return None if kind is None else cls(kind, str(head.get("name") or ""), raw)

    def get(self, member: str) -> object:
        """The value as it is, None when absent."""
        return self._members.get(member)

    def text(self, member: str) -> str:
        """A string; "" when absent."""
        value = self._members.get(member)
        return value if isinstance(value, str) else ""

    def number(self, member: str) -> int:
        """An integer; 0 when absent."""
        value = self._members.get(member)
        return value if isinstance(value, int) else 0

    def texts(self, member: str) -> list[str]:
        """A list of strings; empty when absent."""
        value = self._members.get(member)
        return [str(element) for element in value] if isinstance(value, list) else []

    def put(self, member: str, value: object) -> None:
        """Replace a member."""
        self._members[member] = value

    def drop(self, member: str) -> None:
        """Take a member away."""
        self._members.pop(member, None)

    def members(self) -> dict[str, object]:
        """The object for ca.json."""
        written: dict[str, object] = {"type": self.kind.name.upper(), "name": self.name}
        for member in self.kind.members:
            match member:
                case "claims":
                    written["claims"] = _ordered(self.claims, _CLAIMS)
                case "options":
                    written["options"] = {
                        name: _ordered(value, _TEMPLATE) if isinstance(value, dict) else value
                        for name, value in _ordered(self.options, _OPTIONS).items()
                    }
                case _:
                    self._write(written, member)
        return written | self._others

    def _write(self, written: dict[str, object], member: str) -> None:
        value = self._members.get(member)
        if member == "instanceAge" and isinstance(value, str) and value:
            value = format_duration(parse_duration(value))
        always = _WRITTEN.get(self.kind.name, {})
        if value is None:
            value = always.get(member)
        value = value or _FILLED.get(self.kind.name, {}).get(member, value)
        if value or member in always:
            written[member] = value


def _others(raw: Mapping[str, object], known: Sequence[str]) -> dict[str, object]:
    folded = {fold(name) for name in known}
    return {name: value for name, value in raw.items() if fold(name) not in folded}


def _ordered(members: Mapping[str, object], known: Sequence[str]) -> dict[str, object]:
    first = {name: members[name] for name in known if members.get(name) is not None}
    return first | {name: value for name, value in members.items() if name not in known}


def _claims(raw: object) -> dict[str, object]:
    """With durations in canonical form, and all four switches."""
    if not isinstance(raw, Mapping):
        raw = {}
    switches: dict[str, object] = {claim: False for claim in _CLAIMS if not claim.endswith("Duration")}
    return switches | ClaimSettings.from_members(raw).to_members() | _others(raw, _CLAIMS)


def _options(raw: object) -> dict[str, object]:
    """With an object for each kind of template."""
    if not isinstance(raw, Mapping):
        raw = {}
    options = canonical_members(raw, _OPTIONS)
    for name in ("x509", "ssh"):
        part = options.get(name)
        part = part if isinstance(part, Mapping) else {}
        known = {member: value for member, value in canonical_members(part, _TEMPLATE).items() if value}
        options[name] = known | _others(part, _TEMPLATE)
    return options | _others(raw, _OPTIONS)
