"""The members of every kind of provisioner and their JSON types (provisioners 1.1).

Only the types are checked here: whether a value makes sense is the provisioner's own business, and a
fault there disables one provisioner, while a wrong type makes the whole file unreadable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from provisor.config.members import Members
from provisor.core.claims import CLAIM_MEMBERS, ClaimsError, ClaimSettings, json_kind

_TEXT: Final = "string"
_TEXTS: Final = "[]string"
_FLAG: Final = "bool"
_NUMBER: Final = "int"
_DURATION: Final = "duration"
_OCTETS: Final = "[]uint8"
_JWK: Final = "jose.rawJSONWebKey"

_IDENTITY_DOCUMENT: Final = {"disableCustomSANs": _FLAG, "disableTrustOnFirstUse": _FLAG}

KIND_MEMBERS: Final[Mapping[str, Mapping[str, str]]] = {
    "JWK": {"key": _JWK, "encryptedKey": _TEXT},
    "OIDC": {
        "clientID": _TEXT,
        "clientSecret": _TEXT,
        "configurationEndpoint": _TEXT,
        "tenantID": _TEXT,
        "admins": _TEXTS,
        "domains": _TEXTS,
        "groups": _TEXTS,
        "listenAddress": _TEXT,
        "scopes": _TEXTS,
        "authParams": _TEXTS,
    },
    "GCP": {
        "serviceAccounts": _TEXTS,
        "projectIDs": _TEXTS,
        "organizationID": _TEXT,
        **_IDENTITY_DOCUMENT,
        "disableSSHCAUser": _FLAG,
        "disableSSHCAHost": _FLAG,
        "instanceAge": _DURATION,
    },
    "AWS": {
        "accounts": _TEXTS,
        **_IDENTITY_DOCUMENT,
        "imdsVersions": _TEXTS,
        "instanceAge": _DURATION,
        "iidRoots": _TEXT,
    },
    "Azure": {
        "tenantID": _TEXT,
        "resourceGroups": _TEXTS,
        "subscriptionIDs": _TEXTS,
        "objectIDs": _TEXTS,
        "audience": _TEXT,
        **_IDENTITY_DOCUMENT,
    },
    "ACME": {
        "forceCN": _FLAG,
        "termsOfService": _TEXT,
        "website": _TEXT,
        "caaIdentities": _TEXTS,
        "requireEAB": _FLAG,
        "challenges": _TEXTS,
        "attestationFormats": _TEXTS,
        "attestationRoots": _OCTETS,
    },
    "X5C": {"roots": _OCTETS},
    "K8sSA": {"publicKeys": _OCTETS},
    "SSHPOP": {},
    "SCEP": {
        "forceCN": _FLAG,
        "challenge": _TEXT,
        "capabilities": _TEXTS,
        "includeRoot": _FLAG,
        "excludeIntermediate": _FLAG,
        "minimumPublicKeyLength": _NUMBER,
        "decrypterCertificate": _OCTETS,
        "decrypterKeyPEM": _OCTETS,
        "decrypterKey": _TEXT,
        "decrypterKeyPassword": _TEXT,
        "encryptionAlgorithmIdentifier": _NUMBER,
    },
    "Nebula": {"roots": _OCTETS},
}

CLAIM_NAMES: Final = tuple(CLAIM_MEMBERS.values())

CANONICAL_KINDS: Final[Mapping[str, str]] = {kind.lower(): kind for kind in KIND_MEMBERS}


_COMMON: Final = ("type", "name", "claims", "options", "policy", "provisor")
_TEMPLATE: Final = ("template", "templateFile", "templateData")
_OPTIONS: Final[Mapping[str, tuple[str, tuple[str, ...]]]] = {
    "x509": ("X509Options", (*_TEMPLATE, "allow", "deny", "allowWildcardNames")),
    "ssh": ("SSHOptions", (*_TEMPLATE, "user", "host")),
}


def check_types(entry: Members, kind: str) -> None:
    """Reports members of the wrong JSON type as unreadable, and warns of members nobody knows."""
    for member, type_name in KIND_MEMBERS[kind].items():
        _check_type(entry, member, type_name)
    if entry.mapping("policy", "policy.Options"):
        text = "a policy is not read here, and nothing enforces it; move it to provisor.policy of the provisioner"
        entry.faults.doubtful(entry.at("policy"), text)
    read_claims(entry)
    if kind != "SSHPOP":
        _check_options(entry)
    entry.warn_unknown((*_COMMON, *KIND_MEMBERS[kind]))


def read_claims(members: Members) -> ClaimSettings | None:
    """The object `claims` among `members`, None when it is absent or unreadable (then it is reported)."""
    claims = members.child("claims", "provisioner.Claims")
    if claims is None:
        return None
    claims.warn_unknown(CLAIM_NAMES)
    try:
        return ClaimSettings.from_members(claims.raw, path=claims.path)
    except ClaimsError as error:
        claims.unreadable(error.member, str(error))
    return None


def _check_type(entry: Members, member: str, type_name: str) -> None:
    match type_name:
        case "string":
            entry.text(member)
        case "bool":
            entry.flag(member)
        case "int":
            entry.number(member)
        case "[]string":
            entry.texts(member)
        case "duration":
            entry.duration(member)
        case "[]uint8":
            if (at := illegal_base64(entry.text(member))) is not None:
                entry.unreadable(member, f"illegal base64 data at input byte {at}")
        case _:
            value = entry.get(member)
            if value is not None and not isinstance(value, dict):
                entry.unreadable(member, f"json: cannot unmarshal {json_kind(value)} into Go value of type {type_name}")


def _check_options(entry: Members) -> None:
    options = entry.child("options", "provisioner.Options")
    if options is None:
        return
    for name, (go, known) in _OPTIONS.items():
        part = options.child(name, f"provisioner.{go}")
        if part is not None:
            part.text("template")
            part.text("templateFile")
            part.warn_unknown(known)
        if part is not None:
            _warn_of_policy(part, name)
    options.mappings("webhooks", "*provisioner.Webhook")
    options.mapping("wire", "wire.Options")
    options.warn_unknown(("x509", "ssh", "webhooks", "wire"))


_POLICY: Final[Mapping[str, tuple[str, ...]]] = {
    "x509": ("allow", "deny", "allowWildcardNames"),
    "ssh": ("user", "host"),
}


def _warn_of_policy(part: Members, name: str) -> None:
    """step-ca: rules of a provisioner in ca.json are read nowhere, and nobody is told."""
    for member in _POLICY[name]:
        if part.get(member):
            where = f"provisor.policy.{name}.{member}"
            text = f"a policy is not read here, and nothing enforces it; move it to {where} of the provisioner"
            part.faults.doubtful(part.at(member), text)


_BASE64: Final = re.compile(r"[A-Za-z0-9+/]*")


def illegal_base64(text: str) -> int | None:
    """Where `text` stops being padded base64 (line breaks apart), None when it is."""
    places = [place for place, character in enumerate(text) if character not in "\r\n"]
    compact = "".join(text[place] for place in places)
    plain = _BASE64.match(compact)
    digits = plain.end() if plain else 0
    padding = "=" * (-digits % 4) if digits % 4 != 1 else ""
    legal = digits
    for wanted in padding:
        if compact[legal : legal + 1] != wanted:
            break
        legal += 1
    if legal == len(compact) and legal % 4 == 0:
        return None
    return places[legal] if legal < len(places) else len(text)
