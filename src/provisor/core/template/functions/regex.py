"""Regular expressions: RE2 syntax, matched in linear time, with Go's replacement and error texts."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, Final

import re2  # type: ignore[import-untyped]  # the library has no stubs

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import Function, spends, takes
from provisor.core.template.functions.strings import string_list
from provisor.core.template.limits import PATTERN, SUBJECT, Budget
from provisor.core.template.numerals import can_backquote, quoted
from provisor.core.template.values import Slice, joined, runes

_TEXTS: Final = {
    "missing )": "missing closing )",
    "missing ]": "missing closing ]",
    "invalid repetition size": "invalid repeat count",
    "no argument for repetition operator": "missing argument to repetition operator",
    "bad repetition operator": "invalid nested repetition operator",
    "invalid perl operator": "invalid or unsupported Perl syntax",
    "trailing \\": "trailing backslash at end of expression",
    "invalid named capture group": "invalid named capture",
    "pattern too large - compile failed": "expression too large",
}
_ANY_OCTET: Final = re.compile(r"(?:^|[^\\])(?:\\\\)*\\C")


class _Pattern:
    """A compiled expression, and its own text, which `split` looks at."""

    def __init__(self, text: str, compiled: Any) -> None:
        self.text = text
        self.search = compiled.search
        self.names: Mapping[str, int] = compiled.groupindex
        self.groups: int = compiled.groups


@lru_cache(maxsize=256)
def _compile(text: str) -> _Pattern:
    """Raises `FunctionError` with the text of Go's compiler."""
    if len(text) > PATTERN:
        raise FunctionError("error parsing regexp: expression too large")
    bad = next((at for at, character in enumerate(text) if "\ud800" <= character <= "\udfff"), -1)
    if bad >= 0:
        raise FunctionError("error parsing regexp: invalid UTF-8: `\ufffd`")
    if _ANY_OCTET.search(text):
        raise FunctionError("error parsing regexp: invalid escape sequence: `\\C`")
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 4 << 20
    try:
        return _Pattern(text, re2.compile(text, options))
    except re2.error as error:
        raise FunctionError(f"error parsing regexp: {_go_text(text, error)}") from None


def _go_text(text: str, error: Exception) -> str:
    said = error.args[0].decode() if isinstance(error.args[0], bytes) else str(error.args[0])
    code, _, part = said.partition(": ")
    if text[text.find("(?<") :][:3] == "(?<" and part in ("(?<!", "(?<="):
        return f"invalid named capture: `{text[text.find('(?<') :]}`"
    return f"{_TEXTS.get(code, code)}: `{part}`"


def _must(call: Callable[..., Any]) -> Callable[..., Any]:
    """Forms without `must` say of a bad expression what a program that cannot go on would say."""

    def or_die(budget: Budget, pattern: str, *arguments: Any) -> Any:
        try:
            return call(budget, pattern, *arguments)
        except FunctionError as error:
            shown = f"`{pattern}`" if can_backquote(pattern) else quoted(pattern)
            raise FunctionError(f"regexp: Compile({shown}): {error}") from None

    return or_die


def _spend(budget: Budget, text: str) -> None:
    if len(text) > SUBJECT:
        raise FunctionError(f"a text of more than {SUBJECT} characters is not searched")
    budget.step(1 + len(text) // 256)


def _matches(budget: Budget, pattern: _Pattern, text: str, limit: int = -1) -> Iterator[Any]:
    """Matches from left to right, none empty right behind another."""
    _spend(budget, text)
    searched = runes(text)
    at, before, found = 0, -1, 0
    while at <= len(searched) and found != limit:
        match = pattern.search(searched, at)
        if match is None:
            return
        start, end = match.span()
        if start == end:
            at = end + 1
            if start == before:
                before = end
                continue
        else:
            at = end
        before = end
        found += 1
        budget.step()
        yield match


def _match(budget: Budget, pattern: str, text: str) -> bool:
    _spend(budget, text)
    return _compile(pattern).search(runes(text)) is not None


def _match_quietly(budget: Budget, pattern: str, text: str) -> bool:
    try:
        compiled = _compile(pattern)
    except FunctionError:
        return False
    _spend(budget, text)
    return compiled.search(runes(text)) is not None


def _find(budget: Budget, pattern: str, text: str) -> str:
    for match in _matches(budget, _compile(pattern), text, 1):
        start, end = match.span()
        return text[start:end]
    return ""


def _find_all(budget: Budget, pattern: str, text: str, count: int) -> Slice:
    found = [text[slice(*match.span())] for match in _matches(budget, _compile(pattern), text, count)] if count else []
    if not count:
        _compile(pattern)
    return string_list(found) if found else Slice(element="string", nil=True)


def _replace(budget: Budget, pattern: str, text: str, replacement: Callable[[Any], str]) -> str:
    parts: list[str] = []
    at = 0
    for match in _matches(budget, _compile(pattern), text):
        start, end = match.span()
        new = replacement(match)
        budget.allocate(len(new) + start - at)
        parts += [text[at:start], new]
        at = end
    return joined("".join(parts) + text[at:])


def _replace_all(budget: Budget, pattern: str, text: str, template: str) -> str:
    compiled = _compile(pattern)
    pieces = list(_template_pieces(template, compiled))

    def expanded(match: Any) -> str:
        return "".join(piece if isinstance(piece, str) else _group(match, text, piece) for piece in pieces)

    return _replace(budget, pattern, text, expanded)


def _group(match: Any, text: str, number: int) -> str:
    start, end = match.span(number)
    return text[start:end] if start >= 0 else ""


_REFERENCE: Final = re.compile(r"\$(?:\$|\{(\w+)\}|(\w+))")


def _template_pieces(template: str, pattern: _Pattern) -> Iterator[str | int]:
    """Text and numbers of groups. What is no reference stays as it stands."""
    at = 0
    for match in _REFERENCE.finditer(template):
        yield template[at : match.start()]
        at = match.end()
        name = match[1] or match[2]
        if name is None:
            yield "$"
        elif name.isascii() and name.isdecimal() and (name == "0" or name[0] != "0") and len(name) < 9:
            number = int(name)
            yield number if number <= pattern.groups else ""
        else:
            yield pattern.names.get(name, "")
    yield template[at:]


def _replace_literal(budget: Budget, pattern: str, text: str, new: str) -> str:
    return _replace(budget, pattern, text, lambda _match: new)


def _split(budget: Budget, pattern: str, text: str, count: int) -> Slice:
    compiled = _compile(pattern)
    if count == 0:
        return Slice(element="string", nil=True)
    if pattern and not text:
        return string_list([""])
    found: list[str] = []
    start = end = 0
    for match in _matches(budget, compiled, text, count):
        if count > 0 and len(found) == count - 1:
            break
        first, last = match.span()
        end = first
        if last != 0:
            found.append(text[start:end])
        start = last
    if end != len(text):
        found.append(text[start:])
    return string_list(found)


_META: Final = frozenset("\\.+*?()|[]{}^$")

REGEX: Final[Mapping[str, Function]] = {
    "mustRegexFind": spends("string", "string")(_find),
    "mustRegexFindAll": spends("string", "string", "int")(_find_all),
    "mustRegexMatch": spends("string", "string")(_match),
    "mustRegexReplaceAll": spends("string", "string", "string")(_replace_all),
    "mustRegexReplaceAllLiteral": spends("string", "string", "string")(_replace_literal),
    "mustRegexSplit": spends("string", "string", "int")(_split),
    "regexFind": spends("string", "string")(_must(_find)),
    "regexFindAll": spends("string", "string", "int")(_must(_find_all)),
    "regexMatch": spends("string", "string")(_match_quietly),
    "regexQuoteMeta": takes("string")(lambda text: "".join(f"\\{c}" if c in _META else c for c in text)),
    "regexReplaceAll": spends("string", "string", "string")(_must(_replace_all)),
    "regexReplaceAllLiteral": spends("string", "string", "string")(_must(_replace_literal)),
    "regexSplit": spends("string", "string", "int")(_must(_split)),
}
