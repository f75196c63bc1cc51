"""The functions Go's text/template brings: comparison, indexing, printing, escaping."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, RAW, Function, spends, takes
from provisor.core.template.limits import Budget
from provisor.core.template.numerals import is_printable
from provisor.core.template.printing import sprint, sprintf, sprintln, to_text
from provisor.core.template.values import (
    NO_VALUE,
    Bytes,
    NilPointer,
    Number,
    Struct,
    Uint8,
    Value,
    element_type,
    is_nil,
    is_true,
    items_of,
    kind_name,
    octets,
    type_name,
)

# -- comparison ----------------------------------------------------------------------------------


def _basic(value: Value) -> str:
    """The class in which a value compares, "" for what has none."""
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Number):
        return "int" if value.signed else "uint"
    return {int: "int", float: "float", str: "string", complex: "complex"}.get(type(value), "")


def _incompatible(left: Value, right: Value) -> NoReturn:
    raise FunctionError(f"incompatible types for comparison: {type_name(left)} and {type_name(right)}")


def _equal(budget: Budget, left: Value, *others: Value) -> bool:
    if not others:
        raise FunctionError("missing argument for comparison")
    return any(_same(budget, left, other) for other in others)


def _same(budget: Budget, left: Value, right: Value) -> bool:
    one, other = _basic(left), _basic(right)
    if {one, other} == {"int", "uint"}:
        return int(left) == int(right)
    if one != other:
        if _is_there(left) and _is_there(right):
            _incompatible(left, right)
        return False
    if one == "string":
        return left == right or octets(left) == octets(right)
    if one:
        return bool(left == right)
    kinds = kind_name(left), kind_name(right)
    if kinds[0] != kinds[1] and "invalid" not in kinds:
        shown = (sprintf("%s", [left], budget), type_name(left), type_name(right), to_text(right, budget))
        raise FunctionError("non-comparable types {}: {}, {}: {}".format(*shown))
    if is_nil(left) or is_nil(right):
        return is_nil(left) and is_nil(right)
    if not _is_comparable(right):
        raise FunctionError(f"non-comparable type {sprintf('%s', [right], budget)}: {type_name(right)}")
    if type_name(left) != type_name(right):
        return False
    return bool(left.same(right))


def _is_there(value: Value) -> bool:
    return value is not None and value is not NO_VALUE


def _is_comparable(value: Value) -> bool:
    return isinstance(value, NilPointer) or (isinstance(value, Struct) and (value.pointer or value.comparable))


def _less(_budget: Budget, left: Value, right: Value) -> bool:
    one, other = _basic(left), _basic(right)
    if not one or not other:
        raise FunctionError("invalid type for comparison")
    if {one, other} == {"int", "uint"}:
        return int(left) < int(right)
    if one != other:
        _incompatible(left, right)
    if one in ("bool", "complex"):
        raise FunctionError("invalid type for comparison")
    if one == "string":
        return octets(left) < octets(right)
    return bool(left < right)


# -- len, index, call ----------------------------------------------------------------------------


def _length(value: Value) -> int:
    if value is NO_VALUE:
        raise FunctionError("reflect: call of reflect.Value.Type on zero Value")
    if value is None or isinstance(value, NilPointer):
        raise FunctionError("len of nil pointer")
    if isinstance(value, str):
        return len(octets(value))
    if isinstance(value, Bytes):
        return len(value.octets)
    if isinstance(value, list | dict):
        return len(value)
    raise FunctionError(f"len of type {_target(value)}")


def _target(value: Value) -> str:
    """The type of a value, or of what a pointer points to."""
    return value.go if isinstance(value, Struct) else type_name(value)


def _index(item: Value, *indexes: Value) -> Value:
    if not _is_there(item):
        raise FunctionError("index of untyped nil")
    for index in indexes:
        if item is None or item is NO_VALUE or isinstance(item, NilPointer):
            raise FunctionError("index of nil pointer")
        if isinstance(item, str):
            data = octets(item)
            item = Uint8(data[_position(index, len(data))])
        elif isinstance(item, list | Bytes):
            items = items_of(item)
            item = items[_position(index, len(items))]
        elif isinstance(item, dict):
            item = item.get(_key(index), _zero(element_type(item)))
        else:
            raise FunctionError(f"can't index item of type {_target(item)}")
    return item


def _zero(static: str) -> Value:
    return "" if static == "string" else None


def _position(index: Value, length: int) -> int:
    if not _is_there(index):
        raise FunctionError("cannot index slice/array with nil")
    if isinstance(index, bool) or not isinstance(index, int):
        raise FunctionError(f"cannot index slice/array with type {type_name(index)}")
    if not 0 <= index < length:
        raise FunctionError(f"index out of range: {int(index)}")
    return int(index)


def _key(index: Value) -> str:
    if not _is_there(index):
        raise FunctionError("value is nil; should be of type string")
    if not isinstance(index, str):
        raise FunctionError(f"value has type {type_name(index)}; should be string")
    return index


def _call(_budget: Budget, shown: str, callee: Value, *_arguments: Value) -> Value:
    """Data holds no functions, so there is nothing it could call."""
    if not _is_there(callee):
        raise FunctionError("call of nil")
    raise FunctionError(f"non-function {shown or 'value'} of type {type_name(callee)}")


# -- escaping ------------------------------------------------------------------------------------

_HTML: Final = str.maketrans({"\0": "\ufffd", '"': "&#34;", "'": "&#39;", "&": "&amp;", "<": "&lt;", ">": "&gt;"})
_SCRIPT: Final = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026", "=": "\\u003D"}
_UNRESERVED: Final = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.~")


def _text_of(budget: Budget, values: tuple[Value, ...]) -> str:
    if len(values) == 1 and isinstance(values[0], str):
        return values[0]
    shown: list[Value] = []
    for value in values:
        if not _is_there(value):
            shown.append("<no value>")
        elif isinstance(value, Struct) and value.pointer and value.text() is None:
            shown.append(to_text(value, budget).removeprefix("&"))
        else:
            shown.append(value)
    return sprint(shown, budget)


def _html(budget: Budget, *values: Value) -> str:
    return _text_of(budget, values).translate(_HTML)


def _script(budget: Budget, *values: Value) -> str:
    return "".join(map(_script_character, _text_of(budget, values)))


def _script_character(character: str) -> str:
    if character in _SCRIPT:
        return _SCRIPT[character]
    if character < " ":
        return f"\\u{ord(character):04X}"
    if character < "\x80" or is_printable(character):
        return character
    if "\ud800" <= character <= "\udfff":
        return character
    return f"\\u{ord(character):04X}"


def url_query(text: str) -> str:
    """Escaped for a query: a blank becomes `+`."""
    escaped = (chr(o) if o in _UNRESERVED else "+" if o == 0x20 else f"%{o:02X}" for o in octets(text))
    return "".join(escaped)


def _url_query(budget: Budget, *values: Value) -> str:
    return url_query(_text_of(budget, values))


BUILTINS: Final[Mapping[str, Function]] = {
    "and": takes(RAW, f"...{RAW}")(lambda *values: values[0]),
    "or": takes(RAW, f"...{RAW}")(lambda *values: values[0]),
    "not": takes(RAW)(lambda value: not is_true(value)),
    "eq": spends(RAW, f"...{RAW}")(_equal),
    "ne": spends(RAW, RAW)(lambda budget, left, right: not _same(budget, left, right)),
    "lt": spends(RAW, RAW)(_less),
    "le": spends(RAW, RAW)(lambda budget, left, right: _less(budget, left, right) or _same(budget, left, right)),
    "gt": spends(RAW, RAW)(lambda budget, left, right: not (_less(budget, left, right) or _same(budget, left, right))),
    "ge": spends(RAW, RAW)(lambda budget, left, right: not _less(budget, left, right)),
    "len": takes(RAW)(_length),
    "index": takes(RAW, f"...{RAW}")(_index),
    "call": spends(RAW, f"...{RAW}")(_call),
    "print": spends(f"...{ANY}")(lambda budget, *values: sprint(values, budget)),
    "println": spends(f"...{ANY}")(lambda budget, *values: sprintln(values, budget)),
    "printf": spends("string", f"...{ANY}")(lambda budget, form, *values: sprintf(form, values, budget)),
    "html": spends(f"...{ANY}")(_html),
    "js": spends(f"...{ANY}")(_script),
    "urlquery": spends(f"...{ANY}")(_url_query),
}
