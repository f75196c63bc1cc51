"""What the flags of `ca provisioner add` and `update` make of a provisioner's entry, for every type."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Callable, Mapping, Sequence
from typing import Final
from urllib.parse import urlsplit

from provisor.cli import exits, files
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.provisioning import bundles, jwk_keys, nebula
from provisor.cli.provisioning.entry import Entry
from provisor.cli.provisioning.flags import DURATIONS, SWITCHES
from provisor.cli.provisioning.scep import apply_scep, given
from provisor.core.durations import format_duration, parse_duration

_CHALLENGES: Final = ("http-01", "dns-01", "tls-alpn-01", "device-attest-01")
_FORMATS: Final = ("apple", "step", "tpm")
_CHALLENGE_OPTIONS: Final = "http-01, dns-01, tls-alpn-01 and device-attest-01"
_FORMAT_OPTIONS: Final = "apple, step, and tpm"


class TemplateData:
    """The content of a file that has to be JSON; looked at only when the configuration is written."""

    def __init__(self, content: bytes) -> None:
        self.content = content


def complete_new(call: Call, entry: Entry) -> None:
    """A new entry as the flags want it. Raises `CommandError`."""
    for flag, reason in _REQUIRED.get(entry.kind.name, {}).items():
        if not call.text(flag) and not (flag == "public-key" and call.text("pem-keys")):
            raise CommandError(f"'--type {reason or call.text('type')}' requires the '--{flag}' flag")
    for member in _LISTS_OF_NEW.get(entry.kind.name, ()):
        entry.put(member, [])
    if entry.kind.name == "JWK":
        jwk_keys.add_keys(call, entry)
    else:
        _APPLY[entry.kind.name](call, entry)
    _apply_templates(call, entry)
    # `--ssh` is on for what is added, whatever the server thinks of an entry that does not say
    entry.claims["enableSSHCA"] = True
    _apply_claims(call, entry, always=("ssh",))


def complete_changed(call: Call, entry: Entry) -> None:
    """An entry as the flags that are set want it. Raises `CommandError`."""
    if call.is_set("name"):
        entry.name = call.text("name")
    _apply_templates(call, entry)
    _apply_claims(call, entry)
    if entry.kind.name == "JWK":
        jwk_keys.update_keys(call, entry)
    else:
        _APPLY[entry.kind.name](call, entry)


_REQUIRED: Final[Mapping[str, Mapping[str, str]]] = {
    "OIDC": {"client-id": "", "configuration-endpoint": ""},
    "X5C": {"x5c-roots": "x5c"},
    "Nebula": {"nebula-root": "nebula"},
    "K8sSA": {"public-key": "k8sSA"},
    "Azure": {"azure-tenant": ""},
}
"""Flags that a new provisioner needs, and how the text spells the type; empty: as the command line does."""

_LISTS_OF_NEW: Final = {"AWS": ("accounts",), "Azure": ("resourceGroups", "subscriptionIDs", "objectIDs")}


# -- what every type has ---------------------------------------------------------------------------


def _apply_templates(call: Call, entry: Entry) -> None:
    """The content of the files; an empty name takes the template or the data away."""
    for kind in ("x509", "ssh"):
        options = entry.options[kind]
        assert isinstance(options, dict)
        for flag, member in ((f"{kind}-template", "template"), (f"{kind}-template-data", "templateData")):
            if not call.is_set(flag):
                continue
            options.pop(member, None)
            if member == "template":
                options.pop("templateFile", None)
            content = files.read_file(call.text(flag)).removeprefix(BOM_UTF8) if call.text(flag) else b""
            if content:
                options[member] = content.decode(errors="replace") if member == "template" else TemplateData(content)


def _apply_claims(call: Call, entry: Entry, always: Sequence[str] = ()) -> None:
    for flag, claim in DURATIONS.items():
        if call.is_set(flag):
            entry.claims[claim] = format_duration(parse_duration(call.text(flag)))
    for flag, claim in SWITCHES.items():
        if call.is_set(flag) or flag in always:
            entry.claims[claim] = call.switch(flag)


def _apply_texts(call: Call, entry: Entry, members: Mapping[str, str]) -> None:
    for flag, member in members.items():
        if call.is_set(flag):
            entry.put(member, call.text(flag))


def _apply_switches(call: Call, entry: Entry, members: Mapping[str, str]) -> None:
    for flag, member in members.items():
        if call.is_set(flag):
            entry.put(member, call.switch(flag))


def _apply_lists(call: Call, entry: Entry, members: Mapping[str, str]) -> None:
    """Removals first, then additions."""
    for flag, member in members.items():
        removed = call.texts(f"remove-{flag}") if call.has(f"remove-{flag}") else ()
        if removed or call.is_set(flag):
            entry.put(member, _without(entry.texts(member), removed) + (given(call, flag) if call.has(flag) else []))


def _without(values: list[str], removed: Sequence[str]) -> list[str]:
    """The last value takes the place of one that goes. step-ca: leaves all but the first of several equal ones."""
    for value in removed:
        while value in values:
            values[values.index(value)] = values[-1]
            values.pop()
    return values


# -- the types -------------------------------------------------------------------------------------


def _apply_oidc(call: Call, entry: Entry) -> None:
    if call.is_set("configuration-endpoint"):
        endpoint = call.text("configuration-endpoint")
        if not endpoint:
            raise CommandError("missing value for flag '--configuration-endpoint'")
        if not _is_web_address(endpoint):
            raise exits.invalid_value(endpoint, "configuration-endpoint")
    _apply_texts(
        call,
        entry,
        {
            "client-id": "clientID",
            "client-secret": "clientSecret",
            "configuration-endpoint": "configurationEndpoint",
            "tenant-id": "tenantID",
            "listen-address": "listenAddress",
        },
    )
    lists = {"admin": "admins", "domain": "domains", "group": "groups"}
    if call.has("scope"):
        lists |= {"scope": "scopes", "auth-param": "authParams"}
    _apply_lists(call, entry, lists)


def _is_web_address(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    if any(character < " " or character == "\x7f" for character in url) or " " in parts.netloc:
        return False
    return parts.scheme in ("http", "https")


def _apply_x5c(call: Call, entry: Entry) -> None:
    if call.is_set("x5c-roots"):
        entry.put("roots", bundles.x5c_roots(call.text("x5c-roots")))


def _apply_nebula(call: Call, entry: Entry) -> None:
    if call.is_set("nebula-root"):
        entry.put("roots", nebula.nebula_roots(call.text("nebula-root")))


def _apply_k8ssa(call: Call, entry: Entry) -> None:
    for flag in ("public-key", "pem-keys"):
        if call.has(flag) and call.is_set(flag):
            entry.put("publicKeys", bundles.public_keys(call.text(flag)))


def _apply_nothing(call: Call, entry: Entry) -> None:
    """A type without members of its own."""


def _apply_acme(call: Call, entry: Entry) -> None:
    _apply_words(call, entry, "challenge", "challenges", _CHALLENGES, _CHALLENGE_OPTIONS)
    _apply_words(call, entry, "attestation-format", "attestationFormats", _FORMATS, _FORMAT_OPTIONS)
    if call.is_set("attestation-roots"):
        entry.put("attestationRoots", bundles.attestation_roots(call.texts("attestation-roots")))
    _apply_switches(call, entry, {"force-cn": "forceCN", "require-eab": "requireEAB"})


def _apply_words(call: Call, entry: Entry, flag: str, member: str, known: Sequence[str], options: str) -> None:
    """A list whose words are known, in any case; nothing stands in it twice."""
    removed = _words(call, f"remove-{flag}", known, options) if call.has(f"remove-{flag}") else []
    added = _words(call, flag, known, options)
    if removed or added:
        kept = [word for word in entry.texts(member) if word not in removed]
        entry.put(member, list(dict.fromkeys([*kept, *added])))


def _words(call: Call, flag: str, known: Sequence[str], options: str) -> list[str]:
    words = []
    for value in given(call, flag):
        if not value:
            raise CommandError(f"missing value for flag '--{flag}'; options are {options}")
        if value.lower() not in known:
            raise exits.invalid_value(value, flag, options)
        words.append(value.lower())
    return words


_MACHINE: Final = {"disable-custom-sans": "disableCustomSANs", "disable-trust-on-first-use": "disableTrustOnFirstUse"}


def _apply_aws(call: Call, entry: Entry) -> None:
    _refuse_ssh_switches(call, "AWS")
    _apply_lists(call, entry, {"aws-account": "accounts"})
    _apply_switches(call, entry, _MACHINE)
    _apply_age(call, entry)


def _apply_gcp(call: Call, entry: Entry) -> None:
    _apply_lists(call, entry, {"gcp-service-account": "serviceAccounts", "gcp-project": "projectIDs"})
    _apply_texts(call, entry, {"gcp-organization": "organizationID"})
    if entry.text("organizationID") and entry.texts("projectIDs"):
        raise exits.incompatible_flags("gcp-organization", "gcp-project")
    switches = {"disable-ssh-ca-user": "disableSSHCAUser", "disable-ssh-ca-host": "disableSSHCAHost"}
    _apply_switches(call, entry, _MACHINE | switches)
    _apply_age(call, entry)


def _apply_azure(call: Call, entry: Entry) -> None:
    _refuse_ssh_switches(call, "Azure")
    _apply_texts(call, entry, {"azure-tenant": "tenantID", "azure-audience": "audience"})
    _apply_lists(
        call,
        entry,
        {
            "azure-resource-group": "resourceGroups",
            "azure-subscription-id": "subscriptionIDs",
            "azure-object-id": "objectIDs",
        },
    )
    _apply_switches(call, entry, _MACHINE)


def _refuse_ssh_switches(call: Call, kind: str) -> None:
    for flag in ("disable-ssh-ca-user", "disable-ssh-ca-host"):
        if call.is_set(flag):
            raise CommandError(f"flag {flag} is not supported for {kind} IID provisioners")


def _apply_age(call: Call, entry: Entry) -> None:
    if call.is_set("instance-age"):
        age = parse_duration(call.text("instance-age"))
        if age < 0:
            raise CommandError("flag '--instance-age' must be greater than or equal to 0s")
        entry.put("instanceAge", format_duration(age))


_APPLY: Final[Mapping[str, Callable[[Call, Entry], None]]] = {
    "OIDC": _apply_oidc,
    "X5C": _apply_x5c,
    "Nebula": _apply_nebula,
    "K8sSA": _apply_k8ssa,
    "SSHPOP": _apply_nothing,
    "ACME": _apply_acme,
    "SCEP": apply_scep,
    "AWS": _apply_aws,
    "GCP": _apply_gcp,
    "Azure": _apply_azure,
}
