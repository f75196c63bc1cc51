"""Names a certificate can hold, and telling from a string which kind of name it is.

The rules are those of the reference (core-api 4.3): first match wins, nothing is validated. The URL
grammar is spelt out here because it decides between kinds: `a.b:80` is a URI, `1a:80` a DNS name.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct


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

_SCHEME: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_USERINFO: Final = re.compile(rb"[A-Za-z0-9\-._:~!$&'()*+,;=%@]*")
_PORT: Final = re.compile(rb"(:[0-9]*)?")
_BAD_HOST: Final = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>\"%\x80-\xff]|%(?!25)[0-7]")

_WORD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
_PATH: Final = frozenset(_WORD + b"$&+,/:;=@")
_WRITTEN_PATH: Final = frozenset(_WORD + b"$&+,/:;=@!'()*[]%")
_FRAGMENT: Final = frozenset(_WORD + b"$&+,/:;=?@!()*")
_WRITTEN_FRAGMENT: Final = frozenset(_WORD + b"$&+,/:;=?@!'()*[]%")
_HOST: Final = frozenset(_WORD + b"!$&'()*+,;=:[]<>\"")
_USER: Final = frozenset(_WORD + b"$&+,;=")


def canonical_uri(text: str) -> str:
    """The URI in its serialised form, "" when `text` is no URL or has no scheme."""
    if ":" not in text:
        return ""
    whole, _, fragment = text.encode("utf-8", "surrogatepass").partition(b"#")
    scheme = _SCHEME.match(whole)
    if not scheme or _CONTROL.search(whole) or _BAD_ESCAPE.search(fragment):
        return ""
    path, question, query = whole[scheme.end() :].partition(b"?")
    start = scheme[1].lower() + b":"
    if path.startswith(b"/"):
        hierarchy = _hierarchy(path)
        if hierarchy is None:
            return ""
        start += hierarchy
    else:
        start += path
    if query or question:
        start += b"?" + query
    if fragment:
        start += b"#" + _rewritten(fragment, _WRITTEN_FRAGMENT, _FRAGMENT)
    return start.decode("utf-8", "replace")


def _hierarchy(path: bytes) -> bytes | None:
    """Authority and path, None when either is malformed."""
    authority = b""
    slashes = b""
    if path.startswith(b"//"):
        end = path.find(b"/", 2)
        authority, path = (path[2:], b"") if end < 0 else (path[2:end], path[end:])
        slashes = b"//" if authority or path else b""
    written = _authority(authority)
    if written is None or _BAD_ESCAPE.search(path):
        return None
    return slashes + written + _rewritten(path, _WRITTEN_PATH, _PATH)


def _authority(authority: bytes) -> bytes | None:
    userinfo, at, host = authority.rpartition(b"@")
    if _BAD_ESCAPE.search(userinfo) or not _USERINFO.fullmatch(userinfo) or not _is_host(host):
        return None
    written = _escaped(unquote_to_bytes(host), _HOST)
    if not at:
        return written
    user, colon, password = userinfo.partition(b":")
    return _escaped(unquote_to_bytes(user), _USER) + colon + _escaped(unquote_to_bytes(password), _USER) + at + written


def _is_host(host: bytes) -> bool:
    if host.startswith(b"["):
        literal, bracket, port = host[1:].rpartition(b"]")
        address, percent, _ = literal.partition(b"%25")
        if not bracket or (b"%" in address) or (percent and _BAD_ESCAPE.search(literal)):
            return False
        return bool(_PORT.fullmatch(port)) and _is_ipv6(address)
    name, colon, port = host.partition(b":")
    return bool(_PORT.fullmatch(colon + port)) and not _BAD_ESCAPE.search(name) and not _BAD_HOST.search(name)


def _is_ipv6(address: bytes) -> bool:
    try:
        ipaddress.IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return b"%" not in address


def _rewritten(part: bytes, as_written: frozenset[int], plain: frozenset[int]) -> bytes:
    """The part as it was written if that needs no escaping, else unescaped and escaped afresh."""
    return part if as_written.issuperset(part) else _escaped(unquote_to_bytes(part), plain)


def _escaped(octets: bytes, plain: frozenset[int]) -> bytes:
    if plain.issuperset(octets):
        return octets
    return b"".join(bytes((octet,)) if octet in plain else b"%%%02X" % octet for octet in octets)
