"""Which provisioner a token or a certificate is meant for, which are listed, and which prove nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Final

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from provisor.authority.snapshot import audiences_for
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.jose.jws import parse_token
from provisor.core.jose.jwt import TokenClaims, parse_claims
from provisor.errors import BadRequest, ConfigError, TokenInvalid
from provisor.provisioners.jwk import JWKProvisioner
from provisor.provisioners.registry import BUILDERS, Disabled, Registry, build_registry, parse_limit
from provisor.wire.provisioners import KINDS
from support.authority import make_config
from support.credentials import make_jws, make_key, make_signer

# Always the same keys: their ids are in the names of tests, which every test process must agree on.
CI: Final = make_signer("ci", ec.derive_private_key(11, ec.SECP256R1()))
OTHER: Final = make_signer("other", ec.derive_private_key(12, ec.SECP256R1()))
EVERY: Final = audiences_for(("ca.test",)).every
SIGN: Final = "https://ca.test/1.0/sign"


def registry(*entries: Mapping[str, object], authority: Mapping[str, object] | None = None) -> Registry:
    document = make_config(*entries, authority=authority or {})
    config = load_config(json.dumps(document).encode()).config
    return build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims))


def claims(**members: Any) -> TokenClaims:
    token = make_jws({"alg": "ES256"}, members, make_key())
    return parse_claims(parse_token(token))


MANY: Final = registry(
    CI.entry(),
    OTHER.entry(),
    {"type": "OIDC", "name": "google", "clientID": "client-1", "configurationEndpoint": "https://x"},
    {"type": "Azure", "name": "azure", "tenantID": "tenant-1"},
    {"type": "K8sSA", "name": "k8s"},
    {"type": "X5C", "name": "my x5c", "roots": "x"},
    {"type": "ACME", "name": "acme"},
)


# -- from a token -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "kid", "found"),
    [
        ({"iss": "ci", "aud": SIGN}, CI.kid, "ci"),
        ({"iss": "other", "aud": SIGN}, OTHER.kid, "other"),
        ({"iss": "ci", "aud": "https://ca.test:9000/sign"}, CI.kid, "ci"),
        ({"iss": "ci", "aud": ["https://elsewhere.test/x", SIGN]}, CI.kid, "ci"),
        ({"iss": "ci", "aud": "step-certificate-authority"}, CI.kid, "ci"),
        ({"iss": "ci", "aud": "https://ca.test/1.0/revoke"}, CI.kid, "ci"),
        ({"iss": "x", "aud": f"{SIGN}#x5c/my x5c"}, "", "my x5c"),
        ({"iss": "x", "aud": f"{SIGN}#x5c/my%20x5c"}, "", "my x5c"),
        ({"iss": "x", "aud": f"{SIGN}#acme/acme"}, "", "acme"),
        ({"iss": "https://accounts.google.com", "aud": "client-1"}, "", "google"),
        ({"iss": "x", "aud": ["x", "y"], "azp": "client-1"}, "", "google"),
        ({"iss": "x", "aud": "x", "tid": "tenant-1"}, "", "azure"),
        ({"iss": "x", "aud": "client-1", "tid": "tenant-1", "email": "a@b"}, "", "google"),
        ({"iss": "x", "aud": "client-1", "tid": "tenant-1"}, "", "azure"),
        ({"iss": "kubernetes/serviceaccount"}, "", "k8s"),
        ({"iss": "kubernetes/serviceaccount", "aud": "x"}, "", "k8s"),
    ],
    ids=str,
)
def test_a_token_leads_to_its_provisioner(members: Mapping[str, Any], kid: str, found: str) -> None:
    assert MANY.get_for_token(claims(**members), kid, EVERY).ref.name == found


@pytest.mark.parametrize(
    ("members", "kid"),
    [
        ({"iss": "ci", "aud": SIGN}, OTHER.kid),
        ({"iss": "other", "aud": SIGN}, CI.kid),
        ({"iss": "ci", "aud": SIGN}, ""),
        ({"iss": "", "aud": SIGN}, CI.kid),
        ({"iss": "CI", "aud": SIGN}, CI.kid),
        ({"iss": "ci", "aud": "https://elsewhere.test/1.0/sign"}, CI.kid),
        ({"iss": "ci", "aud": "http://ca.test/1.0/sign"}, CI.kid),
        ({"iss": "ci", "aud": "https://CA.test/1.0/sign"}, CI.kid),
        ({"iss": "ci", "aud": f"{SIGN}/"}, CI.kid),
        ({"iss": "ci", "aud": f"{SIGN}?x"}, CI.kid),
        ({"iss": "ci", "aud": f"{SIGN}#ci"}, CI.kid),
        ({"iss": "x", "aud": f"{SIGN}#x5c/my+x5c"}, ""),
        ({"iss": "x", "aud": f"{SIGN}#x5c/other"}, ""),
        ({"iss": "ci", "aud": []}, CI.kid),
        ({"iss": "ci"}, CI.kid),
        ({"iss": "https://accounts.google.com", "aud": "client-2"}, ""),
        ({"iss": "kubernetes/serviceaccount", "aud": SIGN}, ""),
        ({"iss": "x", "aud": "x", "tid": "tenant-2"}, ""),
    ],
    ids=str,
)
def test_a_token_for_nobody_leads_nowhere(members: Mapping[str, Any], kid: str) -> None:
    with pytest.raises(TokenInvalid, match="provisioner not found or invalid audience"):
        MANY.get_for_token(claims(**members), kid, EVERY)


def test_a_token_of_a_service_account_leads_nowhere_without_its_provisioner() -> None:
    with pytest.raises(TokenInvalid):
        registry(CI.entry()).get_for_token(claims(iss="kubernetes/serviceaccount"), "", EVERY)


# -- what cannot be built -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", sorted(set(KINDS) - {name.lower() for name in BUILDERS}))
def test_a_kind_of_a_later_version_is_listed_renews_and_proves_nobody(kind: str) -> None:
    made = registry({"type": kind, "name": "x"}).all[0]
    assert isinstance(made, Disabled)
    assert made.renews
    assert made.public["state"] == "Uninitialized"
    assert "not supported" in str(made.public["stateReason"])
    assert made.token_flow == (kind not in ("acme", "scep"))


@pytest.mark.parametrize(
    ("entry", "reason"),
    [
        ({**CI.entry(), "name": ""}, "provisioner name cannot be empty"),
        ({"type": "JWK", "name": "x"}, "provisioner key cannot be empty"),
        ({"type": "JWK", "name": "x", "key": {"kty": "oct", "k": "AAAA"}}, "a symmetric key cannot verify tokens"),
        ({"type": "JWK", "name": "x", "key": "x"}, ""),
        (CI.entry(claims={"defaultTLSCertDuration": "0s", "minTLSCertDuration": "0s"}), "claims: "),
        (CI.entry(claims={"minTLSCertDuration": "48h"}), "claims: "),
        (CI.entry(claims=7), "claims"),
    ],
    ids=str,
)
def test_a_faulty_provisioner_is_disabled_reported_and_renews_nothing(entry: Mapping[str, object], reason: str) -> None:
    made = registry(OTHER.entry(), entry)
    faulty = made.all[1]
    assert isinstance(faulty, Disabled)
    assert not faulty.renews
    assert faulty.reason.startswith(reason)
    assert [(fault.where, fault.name) for fault in made.faults] == [("$.authority.provisioners[1]", faulty.ref.name)]
    assert isinstance(made.all[0], JWKProvisioner), "the others are not touched"


RULES: Final[Mapping[str, Mapping[str, object]]] = {
    "wire": {"options": {"wire": {"oidc": {}}}},
    "in capitals": {"OPTIONS": {"WIRE": {"oidc": {}}}},
}


@pytest.mark.parametrize("name", RULES)
def test_a_rule_that_cannot_be_enforced_disables_and_its_certificates_still_renew(name: str) -> None:
    made = registry(CI.entry(**RULES[name])).all[0]
    assert isinstance(made, Disabled)
    assert made.renews
    assert "is not supported by this version of Provisor" in made.reason


@pytest.mark.parametrize(
    "members",
    [
        {},
        {"options": {}},
        {"options": {"x509": {}}},
        {"options": {"x509": {"template": ""}}},
        {"options": {"ssh": {"template": "{}"}}},
        {"options": {"webhooks": []}},
        {"unknown": {"template": "{}"}},
    ],
    ids=str,
)
def test_what_rules_nothing_disables_nothing(members: Mapping[str, object]) -> None:
    assert isinstance(registry(CI.entry(**members)).all[0], JWKProvisioner)


def test_an_unknown_type_is_left_out() -> None:
    made = registry(CI.entry(), {"type": "Quantum", "name": "x"})
    assert [provisioner.ref.name for provisioner in made.all] == ["ci"]


@pytest.mark.parametrize(
    ("entries", "what"),
    [
        ([CI.entry(), CI.entry()], "id"),
        ([CI.entry(), {**OTHER.entry(), "name": "ci"}], "name"),
        ([{"type": "ACME", "name": "x"}, {"type": "X5C", "name": "x"}], "name"),
        ([{"type": "K8sSA", "name": "x"}, {"type": "K8sSA", "name": "y"}], "kubernetes"),
    ],
    ids=["same", "same name", "same name of another kind", "two service accounts"],
)
def test_two_of_one_name_stop_the_start(entries: list[Mapping[str, object]], what: str) -> None:
    with pytest.raises(ConfigError, match=what):
        registry(*entries)


def test_claims_are_inherited_from_the_authority() -> None:
    made = registry(CI.entry(claims={"maxTLSCertDuration": "48h"}), authority={"claims": {"disableRenewal": True}})
    claims_ = made.all[0].claims
    assert claims_.disable_renewal
    assert claims_.max_tls == 48 * 3600 * 10**9


# -- what is listed ---------------------------------------------------------------------------------------------


def test_encrypted_keys_are_found_by_key_id() -> None:
    made = registry(CI.entry(encryptedKey="jwe"), OTHER.entry(encryptedKey=""))
    assert made.find_encrypted_key(CI.kid) == "jwe"
    assert made.find_encrypted_key(OTHER.kid) is None
    assert made.find_encrypted_key("ci") is None


TWENTY: Final = registry(*({"type": "ACME", "name": f"acme{number}"} for number in range(20)))


def _names(cursor: str, limit: int) -> list[object]:
    return [entry["name"] for entry in TWENTY.page(cursor, limit).provisioners]


@pytest.mark.parametrize("limit", [0, -1, 20, 100, 101])
def test_a_page_that_holds_all_is_the_last(limit: int) -> None:
    page = TWENTY.page("", limit)
    assert (len(page.provisioners), page.next_cursor) == (20, "")


def test_pages_follow_each_other_in_the_order_of_the_file() -> None:
    first = TWENTY.page("", 10)
    assert len(first.provisioners) == 10
    second = TWENTY.page(first.next_cursor, 10)
    assert second.next_cursor == ""
    assert _names("", 10) + _names(first.next_cursor, 10) == [f"acme{number}" for number in range(20)]


def test_a_page_begins_at_its_cursor() -> None:
    second = TWENTY.page("", 1).next_cursor
    page = TWENTY.page(second, 1)
    assert [entry["name"] for entry in page.provisioners] == ["acme1"]
    assert page.next_cursor == TWENTY.page("", 2).next_cursor


@given(limit=st.integers(1, 25))
def test_walking_the_pages_meets_everybody_once(limit: int) -> None:
    met: list[object] = []
    cursor = ""
    while True:
        page = TWENTY.page(cursor, limit)
        met += [entry["name"] for entry in page.provisioners]
        cursor = page.next_cursor
        if not cursor:
            break
    assert met == [f"acme{number}" for number in range(20)]


def test_the_default_page_holds_twenty() -> None:
    many = registry(*({"type": "ACME", "name": f"acme{number}"} for number in range(120)))
    assert len(many.page("", 0).provisioners) == 20
    assert len(many.page("", 101).provisioners) == 100


@pytest.mark.parametrize(
    ("number", "name", "cursor"),
    [
        (1, "nokey", "1ec959f355d5943029c2a1cf09d3161a1"),
        (20, "acme", "14c93e2d7735e86ef1a90b781c6db2fa1f"),
    ],
)
def test_a_cursor_is_place_and_digest_of_the_id(number: int, name: str, cursor: str) -> None:
    """Recorded: the ids are `nokey:5pyvWl-1zh_lx1AdXvP0H9ox6ucRKN8vQ2Cz4LQgKYM` and `acme/acme`."""
    key = {
        "use": "sig",
        "kty": "EC",
        "kid": "5pyvWl-1zh_lx1AdXvP0H9ox6ucRKN8vQ2Cz4LQgKYM",
        "crv": "P-256",
        "alg": "ES256",
        "x": "CQ5V0l1OkrxhZkQw9krCmPWXmNjTbHquyTTtggjAOFc",
        "y": "vMtHLGr8pLn2jIaltq7ECH-OS7JmpYXreXgbPoYYCYY",
    }
    entry: dict[str, object] = (
        {"type": "JWK", "name": name, "key": key} if name == "nokey" else {"type": "ACME", "name": name}
    )
    made = registry(*({"type": "ACME", "name": f"filler{index}"} for index in range(number)), entry)
    assert made.page("", number).next_cursor == cursor


@pytest.mark.parametrize("cursor", ["zzz", "x" * 100, "ffffffffffffffffffffffffffffffffffffffff", "g"])
def test_any_text_is_a_cursor(cursor: str) -> None:
    page = TWENTY.page(cursor, 5)
    assert page.next_cursor == "" or len(page.provisioners) == 5


@pytest.mark.parametrize(
    ("text", "limit"), [("1", 1), ("+3", 3), ("-1", -1), ("0", 0), ("007", 7), ("9223372036854775807", 2**63 - 1)]
)
def test_a_limit_is_an_integer(text: str, limit: int) -> None:
    assert parse_limit(text) == limit


@pytest.mark.parametrize(
    "text", ["abc", "1.5", "0x3", "1_0", " 1", "1 ", "", "+", "--1", "９", "9223372036854775808", "1e3"]
)
def test_what_is_no_integer_is_no_limit(text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        parse_limit(text)
    assert refusal.value.public == f"limit '{text}' is not an integer"
