"""Configurations with rules that are none: what the reference says at its start, and which ones it starts with."""

from __future__ import annotations

import json
from typing import Any, Final

import pytest

from conformance.templates.tables import startups
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.provisioners.registry import build_registry
from support.authority import make_config
from support.credentials import make_signer

SIGNER: Final = make_signer("p")
POLICIES: Final[dict[str, Any]] = {
    "dns-star": {"x509": {"allow": {"dns": ["*"]}}},
    "dns-dot": {"x509": {"deny": {"dns": [".a"]}}},
    "ip": {"x509": {"allow": {"ip": ["300.1.1.1"]}}},
    "email-at": {"x509": {"allow": {"email": ["@"]}}},
    "uri-port": {"x509": {"allow": {"uri": ["a:1"]}}},
    "cn-star": {"x509": {"deny": {"cn": ["*"]}}},
    "ssh-dns": {"ssh": {"host": {"allow": {"dns": ["a..b"]}}}},
    "ssh-user-email": {"ssh": {"user": {"deny": {"email": ["*@x"]}}}},
    "wrong-kind": {"x509": {"allow": {"dns": "a"}}},
    "own-name-denied": {"x509": {"deny": {"dns": ["localhost"]}}},
    "unknown-members": {"x509": {"allow": {"dnsNames": ["a"]}}, "foo": 1},
}
LOCAL: Final = "https://localhost/"
WEBHOOKS: Final[dict[str, Any]] = {
    "http": {"name": "w", "url": "http://localhost/", "kind": "ENRICHING"},
    "no-name": {"url": LOCAL, "kind": "ENRICHING"},
    "no-kind": {"name": "w", "url": LOCAL},
    "bad-kind": {"name": "w", "url": LOCAL, "kind": "FOO"},
    "userinfo": {"name": "w", "url": "https://u:p@localhost/", "kind": "ENRICHING"},
    "ok": {"name": "w", "url": LOCAL, "kind": "enriching"},
}
CLAIMS: Final[dict[str, Any]] = {
    "min-zero": {"minTLSCertDuration": "0s"},
    "max-below-default": {"maxTLSCertDuration": "1h"},
    "unit-d": {"maxTLSCertDuration": "7d"},
    "number": {"maxTLSCertDuration": 24},
    "ssh-min-above-max": {"minUserSSHCertDuration": "48h", "maxUserSSHCertDuration": "24h"},
    "default-raises-max": {"defaultTLSCertDuration": "48h"},
}
TEMPLATES: Final[dict[str, Any]] = {
    "parse-error": {"template": "{{ nofunc }}"},
    "data-array": {"template": "{}", "templateData": [1]},
    "not-string": {"template": 5},
    "file-missing": {"templateFile": "/none"},
}


def _documents() -> dict[str, dict[str, object]]:
    found = {f"policy-{name}": make_config(SIGNER.entry(), authority={"policy": p}) for name, p in POLICIES.items()}
    for name, hook in WEBHOOKS.items():
        found[f"webhook-{name}"] = make_config(SIGNER.entry(options={"webhooks": [hook]}))
    for name, claims in CLAIMS.items():
        found[f"claims-{name}"] = make_config(SIGNER.entry(), authority={"claims": claims})
        found[f"provisioner-claims-{name}"] = make_config(SIGNER.entry(claims=claims))
    for name, template in TEMPLATES.items():
        found[f"template-{name}"] = make_config(SIGNER.entry(options={"x509": template}))
    return found


DOCUMENTS: Final = _documents()


def said(document: dict[str, object]) -> tuple[bool, str]:
    """Whether it starts, and the first thing that is wrong."""
    loaded = load_config(json.dumps(document).encode(), where="ca.json")
    if loaded.faults:
        return False, loaded.faults[0].text
    authority = loaded.config.authority
    faults = build_registry(authority.provisioners, merge(BUILT_IN, authority.claims)).faults
    texts = [f'failed to initialize {fault.kind} provisioner "{fault.name}": {fault.reason}' for fault in faults]
    return True, texts[0] if texts else ""


@pytest.mark.parametrize("case", startups(), ids=lambda case: case["name"])
def test_it_starts_or_says_what_was_recorded(case: dict[str, Any]) -> None:
    starts, text = said(DOCUMENTS[case["name"]])
    assert starts == (case["exit"] == "running"), text
    first = case["output"][0]
    if first.startswith("panic:"):
        assert text, "the reference crashes; here it is a fault"
    elif first.startswith("Additional configured"):
        assert text == ""
    else:
        assert first.removeprefix("error parsing $LAB/startup/config/ca.json: ").endswith(
            text.removeprefix("error parsing ca.json: ")
        ), text
        assert text
