"""Strings. Lengths and positions count octets."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Mapping
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, Function, spends, takes
from provisor.core.template.limits import Budget
from provisor.core.template.numerals import quoted
from provisor.core.template.printing import as_string, to_text
from provisor.core.template.values import (
    NO_VALUE,
    Bytes,
    Map,
    Slice,
    Value,
    go_string,
    items_of,
    joined,
    octets,
    runes,
)


def string_list(items: list[str]) -> Slice:
    return Slice(items, "string")


def texts_of(budget: Budget, value: Value) -> list[str]:
    """A list's elements as text, nils left out; anything else alone, nothing for nil."""
    if value is None or value is NO_VALUE:
        return []
    if isinstance(value, list | Bytes):
        return [as_string(item, budget) for item in items_of(value) if item is not None]
    return [as_string(value, budget)]


def cut(data: bytes, start: int, end: int) -> bytes:
    """Go's `data[start:end]`. Raises `FunctionError` outside it."""
    if end > len(data):
        raise FunctionError(f"runtime error: slice bounds out of range [:{end}] with length {len(data)}")
    if start > end:
        raise FunctionError(f"runtime error: slice bounds out of range [{start}:{end}]")
    return data[start:end]


def repeated(budget: Budget, count: int, text: str) -> str:
    if count < 0:
        raise FunctionError("strings: negative Repeat count")
    budget.allocate(count * len(text))
    return text * count


def _abbreviate(text: str, offset: int, width: int) -> str:
    """At most `width` octets of text, `...` where it was cut, so that the octet at `offset` is there."""
    data = octets(text)
    if width < 4 or (offset > 0 and width < 7) or len(data) <= width:
        return text
    offset = min(offset, len(data))
    if len(data) - offset < width - 3:
        offset = len(data) - (width - 3)
    if offset <= 4:
        return go_string(data[: width - 3]) + "..."
    if offset + width - 3 < len(data):
        return "..." + _abbreviate(go_string(data[offset:]), 0, width - 3)
    return "..." + go_string(data[len(data) - (width - 3) :])


def _abbrev(width: int, text: str) -> str:
    return text if width < 4 else _abbreviate(text, 0, width)


def _abbrev_both(left: int, right: int, text: str) -> str:
    if right < 4 or (left > 0 and right < 7):
        return text
    return _abbreviate(text, left, right)


def _by_octets(text: str) -> str:
    """Each octet taken for a character."""
    return octets(text).decode("latin-1")


_SPACES: Final = frozenset(
    " \t\n\v\f\r\x85\xa0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a"
    "\u2028\u2029\u202f\u205f\u3000"
)


def is_space(character: str) -> bool:
    return character in _SPACES


def _initials(text: str) -> str:
    found: list[str] = []
    before = True
    for character in _by_octets(text):
        space = is_space(character)
        if before and not space:
            found.append(character)
        before = space
    return "".join(found)


def _without_spaces(text: str) -> str:
    """Octet by octet, each of them a character; a text without white space stays as it is."""
    kept = [character for character in _by_octets(text) if not is_space(character)]
    return text if len(kept) == len(octets(text)) else "".join(kept)


def go_upper(text: str) -> str:
    """Character by character: none becomes two."""
    return "".join(_mapped(character, str.upper) for character in runes(text))


def go_lower(text: str) -> str:
    return "".join("i" if character == "\u0130" else _mapped(character, str.lower) for character in runes(text))


def go_title_character(character: str) -> str:
    return _mapped(character, str.title)


def _mapped(character: str, change: Callable[[str], str]) -> str:
    changed = change(character)
    return changed if len(changed) == 1 else character


def _is_separator(character: str) -> bool:
    """What ends a word for `title`: no letter, digit or underscore; beyond ASCII a space."""
    if character < "\x80":
        return not (character.isalnum() or character == "_")
    if character.isalpha() or character.isdecimal():
        return False
    return is_space(character)


def _title(text: str) -> str:
    found: list[str] = []
    before = " "
    for character in runes(text):
        found.append(go_title_character(character) if _is_separator(before) else character)
        before = character
    return "".join(found)


def _untitle(text: str) -> str:
    found: list[str] = []
    before = True
    for character in runes(text):
        found.append(go_lower(character) if before else character)
        before = is_space(character)
    return "".join(found)


def _swapcase(text: str) -> str:
    found: list[str] = []
    before = True
    for character in runes(text):
        if character.isupper() or character.istitle():
            found.append(go_lower(character))
        elif character.islower():
            found.append(go_title_character(character) if before else go_upper(character))
        else:
            found.append(character)
        before = is_space(character)
    return "".join(found)


# -- words in names ------------------------------------------------------------------------------


def _camelcase(text: str) -> str:
    """`http_server` to `HttpServer`: underscores, hyphens and spaces join; leading ones stay."""
    text = runes(text)
    found: list[str] = []
    at = 0
    while at < len(text) and _is_connector(text[at]):
        found.append(text[at])
        at += 1
    if text and at == len(text):
        return text + text[-1]  # as the reference has it: of connectors alone, the last one twice
    raise_next = True
    while at < len(text):
        character = text[at]
        if _is_connector(character):
            end = at
            while end < len(text) and _is_connector(text[end]):
                end += 1
            if end == len(text):
                found.append(text[at:end])
            elif end - at > 1:
                found.append(text[at : end - 1])
            raise_next = True
            at = end
            continue
        found.append(go_upper(character) if raise_next else go_lower(character))
        raise_next = False
        at += 1
    return "".join(found)


def _is_connector(character: str) -> bool:
    return character in "_-" or is_space(character)


def _joined_words(text: str, connector: str) -> str:
    """`FirstName` to `first-name`: capitals, digits and connectors part words.

    Digits belong to the word before them (`Bld4Floor`: `bld4-floor`), unless small letters follow
    (`HTTP20xOK`: `http-20x-ok`).
    """
    words = [*_words(runes(text)), ("", "")]
    found: list[str] = []
    at = 0
    while words[at][0]:
        kind, word = words[at]
        at += 1
        if kind == "connector":
            found.append(connector * len(word))
            continue
        found.append(go_lower(word))
        if kind == "punctuation":
            continue
        if kind != "number" and words[at][0] == "number" and words[at + 1][0]:
            if words[at + 1][0] == "small":
                found.append(connector)
            found.append(words[at][1])
            kind = "number" if words[at + 1][0] == "small" else kind
            at += 1
        elif kind != "number" and words[at][0] == "number":
            found.append(words[at][1])
            break
        if kind == "number":
            while words[at][0] in ("small", "number"):
                found.append(go_lower(words[at][1]))
                at += 1
        if words[at][0] not in ("", "connector", "punctuation"):
            found.append(connector)
    return "".join(found)


def _words(text: str) -> list[tuple[str, str]]:
    """Pieces of one kind: connector, punctuation, capitals (small letters may follow one), small, number, other."""
    found: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        kind, end = _word_end(text, at)
        found.append((kind, text[at:end]))
        at = end
    return found


def _word_end(text: str, at: int) -> tuple[str, int]:
    kind = run = _kind_of(text[at])
    end = at + 1
    if kind == "capitals" and _kind_of(text[end : end + 1]) == "small":
        run = "small"
    while end < len(text) and _kind_of(text[end]) == run:
        end += 1
    if run == "capitals" and end - at > 1 and _kind_of(text[end : end + 1]) == "small":
        end -= 1
    return kind, end


def _kind_of(character: str) -> str:
    if not character:
        return ""
    if _is_connector(character):
        return "connector"
    category = unicodedata.category(character)
    if category[0] == "P":
        return "punctuation"
    if category == "Lu":
        return "capitals"
    if category[0] == "L":
        return "other" if "\u3400" <= character <= "\u4d85" or "\u4e00" <= character <= "\u9fcc" else "small"
    return "number" if category[0] == "N" else "other"


# -- lists of strings ----------------------------------------------------------------------------


def _split(separator: str, text: str) -> list[str]:
    if not separator:
        return list(runes(text))
    return [joined(part) for part in text.split(separator)]


def _numbered(parts: list[str]) -> Map:
    return Map({f"_{number}": part for number, part in enumerate(parts)}, "string")


def _splitn(separator: str, count: int, text: str) -> Map:
    if count == 0:
        return Map(element="string")
    if count < 0:
        return _numbered(_split(separator, text))
    if not separator:
        characters = runes(text)
        parts = list(characters[: count - 1])
        return _numbered([*parts, characters[len(parts) :]] if len(characters) > len(parts) or not parts else parts)
    return _numbered(text.split(separator, count - 1))


def _substr(start: int, end: int, text: str) -> str:
    data = octets(text)
    if start < 0:
        return go_string(cut(data, 0, end))
    if end < 0 or end > len(data):
        return go_string(cut(data, start, len(data)))
    return go_string(cut(data, start, end))


def _trunc(count: int, text: str) -> str:
    data = octets(text)
    if count < 0:
        return go_string(data[count:]) if len(data) + count > 0 else text
    return go_string(data[:count]) if len(data) > count else text


def _cat(budget: Budget, *values: Value) -> str:
    return " ".join(to_text(value, budget) for value in values if value is not None)


def _quote(budget: Budget, *values: Value) -> str:
    return " ".join(quoted(as_string(value, budget)) for value in values if value is not None)


def _squote(budget: Budget, *values: Value) -> str:
    return " ".join(f"'{to_text(value, budget)}'" for value in values if value is not None)


def _indent(budget: Budget, count: int, text: str) -> str:
    pad = repeated(budget, count, " ")
    budget.allocate((text.count("\n") + 1) * len(pad))
    return pad + text.replace("\n", f"\n{pad}")


def _replace(budget: Budget, old: str, new: str, text: str) -> str:
    budget.allocate((text.count(old) if old else len(text) + 1) * len(new) + len(text))
    if not old:
        return new + "".join(character + new for character in text)
    return joined(text.replace(old, new))


def _trim_all(cutset: str, text: str) -> str:
    return text.strip(runes(cutset)) if cutset else text


def _wrap(budget: Budget, width: int, text: str, newline: str, long_words: bool) -> str:
    """Lines of at most `width` characters, broken at blanks; longer words are cut when told so."""
    width = max(width, 1)
    newline = newline or "\n"
    found: list[str] = []
    rest = runes(text)
    at = 0
    while len(rest) - at > width:
        budget.step()
        if rest[at] == " ":
            at += 1
            continue
        space = rest.rfind(" ", at, at + width + 1)
        if space >= at:
            found += [rest[at:space], newline]
            at = space + 1
        elif long_words:
            found += [rest[at : at + width], newline]
            at += width
        else:
            space = rest.find(" ", at + width)
            if space < 0:
                break
            found += [rest[at:space], newline]
            at = space + 1
    budget.allocate(len(rest) + len(found) * len(newline))
    return "".join(found) + rest[at:]


def _join(budget: Budget, separator: str, value: Value) -> str:
    parts = texts_of(budget, value)
    budget.allocate(len(separator) * len(parts) + sum(map(len, parts)))
    return joined(separator.join(parts))


def _sort_alpha(budget: Budget, value: Value) -> Slice:
    if isinstance(value, list | Bytes):
        return string_list(sorted(texts_of(budget, value), key=octets))
    return string_list([to_text(value, budget)])


def _shuffle(budget: Budget, text: str) -> str:
    characters = list(runes(text))
    for at in range(len(characters) - 1, 0, -1):
        other = int.from_bytes(budget.world.random(8)) % (at + 1)
        characters[at], characters[other] = characters[other], characters[at]
    return "".join(characters)


def _random(alphabet: str) -> Function:
    def make(budget: Budget, count: int) -> str:
        if count < 0:
            raise FunctionError("runtime error: makeslice: len out of range")
        budget.allocate(count * 4)
        found: list[str] = []
        limit = 256 - 256 % len(alphabet)
        while len(found) < count:
            drawn = budget.world.random(count - len(found))
            found += [alphabet[octet % len(alphabet)] for octet in drawn if octet < limit]
        return "".join(found)

    return spends("int")(make)


_LETTERS: Final = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_DIGITS: Final = "0123456789"

STRINGS: Final[Mapping[str, Function]] = {
    "abbrev": takes("int", "string")(_abbrev),
    "abbrevboth": takes("int", "int", "string")(_abbrev_both),
    "camelcase": takes("string")(_camelcase),
    "cat": spends(f"...{ANY}")(_cat),
    "contains": takes("string", "string")(lambda part, text: part in text),
    "hasPrefix": takes("string", "string")(lambda part, text: text.startswith(part)),
    "hasSuffix": takes("string", "string")(lambda part, text: text.endswith(part)),
    "hello": takes()(lambda: "Hello!"),
    "indent": spends("int", "string")(_indent),
    "initials": takes("string")(_initials),
    "join": spends("string", ANY)(_join),
    "kebabcase": takes("string")(lambda text: _joined_words(text, "-")),
    "lower": takes("string")(go_lower),
    "nindent": spends("int", "string")(lambda budget, count, text: "\n" + _indent(budget, count, text)),
    "nospace": takes("string")(_without_spaces),
    "plural": takes("string", "string", "int")(lambda one, many, count: one if count == 1 else many),
    "quote": spends(f"...{ANY}")(_quote),
    "randAlpha": _random(_LETTERS),
    "randAlphaNum": _random(_LETTERS + _DIGITS),
    "randAscii": _random("".join(map(chr, range(32, 127)))),
    "randNumeric": _random(_DIGITS),
    "repeat": spends("int", "string")(repeated),
    "replace": spends("string", "string", "string")(_replace),
    "shuffle": spends("string")(_shuffle),
    "snakecase": takes("string")(lambda text: _joined_words(text, "_")),
    "sortAlpha": spends(ANY)(_sort_alpha),
    "split": takes("string", "string")(lambda separator, text: _numbered(_split(separator, text))),
    "splitList": takes("string", "string")(lambda separator, text: string_list(_split(separator, text))),
    "splitn": takes("string", "int", "string")(_splitn),
    "squote": spends(f"...{ANY}")(_squote),
    "substr": takes("int", "int", "string")(_substr),
    "swapcase": takes("string")(_swapcase),
    "title": takes("string")(_title),
    "toString": spends(ANY)(lambda budget, value: as_string(value, budget)),
    "toStrings": spends(ANY)(lambda budget, value: string_list(texts_of(budget, value))),
    "trim": takes("string")(lambda text: text.strip("".join(_SPACES))),
    "trimAll": takes("string", "string")(_trim_all),
    "trimPrefix": takes("string", "string")(lambda part, text: text.removeprefix(part)),
    "trimSuffix": takes("string", "string")(lambda part, text: text.removesuffix(part)),
    "trimall": takes("string", "string")(_trim_all),
    "trunc": takes("int", "string")(_trunc),
    "untitle": takes("string")(_untitle),
    "upper": takes("string")(go_upper),
    "wrap": spends("int", "string")(lambda budget, width, text: _wrap(budget, width, text, "", False)),
    "wrapWith": spends("int", "string", "string")(
        lambda budget, width, newline, text: _wrap(budget, width, text, newline, True)
    ),
}
