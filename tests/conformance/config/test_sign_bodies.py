"""Request bodies that the reference accepted and refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from provisor.errors import BadRequest
from provisor.wire.api import SignRequest
from provisor.wire.gojson import decode_json

CASES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "sign-bodies.json").read_text())
# Whether a string is a certificate signing request is decided where requests are parsed.
BODIES = [case for case in CASES if not case["log"].startswith("error decoding csr") or "json:" in case["log"]]


@pytest.mark.parametrize("case", BODIES, ids=[case["name"] for case in BODIES])
def test_a_body_is_decoded_when_the_reference_decodes_it(case: dict[str, Any]) -> None:
    body = case["body"].encode()
    if case["decoding_error"]:
        with pytest.raises(BadRequest) as raised:
            decode_json(body, SignRequest)
        assert raised.value.public == "error decoding json"
    else:
        request = decode_json(body, SignRequest)
        missing = {"missing csr": not request.csr, "missing ott": bool(request.csr) and not request.ott}
        assert missing.get(case["log"], bool(request.csr))


def test_an_earlier_value_stays_when_null_follows() -> None:
    # The reference answers "error decoding json" here because of the first value, not because of null.
    assert decode_json(b'{"csr":"x","csr":null}', SignRequest).csr == "x"
