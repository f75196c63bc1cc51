"""The address of a CA, in the one form that requests, tokens and files use."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import msgspec

from provisor.errors import BadRequest

_SCHEME = re.compile(r"^([A-Za-z][A-Za-z0-9+.-]*)://")
_HOST = re.compile(r"^[^\s/\\@?#%\[\]:]+$|^[0-9A-Fa-f:.]+(%25?[\w.-]+)?$")


class CAAddress(msgspec.Struct, frozen=True):
    """`host` without brackets; `port` is 443 when the text has none, and then not part of `url`."""

    host: str
    port: int
    url: str

    def __str__(self) -> str:
        return self.url


def parse_ca_url(text: str) -> CAAddress:
    """`https://host[:port]` of a text that may lack the scheme; path and query are dropped.

    Raises `BadRequest` for another scheme (`must have https scheme`), user information or no host.
    """
    scheme = _SCHEME.match(text)
    if scheme and scheme[1].lower() != "https":
        raise BadRequest("must have https scheme")
    rest = text[scheme.end() :] if scheme else text
    if rest.count(":") > 1 and not rest.startswith("["):
        rest = f"[{rest}]"  # a bare IPv6 address
    try:
        parts = urlsplit(f"https://{rest}")
        host, port = parts.hostname or "", parts.port
    except ValueError as error:
        raise BadRequest("invalid URL") from error
    if parts.username is not None or not _HOST.match(host) or port == 0:
        raise BadRequest("invalid URL")
    shown = f"[{host}]" if ":" in host else host
    return CAAddress(host, port or 443, f"https://{shown}" if port is None else f"https://{shown}:{port}")
