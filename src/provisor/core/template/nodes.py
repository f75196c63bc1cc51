"""What a template is made of. `str()` gives the text that errors show."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(slots=True, eq=False)
class Node:
    """`position` is what an error points at, in characters from 0."""

    position: int


@dataclass(slots=True, eq=False)
class Text(Node):
    text: str


@dataclass(slots=True, eq=False)
class Dot(Node):
    def __str__(self) -> str:
        return "."


@dataclass(slots=True, eq=False)
class Nil(Node):
    def __str__(self) -> str:
        return "nil"


@dataclass(slots=True, eq=False)
class Bool(Node):
    value: bool

    def __str__(self) -> str:
        return "true" if self.value else "false"


@dataclass(slots=True, eq=False)
class String(Node):
    source: str
    value: str

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True, eq=False)
class Number(Node):
    """A numeric constant as each class it fits: signed, unsigned, float, complex; None where it does not."""

    source: str
    signed: int | None = None
    unsigned: int | None = None
    real: float | None = None
    complex: complex | None = None

    def __str__(self) -> str:
        return self.source


@dataclass(slots=True, eq=False)
class FieldPath(Node):
    """`.a.b`"""

    names: tuple[str, ...]

    def __str__(self) -> str:
        return "".join(f".{name}" for name in self.names)


@dataclass(slots=True, eq=False)
class Variable(Node):
    """`$x.a.b`: `names` without the variable itself."""

    name: str
    names: tuple[str, ...] = ()

    def __str__(self) -> str:
        return ".".join((self.name, *self.names))


@dataclass(slots=True, eq=False)
class Identifier(Node):
    name: str

    def __str__(self) -> str:
        return self.name


@dataclass(slots=True, eq=False)
class Chain(Node):
    """`(pipeline).a.b` and `function.a`"""

    base: Node
    names: tuple[str, ...]

    def __str__(self) -> str:
        base = f"({self.base})" if isinstance(self.base, Pipe) else str(self.base)
        return base + "".join(f".{name}" for name in self.names)


@dataclass(slots=True, eq=False)
class Command(Node):
    words: list[Node] = field(default_factory=list)

    def __str__(self) -> str:
        return " ".join(f"({word})" if isinstance(word, Pipe) else str(word) for word in self.words)


@dataclass(slots=True, eq=False)
class Pipe(Node):
    declared: list[Variable] = field(default_factory=list)
    assigns: bool = False
    commands: list[Command] = field(default_factory=list)

    def __str__(self) -> str:
        declared = ", ".join(str(variable) for variable in self.declared)
        if declared:
            declared += " = " if self.assigns else " := "
        return declared + " | ".join(str(command) for command in self.commands)


@dataclass(slots=True, eq=False)
class Action(Node):
    pipe: Pipe

    def __str__(self) -> str:
        return f"{{{{{self.pipe}}}}}"


@dataclass(slots=True, eq=False)
class Branch(Node):
    """`if`, `with` or `range`."""

    word: str
    pipe: Pipe
    body: list[Node]
    otherwise: list[Node] | None


@dataclass(slots=True, eq=False)
class Leave(Node):
    """`break` or `continue`."""

    word: str


@dataclass(slots=True, eq=False)
class Call(Node):
    """`{{template "name" pipeline}}`"""

    name: str
    source: str
    pipe: Pipe | None

    def __str__(self) -> str:
        return f"{{{{template {self.source}{f' {self.pipe}' if self.pipe else ''}}}}}"


@dataclass(slots=True, eq=False)
class Mark(Node):
    """`{{else}}` or `{{end}}`: ends a list, stands in none."""

    word: str

    def __str__(self) -> str:
        return f"{{{{{self.word}}}}}"
