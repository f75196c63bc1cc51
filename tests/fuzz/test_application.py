"""The application: whatever a stranger sends, the answer is a documented one, and the log has one line for it.

Octets that no parser reads are in the other files of this folder. Here what is strange is signed by the
right key, so that it comes past the first door.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping
from datetime import timedelta
from typing import Any, Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st

from provisor.app.jobs import JobRunner, schedule_first
from provisor.authority.snapshot import Snapshot
from provisor.core.keys import PrivateKey
from provisor.core.names import classify_sans
from provisor.errors import ConfigError, ProvisorError, RenewTokenRejected, Unavailable, Unencodable
from provisor.server.faults import STATUS
from provisor.server.observer import Observer
from provisor.server.request import Request, Response
from support.authority import NOW, Answer, MemoryCA, make_config
from support.credentials import (
    Party,
    b64url,
    compact,
    make_csr,
    make_jws,
    make_key,
    make_party,
    make_signer,
    provisioner_extension,
    raw_signature,
    to_pem,
)
from support.fuzzing import brief, fuzz, hostile_object, mutated, mutated_text
from support.raw_der import (
    PROVISIONER_OID,
    SAN_OID,
    common_name,
    extension,
    integer,
    make_raw_certificate,
    make_raw_request,
    san_attribute,
    spki_of,
    tlv,
    validity,
)

RECORDED_500: Final = (Unencodable, RenewTokenRejected)
"""Errors of which the reference makes an internal one, and clients know it."""

KEY = make_key()
CSR = make_csr(KEY)
NAMED = make_csr(KEY, "a.test", ["a.test"])


def p256(key: PrivateKey) -> ec.EllipticCurvePrivateKey:
    assert isinstance(key, ec.EllipticCurvePrivateKey)
    return key


class _Witness:
    """An observer that remembers what went wrong, and keeps the log."""

    def __init__(self, snapshot: Snapshot) -> None:
        self.lines: list[bytes] = []
        self.error: ProvisorError | None = None
        self._observer = Observer(write=self.lines.append)
        self._observer.reconfigure(snapshot)

    def observe(
        self, ca: Snapshot, request: Request, response: Response, error: ProvisorError | None, took: float
    ) -> None:
        self.error = error
        self._observer.observe(ca, request, response, error, took)


class Desk:
    """A CA and the promises about each of its answers."""

    def __init__(self) -> None:
        self.ci = make_signer("ci")
        config = make_config(
            self.ci.entry(), logger={"format": "json"}, crl={"enabled": True, "idpURL": "http://ca.test/crl"}
        )
        self.ca = MemoryCA(config, signers=[self.ci], seed=1)
        self.leaf = self.ca.issue()
        self.ca.clock.advance(minutes=1)
        self.ca.run(schedule_first(self.ca.snapshot))
        self.ca.run(JobRunner(lambda: self.ca.snapshot, lambda text: None).run_due())
        self.witness = _Witness(self.ca.snapshot)
        self.ca.context.observer = self.witness  # type: ignore[assignment]  # an observer to everybody who asks

    def ask(self, method: str, path: str, body: Any = None, **more: Any) -> Answer:
        self.witness.lines.clear()
        with brief(0.5):
            answer = self.ca.call(method, path, body, **more)
        error = self.witness.error
        assert not isinstance(error, ConfigError | Unavailable), error
        if answer.status == 500:
            assert isinstance(error, RECORDED_500), error
        elif error is not None:
            assert type(error) is not ProvisorError
            assert answer.status in {*STATUS.values()}
        if error is not None:
            said = answer.json
            assert isinstance(said["message"], str)
            assert said.get("status", answer.status) == answer.status
        else:
            assert answer.status in (200, 201, 304, 404, 405)
        (line,) = self.witness.lines
        assert line.endswith(b"\n")
        assert line.count(b"\n") == 1
        logged = json.loads(line)
        assert logged["status"] == answer.status
        return answer

    def sign(self, token: str, csr: str = CSR, **members: object) -> Answer:
        return self.ask("POST", "/sign", {"csr": csr, "ott": token, **members})

    def token(self, header: bytes, payload: bytes, key: PrivateKey) -> str:
        signed = f"{b64url(header)}.{b64url(payload)}"
        return f"{signed}.{b64url(raw_signature(key, signed.encode()))}"

    def header(self, **over: object) -> dict[str, object]:
        return {"alg": "ES256", "kid": self.ci.kid, "typ": "JWT", **over}


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    each = Desk()
    yield each
    each.ca.close()


def claims_of(operation: str, **over: object) -> dict[str, object]:
    now = int(NOW.timestamp()) + 60
    return {
        "aud": f"https://ca.test/1.0/{operation}",
        "exp": now + 300,
        "iat": now,
        "nbf": now,
        "iss": "ci",
        "sub": "a.test",
        "jti": "",
        **over,
    }


SIGN: Final = claims_of("sign", sans=["a.test", "b.test"], cnf=None, step={}, sha="")
RENEW: Final = claims_of("renew", iss="step-ca-client/1.0")


def strange_claims(valid: Mapping[str, object], *others: str) -> st.SearchStrategy[bytes]:
    """A token each time, with a claim or two that are strange."""
    return st.uuids().flatmap(
        lambda number: hostile_object({**valid, "jti": str(number)}, strange_names=others, well_formed=True, most=2)
    )


def names_of(certificate: bytes) -> set[str]:
    try:
        names = x509.load_der_x509_certificate(certificate).extensions.get_extension_for_class(
            x509.SubjectAlternativeName
        )
    except x509.ExtensionNotFound:
        return set()
    return {str(name.value) for name in names.value}


def granted(payload: bytes) -> set[str]:
    """What a token says may be in its certificate."""
    said = json.loads(payload)
    texts = said.get("sans") or [said["sub"]]
    return {name.value for name in classify_sans([*texts, said["sub"]])}


# -- /sign -----------------------------------------------------------------------------------------


@fuzz(500)
@given(payload=strange_claims(SIGN, "SANS", "templates", "email"))
def test_strange_claims_that_are_signed(desk: Desk, payload: bytes) -> None:
    answer = desk.sign(desk.token(compact(desk.header()), payload, desk.ci.key))
    if answer.status == 201:
        assert names_of(answer.certificate.der) <= granted(payload)
        assert answer.certificate.common_name == json.loads(payload)["sub"]


@fuzz(250)
@given(data=st.data())
def test_strange_headers_that_are_signed(desk: Desk, data: st.DataObject) -> None:
    header = data.draw(
        hostile_object(desk.header(), strange_names=("crit", "b64", "jwk", "x5c", "x5cInsecure", "nebula"), most=2)
    )
    payload = compact({**SIGN, "jti": str(data.draw(st.uuids()))})
    desk.sign(desk.token(header, payload, desk.ci.key))


TEXTS: Final = (
    *("a.test", "*.a.test", "", " ", ".", "a..b", "xn--", "xn--a", "bücher.test", "A.TEST", "a.test.", "-a", "a_b"),
    *("10.0.0.1", "10.0.0.1.", "010.0.0.1", "::1", "::ffff:1.2.3.4", "fe80::1%eth0", "1.2.3", "10.0.0.0/8"),
    *("a@b.test", "@", "a@", "@b", "a@b@c", '"a b"@c', "ü@b.test", "a@bücher", "a@[1.2.3.4]", "a <a@b>"),
    *("https://a.test/x", "https://", "://", "urn:uuid:1", "a:b", "https://é.test", "https://a/%zz", "spiffe://x/y"),
    *("\x00", "a\x00b.test", "a\n.test", "\u202ea.test", "\U0001f600", "a" * 300, "a." * 200, "a" * 5000 + "@b", "%00"),
)


@fuzz(500)
@given(
    sub=st.sampled_from(TEXTS) | mutated_text(TEXTS[:20]),
    sans=st.none() | st.lists(st.sampled_from(TEXTS) | mutated_text(TEXTS[:40]), max_size=4),
)
def test_strange_names_that_are_granted(desk: Desk, sub: str, sans: list[str] | None) -> None:
    payload = compact({**SIGN, "jti": "", "sub": sub, "sans": sans})
    answer = desk.sign(desk.token(compact(desk.header()), payload, desk.ci.key))
    if answer.status == 201:
        assert names_of(answer.certificate.der) <= granted(payload)


ALTERNATIVES: Final = [
    tlv(0x30, tlv(0x82, b"a.test"), tlv(0x82, b"b.test")),
    tlv(0x30, tlv(0x82, b"evil.test"), tlv(0x81, b"a@b.test"), tlv(0x87, b"\x0a\0\0\1"), tlv(0x86, b"https://a/%20")),
    tlv(0x30, *[tlv(0x82, b"x")] * 1200),
    tlv(0x30, tlv(0xA0, bytes.fromhex("0603551d11"), tlv(0xA0, tlv(0x0C, b"x")))),
]


SUBJECTS: Final = [tlv(0x30), common_name(b"a.test"), common_name("b\u2028".encode()), common_name(b"\xe9", 0x14)]


@fuzz(300)
@given(
    subject=st.sampled_from(SUBJECTS) | mutated(SUBJECTS, most=1),
    names=st.sampled_from(ALTERNATIVES) | mutated(ALTERNATIVES, most=1),
)
def test_strange_requests_that_are_signed(desk: Desk, subject: bytes, names: bytes) -> None:
    der = make_raw_request(KEY, subject=subject, attributes=san_attribute(names))
    answer = desk.sign(desk.ca.token(sans=["a.test", "b.test"]), to_pem("CERTIFICATE REQUEST", der))
    if answer.status == 201:
        assert names_of(answer.certificate.der) == {"a.test", "b.test"}
        assert answer.certificate.common_name == "a.test"


TIMES: Final = (
    *("", "1h", "-1h", "24h", "5m", "1ns", "25h1m", "2562047h47m16.854775807s", "-2562047h47m16.854775808s", "1d", "0"),
    *("2026-06-01T13:00:00Z", "2026-06-01T13:00:00.999999999+14:00", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z"),
    *("1969-12-31T23:59:59-12:00", "2049-12-31T23:59:59Z", "2050-01-01T00:00:00Z", "2026-06-01T13:00:00,5Z"),
)


@fuzz(250)
@given(
    start=st.sampled_from(TIMES) | mutated_text(TIMES, most=2),
    end=st.sampled_from(TIMES) | mutated_text(TIMES, most=2),
    csr=st.sampled_from([CSR, NAMED]) | mutated_text([CSR, NAMED], most=1),
)
def test_strange_times(desk: Desk, start: str, end: str, csr: str) -> None:
    answer = desk.sign(desk.ca.token(), csr, notBefore=start, notAfter=end)
    if answer.status == 201:
        lived = answer.certificate.not_after - answer.certificate.not_before
        assert timedelta(minutes=5) <= lived <= timedelta(hours=24, minutes=1)


# -- renewal ---------------------------------------------------------------------------------------

STRANGER: Final = make_party("stranger", None, now=NOW, extensions=[provisioner_extension("ci")])


def bearer(desk: Desk, payload: bytes, chain: list[bytes], leaf: Party) -> str:
    """A renew token by the leaf's key with this chain in its header."""
    header = compact({"alg": "ES256", "x5cInsecure": [base64.b64encode(der).decode() for der in chain]})
    return desk.token(header, payload, leaf.key)


@fuzz(300)
@given(payload=strange_claims(RENEW, "sans", "step"))
def test_strange_claims_of_a_renewal(desk: Desk, payload: bytes) -> None:
    token = bearer(desk, payload, [desk.leaf.der, *desk.ca.pki.chain], desk.leaf)
    answer = desk.ask("POST", "/renew", headers=[("Authorization", f"Bearer {token}")])
    if answer.status == 201:
        assert answer.certificate.spki == spki_of(p256(desk.leaf.key))


@fuzz(300)
@given(data=st.data())
def test_strange_chains_of_a_renewal(desk: Desk, data: st.DataObject) -> None:
    own = [desk.leaf.der, *desk.ca.pki.chain, *desk.ca.pki.roots, STRANGER.der]
    chain = own[: data.draw(st.integers(1, 3))]
    for at in data.draw(st.lists(st.integers(0, 2), max_size=2)):
        chain[at:at] = [data.draw(st.sampled_from(own) | mutated(own, most=1))]
        del chain[data.draw(st.integers(0, 3)) :][:1]
    token = bearer(desk, compact({**RENEW, "jti": str(data.draw(st.uuids()))}), chain, desk.leaf)
    desk.ask("POST", "/renew", headers=[("Authorization", f"Bearer {token}")])


@fuzz(150)
@given(data=st.data())
def test_strange_headers_of_a_renewal(desk: Desk, data: st.DataObject) -> None:
    chain = [base64.b64encode(der).decode() for der in (desk.leaf.der, *desk.ca.pki.chain)]
    good = {"alg": "ES256", "x5cInsecure": chain, "typ": "JWT"}
    header = data.draw(hostile_object(good, strange_names=("X5CINSECURE", "x5c", "crit", "jwk"), most=2))
    token = desk.token(header, compact({**RENEW, "jti": str(data.draw(st.uuids()))}), desk.leaf.key)
    desk.ask("POST", "/renew", headers=[("Authorization", f"Bearer {token}")])


EXTENSIONS: Final = [
    (PROVISIONER_OID, tlv(0x30, b"\x02\x01\x01", tlv(0x04, b"ci"), tlv(0x04, b"kid"))),
    (SAN_OID, ALTERNATIVES[1]),
    (bytes.fromhex("0603551d0f"), bytes.fromhex("03020780")),
    (bytes.fromhex("0603551d25"), tlv(0x30, bytes.fromhex("06082b06010505070302"), bytes.fromhex("06032a0304"))),
    (bytes.fromhex("0603551d0e"), tlv(0x04, bytes(20))),
    (bytes.fromhex("0603551d1e"), tlv(0x30)),
    (bytes.fromhex("06032a0304"), b"anything"),
]


@st.composite
def extensions(draw: st.DrawFn) -> list[bytes]:
    """Those of an ordinary certificate first, so that it gets far; then some of them again, changed."""
    good = [extension(oid, value) for oid, value in EXTENSIONS[: draw(st.integers(0, len(EXTENSIONS)))]]
    changed = draw(
        st.lists(
            st.sampled_from(EXTENSIONS).flatmap(lambda e: st.tuples(st.just(e[0]), mutated([e[1]], most=2))), max_size=2
        )
    )
    kept = [each for each, (oid, _) in zip(good, EXTENSIONS, strict=False) if oid not in dict(changed)]
    return [*kept, *(extension(oid, value) for oid, value in changed)]


@fuzz(400)
@given(
    subject=st.just(common_name(b"a.test")) | mutated([common_name(b"a.test"), tlv(0x30)], most=1),
    parts=extensions(),
    number=st.integers(1, 1 << 130),
    hours=st.sampled_from([(-1, 1), (-1, 200_000), (-48, -24), (0, 0), (1, 2)]),
    way=st.sampled_from(["/renew", "/rekey", "/revoke", "bearer"]),
)
def test_strange_certificates_of_our_own_issuer(
    desk: Desk, subject: bytes, parts: list[bytes], number: int, hours: tuple[int, int], way: str
) -> None:
    window = validity(*(desk.ca.clock.now + timedelta(hours=each) for each in hours))
    issuer = desk.ca.pki.issuer
    der = make_raw_certificate(
        KEY,
        issuer.certificate,
        p256(issuer.key),
        subject=subject,
        validity=window,
        extensions=parts,
        serial=integer(number),
    )
    if way == "bearer":
        chain = [base64.b64encode(each).decode() for each in (der, *desk.ca.pki.chain)]
        token = make_jws({"alg": "ES256", "x5cInsecure": chain}, {**RENEW, "jti": str(number)}, KEY)
        answer = desk.ask("POST", "/renew", headers=[("Authorization", f"Bearer {token}")])
    else:
        body: Mapping[str, object] = {"csr": NAMED, "serial": str(number), "passive": True}
        answer = desk.ask("POST", way, body, client_certificate=der)
    if answer.status == 201:
        assert names_of(answer.certificate.der) <= names_of(der)
        assert not answer.certificate.is_ca


# -- revocation ------------------------------------------------------------------------------------


@fuzz(300)
@given(
    serial=mutated_text(["4711", "0x12_67", "-0b1001", "0o17", "0017", "+12", "1" * 60, ""], most=2),
    body=hostile_object({"reasonCode": 1, "reason": "x", "passive": True}, most=2),
    sub=st.none() | mutated_text(["4711", "0x12_67", "15"]),
)
def test_strange_revocations(desk: Desk, serial: str, body: bytes, sub: str | None) -> None:
    token = desk.ca.revoke_token(serial if sub is None else sub)
    members = json.dumps({"serial": serial, "ott": token}).encode()
    desk.ask("POST", "/revoke", members[:-1] + b"," + body[1:] if body != b"{}" else members)


# -- everything else -------------------------------------------------------------------------------

PATHS: Final = (
    *(
        "/health",
        "/1.0/health",
        "/version",
        "/roots",
        "/roots.pem",
        "/federation",
        "/intermediates",
        "/crl",
        "/crl?pem",
    ),
    *("/provisioners?limit=1&cursor=0000000", "/provisioners?limit=%31", "/root/" + "a" * 64, "/1.0/sign", "/renew"),
    *(
        "/provisioners/k%2Fid/encrypted-key",
        "/provisioners//encrypted-key",
        "/root/%ff%00",
        "/rekey",
        "/re-sign",
        "/ready",
    ),
)


@fuzz(500)
@given(
    method=st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS", "BREW", "CONNECT"]),
    path=mutated(tuple(path.encode() for path in PATHS)),
    headers=st.lists(
        st.tuples(
            st.sampled_from(
                ["Authorization", "X-Request-Id", "X-Smallstep-Id", "If-None-Match", "User-Agent", "Referer"]
            ),
            mutated([b"Bearer a.b.c", b"Bearer", b"bearer x", b'"1"', b"step/0.30", b""]).map(
                lambda v: v.decode("latin-1")
            ),
        ),
        max_size=3,
    ),
    body=mutated(
        [json.dumps({"csr": CSR, "ott": "a.b.c"}).encode(), json.dumps({"serial": "1", "ott": "a.b.c"}).encode()]
    ),
    client=st.none() | st.binary(max_size=4),
)
def test_strange_requests_of_anybody(
    desk: Desk, method: str, path: bytes, headers: list[tuple[str, str]], body: bytes, client: bytes | None
) -> None:
    answer = desk.ask(method, path.decode("latin-1"), body, headers=headers, client_certificate=client)
    assert answer.header("x-request-id")
