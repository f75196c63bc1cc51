"""Reading the object `provisor`. A mistyped switch must not be ignored, so everything unknown is a fault."""

from __future__ import annotations

from contextlib import suppress
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct

from provisor.config.ca_json import (
    DatabaseSettings,
    Limits,
    NetworkSettings,
    ProvisorSettings,
    RetentionSettings,
    Switches,
    TracingSettings,
)
from provisor.config.members import Members, nearest, unknown_members
from provisor.core.addresses import parse_allowed
from provisor.core.durations import HOUR, Duration, DurationError, parse_duration

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
        admin_socket=_admin_socket(members),
        tracing=_tracing(_object(members, "tracing")),
        database=_database(_object(members, "database")),
        retention=_retention(_object(members, "retention")),
        network=_network(_object(members, "network")),
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


def _admin_socket(members: Members) -> str | None:
    value = members.get("adminSocket")
    if value is None or (isinstance(value, str) and "\x00" not in value):
        return value
    members.faults.wrong(members.at("adminSocket"), "adminSocket must be the path of a socket, or empty for none")
    return None


def _database(members: Members | None) -> DatabaseSettings:
    default = DatabaseSettings()
    if members is None:
        return default
    _refuse_unknown(members, DatabaseSettings)
    path = members.get("passwordFile")
    if path is not None and (not isinstance(path, str) or "\x00" in path):
        members.faults.wrong(members.at("passwordFile"), "passwordFile must be the path of a file")
        path = None
    migrate = members.get("migrate")
    if migrate is not None and not isinstance(migrate, bool):
        members.faults.wrong(members.at("migrate"), "migrate must be true or false")
        migrate = None
    return DatabaseSettings(
        password_file=path or "",
        statement_seconds=_count(members, "statementSeconds", default.statement_seconds),
        pause_seconds=_count(members, "pauseSeconds", default.pause_seconds),
        migrate=bool(migrate),
    )


_LONGEST_SERVICE_NAME: Final = 255


def _tracing(members: Members | None) -> TracingSettings | None:
    if members is None:
        return None
    _refuse_unknown(members, TracingSettings)
    default = TracingSettings()
    return TracingSettings(
        endpoint=_endpoint(members),
        sample_ratio=_ratio(members, default.sample_ratio),
        asked_per_second=_count(members, "askedPerSecond", default.asked_per_second, least=0),
        service_name=_service_name(members, default.service_name),
    )


def _endpoint(members: Members) -> str:
    """A secret has no place in it: the URL is shown in logs."""
    value = members.get("endpoint")
    if value is None:
        return ""
    reason = "endpoint must be a URL such as http://localhost:4318"
    if isinstance(value, str):
        with suppress(ValueError):
            url = urlsplit(value)
            if url.username is None and url.password is None:
                plain = not (url.query or url.fragment) and value.isprintable() and " " not in value
                if url.scheme in ("http", "https") and url.hostname and url.port != 0 and plain:
                    return value.rstrip("/")
            else:
                reason = "endpoint must not hold a password: headers are set by OTEL_EXPORTER_OTLP_HEADERS"
    members.faults.wrong(members.at("endpoint"), reason)
    return ""


def _ratio(members: Members, default: float) -> float:
    value = members.get("sampleRatio")
    if value is None:
        return default
    if isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value <= 1:
        return float(value)
    members.faults.wrong(members.at("sampleRatio"), "sampleRatio must be a number from 0 to 1")
    return default


def _service_name(members: Members, default: str) -> str:
    value = members.get("serviceName")
    if value is None:
        return default
    if isinstance(value, str) and value.isprintable() and 0 < len(value) <= _LONGEST_SERVICE_NAME:
        return value
    members.faults.wrong(
        members.at("serviceName"), f"serviceName must be a text of 1 to {_LONGEST_SERVICE_NAME} printable characters"
    )
    return default


_FOREVER: Final = "forever"
_LEAST_KEPT: Final = Duration(24 * HOUR)


def _retention(members: Members | None) -> RetentionSettings:
    default = RetentionSettings()
    if members is None:
        return default
    _refuse_unknown(members, RetentionSettings)
    return RetentionSettings(
        certificates=_kept(members, "certificates", default.certificates),
        events=_kept(members, "events", default.events),
    )


def _kept(members: Members, name: str, default: Duration | None) -> Duration | None:
    """A duration of a day at least. Zero is a fault: one may mean "at once" by it, another "for ever"."""
    value = members.get(name)
    if value is None:
        return default
    if value == _FOREVER:
        return None
    reason = "it is not a string"
    if isinstance(value, str):
        try:
            duration = parse_duration(value)
        except DurationError as error:
            reason = str(error)
        else:
            if duration >= _LEAST_KEPT:
                return duration
            reason = "it must be at least 24h"
    members.faults.wrong(members.at(name), f'{name} is not "{_FOREVER}" or a duration such as 2160h: {reason}')
    return default


def _network(members: Members | None) -> NetworkSettings:
    if members is None:
        return NetworkSettings()
    _refuse_unknown(members, NetworkSettings)
    proxy = members.get("proxyFromEnvironment")
    if proxy is not None and not isinstance(proxy, bool):
        members.faults.wrong(members.at("proxyFromEnvironment"), "proxyFromEnvironment must be true or false")
        proxy = None
    return NetworkSettings(allowed_addresses=_addresses(members), proxy_from_environment=bool(proxy))


def _addresses(members: Members) -> tuple[str, ...]:
    name = "allowedAddresses"
    value = members.get(name)
    if value is None:
        return ()
    if not isinstance(value, list):
        members.faults.wrong(members.at(name), f"{name} must be a list of addresses and networks")
        return ()
    good: list[str] = []
    for index, entry in enumerate(value):
        try:
            parse_allowed(entry if isinstance(entry, str) else str(entry))
        except ValueError as error:
            members.faults.wrong(f"{members.at(name)}[{index}]", str(error))
        else:
            good.append(str(entry))
    return tuple(good)
