"""Names a certificate can hold, and telling from a string which kind of name it is.

The rules are those of the reference (core-api 4.3): first match wins, nothing is validated. The grammar
of URLs decides between kinds: `a.b:80` is a URI, `1a:80` a DNS name.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from provisor.core.url import URLError, parse_url


class NameKind(enum.StrEnum):
    DNS = "dns"
    IP = "ip"
    EMAIL = "email"
    URI = "uri"


class Name(Struct, frozen=True, order=True):
    """One subject alternative name. An IP address is in canonical text, everything else as it came."""

    kind: NameKind
    value: str


def classify_san(text: str) -> Name | None:
    """The name a string stands for, None for the empty string: an IP address, a URI, an email or a DNS name."""
    if not text:
        return None
    if ":" not in text and text[0] not in "0123456789.":
        return Name(
            NameKind.EMAIL if "@" in text else NameKind.DNS, text
        )  # neither an address nor a URI can be like it
    if address := parse_ip(text):
        return Name(NameKind.IP, address)
    if uri := canonical_uri(text):
        return Name(NameKind.URI, uri)
    return Name(NameKind.EMAIL if "@" in text else NameKind.DNS, text)


def classify_sans(texts: Iterable[str]) -> tuple[Name, ...]:
    """All names in the order dns, ip, email, uri; the order within a kind and duplicates are kept."""
    names = [name for text in texts if (name := classify_san(text))]
    if len(names) == 1:
        return (names[0],)
    return tuple(name for kind in NameKind for name in names if name.kind is kind)


def split_kinds(names: Iterable[Name]) -> dict[NameKind, list[str]]:
    """The values of each kind, in their order. Every kind is there."""
    kinds: dict[NameKind, list[str]] = {kind: [] for kind in NameKind}
    for name in names:
        kinds[name.kind].append(name.value)
    return kinds


_IPV4: Final = re.compile(r"[0-9.]+")
_IPV6: Final = re.compile(r"[0-9A-Fa-f:.]+")


def parse_ip(text: str) -> str:
    """The canonical text of an IP address, "" if it is none. An IPv4 address in IPv6 form becomes IPv4."""
    try:
        if _IPV4.fullmatch(text):
            return str(ipaddress.IPv4Address(text))
        if ":" in text and _IPV6.fullmatch(text):
            address = ipaddress.IPv6Address(text)
            return str(address.ipv4_mapped or address)
    except ValueError:
        pass
    return ""


def split_host_port(text: str) -> tuple[str, str]:
    """Host and port of `host:port`, `[::1]:port` or `:port`. Raises `ValueError`."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("missing port in address")
    if host.startswith("["):
        if not host.endswith("]"):
            raise ValueError("missing ']' in address")
        host = host[1:-1]
    elif ":" in host:
        raise ValueError("too many colons in address")
    if set(host + port) & {"[", "]"}:
        raise ValueError("unexpected bracket in address")
    return host, port


# -- URI -----------------------------------------------------------------------------------------


def canonical_uri(text: str) -> str:
    """The URI in its serialised form, "" when `text` is no URL or has no scheme."""
    if ":" not in text:
        return ""
    try:
        url = parse_url(text)
    except URLError:
        return ""
    return str(url).encode("utf-8", "surrogateescape").decode("utf-8", "replace") if url.scheme else ""
