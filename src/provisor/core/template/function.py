"""What a template can call, and which values fit which Go parameter type."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from provisor.core.template.limits import Budget
from provisor.core.template.times import GoTime
from provisor.core.template.values import INTERFACE, NO_VALUE, STRING_MAP, Bytes, Int64, Map, NilPointer, Slice, Value

ANY: Final = INTERFACE
RAW: Final = "reflect.Value"
"""A parameter that sees a missing value as such."""
DICT: Final = STRING_MAP


class Function(NamedTuple):
    """`parameters` are Go types, a last one with `...` in front takes the rest. `call(budget, *arguments)`.

    `call` raises `FunctionError` for what the function says of its arguments.
    """

    parameters: tuple[str, ...]
    call: Callable[..., Value]

    @property
    def fixed(self) -> int:
        return len(self.parameters) - self.variadic

    @property
    def variadic(self) -> bool:
        return bool(self.parameters) and self.parameters[-1].startswith("...")

    def parameter(self, number: int) -> str:
        """The type that argument `number` must fit."""
        if self.variadic and number >= len(self.parameters) - 1:
            return self.parameters[-1][3:]
        return self.parameters[number]


def takes(*parameters: str) -> Callable[[Callable[..., Value]], Function]:
    """A function of these parameter types that does not care for the budget."""

    def make(call: Callable[..., Value]) -> Function:
        return Function(parameters, lambda _budget, *arguments: call(*arguments))

    return make


def spends(*parameters: str) -> Callable[[Callable[..., Value]], Function]:
    """A function whose first argument is the rendering's budget."""

    def make(call: Callable[..., Value]) -> Function:
        return Function(parameters, call)

    return make


def _is_dict(value: Value) -> bool:
    return type(value) is dict or (isinstance(value, Map) and value.element == INTERFACE)


ACCEPTS: Final[Mapping[str, Callable[[Value], bool]]] = {
    "string": lambda value: type(value) is str,
    "bool": lambda value: type(value) is bool,
    "int": lambda value: type(value) is int,
    "int64": lambda value: type(value) is Int64,
    "float64": lambda value: type(value) is float,
    DICT: _is_dict,
    "time.Time": lambda value: isinstance(value, GoTime),
    "time.Duration": lambda value: getattr(value, "go", "") == "time.Duration",
    "*time.Location": lambda value: getattr(value, "go", "") == "time.Location",
    "net.IP": lambda value: getattr(value, "go", "") == "net.IP",
    "x509util.Subject": lambda value: getattr(value, "go", "") == "x509util.Subject",
    "[]x509util.SubjectAlternativeName": lambda value: (
        getattr(value, "element", "") == "x509util.SubjectAlternativeName"
    ),
    "*x509.CertificateRequest": lambda _value: False,
    "uint32": lambda value: getattr(value, "go", "") == "uint32",
    "*semver.Version": lambda value: getattr(value, "go", "") == "semver.Version",
    "sprig.certificate": lambda value: getattr(value, "go", "") == "sprig.certificate",
    "[]interface {}": lambda value: type(value) is list or (isinstance(value, Slice) and value.go == "[]interface {}"),
    "[]string": lambda value: isinstance(value, Slice) and value.element == "string",
}
"""Whether a value is assignable to a type, as `reflect` sees it."""


def nil_of(parameter: str) -> Value:
    """The nil of a type, or `NO_VALUE` for a type that has none."""
    if parameter == ANY:
        return None
    if parameter == DICT:
        return Map(nil=True)
    if parameter.startswith("[]"):
        return Bytes(nil=True) if parameter == "[]uint8" else Slice(element=parameter[2:], nil=True)
    if parameter.startswith("*"):
        return NilPointer(parameter)
    return NO_VALUE


Functions = Mapping[str, Function]
__all__ = ["ACCEPTS", "ANY", "DICT", "RAW", "Budget", "Function", "Functions", "nil_of", "spends", "takes"]
