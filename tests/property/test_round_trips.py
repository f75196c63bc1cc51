"""What is written is read back the same: tokens, times, the provisioner's extension, entries of a revocation list."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.durations import Duration, TimeDuration, format_time_duration, parse_time_duration
from provisor.core.jose.jws import parse_token, verify_signature
from provisor.core.jose.jwt import encode_jwt, parse_claims, token_key
from provisor.core.pem import encode_pem, parse_certificates
from provisor.core.x509.crl import assemble_crl, encode_revoked, encode_tbs_crl
from provisor.core.x509.extensions import ProvisionerExtension, encode_provisioner, parse_provisioner
from provisor.core.x509.issuer import make_issuer
from provisor.wire.gojson import decode_value, encode_config, encode_json
from support.authority import NOW, make_pki
from support.credentials import make_key, rsa_key
from support.fuzzing import fuzz

KEYS = (make_key(), ed25519.Ed25519PrivateKey.generate(), rsa_key(), ec.generate_private_key(ec.SECP521R1()))

text = st.text(max_size=30)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=8,
)


@fuzz(150)
@given(
    registered=st.fixed_dictionaries(
        {"iss": text, "sub": text, "aud": st.lists(text, max_size=3)},
        optional={
            "jti": text,
            "exp": st.integers(0, 1 << 40),
            "nbf": st.integers(0, 1 << 40),
            "sans": st.lists(text, max_size=5),
        },
    ),
    others=st.dictionaries(text.filter(lambda name: name.startswith("x")) | st.just("x"), json_values, max_size=3),
    key=st.sampled_from(KEYS),
)
def test_a_token(registered: dict[str, Any], others: dict[str, Any], key: Any) -> None:
    said = {**registered, **others}
    token = parse_token(encode_jwt({"typ": "JWT", "kid": "k"}, said, key))
    verify_signature(token, key.public_key())
    assert token.claims == said
    assert token.key_id == "k"
    claims = parse_claims(token)
    assert (claims.iss, claims.sub, claims.aud) == (said["iss"], said["sub"], tuple(said["aud"]))
    assert (claims.exp, claims.nbf, claims.jti) == (said.get("exp"), said.get("nbf"), said.get("jti", ""))
    assert claims.sans == (tuple(said["sans"]) if "sans" in said else None)
    assert token_key(token, claims) == claims.jti or not claims.jti


instants = st.datetimes(datetime(2, 1, 1), datetime(9999, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001 - zone given
durations = st.integers(-(2**63), 2**63 - 1).filter(bool).map(Duration)


@fuzz(300)
@given(st.one_of(instants.map(lambda at: TimeDuration(at=at)), durations.map(lambda after: TimeDuration(after=after))))
def test_a_time_or_duration(value: TimeDuration) -> None:
    assert parse_time_duration(format_time_duration(value)) == value


@fuzz(300)
@given(
    kind=st.integers(0, 30),
    name=text,
    credential=text,
    pairs=st.lists(text, max_size=6),
)
def test_the_extension_of_a_provisioner(kind: int, name: str, credential: str, pairs: list[str]) -> None:
    value = ProvisionerExtension(kind, name, credential, tuple(pairs))
    assert parse_provisioner(encode_provisioner(value).value) == value


PKI = make_pki()
ISSUER = make_issuer(PKI.chain, PKI.roots)
seconds = st.integers(0, 40 * 365 * 86400).map(lambda after: NOW.replace(microsecond=0) + timedelta(seconds=after))


@fuzz(100)
@given(
    entries=st.dictionaries(
        st.integers(1, (1 << 159) - 1),
        st.tuples(seconds, st.sampled_from([0, 1, 2, 3, 4, 5, 6, 8, 9, 10])),
        max_size=20,
    ),
    number=st.integers(0, 1 << 150),
)
def test_the_entries_of_a_revocation_list(entries: dict[int, tuple[datetime, int]], number: int) -> None:
    encoded = [encode_revoked(serial, at, reason) for serial, (at, reason) in entries.items()]
    tbs = encode_tbs_crl(
        ISSUER,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(days=1),
        entries=encoded,
        idp_url="http://ca/x",
    )
    assert isinstance(PKI.issuer.key, ec.EllipticCurvePrivateKey)
    signature = PKI.issuer.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    crl = x509.load_der_x509_crl(assemble_crl(tbs, ISSUER, signature))
    assert crl.is_signature_valid(PKI.issuer.key.public_key())
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == number
    read = {each.serial_number: (each.revocation_date_utc, reason_of(each)) for each in crl}
    assert read == entries


REASONS = {
    flag: number
    for number, flag in {
        1: x509.ReasonFlags.key_compromise,
        2: x509.ReasonFlags.ca_compromise,
        3: x509.ReasonFlags.affiliation_changed,
        4: x509.ReasonFlags.superseded,
        5: x509.ReasonFlags.cessation_of_operation,
        6: x509.ReasonFlags.certificate_hold,
        8: x509.ReasonFlags.remove_from_crl,
        9: x509.ReasonFlags.privilege_withdrawn,
        10: x509.ReasonFlags.aa_compromise,
    }.items()
}


def reason_of(entry: x509.RevokedCertificate) -> int:
    try:
        return REASONS[entry.extensions.get_extension_for_class(x509.CRLReason).value.reason]
    except x509.ExtensionNotFound:
        return 0


@fuzz(300)
@given(json_values)
def test_a_json_value(value: Any) -> None:
    assert decode_value(encode_json(value)) == value
    assert decode_value(encode_config(value)) == value


@fuzz(100)
@given(st.lists(st.binary(min_size=1, max_size=200), min_size=1, max_size=4))
def test_a_bundle_of_certificates(ders: list[bytes]) -> None:
    bundle = "text\n".join(encode_pem("CERTIFICATE", der) for der in ders)
    assert parse_certificates(bundle.encode()) == tuple(ders)
