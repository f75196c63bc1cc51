"""Semantic versions and what constrains them (semver 2.0.0, with missing parts taken for zero)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Final, NamedTuple

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import Function, takes
from provisor.core.template.go_json import json_string
from provisor.core.template.values import Method, Struct, Uint64

_IDENTIFIER: Final = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_NUMBER: Final = r"(0|[1-9][0-9]*)"
_VERSION: Final = re.compile(
    rf"v?{_NUMBER}(?:\.{_NUMBER})?(?:\.{_NUMBER})?"
    rf"(?:-({_IDENTIFIER}(?:\.{_IDENTIFIER})*))?(?:\+([0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*))?"
)


class Version(Struct):
    go = "semver.Version"
    pointer = True

    def __init__(self, parts: tuple[int, int, int], pre: str, metadata: str, original: str) -> None:
        super().__init__({})
        self.parts = parts
        self.pre = pre
        self.metadata = metadata
        self.original = original

    def copied(self) -> Version:
        return Version((0, 0, 0), "", "", "")

    def text(self) -> str:
        text = ".".join(map(str, self.parts))
        text += f"-{self.pre}" if self.pre else ""
        return text + (f"+{self.metadata}" if self.metadata else "")

    def json(self) -> str:
        return json_string(self.text())

    def compare(self, other: Version) -> int:
        if self.parts != other.parts:
            return 1 if self.parts > other.parts else -1
        return _compare_pre(self.pre, other.pre)


def _compare_pre(one: str, other: str) -> int:
    if one == other:
        return 0
    if not one or not other:
        return 1 if not one else -1
    left, right = [_rank(part) for part in one.split(".")], [_rank(part) for part in other.split(".")]
    return 1 if left > right else -1


def _rank(part: str) -> tuple[int, int, str]:
    return (0, int(part), "") if part.isdigit() else (1, 0, part)


def parse_version(text: str) -> Version:
    match = _VERSION.fullmatch(text) if len(text) <= 256 else None
    if match is None:
        raise FunctionError("Invalid Semantic Version")
    numbers = (int(match[1]), int(match[2] or 0), int(match[3] or 0))
    if max(numbers) >= 2**64:
        raise FunctionError("Invalid Semantic Version")
    return Version(numbers, match[4] or "", match[5] or "", text)


def _next(at: int) -> Method:
    def grown(version: Version) -> Version:
        major, minor, patch = version.parts
        if at == 0:
            parts = (major + 1, 0, 0)
        elif at == 1:
            parts = (major, minor + 1, 0)
        else:
            parts = (major, minor, patch if version.pre else patch + 1)
        made = Version(parts, "", "", "")
        made.original = ("v" if version.original.startswith("v") else "") + made.text()
        return made

    return Method((), grown)


def _compares(check: Callable[[int], bool]) -> Method:
    return Method(("*semver.Version",), lambda version, other: check(version.compare(other)))


Version.methods = {
    "Major": Method((), lambda version: Uint64(version.parts[0])),
    "Minor": Method((), lambda version: Uint64(version.parts[1])),
    "Patch": Method((), lambda version: Uint64(version.parts[2])),
    "Prerelease": Method((), lambda version: version.pre),
    "Metadata": Method((), lambda version: version.metadata),
    "Original": Method((), lambda version: version.original),
    "String": Method((), lambda version: version.text()),
    "IncMajor": _next(0),
    "IncMinor": _next(1),
    "IncPatch": _next(2),
    "Compare": Method(("*semver.Version",), lambda version, other: version.compare(other)),
    "Equal": _compares(lambda order: order == 0),
    "LessThan": _compares(lambda order: order < 0),
    "LessThanEqual": _compares(lambda order: order <= 0),
    "GreaterThan": _compares(lambda order: order > 0),
    "GreaterThanEqual": _compares(lambda order: order >= 0),
}

# -- constraints ---------------------------------------------------------------------------------

_PART: Final = r"[0-9xX*|]+"
_LOOSE: Final = (
    rf"v?({_PART})(\.{_PART})?(\.{_PART})?"
    r"(-[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_OPERATOR: Final = r"=>|>=|=<|<=|!=|~>|~|\^|=|>|<|"
_ONE: Final = re.compile(rf"\s*({_OPERATOR})\s*{_LOOSE}")
_ALL: Final = re.compile(rf"(?:\s*(?:{_OPERATOR})\s*{_LOOSE})(?:(?:\s+|,\s*)(?:{_OPERATOR})\s*{_LOOSE})*\s*")
_SPAN: Final = re.compile(rf"\s*({_LOOSE})\s+-\s+({_LOOSE})\s*")


class _Constraint(NamedTuple):
    """`minor_open` and `patch_open`: the part was left out or a wildcard."""

    operator: str
    version: Version
    minor_open: bool
    patch_open: bool

    @property
    def is_open(self) -> bool:
        return self.minor_open or self.patch_open

    def admits(self, version: Version) -> bool:
        if version.pre and not self.version.pre:
            return False
        return _CHECKS[self.operator](self, version)


def _constraint(match: re.Match[str]) -> _Constraint:
    operator, major, minor, patch, pre = match.groups()
    minor, patch = (minor or "").lstrip("."), (patch or "").lstrip(".")
    if _is_wild(major):
        return _Constraint(operator, parse_version("0.0.0"), True, True)
    if not minor or _is_wild(minor):
        return _Constraint(operator, parse_version(f"{major}.0.0{pre or ''}"), True, False)
    if not patch or _is_wild(patch):
        return _Constraint(operator, parse_version(f"{major}.{minor}.0{pre or ''}"), False, True)
    return _Constraint(operator, parse_version(f"{major}.{minor}.{patch}{pre or ''}"), False, False)


def _is_wild(part: str) -> bool:
    return part in ("x", "X", "*")


def _parse_constraints(text: str) -> list[list[_Constraint]]:
    """Alternatives, each of constraints that must all hold."""
    text = _SPAN.sub(lambda match: f">={match[1]}, <={match[6]}", text)
    found: list[list[_Constraint]] = []
    for part in text.split("||"):
        if len(part) > 1024 or not _ALL.fullmatch(part):
            raise FunctionError(f"improper constraint: {part}")
        found.append([_constraint(match) for match in _ONE.finditer(part.replace(",", " "))])
    return found


def _greater(constraint: _Constraint, version: Version) -> bool:
    wanted = constraint.version
    if not constraint.is_open:
        return version.compare(wanted) > 0
    if version.parts[0] != wanted.parts[0]:
        return version.parts[0] > wanted.parts[0]
    return not constraint.minor_open and version.parts[1] > wanted.parts[1]


def _at_most(constraint: _Constraint, version: Version) -> bool:
    wanted = constraint.version
    if not constraint.is_open:
        return version.compare(wanted) <= 0
    if version.parts[0] > wanted.parts[0]:
        return False
    return not (
        version.parts[0] == wanted.parts[0] and version.parts[1] > wanted.parts[1] and not constraint.minor_open
    )


def _unlike(constraint: _Constraint, version: Version) -> bool:
    wanted = constraint.version
    if constraint.is_open:
        if wanted.parts[0] != version.parts[0]:
            return True
        if constraint.minor_open:
            return False
        return wanted.parts[1] != version.parts[1]
    return version.compare(wanted) != 0


def _tilde(constraint: _Constraint, version: Version) -> bool:
    wanted = constraint.version
    if wanted.parts == (0, 0, 0) and not constraint.is_open:
        return True
    if wanted.parts == (0, 0, 0) and constraint.minor_open and constraint.patch_open:
        return True
    if version.compare(wanted) < 0 or version.parts[0] != wanted.parts[0]:
        return False
    return version.parts[1] == wanted.parts[1] or constraint.minor_open


def _same(constraint: _Constraint, version: Version) -> bool:
    return _tilde(constraint, version) if constraint.is_open else version.compare(constraint.version) == 0


def _caret(constraint: _Constraint, version: Version) -> bool:
    wanted = constraint.version
    if version.compare(wanted) < 0:
        return False
    if wanted.parts[0] > 0 or constraint.minor_open:
        return (
            version.parts[0] >= wanted.parts[0]
            if constraint.patch_open and constraint.minor_open
            else (version.parts[0] == wanted.parts[0])
        )
    if version.parts[0] > 0:
        return False
    if wanted.parts[1] > 0 or constraint.patch_open:
        return version.parts[1] == wanted.parts[1]
    return version.parts[1] == 0 and version.parts[2] == wanted.parts[2]


_CHECKS: Final[Mapping[str, Callable[[_Constraint, Version], bool]]] = {
    "": _same,
    "=": _same,
    "!=": _unlike,
    ">": _greater,
    "<": lambda constraint, version: version.compare(constraint.version) < 0,
    **dict.fromkeys((">=", "=>"), lambda constraint, version: version.compare(constraint.version) >= 0),
    **dict.fromkeys(("<=", "=<"), _at_most),
    **dict.fromkeys(("~", "~>"), _tilde),
    "^": _caret,
}


def _satisfies(constraint: str, text: str) -> bool:
    alternatives = _parse_constraints(constraint)
    version = parse_version(text)
    return any(all(each.admits(version) for each in alternative) for alternative in alternatives)


VERSIONS: Final[Mapping[str, Function]] = {
    "semver": takes("string")(parse_version),
    "semverCompare": takes("string", "string")(_satisfies),
}
