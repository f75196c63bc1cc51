"""How a provisioner is shown to the public: which members, in which order, and what is always there.

One table for the server's `/provisioners` and the client's `ca provisioner list` (provisioners 1.1).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from provisor.core.claims import CLAIM_MEMBERS
from provisor.core.durations import format_duration, parse_duration
from provisor.wire.gojson import canonical_members

REDACTED: Final = "*** REDACTED ***"
REDACTED_BASE64: Final = "KioqIFJFREFDVEVEICoqKg=="


class Kind(Struct, frozen=True):
    """A provisioner type: its spelling, its number in certificates, and its members.

    `members` in the order they are served. A value in `always` is served when the member is absent;
    members not in it are left out when empty, those in `kept` only when absent.
    """

    name: str
    number: int
    members: tuple[str, ...]
    always: Mapping[str, object] = {}
    kept: tuple[str, ...] = ()

    def token_id(self, name: str, raw: Mapping[str, object]) -> str:
        """Where tokens for a provisioner of this kind are looked up (provisioners 1.3)."""
        match self.name:
            case "JWK":
                key = raw.get("key")
                return f"{name}:{key.get('kid', '') if isinstance(key, Mapping) else ''}"
            case "OIDC":
                return str(raw.get("clientID") or "")
            case "Azure":
                return str(raw.get("tenantID") or "")
            case "K8sSA":
                return "k8ssa/k8sSA-default"
            case _:
                return f"{self.name.lower()}/{name}"


_CUSTOM_SANS: Final = ("disableCustomSANs", "disableTrustOnFirstUse")
_TAIL: Final = ("claims", "options")

KINDS: Final[Mapping[str, Kind]] = {
    kind.name.lower(): kind
    for kind in (
        Kind("JWK", 1, ("key", "encryptedKey", *_TAIL)),
        Kind(
            "OIDC",
            2,
            (
                *("clientID", "clientSecret", "configurationEndpoint", "tenantID", "admins", "domains", "groups"),
                *("listenAddress", *_TAIL, "scopes", "authParams"),
            ),
            {"clientID": "", "clientSecret": "", "configurationEndpoint": ""},
        ),
        Kind(
            "GCP",
            3,
            (
                *("serviceAccounts", "projectIDs", "organizationID", *_CUSTOM_SANS),
                *("disableSSHCAUser", "disableSSHCAHost", "instanceAge", *_TAIL),
            ),
            {"disableCustomSANs": False, "disableTrustOnFirstUse": False, "instanceAge": "0s"},
            ("disableSSHCAUser", "disableSSHCAHost"),
        ),
        Kind(
            "AWS",
            4,
            ("accounts", *_CUSTOM_SANS, "imdsVersions", "instanceAge", "iidRoots", *_TAIL),
            {
                "accounts": None,
                "disableCustomSANs": False,
                "disableTrustOnFirstUse": False,
                "imdsVersions": ["v2", "v1"],
                "instanceAge": "0s",
            },
        ),
        Kind(
            "Azure",
            5,
            ("tenantID", "resourceGroups", "subscriptionIDs", "objectIDs", "audience", *_CUSTOM_SANS, *_TAIL),
            {
                "tenantID": "",
                "resourceGroups": None,
                "subscriptionIDs": None,
                "objectIDs": None,
                "disableCustomSANs": False,
                "disableTrustOnFirstUse": False,
            },
        ),
        Kind(
            "ACME",
            6,
            (
                *("forceCN", "termsOfService", "website", "caaIdentities", "requireEAB", "challenges"),
                *("attestationFormats", "attestationRoots", *_TAIL),
            ),
        ),
        Kind("X5C", 7, ("roots", *_TAIL), {"roots": None}),
        Kind("K8sSA", 8, ("publicKeys", *_TAIL)),
        Kind("SSHPOP", 9, ("claims",)),
        Kind(
            "SCEP",
            10,
            (
                *("forceCN", "challenge", "capabilities", "includeRoot", "excludeIntermediate"),
                *("minimumPublicKeyLength", "decrypterCertificate", "decrypterKeyPEM", "decrypterKey"),
                *("decrypterKeyPassword", "encryptionAlgorithmIdentifier", "options", "claims"),
            ),
            {
                "forceCN": False,
                "challenge": REDACTED,
                "includeRoot": False,
                "excludeIntermediate": False,
                "minimumPublicKeyLength": 0,
                "decrypterCertificate": REDACTED_BASE64,
                "decrypterKeyPEM": REDACTED_BASE64,
                "decrypterKey": REDACTED,
                "decrypterKeyPassword": REDACTED,
                "encryptionAlgorithmIdentifier": 0,
            },
        ),
        Kind("Nebula", 11, ("roots", *_TAIL), {"roots": None}),
    )
}

_SECRET: Final = frozenset(
    {"challenge", "decrypterCertificate", "decrypterKeyPEM", "decrypterKey", "decrypterKeyPassword"}
)

_CLAIMS: Final = tuple(CLAIM_MEMBERS.values())

_WEBHOOK: Final = ("id", "name", "url", "kind", "disableTLSClientAuth", "certType")


def public_form(kind: Kind, spelling: str, name: str, raw: Mapping[str, object]) -> dict[str, object]:
    """The object the public sees: no policy, no secret, no member of ours, durations in Go form."""
    members = canonical_members(raw, kind.members)
    shown: dict[str, object] = {"type": spelling, "name": name}
    for member in kind.members:
        value = members.get(member)
        if member in _SECRET and kind.name == "SCEP":
            shown[member] = kind.always[member]
        elif member == "claims":
            if isinstance(value, Mapping):
                shown[member] = _claims(value)
        elif member == "options":
            if isinstance(value, Mapping):
                shown[member] = _options(value)
        elif member == "instanceAge":
            shown[member] = format_duration(parse_duration(value)) if isinstance(value, str) and value else "0s"
        elif value or (member in (*kind.always, *kind.kept) and value is not None):
            shown[member] = value
        elif member in kind.always:
            shown[member] = kind.always[member]
    return shown


def _claims(raw: Mapping[str, object]) -> dict[str, object]:
    claims = canonical_members(raw, _CLAIMS)
    return {
        name: format_duration(parse_duration(value)) if isinstance(value, str) else value
        for name in _CLAIMS
        if (value := claims.get(name)) is not None
    }


def _options(raw: Mapping[str, object]) -> dict[str, object]:
    options = canonical_members(raw, ("x509", "ssh", "webhooks", "wire"))
    shown: dict[str, object] = {}
    for name in ("x509", "ssh"):
        part = options.get(name)
        if isinstance(part, Mapping):
            known = ("template", "templateFile", "templateData")
            members = canonical_members(part, known)
            shown[name] = {member: members[member] for member in known if members.get(member)}
    webhooks = options.get("webhooks")
    if isinstance(webhooks, list) and webhooks:
        shown["webhooks"] = [
            {
                member: value
                for member in _WEBHOOK
                if (value := canonical_members(hook, _WEBHOOK).get(member)) is not None
            }
            for hook in webhooks
            if isinstance(hook, Mapping)
        ]
    if options.get("wire"):
        shown["wire"] = options["wire"]
    return shown
