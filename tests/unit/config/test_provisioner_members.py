"""Types of provisioner members."""

from __future__ import annotations

import base64
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.config.load import load_config
from provisor.config.provisioner_members import KIND_MEMBERS, illegal_base64
from provisor.wire.provisioners import KINDS

WRONG = {
    "string": 5,
    "[]string": "x",
    "bool": "yes",
    "int": 1.5,
    "duration": "1 day",
    "[]uint8": "***",
    "jose.rawJSONWebKey": "zzz",
}
TYPED = [(kind, member, wanted) for kind, members in KIND_MEMBERS.items() for member, wanted in members.items()]


@pytest.mark.parametrize(("kind", "member", "wanted"), TYPED)
def test_a_member_of_the_wrong_type_makes_the_file_unreadable(kind: str, member: str, wanted: str) -> None:
    entry = {"type": kind, "name": "x", member.upper(): WRONG[wanted]}
    config = {"root": "r", "crt": "c", "key": "k", "address": ":1", "authority": {"provisioners": [entry]}}
    (fault,) = load_config(json.dumps(config).encode()).faults
    assert fault.pointer == f"$.authority.provisioners[0].{member.upper()}"
    assert fault.text.startswith("error parsing ca.json: error unmarshaling provisioner: ")


def test_every_kind_that_can_be_shown_is_known_here() -> None:
    assert set(KIND_MEMBERS) == {kind.name for kind in KINDS.values()}
    for kind in KINDS.values():
        assert set(kind.members) - {"claims", "options"} == set(KIND_MEMBERS[kind.name])


@pytest.mark.parametrize(
    ("text", "at"),
    [
        ("", None),
        ("YQ==", None),
        ("YWI=", None),
        ("YWJj", None),
        ("YW\nJj\r\n", None),
        ("***", 0),
        ("YQ", 2),
        ("YQ=", 3),
        ("YQ=x", 3),
        ("YQ==x", 4),
        ("YWJj*", 4),
        ("YWJj=", 4),
        ("Y\n*", 2),
        ("Y", 1),
        ("YQ-_", 2),
    ],
)
def test_illegal_base64_is_found_where_it_begins(text: str, at: int | None) -> None:
    assert illegal_base64(text) == at


@given(st.binary())
def test_base64_is_legal(octets: bytes) -> None:
    assert illegal_base64(base64.b64encode(octets).decode()) is None
    assert illegal_base64(base64.encodebytes(octets).decode()) is None
