"""Tokens to nodes, by the grammar of Go's text/template."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final, NoReturn

from provisor.core.template import nodes
from provisor.core.template.errors import ParseError
from provisor.core.template.lexer import Kind, Token, tokenize
from provisor.core.template.nodes import (
    Action,
    Branch,
    Call,
    Chain,
    Command,
    FieldPath,
    Identifier,
    Leave,
    Mark,
    Node,
    Number,
    Pipe,
    String,
    Text,
    Variable,
)
from provisor.core.template.numerals import quoted, unquoted, unquoted_rune

MAIN: Final = "template"
"""What every template calls itself."""
LONGEST: Final = 1 << 20
DEEPEST: Final = 100
"""Of blocks in blocks and parentheses in parentheses."""

_OPERANDS: Final = frozenset(
    {
        Kind.BOOL,
        Kind.RUNE,
        Kind.COMPLEX,
        Kind.DOT,
        Kind.FIELD,
        Kind.IDENTIFIER,
        Kind.NUMBER,
        Kind.NIL,
        Kind.STRING,
        Kind.VARIABLE,
        Kind.LEFT,
    }
)
_VALUES_ONLY: Final = (nodes.Bool, nodes.Dot, nodes.Nil, Number, String)


def parse(text: str, functions: Collection[str]) -> dict[str, list[Node]]:
    """The templates of a text by name; the text itself is called `template`. Raises `ParseError`."""
    if len(text) > LONGEST:
        raise ParseError(f"template: {MAIN}: longer than {LONGEST} characters", name=MAIN)
    parser = _Parser(tokenize(text), functions)
    try:
        parser.run()
    except RecursionError:
        parser.fail("nested too deeply")
    return parser.templates


class _Parser:
    def __init__(self, tokens: list[Token], functions: Collection[str]) -> None:
        self._tokens = tokens
        self._functions = functions
        self._at = 0
        self._seen = 0
        self._variables = ["$"]
        self._ranges = 0
        self._depth = 0
        self._action_line = 0
        self._ahead = -1, -1
        """A variable at the head of a pipeline, and the word behind it."""
        self.templates: dict[str, list[Node]] = {}

    # -- tokens ----------------------------------------------------------------------------------

    def _peek(self) -> Token:
        self._seen = min(self._at, len(self._tokens) - 1)
        return self._tokens[self._seen]

    def _next(self) -> Token:
        token = self._peek()
        self._at += 1
        return token

    def _peek_word(self) -> Token:
        while self._peek().kind is Kind.SPACE:
            self._at += 1
        return self._peek()

    def _next_word(self) -> Token:
        token = self._peek_word()
        self._at += 1
        return token

    def _expect(self, kind: Kind, context: str) -> Token:
        token = self._next_word()
        if token.kind is not kind:
            self._unexpected(token, context)
        return token

    def error(self, text: str) -> ParseError:
        line = self._tokens[self._seen].line
        return ParseError(f"template: {MAIN}:{line}: {text}", name=MAIN, line=line)

    def fail(self, text: str) -> NoReturn:
        raise self.error(text)

    def _unexpected(self, token: Token, context: str) -> NoReturn:
        if token.kind is Kind.ERROR:
            extra = ""
            if self._action_line and self._action_line != token.line:
                extra = f" in action started at {MAIN}:{self._action_line}"
                if token.text.endswith(" action"):
                    extra = extra.removeprefix(" in action")
            self.fail(token.text + extra)
        self.fail(f"unexpected {token.shown()} in {context}")

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEEPEST:
            self.fail(f"more than {DEEPEST} levels of nesting")

    # -- lists -----------------------------------------------------------------------------------

    def run(self) -> None:
        found: list[Node] = []
        while self._peek().kind is not Kind.END_OF_TEXT:
            if self._peek().kind is Kind.OPEN:
                start = self._at
                self._at += 1
                if _is(self._next_word(), "define"):
                    self._definition()
                    continue
                self._at = start
            node = self._text_or_action()
            if isinstance(node, Mark):
                self.fail(f"unexpected {node}")
            found.append(node)
        self._add(MAIN, found)

    def _add(self, name: str, body: list[Node]) -> None:
        """A template may be defined again as long as one of the two is empty."""
        known = self.templates.get(name)
        if known is None or _is_empty(known):
            self.templates[name] = body
        elif not _is_empty(body):
            self.fail(f"template: multiple definition of template {quoted(name)}")

    def _list(self) -> tuple[list[Node], Mark]:
        """Nodes up to `{{else}}` or `{{end}}`, and which of the two."""
        found: list[Node] = []
        while self._peek_word().kind is not Kind.END_OF_TEXT:
            node = self._text_or_action()
            if isinstance(node, Mark):
                return found, node
            found.append(node)
        raise self.error("unexpected EOF")

    def _text_or_action(self) -> Node:
        token = self._next_word()
        if token.kind is Kind.TEXT:
            return Text(token.position, token.text)
        if token.kind is not Kind.OPEN:
            self._unexpected(token, "input")
        self._action_line = token.line
        node = self._action()
        self._action_line = 0
        return node

    def _action(self) -> Node:
        token = self._next_word()
        if token.kind is Kind.KEYWORD:
            if token.text in ("if", "with", "range"):
                return self._branch(token)
            if token.text in ("break", "continue"):
                return self._leave(token)
            if token.text == "template":
                return self._call()
            if token.text == "block":
                return self._block()
            if token.text == "end":
                return Mark(self._expect(Kind.CLOSE, "end").position, "end")
            if token.text == "else":
                after = self._peek_word()
                if not (_is(after, "if") or _is(after, "with")):
                    self._expect(Kind.CLOSE, "else")
                return Mark(token.position, "else")
        self._at -= 1
        position = self._peek().position
        return Action(position, self._pipeline("command", Kind.CLOSE))

    def _branch(self, token: Token) -> Branch:
        self._deeper()
        word, scope = token.text, len(self._variables)
        pipe = self._pipeline(word, Kind.CLOSE)
        self._ranges += word == "range"
        body, mark = self._list()
        self._ranges -= word == "range"
        otherwise: list[Node] | None = None
        if mark.word == "else":
            after = self._peek()
            if word in ("if", "with") and _is(after, word):
                self._at += 1
                otherwise = [self._branch(after)]
            else:
                otherwise, mark = self._list()
                if mark.word != "end":
                    self.fail(f"expected end; found {mark}")
        del self._variables[scope:]
        self._depth -= 1
        return Branch(token.position, word, pipe, body, otherwise)

    def _leave(self, token: Token) -> Leave:
        after = self._next_word()
        if after.kind is not Kind.CLOSE:
            self._unexpected(after, f"{{{{{token.text}}}}}")
        if not self._ranges:
            self.fail(f"{{{{{token.text}}}}} outside {{{{range}}}}")
        return Leave(token.position, token.text)

    def _template_name(self, context: str) -> tuple[Token, str]:
        token = self._next_word()
        if token.kind is not Kind.STRING:
            self._unexpected(token, context)
        return token, self._unquote(token)

    def _unquote(self, token: Token) -> str:
        try:
            return unquoted(token.text)
        except ValueError as error:
            self.fail(str(error))

    def _call(self) -> Call:
        context = "template clause"
        token, name = self._template_name(context)
        pipe = None
        if self._next_word().kind is not Kind.CLOSE:
            self._at -= 1
            pipe = self._pipeline(context, Kind.CLOSE)
        return Call(token.position, name, quoted(name), pipe)

    def _block(self) -> Call:
        context = "block clause"
        token, name = self._template_name(context)
        pipe = self._pipeline(context, Kind.CLOSE)
        self._own_body(name, context)
        return Call(token.position, name, quoted(name), pipe)

    def _definition(self) -> None:
        context = "define clause"
        name = self._template_name(context)[1]
        self._expect(Kind.CLOSE, context)
        self._own_body(name, context)

    def _own_body(self, name: str, context: str) -> None:
        """The body of a template within the text: it sees no variable from outside."""
        self._deeper()
        outer = self._variables, self._ranges
        self._variables, self._ranges = ["$"], 0
        body, mark = self._list()
        if mark.word != "end":
            self.fail(f"unexpected {mark} in {context}")
        self._variables, self._ranges = outer
        self._add(name, body)
        self._depth -= 1

    # -- pipelines -------------------------------------------------------------------------------

    def _pipeline(self, context: str, end: Kind) -> Pipe:
        self._deeper()
        pipe = Pipe(self._peek_word().position)
        self._declarations(pipe, context)
        while True:
            token = self._next_word()
            if token.kind is end:
                break
            if token.kind not in _OPERANDS:
                self._unexpected(token, context)
            self._at -= 1
            pipe.commands.append(self._command())
        self._check(pipe, context)
        self._depth -= 1
        return pipe

    def _declarations(self, pipe: Pipe, context: str) -> None:
        while (token := self._peek_word()).kind is Kind.VARIABLE:
            start = self._at
            self._at += 1
            after = self._peek_word()
            if after.kind in (Kind.ASSIGN, Kind.DECLARE):
                pipe.assigns = after.kind is Kind.ASSIGN
            elif not (after.kind is Kind.CHARACTER and after.text == ","):
                self._ahead = start, self._seen
                self._at = start
                return
            self._at += 1
            pipe.declared.append(Variable(token.position, token.text))
            self._variables.append(token.text)
            if after.text != ",":
                return
            if context != "range" or len(pipe.declared) > 1:
                self.fail(f"too many declarations in {context}")
            if self._peek_word().kind not in (Kind.VARIABLE, Kind.CLOSE, Kind.RIGHT):
                self.fail("range can only initialize variables")

    def _check(self, pipe: Pipe, context: str) -> None:
        if not pipe.commands:
            self.fail(f"missing value for {context}")
        for stage, command in enumerate(pipe.commands[1:], 2):
            if isinstance(command.words[0], _VALUES_ONLY):
                self.fail(f"non executable command in pipeline stage {stage}")

    def _command(self) -> Command:
        command = Command(self._peek_word().position)
        while True:
            self._peek_word()
            operand = self._operand()
            if operand is not None:
                command.words.append(operand)
            token = self._next()
            if token.kind is Kind.SPACE:
                continue
            if token.kind in (Kind.CLOSE, Kind.RIGHT):
                self._at -= 1
            elif token.kind is not Kind.PIPE:
                self._unexpected(token, "operand")
            break
        if not command.words:
            self.fail("empty command")
        return command

    def _operand(self) -> Node | None:
        node = self._term()
        if node is None or self._peek().kind is not Kind.FIELD:
            return node
        position = self._peek().position
        names: list[str] = []
        while self._peek().kind is Kind.FIELD:
            names.append(self._next().text[1:])
        if isinstance(node, FieldPath):
            return FieldPath(position, (*node.names, *names))
        if isinstance(node, Variable):
            return Variable(position, node.name, (*node.names, *names))
        if isinstance(node, _VALUES_ONLY):
            self.fail(f"unexpected . after term {quoted(str(node))}")
        return Chain(position, node, tuple(names))

    def _term(self) -> Node | None:
        token = self._next_word()
        at = token.position
        kind = token.kind
        if kind is Kind.FIELD:
            return FieldPath(at, (token.text[1:],))
        if kind is Kind.IDENTIFIER:
            if token.text not in self._functions:
                self.fail(f"function {quoted(token.text)} not defined")
            return Identifier(at, token.text)
        if kind is Kind.VARIABLE:
            if token.text not in self._variables:
                if self._ahead[0] == self._seen:
                    self._seen = self._ahead[1]  # the reference had looked ahead, and names that line
                self.fail(f"undefined variable {quoted(token.text)}")
            return Variable(at, token.text)
        if kind is Kind.STRING:
            return String(at, token.text, self._unquote(token))
        if kind is Kind.LEFT:
            return self._pipeline("parenthesized pipeline", Kind.RIGHT)
        if kind is Kind.DOT:
            return nodes.Dot(at)
        if kind is Kind.NIL:
            return nodes.Nil(at)
        if kind is Kind.BOOL:
            return nodes.Bool(at, token.text == "true")
        if kind in (Kind.NUMBER, Kind.COMPLEX, Kind.RUNE):
            return self._number(token)
        self._at -= 1
        return None

    def _number(self, token: Token) -> Number:
        try:
            return read_number(token.text, token.position, token.kind)
        except ValueError as error:
            self.fail(str(error))


def _is(token: Token, word: str) -> bool:
    return token.kind is Kind.KEYWORD and token.text == word


def _is_empty(body: list[Node]) -> bool:
    return all(isinstance(node, Text) and not node.text.strip() for node in body)


# -- numbers -------------------------------------------------------------------------------------

_INTEGER: Final = re.compile(
    r"[+-]?(?:0[xX](?:_?[0-9a-fA-F])+|0[bB](?:_?[01])+|0[oO](?:_?[0-7])+|0(?:_?[0-7])*|[1-9](?:_?[0-9])*)"
)
_REAL: Final = re.compile(
    r"[+-]?(?:[0-9](?:_?[0-9])*\.?(?:[0-9](?:_?[0-9])*)?|\.[0-9](?:_?[0-9])*)(?:[eE][+-]?[0-9](?:_?[0-9])*)?"
)
_HEX_REAL: Final = re.compile(
    r"[+-]?0[xX](?:(?:_?[0-9a-fA-F])+\.?[0-9a-fA-F_]*|\.[0-9a-fA-F][0-9a-fA-F_]*)[pP][+-]?[0-9](?:_?[0-9])*"
)


def read_integer(text: str) -> int | None:
    """A Go integer literal with its prefix and underscores, of any size."""
    if not _INTEGER.fullmatch(text):
        return None
    digits = text.replace("_", "").lstrip("+-").lower()
    if len(digits) > 1 and digits[0] == "0" and digits[1].isdigit():
        digits = "0o" + digits[1:]
    if len(digits) > 80:
        return None
    number = int(digits, 0)
    return -number if text.startswith("-") else number


def _read_real(text: str) -> float | None:
    plain = text.replace("_", "")
    if _REAL.fullmatch(text):
        number = float(plain)
    elif _HEX_REAL.fullmatch(text):
        number = float.fromhex(plain)
    else:
        return None
    return None if number in (float("inf"), float("-inf")) else number


def read_number(text: str, position: int, kind: Kind) -> Number:
    """Raises `ValueError` with the parser's text."""
    if kind is Kind.RUNE:
        code, rest = unquoted_rune(text)
        if rest != "'":
            raise ValueError(f"malformed character constant: {text}")
        return Number(position, text, code, code, float(code))
    if kind is Kind.COMPLEX or text.endswith("i"):
        return _read_complex(text, position, kind)
    integer = read_integer(text)
    signed = integer if integer is not None and -(2**63) <= integer < 2**63 else None
    unsigned = integer if integer is not None and 0 <= integer < 2**64 and text[:1] not in "+-" else None
    if signed is not None:
        return Number(position, text, signed, unsigned, float(signed))
    if unsigned is not None:
        return Number(position, text, None, unsigned, float(unsigned))
    real = _read_real(text)
    if real is None:
        raise ValueError(f"illegal number syntax: {quoted(text)}")
    if not set(text) & set(".eEpP"):
        raise ValueError(f"integer overflow: {quoted(text)}")
    whole = int(real) if real == int(real) else None
    return Number(
        position,
        text,
        whole if whole is not None and -(2**63) <= whole < 2**63 else None,
        whole if whole is not None and 0 <= whole < 2**64 else None,
        real,
    )


def _read_complex(text: str, position: int, kind: Kind) -> Number:
    real, imaginary = 0.0, _read_real(text[:-1])
    if kind is Kind.COMPLEX:
        split = max(text.rfind("+", 1), text.rfind("-", 1))
        while split > 1 and text[split - 1] in "eEpP":
            split = max(text.rfind("+", 1, split), text.rfind("-", 1, split))
        left, imaginary = _read_real(text[:split]), _read_real(text[split:-1])
        if left is None:
            imaginary = None
        else:
            real = left
    if imaginary is None:
        raise ValueError(f"illegal number syntax: {quoted(text)}")
    number = Number(position, text, complex=complex(real, imaginary))
    if imaginary == 0:
        number.real = real
        if real == int(real) and -(2**63) <= real < 2**63:
            number.signed = int(real)
            number.unsigned = int(real) if real >= 0 else None
    return number
