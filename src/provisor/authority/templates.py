"""Templates of provisioners: their text, from ca.json or a file, and what they render (templates 1.1, 2.4).

A file is looked at for every certificate: an edit acts at once, and a file that is missing is an error then.
"""

from __future__ import annotations

import os
import stat
import zoneinfo
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, tzinfo
from functools import lru_cache
from pathlib import Path
from typing import Final, final

import msgspec
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

from provisor.core.grant import X509Grant
from provisor.core.identity import Identity, X509Ask
from provisor.core.template.errors import ParseError, TemplateError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import CONFIGURATION_FUNCTIONS, X509_FUNCTIONS
from provisor.core.template.values import Value, from_plain
from provisor.core.x509.defaults import LEAF
from provisor.core.x509.schema import CertificateShape, OutputError, read_certificate
from provisor.core.x509.template_data import RequestData, Subject, TemplateData, sans_of
from provisor.errors import TemplateBroken, TemplateRefused
from provisor.provisioners.options import TemplateSource

LARGEST_FILE: Final = 1 << 20
_APPLYING: Final = "error applying certificate template"


@final
class Outside:
    """What templates may use of the world: the moment of the request, randomness, time zones, new keys."""

    def __init__(self, now: datetime, random: Callable[[int], bytes]) -> None:
        self.now = now
        self.random = random

    def zone(self, name: str) -> tzinfo | None:
        return find_zone(name)

    def make_key(self, kind: str) -> object:
        return _KEYS[kind]()


@lru_cache(maxsize=128)
def find_zone(name: str) -> tzinfo | None:
    try:
        return zoneinfo.ZoneInfo(name)
    except (OSError, ValueError, zoneinfo.ZoneInfoNotFoundError):
        return None


_KEYS: Final[Mapping[str, Callable[[], object]]] = {
    "rsa": lambda: rsa.generate_private_key(65537, 4096),
    "rsa2048": lambda: rsa.generate_private_key(65537, 2048),
    "dsa": lambda: dsa.generate_private_key(2048),
    "ecdsa": lambda: ec.generate_private_key(ec.SECP256R1()),
    "ed25519": ed25519.Ed25519PrivateKey.generate,
}


@lru_cache(maxsize=256)
def compile_x509(text: str) -> Template:
    return Template(text, X509_FUNCTIONS)


@lru_cache(maxsize=256)
def compile_url(text: str) -> Template:
    return Template(text, CONFIGURATION_FUNCTIONS)


@lru_cache(maxsize=64)
def _read(path: str, _modified: int, _size: int) -> str:
    with open(path, "rb") as file:
        data = file.read(LARGEST_FILE + 1)
    if len(data) > LARGEST_FILE:
        raise OSError(f"larger than {LARGEST_FILE} bytes")
    return data.decode("utf-8", "surrogateescape")


def template_path(written: str) -> str:
    """A path of ca.json: relative ones are below the step path, unless they begin with `./` or `../`."""
    if os.path.isabs(written) or written.startswith(("./", "../")):
        return written
    base = os.environ.get("STEPPATH") or str(Path.home() / ".step")
    return os.path.join(base, written)


def load_text(source: TemplateSource) -> str:
    """The text of a template. Raises `TemplateBroken`."""
    if source.fault:
        raise TemplateBroken(f"authority.Sign: {source.fault}")
    if not source.path:
        return LEAF if source.text is None else source.text
    path = template_path(source.path)
    try:
        found = os.stat(path)
        if not stat.S_ISREG(found.st_mode):
            raise OSError("not a regular file")
        return _read(path, found.st_mtime_ns, found.st_size)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise TemplateBroken(f'authority.Sign: error reading "{source.path}": {reason}') from error


def template_data(grant: X509Grant, who: Identity, ask: X509Ask, source: TemplateSource) -> TemplateData:
    """What the template sees. The operator's data comes over the provisioner's; the request cannot be forged by it."""
    data = TemplateData({"Subject": Subject(grant.subject), "SANs": sans_of(grant.names)})
    if who.claims is not None:
        data["Token"] = from_plain(who.claims)
    if source.data:
        data.update(_copied(source.data))
    insecure = TemplateData(_object(data.get("Insecure")))
    if source.is_custom and ask.user_data is not None:
        insecure["User"] = _user_data(ask.user_data)
    insecure["CR"] = RequestData(ask.request)
    data["Insecure"] = insecure
    return data


def _object(value: Value) -> Mapping[str, Value]:
    return value if isinstance(value, dict) else {}


def _copied(data: Mapping[str, Value]) -> Mapping[str, Value]:
    """Templates may change what they see."""
    return {key: _copy(value) for key, value in data.items()}


def _copy(value: Value) -> Value:
    if type(value) is dict:
        return {key: _copy(item) for key, item in value.items()}
    return [_copy(item) for item in value] if type(value) is list else value


def _user_data(given: bytes) -> Value:
    """An object; anything else counts as an empty one."""
    try:
        value = from_plain(msgspec.json.decode(given))
    except (msgspec.DecodeError, ValueError, RecursionError):
        return {}
    return value if isinstance(value, dict) else {}


def render(text: str, data: TemplateData, outside: Outside) -> str:
    """Raises `TemplateRefused`, `TemplateBroken`."""
    try:
        return compile_x509(text).render(data, outside)
    except TemplateFailed as error:
        raise TemplateRefused(error.message) from error
    except TemplateError as error:
        what = "parsing" if isinstance(error, ParseError) else "executing"
        raise TemplateBroken(f"authority.Sign: error {what} template: {error}") from error


def shape_of(rendered: str) -> CertificateShape:
    """Raises `TemplateBroken`: with a text for the caller where the reference has one."""
    try:
        return read_certificate(rendered)
    except OutputError as error:
        where = "" if error.position is None else f" at offset {error.position + 1}"
        raise TemplateBroken(f"authority.Sign: {error}{where}", public=_APPLYING) from error


def instant(time: object) -> datetime | None:
    """A time of a template in whole seconds; the zero time means none. Raises `TemplateBroken` out of range."""
    seconds = getattr(time, "seconds", None)
    if seconds is None or seconds == _YEAR_ONE:
        return None
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise TemplateBroken("authority.Sign: a time of the template is outside the years 1 to 9999") from error


_YEAR_ONE: Final = -62135596800
