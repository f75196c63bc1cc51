"""What goes wrong with a template. The texts are the ones Go's text/template has."""

from __future__ import annotations


class TemplateError(Exception):
    """A template that does not parse or does not run. `line` counts from 1, `column` from 0 in octets.

    `expression` is what failed, as the template writes it; empty for what does not parse.
    """

    def __init__(self, text: str, *, name: str = "", line: int = 0, column: int = 0, expression: str = "") -> None:
        super().__init__(text)
        self.name = name
        self.line = line
        self.column = column
        self.expression = expression


class ParseError(TemplateError):
    """The text is no template."""


class ExecutionError(TemplateError):
    """The template met data it cannot be run on, or a limit."""


class TemplateFailed(TemplateError):
    """The template called `fail` with a message. The message is meant for the client."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class FunctionError(Exception):
    """What a function says of its arguments. The evaluator adds where."""


class LimitReached(Exception):
    """A rendering has used up what it may use."""
