"""ca.json: whatever it holds is read or told in faults, each at a place; nothing is raised."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.json_text import find_syntax_error, line_and_column
from provisor.errors import ConfigError
from provisor.provisioners.registry import build_registry
from provisor.wire.gojson import encode_config, encode_json
from support.fuzzing import HOSTILE_JSON, brief, fuzz, mutated

RECORDED = Path(__file__).parents[1] / "conformance" / "config"
BASE = json.loads((RECORDED / "startup.json").read_text())["base"]
CLAIMS = {
    "minTLSCertDuration": "5m",
    "maxTLSCertDuration": "24h",
    "defaultTLSCertDuration": "12h",
    "disableRenewal": False,
    "allowRenewalAfterExpiry": True,
    "enableSSHCA": True,
}
FULL = {
    **BASE,
    "tls": {"cipherSuites": ["TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"], "minVersion": 1.2, "maxVersion": 1.3},
    "kms": {"type": "softkms", "uri": "softkms:", "pin": "1234"},
    "crl": {"enabled": True, "cacheDuration": "24h", "renewPeriod": "16h", "idpURL": "http://ca/crl"},
    "ssh": {"hostKey": "h", "userKey": "u", "keys": [{"type": "user"}], "bastion": {"hostname": "b"}},
    "templates": {"ssh": {"user": [{"name": "x"}]}},
    "commonName": "CA",
    "metricsAddress": ":9101",
    "password": "p",
    "provisor": {"limits": {"bodyBytes": 4096}, "switches": {"acceptWeakRekeyKeys": True}},
    "authority": {
        **BASE["authority"],
        "claims": CLAIMS,
        "backdate": "1m0s",
        "template": {"organization": "Lab", "country": "XX"},
        "provisioners": [
            *BASE["authority"]["provisioners"],
            {"type": "JWK", "name": "claims", "key": {}, "claims": CLAIMS, "options": {"x509": {"template": "{}"}}},
            {"type": "ACME", "name": "acme", "challenges": ["http-01"], "claims": CLAIMS},
            {"type": "OIDC", "name": "oidc", "clientID": "x", "configurationEndpoint": "https://x", "domains": ["a"]},
            {"type": "X5C", "name": "x5c", "roots": "AAAA"},
            {"type": "SCEP", "name": "scep", "challenge": "c", "minimumPublicKeyLength": 2048},
            {"type": "SSHPOP", "name": "sshpop"},
            {"type": "K8sSA", "name": "k8s"},
        ],
    },
}
REFUSED = {
    **FULL,
    "monitoring": {"type": "newrelic", "name": "n", "key": "k"},
    "authority": {**FULL["authority"], "policy": {"x509": {"allow": {"dns": ["*.test"]}}}},
}
SEEDS = [json.dumps(FULL, indent=1).encode(), json.dumps(BASE).encode(), json.dumps(REFUSED).encode()]


def places(document: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """Every member and element of a document."""
    children = list(document.items()) if isinstance(document, dict) else []
    children = list(enumerate(document)) if isinstance(document, list) else children
    return [place for name, child in children for place in ((*path, name), *places(child, (*path, name)))]


def reach(document: Any, path: tuple[str | int, ...]) -> Any:
    """What is at a place; None if an earlier change has made that place disappear."""
    for step in path:
        try:
            document = document[step]
        except (LookupError, TypeError):
            return None
    return document


PLACES = places(FULL)
MARK = "\x1a%d\x1a"


def with_values(changes: list[tuple[tuple[str | int, ...], str]]) -> bytes:
    """The full configuration with other texts in these places, JSON or not."""
    document = json.loads(json.dumps(FULL))
    texts: dict[str, str] = {}
    for number, (path, text) in enumerate(changes):
        holder: Any = reach(document, path[:-1])
        if type(holder) in (dict, list):
            mark = MARK % number
            holder[path[-1]] = mark
            texts[json.dumps(mark)] = text
    data = json.dumps(document)
    for mark, text in texts.items():
        data = data.replace(mark, text)
    return data.encode("utf-8", "surrogatepass")


def examine(data: bytes) -> None:
    with brief(0.5):
        loaded = load_config(data)
        for fault in (*loaded.faults, *loaded.warnings):
            assert fault.pointer
            assert fault.text
            (fault.pointer + fault.text).encode()
        strict = load_config(data, strict=True)
        assert len(strict.faults) == len(loaded.faults) + len(loaded.warnings)
        encode_config(loaded.document)
        if loaded.faults:
            return
        try:
            registry = build_registry(
                loaded.config.authority.provisioners, merge(BUILT_IN, loaded.config.authority.claims)
            )
        except ConfigError:
            return
        for disabled in registry.faults:
            disabled.reason.encode()
        for provisioner in registry.all:
            encode_json(provisioner.public)


def test_the_seeds_are_good() -> None:
    for seed in SEEDS[:2]:
        assert load_config(seed).faults == ()
    assert with_values([]) == json.dumps(FULL).encode()


@fuzz(400)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(HOSTILE_JSON)), min_size=1, max_size=4))
def test_strange_values_in_any_place_are_read_or_told(changes: list[tuple[tuple[str | int, ...], str]]) -> None:
    examine(with_values(changes))


@fuzz(300)
@given(mutated(SEEDS))
def test_changed_octets_are_read_or_told(data: bytes) -> None:
    examine(data)


@fuzz(500)
@given(mutated([*SEEDS[1:], *(text.encode("utf-8", "surrogatepass") for text in HOSTILE_JSON)]))
def test_a_syntax_error_has_a_line_and_a_column(data: bytes) -> None:
    with brief():
        fault = find_syntax_error(data)
        if fault is not None:
            line, column = line_and_column(data, fault.position)
            assert line >= 1
            assert column >= 0


@pytest.mark.parametrize("data", [b"[" * 500_000, b'{"a":' * 100_000, b'"' + b"\\u0041" * 100_000, b" " * 1_000_000])
def test_the_deepest_file_takes_no_time(data: bytes) -> None:
    with brief(2):
        assert load_config(data).faults
