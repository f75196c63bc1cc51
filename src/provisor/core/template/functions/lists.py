"""Lists, dictionaries, defaults and reflection."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, DICT, Function, spends, takes
from provisor.core.template.functions.numbers import to_int
from provisor.core.template.limits import DEPTH, Budget
from provisor.core.template.printing import as_string
from provisor.core.template.values import (
    NO_VALUE,
    Bytes,
    Map,
    NilPointer,
    Slice,
    Struct,
    Value,
    is_nil,
    items_of,
    kind_name,
    octets,
    type_name,
)

NIL_POINTER: Final = "runtime error: invalid memory address or nil pointer dereference"
_NIL_LIST: Final = "[]interface {}"


def _nil_list() -> Slice:
    return Slice(nil=True)


def _items(value: Value, wrong: Callable[[str], str]) -> Sequence[Value]:
    """The elements of a list. Raises with `wrong(kind)` for what is none."""
    if value is None:
        raise FunctionError(NIL_POINTER)
    if not isinstance(value, list | Bytes):
        raise FunctionError(wrong(kind_name(value)))
    return items_of(value)


def _finding(name: str) -> Callable[[str], str]:
    return lambda kind: f"Cannot find {name} on type {kind}"


def _first(value: Value) -> Value:
    items = _items(value, _finding("first"))
    return items[0] if items else None


def _last(value: Value) -> Value:
    items = _items(value, _finding("last"))
    return items[-1] if items else None


def _rest(value: Value) -> Value:
    items = _items(value, _finding("rest"))
    return list(items[1:]) if items else _nil_list()


def _initial(value: Value) -> Value:
    items = _items(value, _finding("initial"))
    return list(items[:-1]) if items else _nil_list()


def _append(budget: Budget, value: Value, item: Value) -> list[Value]:
    items = _items(value, lambda kind: f"Cannot push on type {kind}")
    budget.allocate(len(items) * 8)
    return [*items, item]


def _prepend(budget: Budget, value: Value, item: Value) -> list[Value]:
    items = _items(value, lambda kind: f"Cannot prepend on type {kind}")
    budget.allocate(len(items) * 8)
    return [item, *items]


def _concat(budget: Budget, *values: Value) -> Value:
    found: list[Value] = []
    for value in values:
        found += _items(value, lambda kind: f"Cannot concat type {kind} as list")
        budget.allocate(len(found) * 8)
    return found or _nil_list()


def _reverse(value: Value) -> list[Value]:
    return list(reversed(_items(value, _finding("reverse"))))


def _uniq(budget: Budget, value: Value) -> list[Value]:
    found: list[Value] = []
    for item in _items(value, _finding("uniq")):
        if not _contains(budget, found, item):
            found.append(item)
    return found


def _without(budget: Budget, value: Value, *omitted: Value) -> list[Value]:
    return [item for item in _items(value, _finding("without")) if not _contains(budget, omitted, item)]


def _has(budget: Budget, item: Value, value: Value) -> bool:
    return value is not None and _contains(budget, _items(value, _finding("has")), item)


def _contains(budget: Budget, items: Sequence[Value], item: Value) -> bool:
    budget.step(len(items))
    return any(deep_equal(other, item) for other in items)


def _compact(value: Value) -> list[Value]:
    return [item for item in _items(value, lambda kind: f"Cannot compact on type {kind}") if not is_empty(item)]


def _slice(value: Value, *bounds: int) -> Value:
    items = _items(value, lambda kind: f"list should be type of slice or array but {kind}")
    if not items:
        return None
    start, end = (*bounds, 0)[0] if bounds else 0, bounds[1] if len(bounds) > 1 else len(items)
    if not 0 <= start <= end <= len(items):
        raise FunctionError("reflect.Value.Slice: slice index out of bounds")
    if isinstance(value, Bytes):
        return type(value)(value.octets[start:end])
    return Slice(items[start:end], value.element, value.go) if isinstance(value, Slice) else list(items[start:end])


def _chunk(size: int, value: Value) -> Slice:
    items = _items(value, lambda kind: f"Cannot chunk type {kind}")
    if size < 1:
        raise FunctionError("runtime error: makeslice: len out of range")
    chunks = [list(items[at : at + size]) for at in range(0, len(items), size)]
    return Slice(chunks, _NIL_LIST)


# -- dictionaries --------------------------------------------------------------------------------


def _dict(budget: Budget, *values: Value) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for at in range(0, len(values), 2):
        key = as_string(values[at], budget)
        found[key] = values[at + 1] if at + 1 < len(values) else ""
    return found


def _set(budget: Budget, target: dict[str, Value], key: str, value: Value) -> dict[str, Value]:
    if isinstance(target, Map) and target.nil:
        raise FunctionError("assignment to entry in nil map")
    budget.allocate(64)
    target[key] = value
    return target


def _unset(target: dict[str, Value], key: str) -> dict[str, Value]:
    target.pop(key, None)
    return target


def _keys(*targets: dict[str, Value]) -> Slice:
    return Slice([key for target in targets for key in sorted(target, key=octets)], "string")


def _values(target: dict[str, Value]) -> list[Value]:
    return [target[key] for key in sorted(target, key=octets)]


def _pick(target: dict[str, Value], *keys: str) -> dict[str, Value]:
    return {key: target[key] for key in keys if key in target}


def _omit(target: dict[str, Value], *keys: str) -> dict[str, Value]:
    return {key: value for key, value in target.items() if key not in keys}


def _pluck(key: str, *targets: dict[str, Value]) -> list[Value]:
    return [target[key] for target in targets if key in target]


def _merge(overwrite: bool) -> Function:
    def merge(budget: Budget, target: dict[str, Value], *sources: dict[str, Value]) -> dict[str, Value]:
        if isinstance(target, Map) and target.nil:
            target = {}
        for source in sources:
            _merge_into(budget, target, source, overwrite, 0)
        return target

    return spends(DICT, f"...{DICT}")(merge)


def _merge_into(
    budget: Budget, target: dict[str, Value], source: dict[str, Value], overwrite: bool, depth: int
) -> None:
    if depth > DEPTH:
        raise FunctionError("nested too deeply")
    for key in list(source):
        budget.step()
        budget.allocate(64)
        mine, theirs = target.get(key), source[key]
        if isinstance(mine, dict) and isinstance(theirs, dict):
            _merge_into(budget, mine, theirs, overwrite, depth + 1)
        elif overwrite or key not in target or (is_empty(mine) and not is_empty(theirs)):
            target[key] = theirs


def _dig(*values: Value) -> Value:
    if len(values) < 3:
        raise FunctionError("dig needs at least three arguments")
    *keys, default, target = values
    if not _is_exact_dict(target):
        raise FunctionError(_conversion(target, DICT))
    for key in keys:
        if not isinstance(key, str):
            raise FunctionError(_conversion(key, "string"))
    for at, key in enumerate(keys):
        if key not in target:
            return default
        target = target[key]
        if at + 1 < len(keys) and not _is_exact_dict(target):
            raise FunctionError(_conversion(target, DICT))
    return target


def _is_exact_dict(value: Value) -> bool:
    return type(value) is dict or (isinstance(value, Map) and value.go == DICT)


def _conversion(value: Value, wanted: str) -> str:
    shown = "nil" if value is None else type_name(value)
    return f"interface conversion: interface {{}} is {shown}, not {wanted}"


def _deep_copy(budget: Budget, value: Value) -> Value:
    if value is None:
        raise FunctionError("reflect: call of reflect.Value.Type on zero Value")
    return _copied(budget, value, 0)


def _copied(budget: Budget, value: Value, depth: int) -> Value:
    budget.step()
    budget.allocate(64)
    if depth > DEPTH:
        raise FunctionError("nested too deeply")
    if isinstance(value, Map):
        made = copy.copy(value)  # of the same Go type, whatever its class is made from
        made.update({key: _copied(budget, item, depth + 1) for key, item in value.items()})
        return made
    if isinstance(value, dict):
        return {key: _copied(budget, item, depth + 1) for key, item in value.items()}
    if isinstance(value, Slice):
        return Slice([_copied(budget, item, depth + 1) for item in value], value.element, value.go, nil=value.nil)
    if isinstance(value, list):
        return [_copied(budget, item, depth + 1) for item in value]
    return value.copied() if isinstance(value, Struct) else value


# -- defaults ------------------------------------------------------------------------------------


def is_empty(value: Value) -> bool:
    """The zero of its kind; a struct never is."""
    if value is None or value is NO_VALUE or isinstance(value, NilPointer):
        return True
    if isinstance(value, Struct):
        return False
    if isinstance(value, Bytes):
        return not value.octets
    return not value


def _default(default: Value, *given: Value) -> Value:
    return given[0] if given and not is_empty(given[0]) else default


def _coalesce(*values: Value) -> Value:
    return next((value for value in values if not is_empty(value)), None)


# -- reflection ----------------------------------------------------------------------------------


def deep_equal(one: Value, other: Value, depth: int = 0) -> bool:
    """As `reflect.DeepEqual`: of one type, and equal all the way down."""
    if depth > DEPTH:
        raise FunctionError("nested too deeply")
    if one is NO_VALUE or other is NO_VALUE:
        one = None if one is NO_VALUE else one
        other = None if other is NO_VALUE else other
    if type_name(one) != type_name(other):
        return False
    if isinstance(one, list | dict | Bytes) and is_nil(one) != is_nil(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(deep_equal(a, b, depth + 1) for a, b in zip(one, other, strict=True))
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(deep_equal(one[key], other[key], depth + 1) for key in one)
    if isinstance(one, Bytes):
        return bool(one.octets == other.octets)
    if isinstance(one, Struct):
        if one is other:
            return True
        members = [member.name for member in one.members]
        if not members:
            return bool(one.same(other))
        return all(deep_equal(one.values[name], other.values[name], depth + 1) for name in members)
    if isinstance(one, NilPointer):
        return True
    if isinstance(one, str):
        return one == other or octets(one) == octets(other)
    return bool(one == other)


def _type_is_like(name: str, value: Value) -> bool:
    found = type_name(value)
    return found in (name, f"*{name}")


_FIRST, _LAST, _REST, _INITIAL = (takes(ANY)(call) for call in (_first, _last, _rest, _initial))
_APPEND, _PREPEND = spends(ANY, ANY)(_append), spends(ANY, ANY)(_prepend)
_LIST: Final = takes(f"...{ANY}")(lambda *values: list(values))
_REVERSE, _COMPACT = takes(ANY)(_reverse), takes(ANY)(_compact)
_UNIQ, _HAS = spends(ANY)(_uniq), spends(ANY, ANY)(_has)
_WITHOUT: Final = spends(ANY, f"...{ANY}")(_without)
_CHUNK: Final = takes("int", ANY)(_chunk)
_COPY: Final = spends(ANY)(_deep_copy)


def _slice_values(value: Value, *bounds: Value) -> Value:
    return _slice(value, *map(to_int, bounds))


_SLICE: Final = takes(ANY, f"...{ANY}")(_slice_values)

LISTS: Final[Mapping[str, Function]] = {
    "append": _APPEND,
    "chunk": _CHUNK,
    "compact": _COMPACT,
    "concat": spends(f"...{ANY}")(_concat),
    "first": _FIRST,
    "has": _HAS,
    "initial": _INITIAL,
    "last": _LAST,
    "list": _LIST,
    "mustAppend": _APPEND,
    "mustChunk": _CHUNK,
    "mustCompact": _COMPACT,
    "mustFirst": _FIRST,
    "mustHas": _HAS,
    "mustInitial": _INITIAL,
    "mustLast": _LAST,
    "mustPrepend": _PREPEND,
    "mustPush": _APPEND,
    "mustRest": _REST,
    "mustReverse": _REVERSE,
    "mustSlice": _SLICE,
    "mustUniq": _UNIQ,
    "mustWithout": _WITHOUT,
    "prepend": _PREPEND,
    "push": _APPEND,
    "rest": _REST,
    "reverse": _REVERSE,
    "slice": _SLICE,
    "tuple": _LIST,
    "uniq": _UNIQ,
    "without": _WITHOUT,
}
DICTS: Final[Mapping[str, Function]] = {
    "deepCopy": _COPY,
    "dict": spends(f"...{ANY}")(_dict),
    "dig": takes(f"...{ANY}")(_dig),
    "get": takes(DICT, "string")(lambda target, key: target.get(key, "")),
    "hasKey": takes(DICT, "string")(lambda target, key: key in target),
    "keys": takes(f"...{DICT}")(_keys),
    "merge": _merge(overwrite=False),
    "mergeOverwrite": _merge(overwrite=True),
    "mustDeepCopy": _COPY,
    "mustMerge": _merge(overwrite=False),
    "mustMergeOverwrite": _merge(overwrite=True),
    "omit": takes(DICT, "...string")(_omit),
    "pick": takes(DICT, "...string")(_pick),
    "pluck": takes("string", f"...{DICT}")(_pluck),
    "set": spends(DICT, "string", ANY)(_set),
    "unset": takes(DICT, "string")(_unset),
    "values": takes(DICT)(_values),
}
DEFAULTS: Final[Mapping[str, Function]] = {
    "all": takes(f"...{ANY}")(lambda *values: not any(map(is_empty, values))),
    "any": takes(f"...{ANY}")(lambda *values: not all(map(is_empty, values))),
    "coalesce": takes(f"...{ANY}")(_coalesce),
    "deepEqual": takes(ANY, ANY)(deep_equal),
    "default": takes(ANY, f"...{ANY}")(_default),
    "empty": takes(ANY)(is_empty),
    "kindIs": takes("string", ANY)(lambda name, value: kind_name(value) == name),
    "kindOf": takes(ANY)(kind_name),
    "ternary": takes(ANY, ANY, "bool")(lambda yes, no, condition: yes if condition else no),
    "typeIs": takes("string", ANY)(lambda name, value: type_name(value) == name),
    "typeIsLike": takes("string", ANY)(_type_is_like),
    "typeOf": takes(ANY)(type_name),
}
