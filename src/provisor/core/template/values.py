"""What a template computes with: JSON values as Python has them, and the few Go types beside them.

| Go | here |
|---|---|
| `nil` of `interface {}` | `None` |
| no value: a missing key, an absent argument | `NO_VALUE` |
| `bool`, `string`, `float64`, `complex128`, `int` | `bool`, `str`, `float`, `complex`, `int` |
| other integers | `Int64`, `Int32`, `Uint8` … and named ones: subclasses of `int` |
| `[]interface {}`, `map[string]interface {}` | `list`, `dict` |
| other slices and maps, nil ones too | `Slice`, `Map`, `Bytes` |
| structs, pointers to them, nil pointers | `Struct`, `NilPointer` |

A Go string is octets: those that are not UTF-8 stand in a `str` as `surrogateescape` puts them.
"""

from __future__ import annotations

import base64
import enum
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, ClassVar, Final, NamedTuple

Value = Any
"""Any of the above. What a template computes with has no narrower type."""


class NoValue(enum.Enum):
    NO_VALUE = "<no value>"


NO_VALUE: Final = NoValue.NO_VALUE

INTERFACE: Final = "interface {}"
STRING_MAP: Final = "map[string]interface {}"


class Number(int):
    """An integer of a Go type other than `int`. `bits` and `signed` say what fits."""

    go: ClassVar[str] = "int64"
    kind: ClassVar[str] = "int64"
    bits: ClassVar[int] = 64
    signed: ClassVar[bool] = True
    methods: ClassVar[Mapping[str, Method]] = {}

    def text(self) -> str | None:
        """What its String method says, None without one."""
        return None

    def json(self) -> str | None:
        """What MarshalJSON says, None without one."""
        return None


class Int64(Number): ...


class Int32(Number):
    go = kind = "int32"
    bits = 32


class Uint8(Number):
    go = kind = "uint8"
    bits = 8
    signed = False


class Uint32(Number):
    go = kind = "uint32"
    bits = 32
    signed = False


class Uint64(Number):
    go = kind = "uint64"
    signed = False


class Slice(list[Value]):
    """A slice of another type than `[]interface {}`, or a nil one."""

    def __init__(self, items: Iterable[Value] = (), element: str = INTERFACE, go: str = "", *, nil: bool = False):
        super().__init__(items)
        self.element = element
        self.go = go or f"[]{element}"
        self.nil = nil

    def json(self) -> str | None:
        """What MarshalJSON says, None without one."""
        return None


class Map(dict[str, Value]):
    """A map of another type than `map[string]interface {}`, a nil one, or one with methods."""

    methods: ClassVar[Mapping[str, Method]] = {}

    def __init__(self, items: Mapping[str, Value] = {}, element: str = INTERFACE, go: str = "", *, nil: bool = False):
        super().__init__(items)
        self.element = element
        self.go = go or f"map[string]{element}"
        self.nil = nil


class Bytes:
    """A slice of octets: `[]uint8` and types made of it."""

    go: ClassVar[str] = "[]uint8"
    methods: ClassVar[Mapping[str, Method]] = {}

    def __init__(self, octets: bytes = b"", *, nil: bool = False) -> None:
        self.octets = octets
        self.nil = nil

    def text(self) -> str | None:
        """What its String method says, None without one."""
        return None

    def json(self) -> str:
        return "null" if self.nil else f'"{base64.b64encode(self.octets).decode()}"'


class Field(NamedTuple):
    """A struct member: Go's name, the name in JSON, whether an empty one is left out there, and its static type.

    `static` is `interface {}` where Go declares that; it only matters to error texts. A `key` of "" leaves
    the member out of JSON.
    """

    name: str
    key: str = ""
    omit_empty: bool = False
    static: str = ""


class Struct:
    """A struct, or a pointer to one. Subclasses name the type and its members; `values` may fill itself lazily."""

    go: ClassVar[str] = "struct {}"
    members: ClassVar[tuple[Field, ...]] = ()
    methods: ClassVar[Mapping[str, Method]] = {}
    pointer: ClassVar[bool] = False
    hidden: ClassVar[frozenset[str]] = frozenset()
    """Members that are printed and never reached by name."""
    comparable: ClassVar[bool] = False

    def __init__(self, values: Mapping[str, Value]) -> None:
        self.values = values

    def copied(self) -> Struct:
        """What reflection can copy of it: what Go does not export stays behind."""
        return self

    def text(self) -> str | None:
        """What String or Error says, None without either."""
        return None

    def json(self) -> str | None:
        """What MarshalJSON says, None without one."""
        return None

    def same(self, other: object) -> bool:
        """Whether Go's == finds two of the type equal."""
        return self is other


class NilPointer:
    """A nil pointer of a type, such as `*x509util.BasicConstraints`."""

    def __init__(self, go: str, members: frozenset[str] = frozenset(), text: str | None = None) -> None:
        self.go = go
        self.members = members
        self._text = text

    def text(self) -> str | None:
        """What its String method says, None without one."""
        return self._text


class Method(NamedTuple):
    """A Go method: the types of its parameters, what it does, and what its results are if not one value."""

    parameters: tuple[str, ...]
    call: Callable[..., Value] | None
    results: str = ""
    """Why it cannot be called, in Go's words, "" for a method that can."""


_NAMES: Final[Mapping[type, str]] = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    complex: "complex128",
    list: "[]interface {}",
    dict: STRING_MAP,
    type(None): "<nil>",
    NoValue: "<nil>",
}
_KINDS: Final[Mapping[type, str]] = {
    bool: "bool",
    int: "int",
    float: "float64",
    str: "string",
    complex: "complex128",
    list: "slice",
    dict: "map",
    type(None): "invalid",
    NoValue: "invalid",
}


def type_name(value: Value) -> str:
    """As Go's verb %T: `map[string]interface {}`, `*ecdsa.PublicKey`; `<nil>` for nothing."""
    name = _NAMES.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Struct):
        return f"*{value.go}" if value.pointer else value.go
    return str(value.go)


def kind_name(value: Value) -> str:
    """As `reflect.Kind` prints: `slice`, `map`, `float64`, `ptr`; `invalid` for nothing."""
    name = _KINDS.get(type(value))
    if name is not None:
        return name
    if isinstance(value, Number):
        return value.kind
    if isinstance(value, list | Bytes):
        return "slice"
    if isinstance(value, dict):
        return "map"
    if isinstance(value, NilPointer) or (isinstance(value, Struct) and value.pointer):
        return "ptr"
    return "struct"


def is_nil(value: Value) -> bool:
    """A nil slice, map or pointer, a nil interface or no value."""
    if value is None or value is NO_VALUE or isinstance(value, NilPointer):
        return True
    return isinstance(value, Slice | Map | Bytes) and value.nil


def is_true(value: Value) -> bool:
    """What `if` makes of a value. Every struct is true."""
    if isinstance(value, Struct):
        return True
    if isinstance(value, Bytes):
        return bool(value.octets)
    return value is not NO_VALUE and not isinstance(value, NilPointer) and bool(value)


def element_type(value: Value) -> str:
    """The type of a slice's or map's elements."""
    if isinstance(value, Slice | Map):
        return value.element
    return "uint8" if isinstance(value, Bytes) else INTERFACE


def items_of(value: Value) -> Sequence[Value]:
    """The elements of a slice of any type."""
    if isinstance(value, Bytes):
        return [Uint8(octet) for octet in value.octets]
    return value  # type: ignore[no-any-return]  # a list


def octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def go_string(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def joined(text: str) -> str:
    """Text whose stray octets may have come together to characters."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return go_string(octets(text))
    return text


def runes(text: str) -> str:
    """As Go ranges over a string: every octet that is not UTF-8 becomes U+FFFD."""
    if text.isascii():
        return text
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in joined(text))


DEEPEST: Final = 200
"""Of values within values that come from outside."""


def from_plain(value: object, room: int = DEEPEST) -> Value:
    """Decoded JSON as Go has it: every number is a float64.

    Raises `ValueError` for a number that is none, and for values nested deeper than `room`.
    """
    kind = type(value)
    if kind is str:
        return _without_surrogates(value)  # type: ignore[arg-type]
    if kind is int:
        try:
            return float(value)  # type: ignore[arg-type]
        except OverflowError:
            raise ValueError("a number outside float64") from None
    if room == 0 and kind in (dict, list, tuple):
        raise ValueError(f"nested more than {DEEPEST} deep")
    if kind is dict:
        return {_without_surrogates(key): from_plain(item, room - 1) for key, item in value.items()}  # type: ignore[attr-defined]
    if kind is list or kind is tuple:
        return [from_plain(item, room - 1) for item in value]  # type: ignore[attr-defined]
    return value


def _without_surrogates(text: str) -> str:
    if text.isascii():
        return text
    return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in text)
