"""URLs as the reference's library reads and writes them (RFC 3986, with its own tolerance).

The grammar is spelt out here because it decides: `a.b:80` is a URL with a scheme, `1a:80` is none.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import unquote_to_bytes

from msgspec import Struct
from msgspec.structs import replace

from provisor.core.text import go_quoted

_WORD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~"
_PATH: Final = frozenset(_WORD + b"$&+,/:;=@")
_WRITTEN_PATH: Final = frozenset(_WORD + b"$&+,/:;=@!'()*[]%")
_FRAGMENT: Final = frozenset(_WORD + b"$&+,/:;=?@!()*")
_WRITTEN_FRAGMENT: Final = frozenset(_WORD + b"$&+,/:;=?@!'()*[]%")
_HOST: Final = frozenset(_WORD + b"!$&'()*+,;=:[]<>\"")
_USER: Final = frozenset(_WORD + b"$&+,;=")

_SCHEME: Final = re.compile(rb"([A-Za-z][A-Za-z0-9+.\-]*):")
_CONTROL: Final = re.compile(rb"[\x00-\x1f\x7f]")
_BAD_ESCAPE: Final = re.compile(rb"%(?![0-9A-Fa-f]{2})")
_USERINFO: Final = re.compile(rb"[A-Za-z0-9\-._~:!$&'()*+,;=%@]*")
_PORT: Final = re.compile(rb"(:[0-9]*)?")
_BAD_HOST: Final = re.compile(rb"[^A-Za-z0-9\-._~!$&'()*+,;=:\[\]<>\"%\x80-\xff]|%(?!25)[0-7].")


class URLError(ValueError):
    """Not a URL. The text names it and what is wrong, as the reference's does."""


class URL(Struct, frozen=True):
    """A URL in parts, without their escapes. `host` holds the port too.

    `written_path` and `written_fragment` are how they stood in the text; "" leaves that to `str()`.
    """

    scheme: str = ""
    opaque: str = ""
    user: str | None = None
    password: str | None = None
    host: str = ""
    path: str = ""
    query: str = ""
    fragment: str = ""
    written_path: str = ""
    written_fragment: str = ""
    omits_host: bool = False
    ends_in_question: bool = False

    @property
    def hostname(self) -> str:
        host = self._split()[0]
        return host[1:-1] if host.startswith("[") and host.endswith("]") else host

    @property
    def port(self) -> str:
        return self._split()[1]

    def _split(self) -> tuple[str, str]:
        host, colon, port = self.host.rpartition(":")
        return (host, port) if colon and (not port or port.isdecimal()) else (self.host, "")

    @property
    def user_text(self) -> str | None:
        """User and password, escaped; None without a user."""
        if self.user is None:
            return None
        text = _escaped(_octets(self.user), _USER)
        return text if self.password is None else f"{text}:{_escaped(_octets(self.password), _USER)}"

    @property
    def escaped_path(self) -> str:
        return self.written_path or ("*" if self.path == "*" else _escaped(_octets(self.path), _PATH))

    @property
    def escaped_fragment(self) -> str:
        return self.written_fragment or _escaped(_octets(self.fragment), _FRAGMENT)

    def __str__(self) -> str:
        text = f"{self.scheme}:" if self.scheme else ""
        if self.opaque:
            text += self.opaque
        else:
            user = self.user_text
            has_authority = bool(self.host) or user is not None
            if (self.scheme or has_authority) and not (self.omits_host and not has_authority):
                text += "//" if has_authority or self.path else ""
                text += f"{user}@" if user is not None else ""
                text += _escaped(_octets(self.host), _HOST)
            path = self.escaped_path
            if path and not path.startswith("/") and self.host:
                text += "/"
            if not text and ":" in path.partition("/")[0]:
                text += "./"
            text += path
        if self.query or self.ends_in_question:
            text += f"?{self.query}"
        return f"{text}#{self.escaped_fragment}" if self.fragment else text


def parse_url(text: str) -> URL:
    """The parts of a URL, absolute or not. Raises `URLError`."""
    data = _octets(text)
    whole, mark, fragment = data.partition(b"#")
    try:
        url = _parse(whole)
    except URLError as error:
        raise URLError(f"parse {go_quoted(_text(whole))}: {error}") from None
    if not mark or not fragment:
        return url
    try:
        _check_escapes(fragment)
    except URLError as error:
        raise URLError(f"parse {go_quoted(text)}: {error}") from None
    written = _text(fragment) if _WRITTEN_FRAGMENT.issuperset(fragment) else ""
    return replace(url, fragment=_text(unquote_to_bytes(fragment)), written_fragment=written)


def _parse(data: bytes) -> URL:
    if _CONTROL.search(data):
        raise URLError("net/url: invalid control character in URL")
    if data == b"*":
        return URL(path="*")
    if data.startswith(b":"):
        raise URLError("missing protocol scheme")
    match = _SCHEME.match(data)
    scheme, rest = (_text(match[1].lower()), data[match.end() :]) if match else ("", data)
    ends_in_question = rest.endswith(b"?") and rest.count(b"?") == 1
    rest, _, query = rest.partition(b"?")
    parts = {"scheme": scheme, "query": _text(query), "ends_in_question": ends_in_question}
    if not rest.startswith(b"/"):
        if scheme:
            return URL(opaque=_text(rest), **parts)  # type: ignore[arg-type]
        if b":" in rest.partition(b"/")[0]:
            raise URLError("first path segment in URL cannot contain colon")
    authority: dict[str, str | None] = {}
    omits_host = False
    if rest.startswith(b"//") and (scheme or not rest.startswith(b"///")):
        end = rest.find(b"/", 2)
        name, rest = (rest[2:], b"") if end < 0 else (rest[2:end], rest[end:])
        authority = _authority(name)
    elif scheme and rest.startswith(b"/"):
        omits_host = True
    _check_escapes(rest)
    written = _text(rest) if _WRITTEN_PATH.issuperset(rest) else ""
    return URL(path=_text(unquote_to_bytes(rest)), written_path=written, omits_host=omits_host, **authority, **parts)  # type: ignore[arg-type]


def _authority(authority: bytes) -> dict[str, str | None]:
    userinfo, at, host = authority.rpartition(b"@")
    found: dict[str, str | None] = {"host": _host(host)}
    if at:
        if not _USERINFO.fullmatch(userinfo):
            raise URLError("net/url: invalid userinfo")
        _check_escapes(userinfo)
        user, colon, password = userinfo.partition(b":")
        found["user"] = _text(unquote_to_bytes(user))
        found["password"] = _text(unquote_to_bytes(password)) if colon else None
    return found


def _host(host: bytes) -> str:
    if host.startswith(b"["):
        literal, bracket, port = host[1:].rpartition(b"]")
        if not bracket:
            raise URLError("missing ']' in host")
        _check_port(port)
        address, percent, _ = literal.partition(b"%25")
        if percent:
            _check_escapes(literal)
        if not _is_ipv6(address):
            raise URLError("invalid host: not an IPv6 address")
        return _text(unquote_to_bytes(host))
    name, colon, port = host.partition(b":")
    _check_port(colon + port)
    _check_escapes(name)
    bad = _BAD_HOST.search(host)
    if bad:
        if bad[0].startswith(b"%"):
            raise URLError(f"invalid URL escape {go_quoted(_text(bad[0][:3]))}")
        raise URLError(f"invalid character {go_quoted(_text(bad[0]))} in host name")
    return _text(unquote_to_bytes(host))


def _check_port(port: bytes) -> None:
    if not _PORT.fullmatch(port):
        raise URLError(f"invalid port {go_quoted(_text(port))} after host")


def _check_escapes(part: bytes) -> None:
    bad = _BAD_ESCAPE.search(part)
    if bad:
        raise URLError(f"invalid URL escape {go_quoted(_text(part[bad.start() : bad.start() + 3]))}")


def _is_ipv6(address: bytes) -> bool:
    try:
        ipaddress.IPv6Address(address.decode("ascii"))
    except ValueError:
        return False
    return b"%" not in address


def _octets(text: str) -> bytes:
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _escaped(octets: bytes, plain: frozenset[int]) -> str:
    if plain.issuperset(octets):
        return octets.decode("ascii")
    return "".join(chr(octet) if octet in plain else f"%{octet:02X}" for octet in octets)
