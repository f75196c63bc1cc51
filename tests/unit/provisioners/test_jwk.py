"""JWK provisioners: tokens to identities, identities to grants."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.claims import BUILT_IN, ClaimSettings, merge
from provisor.core.durations import HOUR, MINUTE, Duration, TimeDuration
from provisor.core.grant import X509Grant
from provisor.core.identity import Identity, Operation, X509Ask
from provisor.core.jose.jwk import jwk_members, make_jwk
from provisor.core.jose.jws import parse_token
from provisor.core.jose.jwt import parse_claims
from provisor.core.keys import PrivateKey
from provisor.core.names import classify_sans
from provisor.core.x509.build import build_leaf
from provisor.core.x509.draft import assemble, encode_tbs
from provisor.core.x509.issuer import make_issuer
from provisor.core.x509.request import parse_csr_pem
from provisor.errors import BadToken, ConfigError, ProvisorError, TokenExpired, TokenInvalid, Unencodable
from provisor.provisioners.base import AcceptsTokens, RevokesX509, SignsX509
from provisor.provisioners.jwk import JWKConfig, JWKProvisioner
from support.authority import make_pki
from support.credentials import algorithm_of, make_csr, make_jws, make_key, rsa_key
from support.wrong_tokens import FORGERIES, parts

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
AUDIENCES: Final = ("https://ca.test/1.0/sign", "https://ca.test/sign")
KEY: Final = make_key()
KID: Final = make_jwk(KEY).thumbprint()


def provisioner(key: PrivateKey = KEY, name: str = "ci", **claims: object) -> JWKProvisioner:
    members = jwk_members(make_jwk(key.public_key()))
    resolved = merge(BUILT_IN, ClaimSettings.from_members(claims))
    return JWKProvisioner(name, JWKConfig(key=members), resolved, {"type": "JWK", "name": name})


def claims(**over: Any) -> dict[str, object]:
    now = int(NOW.timestamp())
    members = {
        "aud": AUDIENCES[0],
        "exp": now + 300,
        "iat": now,
        "iss": "ci",
        "jti": "id",
        "nbf": now,
        "sans": ["a.test"],
        "sub": "a.test",
    } | over
    return {name: value for name, value in members.items() if value is not ...}


def token(key: PrivateKey = KEY, **over: Any) -> str:
    return make_jws({"alg": algorithm_of(key), "kid": KID, "typ": "JWT"}, claims(**over), key)


def identify(text: str, by: JWKProvisioner | None = None, now: datetime = NOW) -> Identity:
    """Step 1 without the look-up: who it is, or why not."""
    by = by or provisioner()
    parsed = parse_token(text)
    read = parse_claims(parsed)
    use = asyncio.run(by.verify(parsed, read, Operation.SIGN, AUDIENCES, now))
    return by.identify(parsed, read, use)


# -- configuration --------------------------------------------------------------------------------------


def test_it_has_the_abilities_of_its_kind() -> None:
    made = provisioner()
    assert isinstance(made, AcceptsTokens)
    assert isinstance(made, SignsX509)
    assert isinstance(made, RevokesX509)
    assert (made.ref.id, made.ref.name, made.ref.kind, made.ref.number) == (f"ci:{KID}", "ci", "JWK", 1)
    assert made.ref.credential == KID


@pytest.mark.parametrize(
    ("name", "key", "text"),
    [
        ("", jwk_members(make_jwk(KEY.public_key())), "provisioner name cannot be empty"),
        ("ci", None, "provisioner key cannot be empty"),
        ("ci", {}, "provisioner key cannot be empty"),
        ("ci", {"kty": "oct", "k": "c2VjcmV0", "kid": "x"}, "a symmetric key cannot verify tokens"),
        ("ci", {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}, ""),
        ("ci", {"kty": "nothing"}, ""),
    ],
    ids=["no name", "no key", "empty key", "symmetric key", "no point", "no kind"],
)
def test_what_cannot_prove_anybody_is_refused(name: str, key: Mapping[str, object] | None, text: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        JWKProvisioner(name, JWKConfig(key=key), BUILT_IN, {})
    assert text in refusal.value.reason


def test_a_private_key_in_the_configuration_is_not_served() -> None:
    """`key` is public by name; whoever put the private half there does not get it published."""
    members = jwk_members(make_jwk(KEY), private=True)
    made = JWKProvisioner("ci", JWKConfig(key=members), BUILT_IN, {"key": members})
    assert members["d"] not in json.dumps(made.public)


# -- verify ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key",
    [
        KEY,
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa_key(2048),
    ],
    ids=["P-256", "P-384", "P-521", "Ed25519", "RSA"],
)
def test_a_token_by_a_key_of_any_kind_is_believed(key: PrivateKey) -> None:
    assert identify(token(key), provisioner(key)).subject == "a.test"


@pytest.mark.parametrize("name", FORGERIES)
def test_a_forged_token_is_not_believed(name: str) -> None:
    with pytest.raises((TokenInvalid, BadToken)):
        identify(FORGERIES[name](token(), KEY))


_SECONDS: Final = int(NOW.timestamp())


@pytest.mark.parametrize(
    "over",
    [
        {"exp": _SECONDS - 60},
        {"nbf": _SECONDS + 60},
        {"iat": _SECONDS + 60},
        {"exp": ..., "nbf": ..., "iat": ...},
        {"exp": None, "nbf": None, "iat": None},
        {"exp": _SECONDS + 300.9},
        {"exp": _SECONDS + 315_360_000},
        {"aud": "https://ca.test:9000/sign"},
        {"aud": ["https://elsewhere.test/x", AUDIENCES[1]]},
        {"jti": ...},
        {"sha": "x", "user": {"x": 1}, "step": {"ra": {}}},
    ],
    ids=str,
)
def test_a_token_within_the_rules_is_believed(over: Mapping[str, Any]) -> None:
    identify(token(**over))


@pytest.mark.parametrize(
    ("over", "error"),
    [
        ({"exp": _SECONDS - 61}, TokenExpired),
        ({"exp": _SECONDS - 360, "iat": _SECONDS - 660}, TokenExpired),
        ({"nbf": _SECONDS + 61}, TokenExpired),
        ({"iat": _SECONDS + 61}, TokenExpired),
        ({"nbf": _SECONDS + 300, "iat": _SECONDS + 300}, TokenExpired),
        ({"iss": "CI"}, TokenInvalid),
        ({"iss": "ci "}, TokenInvalid),
        ({"iss": ...}, TokenInvalid),
        ({"aud": "https://ca.test/sign/"}, TokenInvalid),
        ({"aud": "https://ca.test/1.0/revoke"}, TokenInvalid),
        ({"aud": "https://evil.test/sign"}, TokenInvalid),
        ({"aud": []}, TokenInvalid),
        ({"aud": ...}, TokenInvalid),
        ({"sub": ""}, TokenInvalid),
        ({"sub": ...}, TokenInvalid),
        ({"cnf": "x"}, TokenInvalid),
        ({"cnf": ["x"]}, TokenInvalid),
        ({"cnf": {"x5rt#S256": 7}}, TokenInvalid),
        ({"sans": "a.test"}, BadToken),
        ({"exp": "x"}, BadToken),
        ({"exp": True}, BadToken),
        ({"sub": 7}, BadToken),
    ],
    ids=str,
)
def test_a_token_outside_the_rules_is_not_believed(over: Mapping[str, Any], error: type[ProvisorError]) -> None:
    with pytest.raises(error):
        identify(token(**over))


def test_a_token_for_another_provisioner_is_not_believed() -> None:
    with pytest.raises(TokenInvalid, match="iss"):
        identify(token(), provisioner(name="other"))


def test_the_signature_is_verified_before_anything_else() -> None:
    """A forged token learns nothing about the clock or the audiences."""
    with pytest.raises(TokenInvalid, match="cryptographic primitive"):
        identify(token(make_key(), exp=1, aud="x", iss="x"))


def test_a_token_is_spent_under_its_id_and_forgotten_after_its_end() -> None:
    parsed = parse_token(token())
    use = asyncio.run(provisioner().verify(parsed, parse_claims(parsed), Operation.SIGN, AUDIENCES, NOW))
    assert (use.key, use.expires) == ("id", _SECONDS + 300)


def test_a_token_without_end_is_remembered_for_ever() -> None:
    parsed = parse_token(token(exp=...))
    use = asyncio.run(provisioner().verify(parsed, parse_claims(parsed), Operation.SIGN, AUDIENCES, NOW))
    assert use.expires is None


# -- identify and grant -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("over", "sans"),
    [
        ({}, ("a.test",)),
        ({"sans": ...}, ("a.test",)),
        ({"sans": None}, ("a.test",)),
        ({"sans": []}, ("a.test",)),
        ({"sans": ["", ""]}, ("a.test",)),
        ({"sans": ["b.test", "", "10.0.0.1"]}, ("b.test", "10.0.0.1")),
        (
            {"sans": ["max@a.test", "spiffe://a/x", "10.0.0.1", "a.test"]},
            ("a.test", "10.0.0.1", "max@a.test", "spiffe://a/x"),
        ),
        ({"sub": "10.0.0.1", "sans": ...}, ("10.0.0.1",)),
    ],
    ids=str,
)
def test_the_names_are_those_of_the_token_or_its_subject(over: Mapping[str, Any], sans: tuple[str, ...]) -> None:
    assert identify(token(**over)).names == classify_sans(sans)


def test_the_identity_says_how_it_was_proven_and_holds_the_claims() -> None:
    who = identify(token(user={"team": 7}, cnf={"x5rt#S256": "AAAA", "jkt": "x"}))
    assert (who.method, who.provisioner.name, who.confirmation) == ("token", "ci", "AAAA")
    assert who.claims is not None
    assert who.claims["user"] == {"team": 7}
    assert who.serial is None


def grant(by: JWKProvisioner | None = None, **over: Any) -> X509Grant:
    by = by or provisioner()
    ask = X509Ask(parse_csr_pem(make_csr(KEY)), TimeDuration(), TimeDuration())
    return by.x509_grant(identify(token(**over), by), ask, Duration(MINUTE))


def test_the_grant_is_what_the_token_says() -> None:
    given_ = grant(sans=["b.test", "10.0.0.1"], cnf={"x5rt#S256": "AAAA"})
    assert given_.subject == "a.test"
    assert given_.names == classify_sans(["b.test", "10.0.0.1"])
    assert given_.request_names.names == given_.names
    assert given_.common_name.names == ("a.test", "b.test", "10.0.0.1")
    assert given_.request.digest == "AAAA"
    assert given_.extension


def test_the_subject_stands_before_the_names_and_once_more_among_them() -> None:
    assert grant().common_name.names == ("a.test", "a.test")


def test_the_limits_are_those_of_the_claims() -> None:
    by = provisioner(
        minTLSCertDuration="10m",
        defaultTLSCertDuration="20m",
        maxTLSCertDuration="30m",
        disableSmallstepExtensions=True,
    )
    given_ = grant(by)
    validity = given_.validity
    assert (validity.minimum, validity.default, validity.maximum) == (10 * MINUTE, 20 * MINUTE, 30 * MINUTE)
    assert validity.backdate == MINUTE
    assert not given_.extension


def test_without_claims_the_limits_are_built_in() -> None:
    validity = grant().validity
    assert (validity.minimum, validity.default, validity.maximum) == (5 * MINUTE, 24 * HOUR, 24 * HOUR)


# -- the certificate ----------------------------------------------------------------------------------------

_ISSUER: Final = make_issuer(make_pki(NOW).chain)
_TEXTS: Final = st.text(st.characters(codec="ascii", exclude_characters="\x00"), max_size=20)


@given(
    subject=_TEXTS.filter(bool),
    sans=st.none() | st.lists(_TEXTS | st.ip_addresses().map(str) | st.emails(), max_size=4),
)
def test_the_default_certificate_has_no_name_that_the_token_had_not(subject: str, sans: list[str] | None) -> None:
    given_ = grant(sub=subject, sans=sans)
    request = parse_csr_pem(make_csr(KEY, "evil.test", ["evil.test"]))
    try:
        draft = build_leaf(
            subject_cn=given_.subject,
            names=given_.names,
            spki=request.spki,
            key=request.key,
            issuer=_ISSUER,
            serial=1,
            not_before=NOW,
            not_after=NOW + timedelta(hours=1),
        )
    except Unencodable:
        return
    wanted = {name.value for name in classify_sans([san for san in sans or () if san] or [subject])}
    assert set(_names_in(assemble(encode_tbs(draft), _ISSUER.signature_algorithm, b""))) <= wanted
    assert {name.value for name in draft.names} == wanted


def _names_in(der: bytes) -> list[str]:
    """As another parser reads them, the raw texts where it wants to know better."""
    try:
        found = x509.load_der_x509_certificate(der).extensions.get_extension_for_class(x509.SubjectAlternativeName)
    except (x509.ExtensionNotFound, ValueError):
        return []
    return [str(name.value) for name in found.value]


def test_a_token_carries_nothing_into_a_certificate_by_other_claims() -> None:
    _, payload, _ = parts(token(dns=["evil.test"], subject="evil.test", subjectAltNames=["evil.test"]))
    assert "evil.test" in json.dumps(payload)
    given_ = grant(dns=["evil.test"], subject="evil.test", subjectAltNames=["evil.test"])
    assert (given_.subject, given_.names) == ("a.test", classify_sans(["a.test"]))
