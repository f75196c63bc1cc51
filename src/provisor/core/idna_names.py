"""Domain names in ASCII, by the lookup profile of UTS #46 as the reference's library has it.

Mapping, STD3 rules, hyphens and bidirectional text are checked; the length is not, empty labels stay,
and every character that UTS #46 calls valid may stand, emoji among them.
"""

from __future__ import annotations

import re
from typing import Final

import idna

_PLAIN: Final = re.compile(r"[a-z0-9-]*(?:\.[a-z0-9-]*)*")


class IDNAError(ValueError):
    """No domain name. The text is the library's: `idna: disallowed rune U+005F`."""


def to_ascii(name: str) -> str:
    """Raises `IDNAError`."""
    if not _PLAIN.fullmatch(name) or "xn--" in name:
        name = ".".join(_label(label) for label in _mapped(name).split("."))
    for label in name.split("."):
        if not label.startswith("xn--") and (label[:1] == "-" or label[-1:] == "-" or label[2:4] == "--"):
            raise IDNAError(f'idna: invalid label "{label}"')
    return name


def _mapped(name: str) -> str:
    if name.isascii():
        mapped = name.lower()
    else:
        try:
            mapped = idna.uts46_remap(name, std3_rules=False, transitional=False)
        except idna.IDNAError:
            bad = next((character for character in name if _is_disallowed(character)), name[0])
            raise IDNAError(f"idna: disallowed rune U+{ord(bad):04X}") from None
    for character in mapped:
        if character < "\x80" and not (character.isalnum() or character in "-."):
            raise IDNAError(f"idna: disallowed rune U+{ord(character):04X}")
    return mapped


def _is_disallowed(character: str) -> bool:
    try:
        idna.uts46_remap(character, std3_rules=False, transitional=False)
    except idna.IDNAError:
        return True
    return False


def _label(label: str) -> str:
    if label.isascii():
        return _checked_punycode(label) if label.startswith("xn--") else label
    if label.startswith("xn--"):
        raise IDNAError(f'idna: invalid label "{label[4:]}"')
    _check_direction(label, label)
    _check_joiners(label)
    return "xn--" + label.encode("punycode").decode("ascii")


def _checked_punycode(label: str) -> str:
    """A label that is encoded already must be what it would be encoded to."""
    try:
        plain = label[4:].encode("ascii").decode("punycode")
    except UnicodeError:
        raise IDNAError(f'idna: invalid label "{label}"') from None
    if not plain:
        return ""
    try:
        again = idna.uts46_remap(plain, std3_rules=False, transitional=False)
    except idna.IDNAError:
        raise IDNAError(f'idna: invalid label "{label}"') from None
    if again != plain or plain.isascii():
        raise IDNAError(f'idna: invalid label "{label}"')
    _check_direction(plain, label)
    return label


def _check_direction(plain: str, shown: str) -> None:
    try:
        idna.check_bidi(plain)
    except idna.IDNABidiError:
        raise IDNAError(f'idna: invalid label "{shown}"') from None


def _check_joiners(label: str) -> None:
    """The invisible joiners stand only where a script needs them (RFC 5892 appendix A)."""
    for position, character in enumerate(label):
        if character in "\u200c\u200d":
            try:
                good = idna.valid_contextj(label, position)
            except ValueError:
                good = False
            if not good:
                raise IDNAError(f'idna: invalid label "{label}"')
