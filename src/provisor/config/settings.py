"""Reading the object `provisor`. A mistyped switch must not be ignored, so everything unknown is a fault."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from provisor.config.ca_json import Limits, ProvisorSettings, Switches
from provisor.config.members import Members, nearest, unknown_members
from provisor.core.durations import Duration, DurationError, parse_duration

S = TypeVar("S", bound=Struct)


def read_settings(top: Members) -> ProvisorSettings:
    """The settings of the whole CA; defaults where a member is absent or faulty (then it is reported)."""
    members = _object(top, "provisor")
    if members is None:
        return ProvisorSettings()
    _refuse_unknown(members, ProvisorSettings)
    return ProvisorSettings(
        workers=_count(members, "workers", None),
        switches=_switches(_object(members, "switches")),
        limits=_limits(_object(members, "limits")),
        clock_tolerance_seconds=_count(members, "clockToleranceSeconds", 120, least=0),
        max_certificate_duration=_longest(members),
    )


def _object(parent: Members, name: str) -> Members | None:
    value = parent.get(name)
    if isinstance(value, dict):
        return Members(parent.faults, value, parent.at(name), "provisor")
    if value is not None:
        parent.faults.wrong(parent.at(name), f"{name} must be an object")
    return None


def _refuse_unknown(members: Members, known: type[Struct]) -> None:
    names = tuple(field.encode_name for field in msgspec.structs.fields(known))
    for written in unknown_members(members.raw, names):
        hint = nearest(written, names)
        members.faults.wrong(f"{members.pointer}.{written}", f"unknown member {written!r} in {members.pointer}{hint}")


def _switches(members: Members | None) -> Switches:
    if members is None:
        return Switches()
    _refuse_unknown(members, Switches)
    values: dict[str, bool] = {}
    for field in msgspec.structs.fields(Switches):
        value = members.get(field.encode_name)
        if isinstance(value, bool):
            values[field.name] = value
        elif value is not None:
            members.faults.wrong(members.at(field.encode_name), f"{field.encode_name} must be true or false")
    return Switches(**values)


def _limits(members: Members | None) -> Limits:
    if members is None:
        return Limits()
    _refuse_unknown(members, Limits)
    fields = msgspec.structs.fields(Limits)
    return Limits(**{field.name: _count(members, field.encode_name, field.default) for field in fields})


def _count(members: Members, name: str, default: Any, *, least: int = 1) -> Any:
    """An integer from `least` up to what 31 bits hold."""
    value = members.get(name)
    if value is None:
        return default
    if isinstance(value, int) and not isinstance(value, bool) and least <= value < 2**31:
        return value
    members.faults.wrong(members.at(name), f"{name} must be an integer of at least {least}")
    return default


def _longest(members: Members) -> Duration:
    default = ProvisorSettings().max_certificate_duration
    value = members.get("maxCertificateDuration")
    if value is None:
        return default
    reason = "it is not a string"
    if isinstance(value, str):
        try:
            duration = parse_duration(value)
        except DurationError as error:
            reason = str(error)
        else:
            if duration > 0:
                return duration
            reason = "it must be greater than 0"
    members.faults.wrong(
        members.at("maxCertificateDuration"), f"maxCertificateDuration is not a duration such as 87600h: {reason}"
    )
    return default
