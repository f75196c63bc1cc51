"""Every token shape that was tried on the reference: what it accepts we accept, what it refuses we refuse."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jwk import JWK, parse_jwk
from provisor.core.jose.jws import parse_token, verify_signature
from provisor.core.jose.jwt import check_times, parse_claims, parse_confirmation
from provisor.errors import ProvisorError

RECORDED: dict[str, Any] = json.loads((Path(__file__).parent / "recorded_tokens.json").read_text())
KEYS: dict[tuple[str, str], JWK] = {
    (entry["name"], entry["key"]["kid"]): parse_jwk(entry["key"]) for entry in RECORDED["provisioners"]
}
PATHS = ("/1.0/sign", "/sign", "/1.0/ssh/sign", "/ssh/sign")
ACCEPTED = ["step-certificate-authority", *(f"https://{h}{path}" for h in RECORDED["dnsNames"] for path in PATHS)]

# The text of a JSON syntax error is the decoder's own.
OTHER_WORDS = {"token with trailing data in payload", "token payload not JSON", "token payload array", "cnf string"}


def verdict(text: str, now: datetime) -> str:
    """Empty when the token is good, else the reason in the log."""
    try:
        token = parse_token(text)
        claims = parse_claims(token)
        key = KEYS.get((claims.iss, token.key_id))
        if key is None or key.public_key is None or not audiences_match(claims.aud, ACCEPTED):
            return "audience"
        verify_signature(token, key.public_key)
        check_times(claims, now)
        parse_confirmation(claims)
    except ProvisorError as refusal:
        return refusal.detail
    return "" if claims.sub else "token subject cannot be empty"


@pytest.mark.parametrize("case", RECORDED["cases"], ids=[case["name"] for case in RECORDED["cases"]])
def test_the_verdict_is_that_of_the_reference(case: dict[str, Any]) -> None:
    reason = verdict(case["token"], datetime.fromisoformat(case["time"]))
    assert (not reason) == (case["status"] == 201)
    if reason and case["name"] not in OTHER_WORDS:
        assert reason in case["log"]
