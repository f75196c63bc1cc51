"""Numbers: integers of 64 bits that wrap around, and floats that are added as decimals."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from decimal import ROUND_CEILING, ROUND_FLOOR, ROUND_HALF_UP, Context, Decimal
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import ANY, Function, spends, takes
from provisor.core.template.limits import Budget
from provisor.core.template.parser import read_integer
from provisor.core.template.printing import to_text
from provisor.core.template.values import Int64, Number, Slice, Value

_EXACT: Final = Context(prec=2000)
_DIVIDED: Final = Decimal("1e-16")


def wrap(number: int) -> int:
    return (number + 2**63) % 2**64 - 2**63


def truncated(value: float) -> int:
    """A float as an integer of 64 bits: what does not fit is the least one."""
    if not math.isfinite(value) or not -(2.0**63) <= value < 2.0**63:
        return -(2**63)
    return int(value)


def to_int64(value: Value) -> int:
    """As sprig's cast: strings by their prefix, floats cut, anything else 0."""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, str):
        return _int_of_text(value, trim_decimals=True)
    if isinstance(value, int):
        if isinstance(value, Number) and value.go not in _CASTABLE:
            return 0
        return wrap(int(value))
    return truncated(value) if isinstance(value, float) else 0


_CASTABLE: Final = frozenset(
    {"int64", "int32", "int16", "int8", "uint64", "uint32", "uint16", "uint8", "time.Weekday", "time.Month"}
)


def _int_of_text(text: str, *, trim_decimals: bool) -> int:
    if trim_decimals:
        text = re.sub(r"\.0*\Z", "", text, count=1) if "." in text else text
    number = read_integer(text)
    return number if number is not None and -(2**63) <= number < 2**63 else 0


def to_int(value: Value) -> int:
    if isinstance(value, str):
        return _int_of_text(value, trim_decimals=False)
    return to_int64(value)


def to_float(value: Value) -> float:
    if isinstance(value, bool):
        return float(value)
    if isinstance(value, str):
        return _float_of_text(value)
    if isinstance(value, int):
        return float(value) if not isinstance(value, Number) or value.go in _CASTABLE else 0.0
    return value if isinstance(value, float) else 0.0


_REAL: Final = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?")


def _float_of_text(text: str) -> float:
    if _REAL.fullmatch(text):
        number = float(text)
        return 0.0 if math.isinf(number) else number
    plain = text.lower()
    sign = -1.0 if plain.startswith("-") else 1.0
    plain = plain[1:] if plain[:1] in ("+", "-") else plain
    if plain in ("inf", "infinity"):
        return sign * math.inf
    if plain == "nan" and text[:1] not in "+-":
        return math.nan
    if re.fullmatch(r"[+-]?0[xX](?:[0-9a-fA-F]+\.?[0-9a-fA-F]*|\.[0-9a-fA-F]+)[pP][+-]?[0-9]+", text):
        return float.fromhex(text)
    return 0.0


# -- integers ------------------------------------------------------------------------------------


def _div(left: Value, right: Value) -> Int64:
    divisor = _divisor(right)
    quotient = abs(to_int64(left)) // abs(divisor)
    return Int64(wrap(quotient if (to_int64(left) < 0) == (divisor < 0) else -quotient))


def _mod(left: Value, right: Value) -> Int64:
    divisor = _divisor(right)
    rest = abs(to_int64(left)) % abs(divisor)
    return Int64(-rest if to_int64(left) < 0 else rest)


def _divisor(value: Value) -> int:
    divisor = to_int64(value)
    if not divisor:
        raise FunctionError("runtime error: integer divide by zero")
    return divisor


def _mul(first: Value, *others: Value) -> Int64:
    product = to_int64(first)
    for other in others:
        product = wrap(product * to_int64(other))
    return Int64(product)


def _range(budget: Budget, start: int, stop: int, step: int) -> list[int]:
    if (stop < start and step >= 0) or (stop > start and step <= 0) or step == 0:
        return []
    length = len(range(start, stop, step))
    budget.allocate(length * 32)
    return list(range(start, stop, step))


def _until(budget: Budget, count: int) -> Slice:
    return Slice(_range(budget, 0, count, 1 if count >= 0 else -1), "int")


def _seq(budget: Budget, *numbers: int) -> str:
    if len(numbers) == 1:
        start, step, stop = 1, 1 if numbers[0] >= 1 else -1, numbers[0]
    elif len(numbers) == 2:
        start, stop = numbers
        step = 1 if stop >= start else -1
    elif len(numbers) == 3:
        start, step, stop = numbers
    else:
        return ""
    if len(numbers) == 3 and stop < start and step >= 0:
        return ""
    values = _range(budget, start, stop + (1 if step > 0 else -1), step)
    return " ".join(map(str, values))


def _to_decimal(budget: Budget, value: Value) -> Int64:
    """The value's text read as an octal number."""
    text = to_text(value, budget)
    if not re.fullmatch("[+-]?[0-7]+", text):
        return Int64(0)
    number = int(text, 8)
    return Int64(max(-(2**63), min(2**63 - 1, number)) if -(2**63) <= number < 2**63 else 0)


def _atoi(text: str) -> int:
    if not re.fullmatch("[+-]?[0-9]+", text):
        return 0
    return max(-(2**63), min(2**63 - 1, int(text) if len(text) < 40 else 2**63 * (-1 if text[0] == "-" else 1)))


def _random_int(budget: Budget, low: int, high: int) -> int:
    if high <= low:
        raise FunctionError("invalid argument to Intn")
    return low + int.from_bytes(budget.world.random(16)) % (high - low)


# -- floats --------------------------------------------------------------------------------------


def _decimal(value: Value) -> Decimal:
    number = to_float(value)
    if not math.isfinite(number):
        raise FunctionError(
            f"Cannot create a Decimal from {'NaN' if math.isnan(number) else '+Inf' if number > 0 else '-Inf'}"
        )
    return Decimal(repr(number))


def _folded(change: Callable[[Decimal, Decimal], Decimal]) -> Callable[..., float]:
    def fold(*values: Value) -> float:
        if not values:
            return 0.0
        total = _decimal(values[0])
        for value in values[1:]:
            total = change(total, _decimal(value))
        return float(total) + 0.0  # there is no negative zero

    return fold


def _divided(left: Decimal, right: Decimal) -> Decimal:
    if not right:
        raise FunctionError("decimal division by 0")
    return _EXACT.divide(left, right).quantize(_DIVIDED, ROUND_HALF_UP, _EXACT)


def _to_whole(value: Value, rounding: str) -> float:
    number = to_float(value)
    if not math.isfinite(number) or abs(number) >= 2**53:
        return number
    whole = float(Decimal(number).to_integral_value(rounding))
    return whole or (math.copysign(0.0, number) if rounding == ROUND_CEILING else whole)


def _round(value: Value, places: int, *on: float) -> float:
    """Half up, or from the digit `on`; negative places round in front of the point."""
    threshold = on[0] if on else 0.5
    number = to_float(value)
    power = 10.0**places if -400 < places < 309 else (0.0 if places < 0 else math.inf)
    scaled = power * number
    if not math.isfinite(scaled):
        return _quotient(scaled, power)
    fraction, _whole = math.modf(scaled)
    # as the reference has it: what is below zero and no half goes down
    rounded = math.ceil(scaled) if fraction >= threshold else math.floor(scaled)
    return _quotient(math.copysign(float(rounded), scaled), power)


def _quotient(number: float, by: float) -> float:
    """As Go does it."""
    if by:
        return number / by
    return math.nan if not number or math.isnan(number) else math.copysign(math.inf, number)


def _largest(first: Value, *others: Value) -> float:
    found = to_float(first)
    for other in others:
        number = to_float(other)
        found = math.nan if math.isnan(found) or math.isnan(number) else max(found, number)
    return found


def _smallest(first: Value, *others: Value) -> float:
    found = to_float(first)
    for other in others:
        number = to_float(other)
        found = math.nan if math.isnan(found) or math.isnan(number) else min(found, number)
    return found


_MAX: Final = takes(ANY, f"...{ANY}")(lambda *values: Int64(max(map(to_int64, values))))

NUMBERS: Final[Mapping[str, Function]] = {
    "add": takes(f"...{ANY}")(lambda *values: Int64(wrap(sum(map(to_int64, values))))),
    "add1": takes(ANY)(lambda value: Int64(wrap(to_int64(value) + 1))),
    "add1f": takes(ANY)(lambda value: float(_EXACT.add(_decimal(value), 1))),
    "addf": takes(f"...{ANY}")(_folded(_EXACT.add)),
    "atoi": takes("string")(_atoi),
    "biggest": _MAX,
    "ceil": takes(ANY)(lambda value: _to_whole(value, ROUND_CEILING)),
    "div": takes(ANY, ANY)(_div),
    "divf": takes(ANY, f"...{ANY}")(_folded(_divided)),
    "float64": takes(ANY)(to_float),
    "floor": takes(ANY)(lambda value: _to_whole(value, ROUND_FLOOR)),
    "int": takes(ANY)(to_int),
    "int64": takes(ANY)(lambda value: Int64(to_int64(value))),
    "max": _MAX,
    "maxf": takes(ANY, f"...{ANY}")(_largest),
    "min": takes(ANY, f"...{ANY}")(lambda *values: Int64(min(map(to_int64, values)))),
    "minf": takes(ANY, f"...{ANY}")(_smallest),
    "mod": takes(ANY, ANY)(_mod),
    "mul": takes(ANY, f"...{ANY}")(_mul),
    "mulf": takes(ANY, f"...{ANY}")(_folded(_EXACT.multiply)),
    "randInt": spends("int", "int")(_random_int),
    "round": takes(ANY, "int", "...float64")(_round),
    "seq": spends("...int")(_seq),
    "sub": takes(ANY, ANY)(lambda left, right: Int64(wrap(to_int64(left) - to_int64(right)))),
    "subf": takes(ANY, f"...{ANY}")(_folded(_EXACT.subtract)),
    "toDecimal": spends(ANY)(_to_decimal),
    "until": spends("int")(_until),
    "untilStep": spends("int", "int", "int")(
        lambda budget, start, stop, step: Slice(_range(budget, start, stop, step), "int")
    ),
}
