"""JSON set in lines without touching what it says."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.cli.commands.crypto_jwt import indent

values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_it_is_what_the_library_would_write_whatever_stood_there(value: Any, ascii_only: bool, before: Any) -> None:
    written = json.dumps(value, ensure_ascii=ascii_only, indent=before)
    assert indent(written) == json.dumps(value, ensure_ascii=ascii_only, indent=2)


@pytest.mark.parametrize(
    ("written", "shown"),
    [
        ('{"b":1.50,"a":"\\u0041\\/"}', '{\n  "b": 1.50,\n  "a": "\\u0041\\/"\n}'),
        ('{"a":{ },"b":[ ]}', '{\n  "a": {},\n  "b": []\n}'),
        ('"{,}:[\\"]"', '"{,}:[\\"]"'),
    ],
)
def test_order_numbers_and_escapes_stay(written: str, shown: str) -> None:
    assert indent(written) == shown
