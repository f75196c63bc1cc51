"""Key references: `scheme:name=value;name=value?name=value`, and which kind of store they mean."""

from __future__ import annotations

import enum
import re
from collections.abc import Mapping
from urllib.parse import unquote_plus

from msgspec import Struct

from provisor.errors import ConfigError

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*):(.*)", re.DOTALL)
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")


class KMSKind(enum.StrEnum):
    """Every `kms.type` of the reference."""

    SOFT = "softkms"
    GOOGLE = "cloudkms"
    AWS = "awskms"
    AZURE = "azurekms"
    PKCS11 = "pkcs11"
    YUBIKEY = "yubikey"
    TPM = "tpmkms"
    SSH_AGENT = "sshagentkms"
    CAPI = "capi"
    MAC = "mackms"
    PLATFORM = "kms"


class KeyURI(Struct, frozen=True):
    """A reference taken apart. `opaque` is what follows the scheme, up to the question mark.

    `attributes` are decoded; the ones before the question mark win, and so does the first of a name.
    """

    scheme: str
    opaque: str
    attributes: Mapping[str, str]

    def text(self, name: str) -> str:
        """An attribute, empty when absent."""
        return self.attributes.get(name, "")

    def flag(self, name: str) -> bool:
        """Whether an attribute says `true`, in any case."""
        return self.text(name).lower() == "true"

    def octets(self, name: str) -> bytes:
        """A hexadecimal attribute; `0x` in front and colons between are tolerated. Raises `ConfigError`."""
        value = self.text(name)
        try:
            return bytes.fromhex(value.removeprefix("0x").replace(":", ""))
        except ValueError as problem:
            raise ConfigError("kms", f"{name} of the {self.scheme} URI is not hexadecimal") from problem


def parse_uri(text: str) -> KeyURI:
    """A key or KMS URI. Raises `ConfigError` if there is no scheme or an escape is broken."""
    found = _SCHEME.fullmatch(text)
    if found is None:
        raise ConfigError("kms", f"'{text}' is not a URI: scheme missing")
    if _BAD_ESCAPE.search(text):
        raise ConfigError("kms", f"'{text}' is not a URI: % is followed by two hexadecimal digits")
    opaque, _, query = found[2].partition("?")
    attributes: dict[str, str] = {}
    for pair in (*opaque.split(";"), *query.split("&")):
        name, sign, value = pair.partition("=")
        if sign:
            attributes.setdefault(unquote_plus(name), unquote_plus(value))
    return KeyURI(found[1].lower(), opaque, attributes)


def find_kind(scheme: str) -> KMSKind | None:
    """The kind of store a word means, in any case; None if there is no such kind."""
    try:
        return KMSKind(scheme.lower())
    except ValueError:
        return None


def kind_of(kind: str, uri: str) -> KMSKind:
    """What `kms.type` and `kms.uri` choose together: the type, else the URI's scheme, else key files.

    Raises `ConfigError` for a kind that does not exist.
    """
    word = kind or (parse_uri(uri).scheme if uri else KMSKind.SOFT.value)
    found = find_kind(word)
    if found is None:
        raise ConfigError("kms", f"unsupported kms type {word}")
    return found


def file_path(reference: str) -> str:
    """The path of a key file: the reference itself, `file:` with a path, or a `softkms:` URI.

    Raises `ConfigError` if it names a key in another kind of store.
    """
    found = _SCHEME.fullmatch(reference)
    scheme = found[1].lower() if found else ""
    if scheme == "file":
        # RFC 8089: an authority may stand before the path, and here it can only be this machine.
        path = parse_uri(reference).opaque
        return unquote_plus(path.removeprefix("//localhost").removeprefix("//").replace("+", "%2B"))
    if scheme == KMSKind.SOFT:
        uri = parse_uri(reference)
        return uri.text("path") or unquote_plus(uri.opaque)
    if scheme and find_kind(scheme):
        raise ConfigError("kms", f"key '{reference}' is in {scheme}, which is not supported by this version")
    return reference
