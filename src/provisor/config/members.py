"""Reading the members of JSON objects and collecting every fault with a pointer to it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

import msgspec
from msgspec import Struct

from provisor.core.claims import json_kind
from provisor.core.durations import Duration, DurationError, parse_duration
from provisor.wire.gojson import fold


class Fault(Struct, frozen=True):
    """One thing that is wrong or doubtful. `pointer` is like `$.authority.provisioners[2].claims`.

    `text` is what the reference prints, where it has a text for it. A fault that is not fatal is a warning.
    """

    pointer: str
    text: str
    fatal: bool = True


class Faults:
    """The faults found so far, in the order the reference would come upon them."""

    def __init__(self, where: str) -> None:
        self.where = where
        self.fatal: list[Fault] = []
        self.warnings: list[Fault] = []

    def unreadable(self, pointer: str, cause: str) -> None:
        """A value of the wrong type: the file cannot be decoded."""
        self.fatal.append(Fault(pointer, f"error parsing {self.where}: {cause}"))

    def wrong(self, pointer: str, text: str) -> None:
        """A value that breaks a rule. Not said of a member that could not even be read."""
        if not any(fault.pointer == pointer for fault in self.fatal):
            self.fatal.append(Fault(pointer, text))

    def doubtful(self, pointer: str, text: str) -> None:
        self.warnings.append(Fault(pointer, text, fatal=False))


class Members:
    """The members of one object, letter case apart; the last of several wins, null is absent.

    A member of the wrong type is reported once and then counts as absent. `go` and `path` are how
    error texts name the place.
    """

    def __init__(
        self, faults: Faults, raw: Mapping[str, object], pointer: str, go: str, path: str = "", prefix: str = ""
    ) -> None:
        self.faults = faults
        self.raw = raw
        self.pointer = pointer
        self._go = go
        self.path = path
        self._prefix = prefix
        self._values: dict[str, tuple[str, object]] = {}
        for written, value in raw.items():
            if value is not None:
                self._values[fold(written)] = (written, value)

    def at(self, name: str) -> str:
        """The pointer of a member, spelt as it is written."""
        written, _ = self._values.get(fold(name), (name, None))
        return f"{self.pointer}.{written}"

    def get(self, name: str) -> object:
        """The value as it is, None when absent."""
        return self._values.get(fold(name), (name, None))[1]

    def text(self, name: str, default: str = "") -> str:
        value = self.get(name)
        if isinstance(value, str):
            return value
        if value is not None:
            self._mistyped(name, value, "string")
        return default

    def flag(self, name: str) -> bool:
        value = self.get(name)
        if isinstance(value, bool):
            return value
        if value is not None:
            self._mistyped(name, value, "bool")
        return False

    def number(self, name: str, type_name: str = "int") -> float:
        """0 when absent. `type_name` other than `int` admits fractions."""
        value = self.get(name)
        if isinstance(value, int) and not isinstance(value, bool):
            return value
        if isinstance(value, float) and type_name != "int":
            return value
        if value is not None:
            self._mistyped(name, value, type_name)
        return 0

    def texts(self, name: str) -> tuple[str, ...] | None:
        value = self.get(name)
        if isinstance(value, list):
            wrong = next((element for element in value if not isinstance(element, str | None)), None)
            if wrong is None:
                return tuple(element or "" for element in value)
            self._mistyped(name, wrong, "string")
        elif value is not None:
            self._mistyped(name, value, "[]string")
        return None

    def duration(self, name: str) -> Duration | None:
        value = self.get(name)
        if isinstance(value, str):
            try:
                return parse_duration(value)
            except DurationError as error:
                self.unreadable(name, f"error parsing {value} as duration: {error}")
        elif value is not None:
            text = msgspec.json.encode(value).decode()
            self.unreadable(
                name,
                f"error unmarshaling {text}: json: cannot unmarshal {json_kind(value)} into Go value of type string",
            )
        return None

    def mapping(self, name: str, type_name: str) -> Mapping[str, object] | None:
        value = self.get(name)
        if isinstance(value, dict):
            return value
        if value is not None:
            self._mistyped(name, value, type_name)
        return None

    def mappings(self, name: str, type_name: str) -> tuple[Mapping[str, object], ...]:
        value = self.get(name)
        if isinstance(value, list) and all(isinstance(element, dict) for element in value):
            return tuple(value)
        if value is not None:
            self._mistyped(name, value, f"[]{type_name}")
        return ()

    def child(self, name: str, go: str) -> Members | None:
        """The members of an object inside this one."""
        value = self.mapping(name, go)
        if value is None:
            return None
        path = f"{self.path}.{name}" if self.path else name
        return Members(self.faults, value, self.at(name), go.rpartition(".")[2], path, self._prefix)

    def unreadable(self, name: str, cause: str) -> None:
        self.faults.unreadable(self.at(name), self._prefix + cause)

    def _mistyped(self, name: str, value: object, type_name: str) -> None:
        path = f"{self.path}.{name}" if self.path else name
        what = json_kind(value)
        if what == "number" and type_name == "int":
            what = f"number {value}"
        self.unreadable(
            name, f"json: cannot unmarshal {what} into Go struct field {self._go}.{path} of type {type_name}"
        )

    def warn_unknown(self, known: Sequence[str]) -> None:
        """A warning for each member that is not known, with the nearest one that is."""
        for written in unknown_members(self.raw, known):
            self.faults.doubtful(f"{self.pointer}.{written}", f"unknown member {written!r}{nearest(written, known)}")


def unknown_members(raw: Iterable[str], known: Sequence[str]) -> list[str]:
    folded = {fold(name) for name in known}
    return [written for written in raw if fold(written) not in folded]


def nearest(written: str, known: Sequence[str]) -> str:
    """`, did you mean 'x'?` or nothing."""
    folded = {fold(name): name for name in known}
    close = difflib.get_close_matches(fold(written), list(folded), n=1, cutoff=0.75)
    return f", did you mean {folded[close[0]]!r}?" if close else ""
