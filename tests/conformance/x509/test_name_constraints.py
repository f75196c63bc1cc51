"""Verdicts and texts of the reference on names under constraints."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

import pytest

from provisor.core.names import Name, NameKind
from provisor.core.x509.constraints import AddressRange, NameConstraints
from provisor.errors import NameConstrained, Unencodable

DATA = Path(__file__).parent / "data"
CASES: list[dict[str, Any]] = json.loads((DATA / "name-constraints.json").read_text("utf-8"))["cases"]


def ranges(texts: list[str]) -> tuple[AddressRange, ...]:
    networks = [ipaddress.ip_network(text) for text in texts]
    return tuple(AddressRange(network.network_address.packed, network.prefixlen) for network in networks)


def constraints_of(policy: dict[str, list[str]]) -> NameConstraints:
    return NameConstraints(
        permitted_dns=tuple(policy.get("PermittedDNS", ())),
        excluded_dns=tuple(policy.get("ExcludedDNS", ())),
        permitted_ip=ranges(policy.get("PermittedIP", [])),
        excluded_ip=ranges(policy.get("ExcludedIP", [])),
        permitted_email=tuple(policy.get("PermittedEmail", ())),
        excluded_email=tuple(policy.get("ExcludedEmail", ())),
        permitted_uri=tuple(policy.get("PermittedURI", ())),
        excluded_uri=tuple(policy.get("ExcludedURI", ())),
    )


@pytest.mark.parametrize("case", CASES, ids=lambda case: case["id"])
def test_a_name_under_constraints_has_the_recorded_verdict(case: dict[str, Any]) -> None:
    constraints = constraints_of(case["policy"])
    names = [Name(kind, value) for kind in NameKind for value in case["names"].get(kind.value, [])]
    if case["verdict"] == "allowed":
        constraints.check_names(names)
        return
    expected = NameConstrained if case.get("status") == 403 else Unencodable
    with pytest.raises(expected) as caught:
        constraints.check_names(names)
    assert caught.value.detail == case["error"]
    if expected is NameConstrained:
        assert caught.value.public == case["error"]
