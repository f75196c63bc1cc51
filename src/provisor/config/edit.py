"""Editing the provisioners of a ca.json that stays as its owner wrote it otherwise (cli-admin 8.1).

Functions take a document as `load_config` gives it and return a new one. Unlike the reference they
keep members they do not know and the order of all members.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from provisor.config import defaults
from provisor.config.ca_json import AUTHORITY_MEMBERS, TOP_MEMBERS
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, ClaimsError, ClaimSettings, merge
from provisor.core.durations import format_duration
from provisor.errors import ConfigError, Conflict, NotFound
from provisor.wire.gojson import canonical_members, encode_config, fold
from provisor.wire.provisioners import KINDS

Document = Mapping[str, object]


def add_provisioner(document: Document, entry: Document) -> dict[str, object]:
    """The document with `entry` behind its provisioners.

    Raises `Conflict` when its name or token id is taken, `ConfigError` when its claims contradict the authority's.
    """
    check_addition(document, entry)
    check_claims(document, entry, adding(entry))
    return _with_entries(document, [*_entries(document), dict(entry)])


def update_provisioner(document: Document, name: str, entry: Document) -> dict[str, object]:
    """The document with `entry` in the place of the provisioner called `name`, whose name and token id may change.

    Raises `NotFound`, `ConfigError` when its claims contradict the authority's, and `Conflict` when the new name or
    token id is another's.
    """
    entries = _entries(document)
    at = _place(entries, name)
    check_claims(document, entry, updating(entry))
    # step-ca: finds no provisioner under a new name or id, so that in ca.json nothing can be renamed or get a new key
    doing = f"error updating provisioner: error updating provisioner '{_name(entry)}' in authority cache"
    _check_free([*entries[:at], *entries[at + 1 :]], entry, doing)
    return _with_entries(document, [*entries[:at], dict(entry), *entries[at + 1 :]])


def remove_provisioner(document: Document, name: str) -> dict[str, object]:
    """The document without the provisioner called `name`. Raises `NotFound`."""
    entries = _entries(document)
    at = _place(entries, name)
    return _with_entries(document, [*entries[:at], *entries[at + 1 :]])


def find_provisioner(document: Document, name: str) -> dict[str, object] | None:
    """The JSON object of the provisioner called `name`; types this version does not know count too."""
    return next((entry for entry in _entries(document) if _name(entry) == name), None)


def get_provisioner(document: Document, name: str) -> dict[str, object]:
    """As `find_provisioner`. Raises `NotFound`."""
    entries = _entries(document)
    return entries[_place(entries, name)]


def encode_document(document: Document) -> bytes:
    """The octets to write: indented by tabs, a newline at the end, defaults spelt out."""
    return encode_config(_materialised(document)) + b"\n"


# -- the rules -----------------------------------------------------------------------------------


def _place(entries: Sequence[Document], name: str) -> int:
    for at, entry in enumerate(entries):
        if name and _name(entry) == name:
            return at
    text = f"error loading provisioner: provisioner {name} not found"
    if not name:
        text = "provisioner options must define either ID or Name to remove"
    raise NotFound(text, public=text)


def adding(entry: Document) -> str:
    """What the text of a refused addition begins with."""
    return f'error storing provisioner: error validating configuration for provisioner "{_name(entry)}"'


def updating(entry: Document) -> str:
    """What the text of a refused change begins with."""
    return f"error updating provisioner: error initializing provisioner {_name(entry)}"


def check_addition(document: Document, entry: Document) -> None:
    """Raises `Conflict` when the name or the token id of a new provisioner is taken."""
    _check_free(_entries(document), entry, "error storing provisioner")


def _check_free(entries: Sequence[Document], entry: Document, doing: str) -> None:
    name, token_id = _name(entry), _token_id(entry)
    if any(_name(other) == name for other in entries):
        _refuse(f"{doing}: provisioner with name {name} already exists")
    if token_id is not None and any(_token_id(other) == token_id for other in entries):
        _refuse(f"{doing}: provisioner with token ID {token_id} already exists")


def _refuse(text: str) -> None:
    raise Conflict(text, public=text)


def check_claims(document: Document, entry: Document, doing: str) -> None:
    """Raises `ConfigError`, `doing` in front, when the claims of `entry` contradict those of the authority."""
    own = canonical_members(entry, ("claims",)).get("claims")
    inherited = load_config(encode_config(document)).config.authority.claims
    try:
        parent = merge(BUILT_IN, inherited)
    except ClaimsError as error:
        where = f"{doing.partition(':')[0]}: error generating provisioner config"
        raise ConfigError("", f"{where}: claims: {error}") from error
    try:
        merge(parent, ClaimSettings.from_members(own, path="claims") if isinstance(own, Mapping) else None)
    except ClaimsError as error:
        raise ConfigError("", f"{doing}: claims: {error}") from error


def _name(entry: Document) -> str:
    return str(canonical_members(entry, ("name",)).get("name") or "")


def _token_id(entry: Document) -> str | None:
    """None for a type this version does not know."""
    kind = KINDS.get(str(canonical_members(entry, ("type",)).get("type") or "").lower())
    return kind.token_id(_name(entry), canonical_members(entry, kind.members)) if kind else None


# -- the document --------------------------------------------------------------------------------


def _key(document: Document, name: str) -> str:
    """How the member is written; the last of several counts."""
    return next((written for written in reversed(list(document)) if fold(written) == fold(name)), name)


def _entries(document: Document) -> list[dict[str, object]]:
    """The provisioners that are objects; others cannot be started from anyway."""
    authority = document.get(_key(document, "authority"))
    if not isinstance(authority, Mapping):
        return []
    entries = authority.get(_key(authority, "provisioners"))
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _with_entries(document: Document, entries: list[dict[str, object]]) -> dict[str, object]:
    key = _key(document, "authority")
    authority = document.get(key)
    inner = dict(authority) if isinstance(authority, Mapping) else {}
    inner = _set(inner, AUTHORITY_MEMBERS, "provisioners", entries)
    return _set(dict(document), TOP_MEMBERS, "authority", inner)


def _set(members: Document, order: Sequence[str], name: str, value: object) -> dict[str, object]:
    """The members with `name` replaced in its place, or put behind the last member that stands before it in `order`."""
    key = _key(members, name)
    if key in members:
        return {written: value if written == key else member for written, member in members.items()}
    earlier = {fold(other) for other in order[: order.index(name)]}
    written = list(members)
    at = max((index + 1 for index, other in enumerate(written) if fold(other) in earlier), default=0)
    items = list(members.items())
    return dict([*items[:at], (name, value), *items[at:]])


def _materialised(document: Document) -> dict[str, object]:
    top = dict(document)
    tls: dict[str, object] = {
        "cipherSuites": list(defaults.CIPHER_SUITES),
        "minVersion": defaults.MIN_VERSION,
        "maxVersion": defaults.MAX_VERSION,
        "renegotiation": False,
    }
    for name, value in (
        ("dnsNames", list(defaults.DNS_NAMES)),
        ("authority", {}),
        ("tls", tls),
        ("commonName", defaults.COMMON_NAME),
    ):
        if top.get(_key(top, name)) is None:
            top = _set(top, TOP_MEMBERS, name, value)
    authority = top[_key(top, "authority")]
    if isinstance(authority, Mapping):
        inner = dict(authority)
        for name, value in (("template", {}), ("backdate", format_duration(defaults.BACKDATE))):
            if inner.get(_key(inner, name)) is None:
                inner = _set(inner, AUTHORITY_MEMBERS, name, value)
        top = _set(top, TOP_MEMBERS, "authority", inner)
    return top
