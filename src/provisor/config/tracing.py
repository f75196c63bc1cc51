"""Whether traces are wanted, and where they go: ca.json, or the environment variables of OpenTelemetry.

`OTEL_SDK_DISABLED=true` and `OTEL_TRACES_EXPORTER=none` switch off whatever else says.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisor.config.ca_json import TracingSettings
from provisor.errors import ConfigError

ENDPOINT_VARIABLES: Final = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
_PATH: Final = "/v1/traces"
_POINTER: Final = "$.provisor.tracing"
_NEEDED: Final = ("opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http")


def tracing_in_force(settings: TracingSettings | None, environ: Mapping[str, str]) -> TracingSettings | None:
    """The settings with their defaults; None where there is to be no tracing.

    Raises `ConfigError` for a `tracing` that no endpoint goes with.
    """
    if environ.get("OTEL_SDK_DISABLED", "").lower() == "true" or environ.get("OTEL_TRACES_EXPORTER") == "none":
        return None
    by_environment = any(environ.get(name) for name in ENDPOINT_VARIABLES)
    if settings is None:
        return TracingSettings(service_name=_service_name(environ)) if by_environment else None
    if not settings.endpoint and not by_environment:
        raise ConfigError(f"{_POINTER}.endpoint", f"tracing has no endpoint: set it, or {ENDPOINT_VARIABLES[1]}")
    return settings


def _service_name(environ: Mapping[str, str]) -> str:
    return environ.get("OTEL_SERVICE_NAME") or TracingSettings().service_name


def traces_url(settings: TracingSettings) -> str | None:
    """Where the traces are sent; None: where the environment says, read by the exporter itself."""
    if not settings.endpoint or settings.endpoint.endswith(_PATH):
        return settings.endpoint or None
    return settings.endpoint + _PATH


def check_tracing(settings: TracingSettings | None, environ: Mapping[str, str]) -> None:
    """Raises `ConfigError` if traces are wanted and cannot be made: what is missing, and what to do."""
    wanted = tracing_in_force(settings, environ)
    if wanted is None or _is_installed():
        return
    by = "provisor.tracing" if settings is not None else next(name for name in ENDPOINT_VARIABLES if environ.get(name))
    off = "remove provisor.tracing" if settings is not None else "set OTEL_SDK_DISABLED=true"
    raise ConfigError(
        _POINTER,
        f"{by} asks for traces, and OpenTelemetry is not installed: pip install 'provisor[otel]', or {off}",
    )


def _is_installed() -> bool:
    """By what the installer wrote down: a look that imports nothing."""
    from importlib.metadata import PackageNotFoundError, version

    try:
        return all(version(name) for name in _NEEDED)
    except PackageNotFoundError:
        return False
