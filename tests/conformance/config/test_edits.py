"""What `step ca provisioner add` and `update` make of a ca.json."""

from __future__ import annotations

import difflib
import json
from pathlib import Path
from typing import Any

import pytest

from provisor.config.edit import add_provisioner, encode_document, update_provisioner
from provisor.config.load import load_config

EDITS: dict[str, Any] = json.loads((Path(__file__).parent / "edits.json").read_text())
BASE: str = EDITS["base"]


@pytest.mark.parametrize("case", EDITS["cases"], ids=[case["name"] for case in EDITS["cases"]])
def test_the_file_changes_as_the_reference_changes_it(case: dict[str, Any]) -> None:
    document = load_config(BASE.encode()).document
    if case["name"].startswith("add"):
        edited = add_provisioner(document, case["entry"])
    else:
        edited = update_provisioner(document, case["entry"]["name"], case["entry"])
    lines = encode_document(edited).decode().splitlines()
    diff = difflib.unified_diff(BASE.splitlines(), lines, "before", "after", lineterm="", n=1)
    assert [line for line in diff if line[0] in "+-"][2:] == [line for line in case["diff"] if line[0] in "+-"][2:]
