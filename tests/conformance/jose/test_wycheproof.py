"""Signatures that others got wrong: forged, modified, padded, with another algorithm."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisor.core.jose.jwk import parse_jwk
from provisor.core.jose.jws import parse_jws, verify_signature
from provisor.errors import ProvisorError

GROUPS: list[dict[str, Any]] = json.loads((Path(__file__).parent / "wycheproof_jws.json").read_text())
CASES = [(group["public"], case) for group in GROUPS for case in group["tests"]]

ACCEPTED_LIKE_THE_REFERENCE = {
    "SaltLenChanged": "PSS verifies with any length of salt",
    "UsingRS256": "the JWK's alg is not enforced, its key is",
    "UsingRS384": "the JWK's alg is not enforced, its key is",
    "UsingRS512": "the JWK's alg is not enforced, its key is",
    "UsingPS256": "the JWK's alg is not enforced, its key is",
    "UsingPS384": "the JWK's alg is not enforced, its key is",
    "rejectWrongUse": "the JWK's use is not enforced",
    "rejectWrongKeyOps": "key_ops is not looked at",
}


@pytest.mark.parametrize(("public", "case"), CASES, ids=[f"{case['id']}-{case['comment']}" for _, case in CASES])
def test_a_signature_verifies_exactly_when_it_should(public: dict[str, object], case: dict[str, str]) -> None:
    key = parse_jwk(public).public_key
    assert key is not None
    try:
        verify_signature(parse_jws(case["jws"]), key)
        result = "valid"
    except ProvisorError:
        result = "invalid"
    if result != case["result"]:
        assert result == "valid"
        assert case["comment"] in ACCEPTED_LIKE_THE_REFERENCE
