"""Whether traces are wanted, and what is missing for them."""

from __future__ import annotations

import importlib.metadata
import json
from typing import Any

import pytest

from provisor.config.ca_json import TracingSettings
from provisor.config.load import load_config
from provisor.config.tracing import check_tracing, traces_url, tracing_in_force
from provisor.errors import ConfigError

GOOD = {"root": "r", "crt": "c", "key": "k", "address": ":1"}
ENDPOINT = "http://collector:4318"
BY_ENVIRONMENT = {"OTEL_EXPORTER_OTLP_ENDPOINT": ENDPOINT}


def read(value: object) -> tuple[TracingSettings | None, list[tuple[str, str]]]:
    loaded = load_config(json.dumps({**GOOD, "provisor": {"tracing": value}}).encode())
    return loaded.config.provisor.tracing, [(fault.pointer, fault.text) for fault in loaded.faults]


def test_everything_can_be_set() -> None:
    value = {"endpoint": f"{ENDPOINT}/", "sampleRatio": 1, "askedPerSecond": 0, "serviceName": "ca-berlin"}
    assert read(value) == (TracingSettings(ENDPOINT, 1.0, 0, "ca-berlin"), [])


def test_what_is_not_said_has_a_default() -> None:
    assert read({"endpoint": ENDPOINT}) == (TracingSettings(ENDPOINT, 0.01, 10, "provisor"), [])
    assert read(None) == (None, [])


@pytest.mark.parametrize(
    ("value", "member", "text"),
    [
        ({"endpont": ENDPOINT}, "endpont", "unknown member 'endpont' in $.provisor.tracing, did you mean 'endpoint'?"),
        ({"endpoint": 4318}, "endpoint", "endpoint must be a URL such as http://localhost:4318"),
        ({"endpoint": "collector:4318"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "grpc://collector:4317"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://host:99999"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://host/?token=x"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://host/a b"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://host/\n"}, "endpoint", "endpoint must be a URL"),
        ({"endpoint": "http://me:secret@host"}, "endpoint", "endpoint must not hold a password"),
        ({"sampleRatio": 1.5}, "sampleRatio", "sampleRatio must be a number from 0 to 1"),
        ({"sampleRatio": -0.1}, "sampleRatio", "sampleRatio must be a number from 0 to 1"),
        ({"sampleRatio": "1"}, "sampleRatio", "sampleRatio must be a number from 0 to 1"),
        ({"sampleRatio": True}, "sampleRatio", "sampleRatio must be a number from 0 to 1"),
        ({"askedPerSecond": -1}, "askedPerSecond", "askedPerSecond must be an integer of at least 0"),
        ({"serviceName": ""}, "serviceName", "serviceName must be a text of 1 to 255 printable characters"),
        ({"serviceName": "a\nb"}, "serviceName", "serviceName must be a text"),
        ({"serviceName": "a" * 256}, "serviceName", "serviceName must be a text"),
    ],
)
def test_whatever_is_wrong_in_it_is_a_fault(value: Any, member: str, text: str) -> None:
    _, ((at, said),) = read(value)
    assert at == f"$.provisor.tracing.{member}"
    assert text in said
    assert "secret" not in said


def test_an_endpoint_is_the_base_of_the_url() -> None:
    assert traces_url(TracingSettings(ENDPOINT)) == f"{ENDPOINT}/v1/traces"
    assert traces_url(TracingSettings(f"{ENDPOINT}/otlp")) == f"{ENDPOINT}/otlp/v1/traces"
    assert traces_url(TracingSettings(f"{ENDPOINT}/v1/traces")) == f"{ENDPOINT}/v1/traces"
    assert traces_url(TracingSettings()) is None


def test_the_environment_stands_in_for_the_object() -> None:
    assert tracing_in_force(None, {}) is None
    assert tracing_in_force(None, BY_ENVIRONMENT) == TracingSettings()
    assert tracing_in_force(None, {**BY_ENVIRONMENT, "OTEL_SERVICE_NAME": "ours"}) == TracingSettings(
        service_name="ours"
    )
    only_ratio = TracingSettings(sample_ratio=0.5)
    assert tracing_in_force(only_ratio, {"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": ENDPOINT}) == only_ratio
    with pytest.raises(ConfigError, match="has no endpoint"):
        tracing_in_force(only_ratio, {})


@pytest.mark.parametrize("off", [{"OTEL_SDK_DISABLED": "true"}, {"OTEL_TRACES_EXPORTER": "none"}])
def test_the_environment_can_switch_it_off(off: dict[str, str]) -> None:
    assert tracing_in_force(TracingSettings(ENDPOINT), {**BY_ENVIRONMENT, **off}) is None


# -- the extra ----------------------------------------------------------------------------------


@pytest.fixture
def _without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def nothing(name: str) -> str:
        raise importlib.metadata.PackageNotFoundError(name)

    monkeypatch.setattr(importlib.metadata, "version", nothing)


def test_with_the_extra_nothing_is_missing() -> None:
    check_tracing(TracingSettings(ENDPOINT), {})
    check_tracing(None, BY_ENVIRONMENT)


@pytest.mark.usefixtures("_without_the_extra")
def test_without_the_extra_the_remedy_is_told() -> None:
    check_tracing(None, {})
    with pytest.raises(ConfigError) as by_file:
        check_tracing(TracingSettings(ENDPOINT), {})
    assert by_file.value.reason == (
        "provisor.tracing asks for traces, and OpenTelemetry is not installed: "
        "pip install 'provisor[otel]', or remove provisor.tracing"
    )
    with pytest.raises(ConfigError) as by_environment:
        check_tracing(None, BY_ENVIRONMENT)
    assert by_environment.value.reason == (
        "OTEL_EXPORTER_OTLP_ENDPOINT asks for traces, and OpenTelemetry is not installed: "
        "pip install 'provisor[otel]', or set OTEL_SDK_DISABLED=true"
    )
    check_tracing(TracingSettings(ENDPOINT), {"OTEL_SDK_DISABLED": "true"})
