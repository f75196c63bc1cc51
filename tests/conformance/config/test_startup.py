"""Configurations the reference was started with: what it refused, and the first thing it said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisor.config.load import load_config

HERE = Path(__file__).parent
STARTUP: dict[str, Any] = json.loads((HERE / "startup.json").read_text())
PROVISIONERS: list[dict[str, Any]] = json.loads((HERE / "provisioners.json").read_text())

FOUND_LATER = {
    "no password, no terminal",
    "root missing file",
    "crt missing file",
    "key missing file",
    "key of another certificate",
}
"""These are about other files than ca.json."""

KNOWINGLY_DIFFERENT = {
    "insecureAddress bad": "invalid insecure address nope",
    "provisioner without key": "",  # the reference crashes; here that one provisioner is disabled
    "JWK without key": "",
}


def text_of(case: dict[str, Any]) -> str:
    if "text" in case:
        return str(case["text"])
    config = {**STARTUP["base"], **case.get("set", {})}
    if "authority" in case:
        config["authority"] = {**config["authority"], **case["authority"]}
    config = {name: value for name, value in config.items() if name not in case.get("remove", ())}
    return json.dumps(config) + str(case.get("after", ""))


@pytest.mark.parametrize("case", STARTUP["cases"], ids=[case["name"] for case in STARTUP["cases"]])
def test_the_first_fault_is_what_the_reference_prints(case: dict[str, Any]) -> None:
    loaded = load_config(text_of(case).encode(), where="run.json")
    first = loaded.faults[0].text if loaded.faults else ""
    expected = "" if case["name"] in FOUND_LATER else KNOWINGLY_DIFFERENT.get(case["name"], case["error"])
    assert first == expected


@pytest.mark.parametrize("case", PROVISIONERS, ids=[case["name"] for case in PROVISIONERS])
def test_lists_of_provisioners_are_refused_as_by_the_reference(case: dict[str, Any]) -> None:
    config = {**STARTUP["base"], "authority": {"provisioners": case["provisioners"]}}
    loaded = load_config(json.dumps(config).encode(), where="run.json")
    first = loaded.faults[0].text if loaded.faults else ""
    assert first == KNOWINGLY_DIFFERENT.get(case["name"], case["error"])
