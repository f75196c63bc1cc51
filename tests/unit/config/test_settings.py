"""The object `provisor`: a mistyped switch must not be ignored."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from provisor.config.ca_json import Limits, ProvisorSettings, RetentionSettings, Switches
from provisor.config.load import load_config
from provisor.core.durations import HOUR, Duration

GOOD = {"root": "r", "crt": "c", "key": "k", "address": ":1"}


def settings(value: object) -> tuple[ProvisorSettings, list[tuple[str, str]]]:
    loaded = load_config(json.dumps({**GOOD, "provisor": value}).encode())
    assert loaded.warnings == ()
    return loaded.config.provisor, [(fault.pointer, fault.text) for fault in loaded.faults]


@pytest.mark.parametrize("value", [None, {}, {"workers": None, "switches": {}, "limits": None}])
def test_nothing_said_means_the_defaults(value: object) -> None:
    assert settings(value) == (ProvisorSettings(), [])


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({}, RetentionSettings(Duration(2160 * HOUR), None)),
        ({"certificates": "forever"}, RetentionSettings(None, None)),
        ({"certificates": "24h", "events": "17520h"}, RetentionSettings(Duration(24 * HOUR), Duration(17520 * HOUR))),
        ({"events": "forever"}, RetentionSettings()),
    ],
)
def test_what_is_over_is_kept_for_a_while_or_for_ever(value: object, expected: RetentionSettings) -> None:
    found, faults = settings({"retention": value})
    assert (found.retention, faults) == (expected, [])


def test_everything_can_be_set() -> None:
    switches = {field.encode_name: True for field in msgspec.structs.fields(Switches)}
    limits = {field.encode_name: 7 for field in msgspec.structs.fields(Limits)}
    assert set(switches) >= {"acceptSHA1Requests", "renewByProvisionerName", "allowNotAfterBeyondIssuer"}
    value = {
        "workers": 3,
        "switches": switches,
        "limits": limits,
        "clockToleranceSeconds": 0,
        "maxCertificateDuration": "1h",
    }
    expected = ProvisorSettings(3, Switches(*[True] * 8), Limits(*[7] * 12), 0, HOUR)
    assert settings(value) == (expected, [])


@pytest.mark.parametrize(
    ("value", "pointer", "text"),
    [
        ([], "$.provisor", "provisor must be an object"),
        ({"switchs": {}}, "$.provisor.switchs", "unknown member 'switchs' in $.provisor, did you mean 'switches'?"),
        (
            {"switches": {"acceptSHA1Request": True}},
            "$.provisor.switches.acceptSHA1Request",
            "unknown member 'acceptSHA1Request' in $.provisor.switches, did you mean 'acceptSHA1Requests'?",
        ),
        (
            {"switches": {"renewByProvisionerName": 1}},
            "$.provisor.switches.renewByProvisionerName",
            "must be true or false",
        ),
        ({"switches": True}, "$.provisor.switches", "switches must be an object"),
        ({"limits": {"bodyBytes": 0}}, "$.provisor.limits.bodyBytes", "bodyBytes must be an integer of at least 1"),
        ({"limits": {"bodyBytes": True}}, "$.provisor.limits.bodyBytes", "must be an integer"),
        ({"limits": {"bodyBytes": 2**31}}, "$.provisor.limits.bodyBytes", "must be an integer"),
        ({"limits": {"x": 1}}, "$.provisor.limits.x", "unknown member 'x'"),
        ({"workers": 1.5}, "$.provisor.workers", "workers must be an integer of at least 1"),
        ({"clockToleranceSeconds": -1}, "$.provisor.clockToleranceSeconds", "at least 0"),
        ({"maxCertificateDuration": "10y"}, "$.provisor.maxCertificateDuration", 'unknown unit "y"'),
        ({"maxCertificateDuration": "0s"}, "$.provisor.maxCertificateDuration", "must be greater than 0"),
        ({"maxCertificateDuration": 5}, "$.provisor.maxCertificateDuration", "not a string"),
        ({"retention": {"certificates": "0"}}, "$.provisor.retention.certificates", "at least 24h"),
        ({"retention": {"certificates": "23h59m"}}, "$.provisor.retention.certificates", "at least 24h"),
        ({"retention": {"certificates": "90d"}}, "$.provisor.retention.certificates", 'unknown unit "d"'),
        ({"retention": {"events": 0}}, "$.provisor.retention.events", "not a string"),
        ({"retention": {"events": "Forever"}}, "$.provisor.retention.events", "invalid duration"),
        ({"retention": {"event": "24h"}}, "$.provisor.retention.event", "did you mean 'events'"),
        ({"retention": "24h"}, "$.provisor.retention", "must be an object"),
    ],
)
def test_whatever_is_wrong_in_it_is_a_fault(value: Any, pointer: str, text: str) -> None:
    read, faults = settings(value)
    assert read == ProvisorSettings()
    ((at, said),) = faults
    assert at == pointer
    assert text in said
