"""Reading ca.json: values, defaults, pointers. What the reference refused is in tests/conformance/config."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.config.ca_json import CAConfig, CRLConfig, LoggerConfig, SubjectDefaults, TLSOptions
from provisor.config.load import LoadedConfig, load_config
from provisor.core.claims import ClaimSettings
from provisor.core.durations import HOUR, MINUTE, Duration
from provisor.core.secret import Secret

GOOD: dict[str, Any] = {
    "root": "root.crt",
    "crt": "ca.crt",
    "key": "ca.key",
    "address": ":9000",
    "dnsNames": ["ca.internal"],
}


def load(changes: dict[str, Any] | None = None, **options: Any) -> LoadedConfig:
    return load_config(json.dumps(GOOD | (changes or {})).encode(), **options)


def texts(loaded: LoadedConfig) -> list[tuple[str, str]]:
    return [(fault.pointer, fault.text) for fault in loaded.faults]


def warnings(loaded: LoadedConfig) -> list[tuple[str, str]]:
    return [(warning.pointer, warning.text) for warning in loaded.warnings]


def test_the_smallest_configuration_gets_all_defaults() -> None:
    loaded = load()
    assert loaded.faults == loaded.warnings == ()
    assert loaded.document == GOOD
    assert loaded.config == CAConfig(
        root=("root.crt",), crt="ca.crt", key="ca.key", address=":9000", dns_names=("ca.internal",)
    )
    assert loaded.config.authority.backdate == MINUTE
    assert loaded.config.common_name == "Step Online CA"
    assert loaded.config.crl_idp_url == "https://ca.internal/1.0/crl"


def test_every_section_is_read() -> None:
    loaded = load(
        {
            "ROOT": ["a.crt", "b.crt"],
            "federatedRoots": None,
            "insecureAddress": ":80",
            "logger": {"format": "json", "traceheader": "X-Trace"},
            "db": {"type": "BadgerV2", "dataSource": "db"},
            "authority": {
                "template": {"organization": "Lab", "Country": "XX"},
                "claims": {"maxTLSCertDuration": "48h"},
                "backdate": "0s",
                "disableIssuedAtCheck": True,
                "disableGetSSHHosts": True,
                "provisioners": [{"TYPE": "jwk", "Name": "p", "key": {}}],
            },
            "tls": {"cipherSuites": ["TLS_AES_128_GCM_SHA256"], "minVersion": 1.3},
            "password": "hush",
            "commonName": "Lab",
            "crl": {"enabled": True, "cacheDuration": "3h", "idpURL": "http://x/crl"},
            "metricsAddress": ":9102",
            "kms": {"uri": "softkms:"},
        }
    )
    config = loaded.config
    assert texts(loaded) == []
    assert config.root == ("a.crt", "b.crt")
    assert config.logger == LoggerConfig("json", "X-Trace")
    assert config.db is not None
    assert (config.db.type, config.db.data_source) == ("badgerv2", "db")
    assert config.authority.template == SubjectDefaults(country="XX", organization="Lab")
    assert config.authority.claims == ClaimSettings(max_tls=Duration(48 * HOUR))
    assert config.authority.backdate == 0
    assert config.authority.disable_issued_at_check
    assert config.authority.disable_get_ssh_hosts
    assert config.tls == TLSOptions(("TLS_AES_128_GCM_SHA256",), 1.3, 1.3)
    assert config.crl == CRLConfig(True, False, Duration(3 * HOUR), Duration(2 * HOUR), "http://x/crl")
    assert config.password == Secret("hush")
    assert config.kms is not None
    assert config.kms.type == "softkms"
    (entry,) = config.authority.provisioners
    assert (entry.kind, entry.name, entry.pointer) == ("JWK", "p", "$.authority.provisioners[0]")
    assert entry.raw == {"TYPE": "jwk", "Name": "p", "key": {}}


def test_secrets_do_not_print() -> None:
    oidc = {"type": "OIDC", "name": "o", "clientSecret": "hush"}
    loaded = load({"password": "hush", "kms": {"pin": "hush"}, "authority": {"provisioners": [oidc]}})
    assert "hush" not in repr(loaded.config)


def test_all_faults_are_reported_at_once() -> None:
    loaded = load(
        {
            "address": 9000,
            "crt": "",
            "tls": {"minVersion": "1.2"},
            "authority": {
                "backdate": "-1m",
                "provisioners": [
                    {"type": "JWK", "name": 7},
                    "x",
                    {"type": "ACME", "name": "a", "claims": {"maxTLSCertDuration": "7d"}, "challenges": ["x", 1]},
                    {"type": "X5C", "name": "x", "roots": "abc"},
                ],
            },
        },
        where="f",
    )
    assert texts(loaded) == [
        (
            "$.address",
            "error parsing f: json: cannot unmarshal number into Go struct field Config.address of type string",
        ),
        (
            "$.authority.provisioners[0].name",
            "error parsing f: error unmarshaling provisioner: "
            "json: cannot unmarshal number into Go struct field JWK.name of type string",
        ),
        ("$.authority.provisioners[1]", "error parsing f: error unmarshaling provisioner"),
        (
            "$.authority.provisioners[2].challenges",
            "error parsing f: error unmarshaling provisioner: "
            "json: cannot unmarshal number into Go struct field ACME.challenges of type string",
        ),
        (
            "$.authority.provisioners[2].claims.maxTLSCertDuration",
            "error parsing f: error unmarshaling provisioner: "
            'error parsing 7d as duration: time: unknown unit "d" in duration "7d"',
        ),
        (
            "$.authority.provisioners[3].roots",
            "error parsing f: error unmarshaling provisioner: illegal base64 data at input byte 3",
        ),
        (
            "$.tls.minVersion",
            "error parsing f: json: cannot unmarshal string into Go struct field TLSOptions.tls.minVersion "
            "of type config.TLSVersion",
        ),
        ("$.crt", "crt cannot be empty"),
        ("$.authority.backdate", "authority.backdate cannot be less than 0"),
    ]


@pytest.mark.parametrize(
    ("data", "pointer", "cause"),
    [
        (b"", "line 1, column 1", "EOF"),
        (b'{"a":\n  x}', "line 2, column 3", "invalid character 'x' looking for beginning of value"),
        (b"[]", "$", "json: cannot unmarshal array into Go value of type config.Config"),
        (b"[" * 100 + b"]" * 100, "line 1, column 1", "nested deeper than 64"),
        (b'{"a":1e999}', "line 1, column 1", "1e999 is too large for a number"),
    ],
)
def test_what_is_no_configuration_is_one_fault(data: bytes, pointer: str, cause: str) -> None:
    loaded = load_config(data)
    assert texts(loaded) == [(pointer, f"error parsing ca.json: {cause}")]
    assert loaded.document == {}


def test_null_is_an_empty_configuration() -> None:
    assert load_config(b"null").faults[0].text == "address cannot be empty"


def test_unknown_members_are_doubtful_and_the_nearest_known_one_is_named() -> None:
    loaded = load(
        {
            "adress": ":1",
            "crl": {"enabeld": True},
            "authority": {
                "backdat": "1m",
                "claims": {"maxTLSCertDurations": "1h"},
                "provisioners": [
                    {"type": "ACME", "name": "a", "chalenges": [], "options": {"x509": {"templat": ""}}, "z": 1},
                    {"type": "Bogus", "name": "b", "any": 1},
                    {"name": "c"},
                ],
            },
        }
    )
    assert loaded.faults == ()
    assert warnings(loaded) == [
        ("$.adress", "unknown member 'adress', did you mean 'address'?"),
        ("$.authority.backdat", "unknown member 'backdat', did you mean 'backdate'?"),
        (
            "$.authority.provisioners[0].options.x509.templat",
            "unknown member 'templat', did you mean 'template'?",
        ),
        ("$.authority.provisioners[0].chalenges", "unknown member 'chalenges', did you mean 'challenges'?"),
        ("$.authority.provisioners[0].z", "unknown member 'z'"),
        ("$.authority.provisioners[1]", "provisioner of unknown type 'Bogus' is left out"),
        ("$.authority.provisioners[2]", "provisioner without type is left out"),
        (
            "$.authority.claims.maxTLSCertDurations",
            "unknown member 'maxTLSCertDurations', did you mean 'maxTLSCertDuration'?",
        ),
        ("$.crl.enabeld", "unknown member 'enabeld', did you mean 'enabled'?"),
    ]
    assert len(loaded.config.authority.provisioners) == 1


def test_strict_makes_faults_of_warnings() -> None:
    loaded = load({"adress": ":1"}, strict=True)
    assert loaded.warnings == ()
    assert [(fault.pointer, fault.fatal) for fault in loaded.faults] == [("$.adress", True)]


@pytest.mark.parametrize(
    ("changes", "pointer", "text"),
    [
        ({"authority": {"enableAdmin": True}}, "$.authority.enableAdmin", "authority.enableAdmin is not supported"),
        ({"authority": {"deploymentType": "linked"}}, "$.authority.deploymentType", "linked is not supported"),
        ({"authority": {"type": "StepCAS"}}, "$.authority.type", "authority.type stepcas is not supported"),
        ({"authority": {"type": "nope"}}, "$.authority.type", "unsupported cas type nope"),
        ({"KMS": {"type": "awskms"}}, "$.KMS.type", "kms.type awskms is not supported"),
        ({"kms": {"uri": "pkcs11:token=x"}}, "$.kms.type", "kms.type pkcs11 is not supported"),
        ({"kms": {"type": "nope"}}, "$.kms.type", "unsupported kms type nope"),
        ({"monitoring": {"type": "NewRelic"}}, "$.monitoring.type", "monitoring.type newrelic is not supported"),
        (
            {"db": {"type": "MySQL"}},
            "$.db.type",
            "db.type mysql is not supported by this version of Provisor; use sqlite or postgresql",
        ),
        ({"db": {"type": "nope"}}, "$.db.type", "Error opening database of Type nope: nope database not supported"),
        ({"insecureAddress": "nope"}, "$.insecureAddress", "invalid insecure address nope"),
        ({"root": ["a", ""]}, "$.root", "root cannot be empty"),
        ({"tls": {"maxVersion": 1.7}}, "$.tls", "tls minVersion cannot exceed tls maxVersion"),
        ({"crl": {"renewPeriod": "48h"}}, "$.crl.cacheDuration", "greater than or equal to crl.renewPeriod"),
    ],
)
def test_what_cannot_be_honoured_stops_the_start(changes: dict[str, Any], pointer: str, text: str) -> None:
    (fault,) = load(changes).faults
    assert fault.pointer == pointer
    assert text in fault.text


@pytest.mark.parametrize(
    "changes",
    [
        {"authority": {"policy": {"x509": {"allow": {}, "allowWildcardNames": False}}, "type": "softcas"}},
        {"authority": {"policy": None, "enableAdmin": False, "deploymentType": "standalone"}},
        {"kms": {"type": "softKMS"}, "monitoring": {"type": ""}, "db": {"type": "sqlite"}},
        {"kms": None, "db": None, "tls": None, "crl": None, "authority": None, "logger": None, "dnsNames": None},
    ],
)
def test_what_says_nothing_stops_nothing(changes: dict[str, Any]) -> None:
    assert texts(load(changes)) == []


def test_ssh_is_read_and_said_to_be_missing() -> None:
    loaded = load({"ssh": {"hostKey": "h", "userKey": "u"}})
    assert loaded.config.ssh is not None
    assert loaded.config.ssh.add_user_principal == "provisioner"
    assert [pointer for pointer, _ in warnings(loaded)] == ["$.ssh"]


def test_ids_clash_whatever_the_case_of_the_members() -> None:
    provisioners = [
        {"type": "OIDC", "name": "a", "clientId": "x"},
        {"type": "azure", "name": "b", "tenantId": "x"},
    ]
    loaded = load({"authority": {"provisioners": provisioners}})
    assert texts(loaded) == [
        ("$.authority.provisioners[1]", "cannot add multiple provisioners with the same id"),
    ]


MEMBERS = (
    *GOOD,
    *("authority", "provisioners", "type", "name", "claims", "maxTLSCertDuration", "options", "x509", "webhooks"),
    *("tls", "crl", "provisor", "switches", "limits", "workers", "kms", "db", "template", "ssh"),
)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=4) | st.sampled_from(["1h", "JWK", ":1", 1.2]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(MEMBERS), inner, max_size=5),
    max_leaves=25,
)


@given(values)
def test_loading_never_raises(value: object) -> None:
    loaded = load_config(json.dumps(value).encode())
    assert all(fault.fatal and fault.text for fault in loaded.faults)


@given(st.binary(max_size=60))
def test_loading_octets_never_raises(data: bytes) -> None:
    assert load_config(data).faults
