"""Entries, signatures and answers of webhooks."""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.json_text import find_syntax_error
from provisor.core.secret import Secret
from provisor.core.webhook import (
    CertificateType,
    Webhook,
    WebhookCredentials,
    WebhookKind,
    check_webhook,
    parse_secret,
    read_answer,
    webhook_headers,
)
from provisor.errors import ConfigError
from provisor.wire.gojson import decode_value

RECORDED = Path(__file__).parent / "recorded_webhooks"
ENTRIES = [json.loads(line) for line in (RECORDED / "entries.jsonl").read_text().splitlines()]
ANSWERS = [json.loads(line) for line in (RECORDED / "answers.jsonl").read_text().splitlines()]
FORBIDDEN = "The request was forbidden by the certificate authority: "


def hook(**changes: Any) -> Webhook:
    return Webhook(**{"id": "i", "name": "n", "url": "https://h/", "kind": WebhookKind.ENRICHING, **changes})


@pytest.mark.parametrize("case", [case for case in ENTRIES if case["id"] != "webhook/022"], ids=lambda case: case["id"])
def test_entries_are_taken_and_refused_as_recorded(case: dict[str, Any]) -> None:
    entry = case["input"]
    arguments = (entry.get("name", ""), entry.get("url", ""), entry.get("kind", ""))
    if "error" in case:
        with pytest.raises(ConfigError) as caught:
            check_webhook(*arguments)
        assert caught.value.reason == case["error"]
    else:
        assert check_webhook(*arguments) == case["result"]["kind"]


@pytest.mark.parametrize(
    ("written", "matches"),
    [
        ("", {"X509", "SSH"}),
        ("ALL", {"X509", "SSH"}),
        ("X509", {"X509"}),
        ("SSH", {"SSH"}),
        ("bogus", set()),
        ("x509", set()),
    ],
)
def test_a_hook_is_called_for_its_type_of_certificate(written: str, matches: set[str]) -> None:
    this = hook(certificate_type=written)
    assert {kind.value for kind in CertificateType if this.is_for(WebhookKind.ENRICHING, kind)} == matches
    assert not any(this.is_for(WebhookKind.AUTHORIZING, kind) for kind in CertificateType)


@pytest.mark.parametrize("case", [case for case in ANSWERS if case["body"]], ids=lambda case: case["label"])
def test_answers_mean_what_was_recorded(case: dict[str, Any]) -> None:
    body = case["body"].encode()
    error = find_syntax_error(body)
    text = str(error) if error else ""
    if not error:
        try:
            answer = read_answer(decode_value(body))
        except ValueError as refused:
            text = str(refused)
        else:
            text = "" if answer.allow else answer.text
    assert case["says"] == (f"{FORBIDDEN}{text}." if text else "")


def test_an_error_beside_a_yes_is_ignored_and_data_is_any_value() -> None:
    answer = read_answer({"allow": True, "error": {"code": "c", "message": "m"}, "data": [1, None]})
    assert answer.allow
    assert answer.data == [1, None]


@pytest.mark.parametrize(
    "value", [{"allow": 1}, {"allow": "true"}, {"allow": []}, {"error": "x"}, {"error": {"code": 1}}, [], "x", 1, True]
)
def test_an_answer_of_wrong_types_is_no_yes(value: object) -> None:
    with pytest.raises(ValueError, match=r"^json: cannot unmarshal "):
        read_answer(value)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["allow", "ALLOW", "error", "data", "x"]), inner),
)


@given(json_values)
def test_only_allow_true_allows(value: Any) -> None:
    try:
        answer = read_answer(value)
    except ValueError:
        return
    spelt = [member for name, member in value.items() if name.lower() == "allow"] if isinstance(value, dict) else []
    assert answer.allow is (bool(spelt) and spelt[-1] is True)


def test_the_signature_is_an_hmac_of_the_exact_octets() -> None:
    body = b'{"timestamp":"x"}'
    with_key = webhook_headers(hook(credentials=WebhookCredentials(secret=Secret(b"k" * 64))), body, "req")
    assert with_key["X-Smallstep-Signature"] == hmac.new(b"k" * 64, body, hashlib.sha256).hexdigest()
    without = webhook_headers(hook(), body, "")
    assert without["X-Smallstep-Signature"] == hmac.new(b"", body, hashlib.sha256).hexdigest()
    assert list(without) == ["User-Agent", "X-Smallstep-Signature", "X-Smallstep-Webhook-Id"]
    assert list(with_key) == ["User-Agent", "X-Request-Id", "X-Smallstep-Signature", "X-Smallstep-Webhook-Id"]


def test_a_bearer_token_wins_over_a_user() -> None:
    both = WebhookCredentials(bearer=Secret("t"), user="u", password=Secret("p"))
    assert webhook_headers(hook(credentials=both), b"", "r")["Authorization"] == "Bearer t"
    basic = WebhookCredentials(user="Jörg", password=Secret("pä:ß"))
    assert webhook_headers(hook(credentials=basic), b"", "r")["Authorization"] == "Basic SsO2cmc6cMOkOsOf"


def test_a_secret_is_base64_and_never_shown() -> None:
    assert parse_secret("c2VjcmV0").reveal() == b"secret"
    assert "hidden" not in repr(hook(credentials=WebhookCredentials(secret=parse_secret("aGlkZGVu"))))
    for text in ("c2VjcmV", "c2Vj*mV0", "c2VjcmV0=", "é"):
        with pytest.raises(ConfigError, match="webhook secret is not base64"):
            parse_secret(text)
