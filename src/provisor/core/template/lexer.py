"""Template text to tokens. What is no token ends the list with an `ERROR` whose text says why."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import Final, NamedTuple

from provisor.core.template.numerals import is_printable, quoted


class Kind(Enum):
    ERROR = auto()
    END_OF_TEXT = auto()
    TEXT = auto()
    OPEN = auto()  # {{
    CLOSE = auto()  # }}
    SPACE = auto()
    ASSIGN = auto()
    DECLARE = auto()
    PIPE = auto()
    LEFT = auto()
    RIGHT = auto()
    CHARACTER = auto()  # anything else printable, such as a comma
    RUNE = auto()
    NUMBER = auto()
    COMPLEX = auto()
    STRING = auto()
    VARIABLE = auto()
    FIELD = auto()
    IDENTIFIER = auto()
    BOOL = auto()
    DOT = auto()
    KEYWORD = auto()
    NIL = auto()


class Token(NamedTuple):
    """`position` in characters from 0, `line` from 1."""

    kind: Kind
    text: str
    position: int
    line: int

    def shown(self) -> str:
        if self.kind is Kind.END_OF_TEXT:
            return "EOF"
        if self.kind is Kind.ERROR:
            return self.text
        if self.kind in (Kind.KEYWORD, Kind.DOT, Kind.NIL):
            return f"<{self.text}>"
        return f"{quoted(self.text[:10])}..." if len(self.text) > 10 else quoted(self.text)


KEYWORDS: Final = frozenset(["block", "break", "continue", "define", "else", "end", "if", "range", "template", "with"])
_BLANKS: Final = " \t\r\n"
_SIGNS: Final = {
    "=": Kind.ASSIGN,
    "|": Kind.PIPE,
    "(": Kind.LEFT,
    ")": Kind.RIGHT,
}
_QUOTED: Final = re.compile(r'"(?:[^"\\\n]|\\[^\n])*"')
_RUNE: Final = re.compile(r"'(?:[^'\\\n]|\\[^\n])*'")
_DIGITS: Final = {"x": "0-9a-fA-F_", "o": "0-7_", "b": "01_"}


def tokenize(text: str) -> list[Token]:
    return _Lexer(text).run()


class _Bad(Exception):
    """What stands at the current position is no token."""


class _Lexer:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self._line = 1
        self._tokens: list[Token] = []
        self._parentheses = 0

    def run(self) -> list[Token]:
        try:
            while self._at < len(self._text):
                self._outside()
        except _Bad as error:
            self._tokens.append(Token(Kind.ERROR, str(error), self._at, self._line))
            return self._tokens
        self._add(Kind.END_OF_TEXT, self._at)
        return self._tokens

    def _add(self, kind: Kind, end: int) -> None:
        text = self._text[self._at : end]
        self._tokens.append(Token(kind, text, self._at, self._line))
        self._skip(end)

    def _skip(self, end: int) -> None:
        self._line += self._text.count("\n", self._at, end)
        self._at = end

    def _outside(self) -> None:
        text = self._text
        start = text.find("{{", self._at)
        if start < 0:
            self._add(Kind.TEXT, len(text))
            return
        trims = text[start + 2 : start + 3] == "-" and text[start + 3 : start + 4] in _BLANKS and start + 3 < len(text)
        end = start
        if trims:
            while end > self._at and text[end - 1] in _BLANKS:
                end -= 1
        if end > self._at:
            self._add(Kind.TEXT, end)
        self._skip(start)
        inside = start + (4 if trims else 2)
        if text.startswith("/*", inside):
            self._comment(inside)
            return
        self._add(Kind.OPEN, start + 2)
        self._skip(inside)
        self._parentheses = 0
        while not self._inside():
            pass

    def _comment(self, inside: int) -> None:
        text = self._text
        self._skip(inside)
        end = text.find("*/", inside)
        if end < 0:
            raise _Bad("unclosed comment")
        self._skip(end + 2)
        if text.startswith("}}", self._at):
            self._skip(self._at + 2)
        elif self._trims_right(self._at):
            self._close_trimming(self._at)
        else:
            raise _Bad("comment ends before closing delimiter")

    def _trims_right(self, at: int) -> bool:
        return self._text[at : at + 1] != "" and self._text[at] in _BLANKS and self._text.startswith("-}}", at + 1)

    def _close_trimming(self, at: int) -> None:
        end = at + 4
        while end < len(self._text) and self._text[end] in _BLANKS:
            end += 1
        self._skip(end)

    def _inside(self) -> bool:
        """One token of an action; whether the action ends with it."""
        text, at = self._text, self._at
        if self._trims_right(at) or text.startswith("}}", at):
            if self._parentheses:
                raise _Bad("unclosed left paren")
            if text.startswith("}}", at):
                self._add(Kind.CLOSE, at + 2)
            else:
                self._tokens.append(Token(Kind.CLOSE, "}}", at + 2, self._line))
                self._close_trimming(at)
            return True
        if at >= len(text):
            raise _Bad("unclosed action")
        self._token(text[at])
        return False

    def _token(self, character: str) -> None:
        text, at = self._text, self._at
        if character in _BLANKS:
            end = at + 1
            while end < len(text) and text[end] in _BLANKS:
                end += 1
            if self._trims_right(end - 1):
                end -= 1
                if end == at:
                    return
            self._add(Kind.SPACE, end)
        elif character == ":":
            if text[at + 1 : at + 2] != "=":
                raise _Bad("expected :=")
            self._add(Kind.DECLARE, at + 2)
        elif character in _SIGNS:
            self._parentheses += {"(": 1, ")": -1}.get(character, 0)
            if self._parentheses < 0:
                raise _Bad("unexpected right paren")
            self._add(_SIGNS[character], at + 1)
        elif character in "\"'`":
            self._quote(character)
        elif character == "$":
            self._name(Kind.VARIABLE)
        elif character == "." and text[at + 1 : at + 2] and not "0" <= text[at + 1] <= "9":  # at the end, a bad number
            self._name(Kind.FIELD)
        elif character in "+-.0123456789":
            self._number()
        elif _is_letter(character):
            self._identifier()
        elif " " <= character <= "~":
            self._add(Kind.CHARACTER, at + 1)
        else:
            raise _Bad(f"unrecognized character in action: {_shown(character)}")

    def _quote(self, mark: str) -> None:
        text, at = self._text, self._at
        if mark == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise _Bad("unterminated raw quoted string")
            self._add(Kind.STRING, end + 1)
            return
        match = (_QUOTED if mark == '"' else _RUNE).match(text, at)
        if match is None:
            raise _Bad("unterminated quoted string" if mark == '"' else "unterminated character constant")
        self._add(Kind.STRING if mark == '"' else Kind.RUNE, match.end())

    def _end_of_word(self, at: int) -> int:
        end = at
        while end < len(self._text) and _is_letter(self._text[end]):
            end += 1
        return end

    def _at_terminator(self, at: int) -> bool:
        text = self._text
        return at >= len(text) or text[at] in " \t\r\n.,|:()" or text.startswith("}}", at)

    def _name(self, kind: Kind) -> None:
        start = self._at + 1
        if self._at_terminator(start):
            self._add(Kind.DOT if kind is Kind.FIELD else kind, start)
            return
        end = self._end_of_word(start)
        self._check_end(end)
        self._add(kind, end)

    def _check_end(self, end: int) -> None:
        if not self._at_terminator(end):
            raise _Bad(f"bad character {_shown(self._text[end])}")

    def _identifier(self) -> None:
        end = self._end_of_word(self._at)
        self._check_end(end)
        word = self._text[self._at : end]
        if word in KEYWORDS:
            self._add(Kind.KEYWORD, end)
        elif word == "nil":
            self._add(Kind.NIL, end)
        else:
            self._add(Kind.BOOL if word in ("true", "false") else Kind.IDENTIFIER, end)

    def _number(self) -> None:
        end, good = self._scan_number(self._at)
        if not good:
            raise _Bad(f"bad number syntax: {quoted(self._text[self._at : end])}")
        if self._text[end : end + 1] in ("+", "-"):
            end, good = self._scan_number(end)
            if not good or self._text[end - 1] != "i":
                raise _Bad(f"bad number syntax: {quoted(self._text[self._at : end])}")
            self._add(Kind.COMPLEX, end)
            return
        self._add(Kind.NUMBER, end)

    def _scan_number(self, at: int) -> tuple[int, bool]:
        """Where the number that begins at `at` ends, and whether it ends well."""
        text = self._text
        if text[at : at + 1] in ("+", "-"):
            at += 1
        digits, marks = "0-9_", "eE"
        if text[at : at + 1] == "0":
            base = text[at + 1 : at + 2].lower()
            at += 1
            if base in _DIGITS and base:
                at += 1
                digits, marks = _DIGITS[base], "pP" if base == "x" else ""
        pattern = rf"[{digits}]*(?:\.[{digits}]*)?"
        if marks:
            pattern += rf"(?:[{marks}][+-]?[0-9_]*)?"
        match = re.compile(pattern + "i?").match(text, at)
        at = match.end() if match else at
        if at < len(text) and _is_letter(text[at]):
            return at + 1, False
        return at, True


def _is_letter(character: str) -> bool:
    return character == "_" or character.isalpha() or character.isdecimal()


def _shown(character: str) -> str:
    """A character as the verb %#U shows it."""
    code = f"U+{ord(character):04X}"
    return f"{code} '{character}'" if is_printable(character) else code
