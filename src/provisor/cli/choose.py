"""Which provisioner makes the token (cli-admin 6.1)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import msgspec

from provisor.cli import exits, output, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.wire.provisioners import KINDS


class Choice(msgspec.Struct, frozen=True):
    """A provisioner that can be chosen. `kind` is the canonical spelling of its type; `raw` is what the CA shows."""

    kind: str
    name: str
    raw: Mapping[str, object]

    @property
    def key_id(self) -> str:
        """Of a JWK provisioner's key; "" for others."""
        key = self.raw.get("key")
        return str(key.get("kid", "")) if self.kind == "JWK" and isinstance(key, Mapping) else ""

    @property
    def label(self) -> str:
        """`you@example.com (JWK) [kid: KID]`"""
        label = f"{self.name} ({self.kind})"
        match self.kind:
            case "JWK":
                return f"{label} [kid: {self.key_id}]"
            case "OIDC":
                return f"{label} [client: {self.raw.get('clientID', '')}]"
            case "Azure":
                return f"{label} [tenant: {self.raw.get('tenantID', '')}]"
            case _:
                return label


def read_choices(provisioners: Iterable[Mapping[str, object]]) -> tuple[Choice, ...]:
    """The provisioners of known type, in the CA's order."""
    found = []
    for raw in provisioners:
        kind = KINDS.get(str(raw.get("type", "")).lower())
        if kind is not None:
            found.append(Choice(kind=kind.name, name=str(raw.get("name", "")), raw=raw))
    return tuple(found)


def narrow(call: Call, choices: Sequence[Choice]) -> tuple[Choice, ...]:
    """What the flags `--kid` and `--provisioner` leave; at least one. Raises `CommandError`."""
    left = tuple(choices)
    if not left:
        raise CommandError("cannot create a new token: the CA does not have any provisioner configured")
    if call.has("kid") and (key_id := call.text("kid")):
        left = tuple(one for one in left if key_id in (one.key_id, one.raw.get("clientID") or None))
        if not left:
            raise exits.invalid_value(key_id, "kid")
    if call.has("provisioner") and (name := call.text("provisioner")):
        left = tuple(one for one in left if one.name == name)
        if not left:
            raise exits.invalid_value(name, "provisioner")
    return left


def choose(call: Call, choices: Sequence[Choice]) -> Choice:
    """The provisioner to use, shown as `✔ Provisioner: LABEL`; of several the person at the terminal chooses."""
    left = narrow(call, choices)
    if len(left) == 1:
        output.done("Provisioner", left[0].label)
        return left[0]
    labels = [one.label for one in left]
    flag = "provisioner" if call.has("provisioner") else "token"
    return left[prompt.select("What provisioner key do you want to use?", labels, name="Provisioner", flag=flag)]
