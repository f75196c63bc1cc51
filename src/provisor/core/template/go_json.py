"""JSON as Go's package encoding/json writes and reads it."""

from __future__ import annotations

import json
import math
import re
from json.encoder import encode_basestring
from typing import Final, NoReturn

from provisor.core.json_text import find_unmarshal_error
from provisor.core.template.errors import FunctionError
from provisor.core.template.limits import DEPTH, Budget
from provisor.core.template.numerals import json_float
from provisor.core.template.values import (
    NO_VALUE,
    Bytes,
    NilPointer,
    Number,
    Slice,
    Struct,
    Value,
    joined,
    octets,
    type_name,
)

_MARKUP: Final = re.compile("[<>&\u2028\u2029]")
_STRAY: Final = re.compile("[\ud800-\udfff]")
_PLAIN: Final = re.compile(r"[ !#-%\'-;=?-\[\]-~]*")


def encode(value: Value, budget: Budget, *, escape: bool = True) -> str:
    """Without spaces, keys in the order of their octets. Raises `FunctionError` for what JSON cannot hold.

    `escape` writes `<`, `>` and `&` so that HTML may hold them.
    """
    parts: list[str] = []
    _encode(value, budget, parts, escape, 0)
    return "".join(parts)


def json_string(text: str, *, escape: bool = True) -> str:
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    if not text.isascii():
        text = joined(text)
    written = _STRAY.sub(r"\\ufffd", encode_basestring(text))
    if escape:
        return _MARKUP.sub(lambda match: f"\\u{ord(match[0]):04x}", written)
    return written.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")


def _encode(value: Value, budget: Budget, parts: list[str], escape: bool, depth: int) -> None:
    kind = type(value)
    if kind is str:
        budget.allocate(len(value))
        parts.append(json_string(value, escape=escape))
        return
    budget.step()
    if depth > DEPTH:
        raise FunctionError(f"json: unsupported value: encountered a cycle via {type_name(value)}")
    if value is None or value is NO_VALUE or isinstance(value, NilPointer):
        parts.append("null")
    elif kind is bool:
        parts.append("true" if value else "false")
    elif kind is float:
        if not math.isfinite(value):
            raise FunctionError(
                f"json: unsupported value: {'NaN' if math.isnan(value) else '+Inf' if value > 0 else '-Inf'}"
            )
        parts.append(json_float(value))
    elif isinstance(value, int):
        written = value.json() if isinstance(value, Number) else None
        parts.append(str(int(value)) if written is None else written)
    elif isinstance(value, dict):
        _encode_map(value, budget, parts, escape, depth)
    elif isinstance(value, list):
        _encode_list(value, budget, parts, escape, depth)
    elif isinstance(value, Bytes):
        parts.append(value.json())
    elif isinstance(value, Struct):
        _encode_struct(value, budget, parts, escape, depth)
    else:
        raise FunctionError(f"json: unsupported type: {type_name(value)}")


def _encode_map(value: dict[str, Value], budget: Budget, parts: list[str], escape: bool, depth: int) -> None:
    if getattr(value, "nil", False):
        parts.append("null")
        return
    parts.append("{")
    for number, key in enumerate(sorted(value, key=octets)):
        parts.append(("," if number else "") + json_string(key, escape=escape) + ":")
        _encode(value[key], budget, parts, escape, depth + 1)
    parts.append("}")


def _encode_list(value: list[Value], budget: Budget, parts: list[str], escape: bool, depth: int) -> None:
    if isinstance(value, Slice):
        written = value.json()
        if written is not None or value.nil:
            parts.append(written or "null")
            return
    parts.append("[")
    for number, item in enumerate(value):
        if number:
            parts.append(",")
        _encode(item, budget, parts, escape, depth + 1)
    parts.append("]")


def _encode_struct(value: Struct, budget: Budget, parts: list[str], escape: bool, depth: int) -> None:
    written = value.json()
    if written is not None:
        parts.append(written)
        return
    parts.append("{")
    first = True
    for member in value.members:
        if not member.key or member.name in value.hidden:
            continue
        item = value.values[member.name]
        if member.omit_empty and _is_left_out(item):
            continue
        parts.append(("" if first else ",") + json_string(member.key) + ":")
        first = False
        _encode(item, budget, parts, escape, depth + 1)
    parts.append("}")


def _is_left_out(value: Value) -> bool:
    if isinstance(value, Struct):
        return False
    if isinstance(value, Bytes):
        return not value.octets
    return value is NO_VALUE or isinstance(value, NilPointer) or not value


def indented(text: str) -> str:
    """Encoded JSON on several lines, two blanks a level."""
    found: list[str] = []
    level = 0
    for match in _TOKEN.finditer(text):
        token = match[0]
        if token in ("{}", "[]"):
            found.append(token)
        elif token in "{[":
            level += 1
            found.append(token + "\n" + "  " * level)
        elif token in "}]":
            level -= 1
            found.append("\n" + "  " * level + token)
        elif token == ",":
            found.append(",\n" + "  " * level)
        elif token == ":":
            found.append(": ")
        else:
            found.append(token)
    return "".join(found)


_TOKEN: Final = re.compile(r'"(?:[^"\\]|\\.)*"|\{\}|\[\]|[{}\[\],:]|[^"{}\[\],:]+')


def decode(text: str) -> Value:
    """One JSON value, every number a float. Raises `FunctionError` in Go's words."""
    data = octets(text)
    try:
        value = json.loads(
            data.decode("utf-8", "replace"),
            parse_int=_number,
            parse_float=_number,
            parse_constant=_constant,
        )
    except RecursionError:
        raise FunctionError("exceeded max depth") from None
    except ValueError:
        error = find_unmarshal_error(data)
        if error is None:
            raise FunctionError("exceeded max depth") from None
        raise FunctionError(str(error)) from None
    return _whole(value) if "\\ud" in text or "\\uD" in text else value


def _number(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise FunctionError(f"json: cannot unmarshal number {text} into Go value of type float64")
    return number


def _constant(_text: str) -> NoReturn:
    raise ValueError("no JSON")


def _whole(value: Value) -> Value:
    """Without halves of surrogate pairs."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= character <= "\udfff" else character for character in value)
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return [_whole(item) for item in value] if isinstance(value, list) else value
