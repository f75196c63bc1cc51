"""Is a token meant for this CA, and for this operation of it?

Two audiences are the same if they are equal, or equal as URLs once the port is dropped: a client
writes the port it was given, the CA knows its names only. Nothing else is folded.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple
from urllib.parse import quote, unquote_to_bytes

_URL = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\x00-\x20\x7f]*)(/[^?#]*)?(\?[^#]*)?(?:#(.*))?", re.DOTALL)
_HOST_PORT = re.compile(r"(\[[^\[\]@]*\]|[^\[\]:@]*)(?::[0-9]*)?")
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
# Signs that stand as they are in a path or a fragment (RFC 3986 section 3.3 and 3.5); the rest is escaped.
_PLAIN_SIGNS = "!$&'()*+,;=:@/[]-._~"


class _URLParts(NamedTuple):
    """`query` keeps its question mark."""

    scheme: str
    host: str
    path: str
    query: str
    fragment: str


def audiences_match(aud: Iterable[str], accepted: Iterable[str]) -> bool:
    """Whether any of `aud` is any of `accepted`. An empty list on either side matches nothing."""
    known = tuple(accepted)
    forms: frozenset[str] | None = None
    for value in aud:
        if value in known:
            return True
        if forms is None:
            forms = _forms(known)
        if without_port(value) in forms:
            return True
    return False


def without_port(value: str) -> str:
    """The URL without its port, path and fragment escaped in one way; what is no such URL stays as it is."""
    url = _split(value)
    if url is None:
        return value
    rest = _escaped(url.path) + url.query + (f"#{_escaped(url.fragment, extra='?')}" if url.fragment else "")
    return f"{url.scheme}://{url.host}{rest}"


def fragment_of(aud: Iterable[str]) -> str:
    """The decoded fragment of the first audience that is a URL with one: the id of the provisioner it names."""
    for value in aud:
        url = _split(value) if "#" in value else None
        if url is not None and url.fragment:
            # "+" is a plus sign here, not a space.
            return unquote_to_bytes(url.fragment).decode(errors="replace")
    return ""


def _split(value: str) -> _URLParts | None:
    found = None if _CONTROL.search(value) else _URL.fullmatch(value)
    if found is None:
        return None
    scheme, authority, path, query, fragment = found.groups(default="")
    host = _HOST_PORT.fullmatch(authority)
    if host is None or "%" in authority or _BAD_ESCAPE.search(path) or _BAD_ESCAPE.search(fragment):
        return None
    return _URLParts(scheme.lower(), host[1], path, query, fragment)


@lru_cache(maxsize=256)
def _forms(accepted: tuple[str, ...]) -> frozenset[str]:
    """The accepted list comes from the configuration, so that remembering it costs no stranger anything."""
    return frozenset(map(without_port, accepted))


def _escaped(part: str, extra: str = "") -> str:
    """Kept as written if it is properly escaped already, else escaped anew."""
    safe = _PLAIN_SIGNS + extra
    if quote(part, safe=safe + "%") == part:
        return part
    return quote(unquote_to_bytes(part), safe=safe.replace("[", "").replace("]", ""))
