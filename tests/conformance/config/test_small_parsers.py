"""Durations, times, claims and names exactly as step-ca reads them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from provisor.core.claims import BUILT_IN, ClaimsError, ClaimSettings, merge
from provisor.core.durations import DurationError, format_duration, format_rfc3339, parse_duration, parse_time_duration
from provisor.core.names import NameKind, classify_sans, split_kinds

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "small-parsers.json").read_text())
BASE = datetime(2026, 1, 1, tzinfo=UTC)


def cases(kind: str, *, of_type: type = object, null: bool = True) -> list[Any]:
    chosen = [case for case in CASES if case["kind"] == kind and isinstance(case["input"], of_type)]
    return [pytest.param(case, id=case["id"]) for case in chosen if null or case["input"] is not None]


@pytest.mark.parametrize("case", cases("duration", of_type=str))
def test_a_duration_means_what_it_means_to_the_reference(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(DurationError) as raised:
            parse_duration(case["input"])
        assert f"error parsing {case['input']} as duration: {raised.value}" == case["error"]
    else:
        duration = parse_duration(case["input"])
        assert duration == case["result"]["ns"]
        assert format_duration(duration) == case["result"]["text"]


@pytest.mark.parametrize("case", cases("duration", null=False))
def test_a_claim_that_is_no_duration_gets_the_recorded_text(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ClaimsError) as raised:
            ClaimSettings.from_members({"maxTLSCertDuration": case["input"]})
        assert str(raised.value) == case["error"]
    else:
        settings = ClaimSettings.from_members({"maxTLSCertDuration": case["input"]})
        assert settings.max_tls == case["result"]["ns"]


@pytest.mark.parametrize("case", cases("timeDuration", of_type=str))
def test_a_time_or_duration_means_what_it_means_to_the_reference(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(DurationError) as raised:
            parse_time_duration(case["input"])
        assert str(raised.value) == case["error"]
        return
    value = parse_time_duration(case["input"])
    assert value.is_unset == case["result"]["zero"]
    instant = value.resolve(BASE)
    assert (format_rfc3339(instant) if instant else "0001-01-01T00:00:00Z") == case["result"]["relativeTo20260101"]


@pytest.mark.parametrize("case", cases("claims"))
def test_claims_merge_over_the_built_in_ones_as_in_the_reference(case: dict[str, Any]) -> None:
    if "error" in case:
        with pytest.raises(ClaimsError) as raised:
            merge(BUILT_IN, ClaimSettings.from_members(case["input"]))
        assert str(raised.value) == case["error"].removeprefix("claims: ")
    else:
        merged = merge(BUILT_IN, ClaimSettings.from_members(case["input"]))
        values = {name: getattr(merged, name) for name in merged.__struct_fields__}
        assert ClaimSettings(**values).to_members() == case["result"]


@pytest.mark.parametrize("case", cases("splitSANs"))
def test_names_are_told_apart_as_in_the_reference(case: dict[str, Any]) -> None:
    kinds = split_kinds(classify_sans(case["input"].split("|")))
    assert {kind.value: values for kind, values in kinds.items() if values} == case["result"]
    assert list(kinds) == list(NameKind)
