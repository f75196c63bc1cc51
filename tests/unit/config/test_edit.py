"""Editing keeps what it does not touch. What the reference writes is in tests/conformance/config."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.config.edit import (
    add_provisioner,
    encode_document,
    find_provisioner,
    remove_provisioner,
    update_provisioner,
)
from provisor.errors import ConfigError, Conflict, NotFound
from provisor.wire.gojson import decode_value

JWK: dict[str, Any] = {"type": "JWK", "name": "you", "key": {"kid": "k1"}, "provisor": {"own": 1}}
ACME: dict[str, Any] = {"Type": "acme", "NAME": "acme"}
OWN: dict[str, Any] = {
    "$comment": "keep <me>",
    "ADDRESS": ":1",
    "authority": {"note": 1, "Provisioners": [JWK, ACME], "enableAdmin": False},
    "tls": {"minVersion": 1.2},
    "crl": {"enabled": True},
    "provisor": {"workers": 2},
}


def provisioners(document: Any) -> list[Any]:
    return list(document["authority"]["Provisioners"])


def test_a_new_provisioner_stands_last_and_nothing_else_changes() -> None:
    entry = {"type": "X5C", "name": "x"}
    edited = add_provisioner(OWN, entry)
    assert provisioners(edited) == [JWK, ACME, entry]
    assert list(edited) == list(OWN)
    assert list(edited["authority"]) == list(OWN["authority"])  # type: ignore[call-overload]
    assert provisioners(OWN) == [JWK, ACME]


def test_the_first_provisioner_makes_its_list() -> None:
    assert add_provisioner({"tls": {}, "address": ""}, ACME) == {
        "tls": {},
        "address": "",
        "authority": {"provisioners": [ACME]},
    }


def test_removing_and_finding_go_by_name() -> None:
    assert provisioners(remove_provisioner(OWN, "acme")) == [JWK]
    assert find_provisioner(OWN, "acme") == ACME
    assert find_provisioner(OWN, "Acme") is None


def test_an_update_keeps_the_place() -> None:
    entry = {**JWK, "claims": {"enableSSHCA": True}}
    assert provisioners(update_provisioner(OWN, "you", entry)) == [entry, ACME]


@pytest.mark.parametrize(
    ("entry", "text"),
    [
        ({"type": "X5C", "name": "you"}, "provisioner with name you already exists"),
        ({"type": "Bogus", "name": "acme"}, "provisioner with name acme already exists"),
        (
            {"type": "K8sSA", "name": "two"},
            "provisioner with token ID k8ssa/k8sSA-default already exists",
        ),
        ({"type": "Azure", "name": "a", "tenantid": "t"}, "provisioner with token ID t already exists"),
    ],
)
def test_what_clashes_is_refused_with_the_recorded_text(entry: dict[str, Any], text: str) -> None:
    document = add_provisioner(OWN, {"type": "k8ssa", "name": "one"})
    document = add_provisioner(document, {"type": "OIDC", "name": "o", "clientID": "t"})
    with pytest.raises(Conflict) as raised:
        add_provisioner(document, entry)
    assert raised.value.public == f"error storing provisioner: {text}"


@pytest.mark.parametrize("edit", [remove_provisioner, lambda document, name: update_provisioner(document, name, JWK)])
def test_an_unknown_name_is_refused_with_the_recorded_text(edit: Any) -> None:
    with pytest.raises(NotFound) as raised:
        edit(OWN, "nobody")
    assert raised.value.public == "error loading provisioner: provisioner nobody not found"


@pytest.mark.parametrize(
    ("name", "entry"),
    [
        ("you", {**JWK, "name": "me"}),
        ("you", {**JWK, "key": {"kid": "k2"}}),
        ("acme", {"type": "ACME", "name": "acme2"}),
        ("acme", {"type": "OIDC", "name": "acme", "clientID": "c"}),
    ],
)
def test_an_update_may_change_name_and_id(name: str, entry: dict[str, Any]) -> None:
    found = provisioners(update_provisioner(OWN, name, entry))
    assert entry in found
    assert len(found) == 2


@pytest.mark.parametrize(
    ("name", "entry", "text"),
    [
        ("you", {**JWK, "name": "acme"}, "provisioner with name acme already exists"),
        (
            "acme",
            {"type": "OIDC", "name": "acme", "clientID": "you:k1"},
            "provisioner with token ID you:k1 already exists",
        ),
    ],
)
def test_an_update_cannot_take_what_is_another_s(name: str, entry: dict[str, Any], text: str) -> None:
    with pytest.raises(Conflict) as raised:
        update_provisioner(OWN, name, entry)
    assert raised.value.public == (
        f"error updating provisioner: error updating provisioner '{entry['name']}' in authority cache: {text}"
    )


@pytest.mark.parametrize("edit", [remove_provisioner, lambda document, name: update_provisioner(document, name, JWK)])
def test_a_provisioner_without_name_cannot_be_asked_for(edit: Any) -> None:
    with pytest.raises(NotFound) as raised:
        edit({"authority": {"provisioners": [{"type": "ACME"}]}}, "")
    assert raised.value.public == "provisioner options must define either ID or Name to remove"


def test_limits_of_an_update_and_of_the_authority_have_words_of_their_own() -> None:
    claims = {"minTLSCertDuration": "48h"}
    with pytest.raises(ConfigError) as raised:
        update_provisioner(OWN, "you", {**JWK, "claims": claims})
    assert str(raised.value.public).startswith(
        "error updating provisioner: error initializing provisioner you: claims: MaxCertDuration cannot be less"
    )
    with pytest.raises(ConfigError) as raised:
        add_provisioner({"authority": {"claims": claims}}, ACME)
    assert str(raised.value.public).startswith(
        "error storing provisioner: error generating provisioner config: claims: MaxCertDuration cannot be less"
    )


@pytest.mark.parametrize(
    ("claims", "text"),
    [
        (
            {"minTLSCertDuration": "20h", "maxTLSCertDuration": "10h"},
            "MaxCertDuration cannot be less than MinCertDuration: MaxCertDuration - 10h0m0s, MinCertDuration - 20h0m0s",
        ),
        (
            {"minTLSCertDuration": "48h"},
            "MaxCertDuration cannot be less than MinCertDuration: MaxCertDuration - 24h0m0s, MinCertDuration - 48h0m0s",
        ),
    ],
)
def test_limits_that_contradict_each_other_are_refused(claims: dict[str, str], text: str) -> None:
    with pytest.raises(ConfigError) as raised:
        add_provisioner(OWN, {"type": "X5C", "name": "N", "claims": claims})
    prefix = 'error storing provisioner: error validating configuration for provisioner "N": claims: '
    assert raised.value.public == prefix + text


def test_limits_are_checked_against_the_authority() -> None:
    document = {"authority": {"claims": {"maxTLSCertDuration": "72h"}}}
    assert add_provisioner(document, {"type": "X5C", "name": "N", "claims": {"minTLSCertDuration": "12h"}})


def test_defaults_are_written_out_where_the_reference_puts_them() -> None:
    written = decode_value(encode_document(OWN))
    assert isinstance(written, dict)
    assert list(written) == ["$comment", "ADDRESS", "dnsNames", "authority", "tls", "commonName", "crl", "provisor"]
    assert list(written["authority"]) == ["note", "Provisioners", "template", "backdate", "enableAdmin"]
    assert written["tls"] == {"minVersion": 1.2}
    assert written["provisor"] == {"workers": 2}


def test_an_empty_document_gets_all_defaults() -> None:
    assert decode_value(encode_document({})) == {
        "dnsNames": ["localhost", "127.0.0.1", "::1"],
        "authority": {"template": {}, "backdate": "1m0s"},
        "tls": {
            "cipherSuites": [
                "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
                "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
            ],
            "minVersion": 1.2,
            "maxVersion": 1.3,
            "renegotiation": False,
        },
        "commonName": "Step Online CA",
    }


def test_the_file_is_indented_by_tabs_html_safe_and_ends_with_a_newline() -> None:
    written = encode_document(OWN)
    assert written.startswith(b'{\n\t"$comment": "keep \\u003cme\\u003e",\n')
    assert written.endswith(b"\n}\n")


names = st.sampled_from(["root", "address", "Authority", "x", "tls", "provisor", "commonName"])
scalars = st.none() | st.booleans() | st.integers(-5, 5) | st.text(max_size=3)


@given(st.dictionaries(names, scalars | st.dictionaries(st.sampled_from(["provisioners", "backdate", "z"]), scalars)))
def test_encoding_is_stable_and_loses_nothing(document: dict[str, object]) -> None:
    once = encode_document(document)
    again = decode_value(once)
    assert isinstance(again, dict)
    assert encode_document(again) == once
    for name, value in document.items():
        if value is not None and name != "Authority":
            assert again[name] == value
