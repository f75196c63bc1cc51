"""Requests for two CAs of one PKI: one table a door. Each is made anew for the CA that gets it."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from support.credentials import (
    CLIENT,
    SERVER,
    NameForms,
    Party,
    b64url,
    csr_digest,
    make_csr,
    make_jws,
    make_key,
    make_party,
    provisioner_extension,
    rsa_key,
)
from support.two_cas import Request, Side, get, post
from support.wrong_tokens import FORGERIES, UNREADABLE, rewritten_signature

Make = Callable[[Side], Request]

KEY: Final = make_key()
ED: Final = ed25519.Ed25519PrivateKey.generate()
P384: Final = ec.generate_private_key(ec.SECP384R1())
P521: Final = ec.generate_private_key(ec.SECP521R1())
P224: Final = ec.generate_private_key(ec.SECP224R1())
CSR: Final = make_csr(KEY, "a.test", ["a.test"])

# -- what anybody may ask ---------------------------------------------------------------------------


def _plain(method: str, target: str) -> Make:
    return lambda side: Request(method, target)


def _sha(side: Side) -> str:
    return side.folder.fingerprint


_TARGETS: Final = (
    *("/health", "/1.0/health", "/version", "/1.0/version", "/roots", "/1.0/roots", "/roots.pem", "/federation"),
    *("/intermediates", "/intermediates.pem", "/1.0/intermediates", "/crl", "/1.0/crl", "/crl?pem=true"),
    *("/provisioners", "/1.0/provisioners", "/provisioners?limit=1", "/provisioners?limit=2", "/provisioners?limit=0"),
    *("/provisioners?limit=-1", "/provisioners?limit=x", "/provisioners?limit=1000", "/provisioners?cursor=zzz"),
    *("/provisioners?cursor=0000", "/provisioners?limit=1&limit=3", "/provisioners?nope=1", "/provisioners/"),
    *("/provisioners/nope/encrypted-key", "/provisioners//encrypted-key", "/provisioners/a/b/encrypted-key"),
    *("/root/", "/root/abc", "/root/" + "0" * 64, "/root/%61", "/roots/", "/root"),
    *(
        "/",
        "/nope",
        "/1.0",
        "/1.0/",
        "/2.0/health",
        "/health/",
        "//health",
        "/HEALTH",
        "/health?x=1",
        "/1.0/1.0/health",
    ),
    *("/1.0//health", "/./health", "/x/../health", "/health%2F", "/%68ealth", "/ssh/nope", "/admin/provisioners"),
    *("/scep/x", "/sign", "/renew", "/revoke", "/favicon.ico", "/metrics"),
)

PUBLIC: Final[Mapping[str, Make]] = {
    **{f"GET {target}": _plain("GET", target) for target in _TARGETS},
    **{f"HEAD {target}": _plain("HEAD", target) for target in ("/health", "/roots", "/nope", "/sign")},
    **{
        f"{method} {target}": _plain(method, target)
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "FOO")
        for target in ("/health", "/roots", "/nope")
    },
    **{f"{method} /sign": _plain(method, "/sign") for method in ("PUT", "PATCH", "OPTIONS")},
    **{
        f"GET {target}": _plain("GET", target)
        for target in (
            *("/root/a%20b", "/root/%21", "/root/a%2Fb", "/root/%C3%A4", "/root/%c3%a4", "/root/[x]", "/root/%zz"),
            *("/provisioners/%61/encrypted-key", "/provisioners/encrypted-key"),
        )
    },
    "root by fingerprint": lambda side: get(f"/root/{_sha(side)}"),
    "root by fingerprint below /1.0": lambda side: get(f"/1.0/root/{_sha(side)}"),
    "root by fingerprint in capitals": lambda side: get(f"/root/{_sha(side).upper()}"),
    "root by fingerprint with dashes": lambda side: get(f"/root/{'-'.join((_sha(side)[:8], _sha(side)[8:]))}"),
    "root by fingerprint with colons": lambda side: get(f"/root/{':'.join((_sha(side)[:2], _sha(side)[2:]))}"),
    "root by the intermediate's fingerprint": lambda side: get(
        "/root/" + side.issuer.certificate.fingerprint(hashes.SHA256()).hex()
    ),
    "encrypted key": lambda side: get(f"/provisioners/{side.folder.provisioners[0]['key']['kid']}/encrypted-key"),
    "encrypted key of a provisioner without one": lambda side: get(
        f"/provisioners/{side.signers['ci'].kid}/encrypted-key"
    ),
    "request id given": lambda side: get("/health", X_Request_Id="mine"),
    "trace id given": lambda side: get("/health", X_Smallstep_Id="trace"),
    "a body where none is read": lambda side: Request("GET", "/health", b"{}"),
}

# -- /sign: what is no request ----------------------------------------------------------------------


def _sign(target: str = "/sign", **over: object) -> Make:
    """A good request with other members; ... takes one away."""

    def make(side: Side) -> Request:
        body = {"csr": CSR, "ott": side.token(), **over}
        return post(target, {name: value for name, value in body.items() if value is not ...})

    return make


def _raw(text: str) -> Make:
    """A body as text; TOKEN and CSR stand for good ones."""

    def make(side: Side) -> Request:
        body = text.replace("TOKEN", side.token()).replace("CSR", json.dumps(CSR)[1:-1])
        return post("/sign", body.encode())

    return make


BODIES: Final[Mapping[str, Make]] = {
    "empty": _raw(""),
    "not JSON": _raw("nope"),
    "cut": _raw('{"csr": "x'),
    "null": _raw("null"),
    "list": _raw("[]"),
    "text": _raw('"x"'),
    "number": _raw("1"),
    "object": _raw("{}"),
    "csr only": _sign(ott=...),
    "ott only": _sign(csr=...),
    "csr empty": _sign(csr=""),
    "csr null": _sign(csr=None),
    "csr a number": _sign(csr=1),
    "csr not PEM": _sign(csr="nope"),
    "csr a certificate": lambda side: _sign(csr=side.issuer.pem)(side),
    "csr not base64": _sign(csr="-----BEGIN CERTIFICATE REQUEST-----\n***\n-----END CERTIFICATE REQUEST-----\n"),
    "csr garbage": _sign(csr="-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"),
    "csr as NEW CERTIFICATE REQUEST": _sign(csr=CSR.replace("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST")),
    "csr behind text": _sign(csr=f"hello\n{CSR}"),
    "csr before text": _sign(csr=f"{CSR}hello"),
    "csr with CRLF": _sign(csr=CSR.replace("\n", "\r\n")),
    "csr with a broken signature": _sign(csr=make_csr(KEY, "a.test", ["a.test"], broken=True)),
    "ott empty": _sign(ott=""),
    "ott null": _sign(ott=None),
    "ott a number": _sign(ott=1),
    "ott garbage": _sign(ott="garbage"),
    "names of members in other case": _raw('{"CSR": "CSR", "Ott": "TOKEN"}'.replace('"CSR":', '"Csr":')),
    "member twice": _raw('{"ott": "x", "csr": "CSR", "ott": "TOKEN"}'),
    "member twice, first unusable": _raw('{"csr": "x", "csr": "CSR", "ott": "TOKEN"}'),
    "unknown members": _sign(nope=[1, {"a": None}]),
    "something after the object": _raw('{"csr": "CSR", "ott": "TOKEN"} trailing'),
    "two objects": _raw('{"csr": "CSR", "ott": "TOKEN"}{}'),
    "white space around": _raw(' \r\n\t{"csr": "CSR", "ott": "TOKEN"} \n'),
    "byte order mark": _raw('\ufeff{"csr": "CSR", "ott": "TOKEN"}'),
    "notAfter nonsense": _sign(notAfter="tomorrow"),
    "notAfter a number": _sign(notAfter=3600),
    "notAfter in days": _sign(notAfter="1d"),
    "notAfter null": _sign(notAfter=None),
    "notAfter empty": _sign(notAfter=""),
    "notBefore nonsense": _sign(notBefore="yesterday"),
    "templateData a text": _sign(templateData="x"),
    "templateData an object": _sign(templateData={"a": {"b": [1, 2]}}),
    "content type of a form": lambda side: post(
        "/sign", {"csr": CSR, "ott": side.token()}, Content_Type="application/x-www-form-urlencoded"
    ),
    "below /1.0": _sign("/1.0/sign"),
    "with a query": _sign("/sign?a=b"),
    "trailing slash": _sign("/sign/"),
}

# -- /sign: tokens ------------------------------------------------------------------------------------


def _now(seconds: int) -> int:
    return int(time.time()) + seconds


def _claims(**over: Callable[[Side], Any] | Any) -> Make:
    """A token with other claims; a function makes a claim of the CA."""

    def make(side: Side) -> Request:
        made = {name: value(side) if callable(value) else value for name, value in over.items()}
        return post("/sign", {"csr": CSR, "ott": side.token(**made)})

    return make


def _header(signer: str = "ci", **header: Any) -> Make:
    return lambda side: post("/sign", {"csr": CSR, "ott": side.token(signer, header=header)})


def _forged(name: str) -> Make:
    return lambda side: post("/sign", {"csr": CSR, "ott": FORGERIES[name](side.token(), side.signers["ci"].key)})


def _unreadable(name: str) -> Make:
    return lambda side: post("/sign", {"csr": CSR, "ott": UNREADABLE[name](side.token())})


def _audience(change: Callable[[str], Any]) -> Make:
    return _claims(aud=lambda side: change(f"{side.folder.url}/1.0/sign"))


def _twice(side: Side) -> Request:
    request = _sign()(side)
    assert side.send(request).status == 201
    return request


def _same_id(side: Side) -> Request:
    """Another token with the id of one that was used."""
    number = side.token(jti="one-id")
    assert side.send(post("/sign", {"csr": CSR, "ott": number})).status == 201
    return post("/sign", {"csr": CSR, "ott": side.token(jti="one-id", sub="a.test", exp=_now(200))})


TOKENS: Final[Mapping[str, Make]] = {
    **{name: _forged(name) for name in FORGERIES},
    **{name: _unreadable(name) for name in UNREADABLE},
    "good": _sign(),
    "used twice": _twice,
    "another with a used id": _same_id,
    "without id": _claims(jti=...),
    "expired": _claims(exp=lambda side: _now(-62)),
    "expired within the leeway": _claims(exp=lambda side: _now(-50)),
    "without end": _claims(exp=...),
    "not yet valid": _claims(nbf=lambda side: _now(70)),
    "not yet valid within the leeway": _claims(nbf=lambda side: _now(50)),
    "without beginning": _claims(nbf=...),
    "issued in the future": _claims(iat=lambda side: _now(70)),
    "without time of issue": _claims(iat=...),
    "valid for ten years": _claims(exp=lambda side: _now(315_360_000)),
    "end a text": _claims(exp="soon"),
    "end a fraction": _claims(exp=lambda side: _now(200) + 0.5),
    "audience without /1.0": _audience(lambda a: a.replace("/1.0", "")),
    "audience without port": _audience(lambda a: "https://localhost/1.0/sign"),
    "audience of another name of the CA": _audience(lambda a: a.replace("localhost", "127.0.0.1")),
    "audience of another host": _audience(lambda a: a.replace("localhost", "localhost.evil")),
    "audience in capitals": _audience(lambda a: a.replace("localhost", "LOCALHOST")),
    "audience by http": _audience(lambda a: a.replace("https", "http")),
    "audience with trailing slash": _audience(lambda a: f"{a}/"),
    "audience with query": _audience(lambda a: f"{a}?x=1"),
    "audience with user": _audience(lambda a: a.replace("localhost", "x@localhost")),
    "audience with fragment": _audience(lambda a: f"{a}#ci"),
    "audience with port 443": _audience(lambda a: "https://localhost:443/1.0/sign"),
    "audience for revocation": _audience(lambda a: a.replace("sign", "revoke")),
    "audience the old name": _audience(lambda a: "step-certificate-authority"),
    "audience absent": _claims(aud=...),
    "audience empty list": _claims(aud=[]),
    "audience a list with a good one": _audience(lambda a: ["https://elsewhere.test", a]),
    "audience a number": _claims(aud=7),
    "issuer unknown": _claims(iss="nobody"),
    "issuer absent": _claims(iss=...),
    "issuer of another provisioner": _claims(iss="short"),
    "issuer in other case": _claims(iss="CI"),
    "issuer a number": _claims(iss=1),
    "key id unknown": _header(kid="nope"),
    "key id absent": _header(kid=...),
    "key id of another provisioner": lambda side: _header(kid=side.signers["short"].kid)(side),
    "type absent": _header(typ=...),
    "type another": _header(typ="JOSE"),
    "subject absent": _claims(sub=...),
    "subject empty": _claims(sub=""),
    "subject a number": _claims(sub=1),
    "subject another name": _claims(sub="b.test"),
    "subject in other case": _claims(sub="A.TEST"),
    "SANs absent": _claims(sans=...),
    "SANs empty": _claims(sans=[]),
    "SANs null": _claims(sans=None),
    "SANs a text": _claims(sans="a.test"),
    "SANs more": _claims(sans=["a.test", "b.test"]),
    "SANs others": _claims(sans=["b.test"]),
    "SANs twice": _claims(sans=["a.test", "a.test"]),
    "SANs in other case": _claims(sans=["A.test"]),
    "SANs of numbers": _claims(sans=[1]),
    "bound to this request": _claims(cnf={"x5rt#S256": b64url(csr_digest(CSR))}),
    "bound to another request": _claims(cnf={"x5rt#S256": b64url(hashlib.sha256(b"").digest())}),
    "bound by nothing": _claims(cnf={}),
    "bound by a text": _claims(cnf="x"),
    "root fingerprint in it": _claims(sha=lambda side: side.folder.fingerprint),
    "wrong root fingerprint in it": _claims(sha="00"),
    "user data in it": _claims(user={"a": 1}),
    "SSH options in it": _claims(step={"ssh": {"certType": "user", "keyID": "x", "principals": ["x"]}}),
    "unknown claims": _claims(whatever={"a": [None]}),
    "of an uninitialised provisioner": lambda side: post(
        "/sign", {"csr": CSR, "ott": side.token(aud=f"{side.folder.url}/1.0/sign#x5c/broken")}
    ),
    "payload no object": lambda side: post(
        "/sign",
        {"csr": CSR, "ott": make_jws({"alg": "ES256", "kid": side.signers["ci"].kid}, b"[]", side.signers["ci"].key)},
    ),
}

# -- /sign: certificates ------------------------------------------------------------------------------


def _names(*names: NameForms, common_name: str = "a.test", sans: list[str] | None = None, key: Any = KEY) -> Make:
    """A request for these names, and a token for the same in text."""
    texts = [_text(name) for name in names] if sans is None else sans

    def make(side: Side) -> Request:
        csr = make_csr(key, common_name, names)
        return post("/sign", {"csr": csr, "ott": side.token(sans=texts, sub=common_name or "a.test")})

    return make


def _text(name: NameForms) -> str:
    return name if isinstance(name, str) else str(name.value)


def _window(signer: str = "ci", **members: Callable[[], str] | str) -> Make:
    """`notBefore` and `notAfter` of a request."""

    def make(side: Side) -> Request:
        window = {name: value() if callable(value) else value for name, value in members.items()}
        return post("/sign", {"csr": CSR, "ott": side.token(signer), **window})

    return make


def _moment(**after: float) -> Callable[[], str]:
    return lambda: (datetime.now(UTC) + timedelta(**after)).strftime("%Y-%m-%dT%H:%M:00Z")


def _sha1_csr() -> str:
    """SHA-1 is beyond the library by now, so the request is signed by hand: a SHA-256 one with the other name."""
    der = base64.b64decode("".join(CSR.splitlines()[1:-1]))
    ecdsa_sha256, ecdsa_sha1 = bytes.fromhex("06082a8648ce3d040302"), bytes.fromhex("06072a8648ce3d0401")
    assert ecdsa_sha256 in der
    info = x509.load_pem_x509_csr(CSR.encode()).tbs_certrequest_bytes
    signature = KEY.sign(info, ec.ECDSA(hashes.SHA1()))
    algorithm = bytes((0x30, len(ecdsa_sha1))) + ecdsa_sha1
    bits = bytes((0x03, len(signature) + 1, 0)) + signature
    content = info + algorithm + bits
    whole = b"\x30\x81" + bytes((len(content),)) + content
    text = base64.encodebytes(whole).decode()
    return f"-----BEGIN CERTIFICATE REQUEST-----\n{text}-----END CERTIFICATE REQUEST-----\n"


CERTIFICATES: Final[Mapping[str, Make]] = {
    "key P-256": _names("a.test"),
    "key P-384": _names("a.test", key=P384),
    "key P-521": _names("a.test", key=P521),
    "key P-224": _names("a.test", key=P224),
    "key Ed25519": _names("a.test", key=ED),
    "key RSA 2048": lambda side: _names("a.test", key=rsa_key(2048))(side),
    "key RSA 3072": lambda side: _names("a.test", key=rsa_key(3072))(side),
    "key RSA 1024": lambda side: _names("a.test", key=rsa_key(1024))(side),
    "request signed with SHA-1": lambda side: post("/sign", {"csr": _sha1_csr(), "ott": side.token()}),
    "names of every kind": _names(
        "a.test",
        x509.IPAddress(ip_address("10.1.2.3")),
        x509.IPAddress(ip_address("fd00::1")),
        x509.RFC822Name("max@a.test"),
        x509.UniformResourceIdentifier("https://a.test/x?y=z"),
    ),
    "names in another order": _names("b.test", "a.test", sans=["a.test", "b.test"]),
    "wildcard": _names("*.a.test"),
    "a hundred names": _names(*[f"n{i}.test" for i in range(100)]),
    "name twice": _names("a.test", "a.test"),
    "name in capitals": _names("A.Test", sans=["A.Test"]),
    "name that is an address": _names(x509.IPAddress(ip_address("10.1.2.3")), common_name="10.1.2.3"),
    "mail address as subject": _names(x509.RFC822Name("max@a.test"), common_name="max@a.test"),
    "no common name": _names("a.test", common_name=""),
    "common name not among the names": _names("b.test", common_name="a.test"),
    "no names in the request": lambda side: post(
        "/sign", {"csr": make_csr(KEY, "a.test"), "ott": side.token(sans=["a.test"])}
    ),
    "nothing in the request": lambda side: post("/sign", {"csr": make_csr(KEY), "ott": side.token(sans=["a.test"])}),
    "a name less in the request": _names("a.test", sans=["a.test", "b.test"]),
    "a name more in the request": _names("a.test", "b.test", sans=["a.test"]),
    "an address more in the request": _names("a.test", x509.IPAddress(ip_address("10.1.2.3")), sans=["a.test"]),
    "a mail address more in the request": _names("a.test", x509.RFC822Name("a@a.test"), sans=["a.test"]),
    "a URI more in the request": _names("a.test", x509.UniformResourceIdentifier("https://a.test"), sans=["a.test"]),
    "other common name": lambda side: post("/sign", {"csr": make_csr(KEY, "b.test", ["a.test"]), "ott": side.token()}),
    "without provisioner extension": lambda side: post("/sign", {"csr": CSR, "ott": side.token("noext")}),
    "default validity of the provisioner": _window("short"),
    "ends in an hour": _window(notAfter="1h"),
    "ends in 24 hours": _window(notAfter="24h"),
    "ends in 25 hours": _window(notAfter="25h"),
    "ends in five minutes": _window(notAfter="5m"),
    "ends in four minutes": _window(notAfter="4m"),
    "ended an hour ago": _window(notAfter="-1h"),
    "ends at a moment": _window(notAfter=_moment(hours=3)),
    "ends at a moment with an offset": _window(
        notAfter=lambda: (datetime.now(UTC) + timedelta(hours=5)).strftime("%Y-%m-%dT%H:%M:00+02:00")
    ),
    "begins in an hour": _window(notBefore="1h"),
    "begins and ends": _window(notBefore="1h", notAfter="2h"),
    "ends before it begins": _window(notBefore="2h", notAfter="1h"),
    "begins an hour ago": _window(notBefore="-1h"),
    "begins two days ago": _window(notBefore="-48h"),
    "begins at a moment": _window(notBefore=_moment(minutes=10), notAfter=_moment(hours=2)),
    "longer than the provisioner allows": _window("short", notAfter="1h"),
    "as long as the provisioner allows": _window("short", notAfter="30m"),
    "shorter than the provisioner allows": _window("short", notAfter="9m"),
    "ends after the issuer": _window("long", notAfter="20000h"),
}

# -- /renew and /rekey ----------------------------------------------------------------------------------

LEAF_KEY: Final = make_key()


def _leaf(side: Side, provisioner: str = "ci", **settings: Any) -> Party:
    """A certificate as the CA would make it that is on no record, with one key on both sides."""
    extensions = [provisioner_extension(provisioner, side.signers[provisioner].kid)] if provisioner else []
    settings = {"names": ["a.test"], "purposes": [SERVER, CLIENT], "extensions": extensions, **settings}
    now = datetime.now(UTC).replace(microsecond=0)
    return make_party("a.test", side.issuer, now=now, key=LEAF_KEY, key_id=False, **settings)


def _renew(target: str = "/renew", body: bytes = b"", **leaf: Any) -> Make:
    return lambda side: post(target, body, client=_leaf(side, **leaf))


def _bearer(*, header: Mapping[str, Any] | None = None, leaf: Mapping[str, Any] | None = None, **claims: Any) -> Make:
    def make(side: Side) -> Request:
        token = side.renew_token(_leaf(side, **(leaf or {})), header=header, **claims)
        return post("/renew", Authorization=f"Bearer {token}")

    return make


def _forged_bearer(name: str) -> Make:
    def make(side: Side) -> Request:
        token = FORGERIES[name](side.renew_token(_leaf(side)), LEAF_KEY)
        return post("/renew", Authorization=f"Bearer {token}")

    return make


def _bearer_twice(side: Side) -> Request:
    request = _bearer()(side)
    assert side.send(request).status == 201
    return request


def _of_another_ca(side: Side) -> Request:
    now = datetime.now(UTC)
    root = make_party("Test Intermediate CA", None, now=now, authority=True)
    leaf = make_party("a.test", root, now=now, names=["a.test"])
    chain = [base64.b64encode(party.der).decode() for party in (leaf, root)]
    return post("/renew", Authorization=f"Bearer {side.renew_token(leaf, header={'x5cInsecure': chain})}")


def _by_scheme(scheme: str) -> Make:
    return lambda side: post("/renew", Authorization=f"{scheme} {side.renew_token(_leaf(side))}")


def _rekey(csr: object = CSR, **over: Any) -> Make:
    return lambda side: post("/rekey", {"csr": csr() if callable(csr) else csr}, client=_leaf(side, **over))


def _authority(side: Side) -> list[tuple[x509.ExtensionType, bool]]:
    """What makes a CA of a certificate that may be shown in a handshake."""
    return [
        (x509.BasicConstraints(ca=True, path_length=None), True),
        provisioner_extension("ci", side.signers["ci"].kid),
    ]


_EXPIRED: Final = {"starts": timedelta(hours=-2), "ends": timedelta(minutes=-1)}

RENEWALS: Final[Mapping[str, Make]] = {
    "by certificate": _renew(),
    "by certificate below /1.0": _renew("/1.0/renew"),
    "by certificate at the old name": _renew("/re-sign"),
    "by certificate with a body": _renew(body=b'{"a": 1}'),
    "by certificate of every kind of name": _renew(
        names=["a.test", x509.IPAddress(ip_address("10.1.2.3")), x509.RFC822Name("a@a.test")]
    ),
    "by certificate that is not to be renewed": _renew(provisioner="norenew"),
    "by certificate without provisioner": _renew(provisioner=""),
    "by certificate for a day and an hour": _renew(ends=timedelta(hours=25)),
    "by certificate of a CA": lambda side: post("/renew", client=_leaf(side, extensions=_authority(side))),
    "by nobody": lambda side: post("/renew"),
    "by token": _bearer(),
    "by token twice": _bearer_twice,
    "by token without id": _bearer(jti=...),
    "by token, expired": _bearer(exp=1),
    "by token, from the future": _bearer(nbf=32503680000),
    "by token, audience of /1.0": lambda side: _bearer(aud=f"{side.folder.url}/1.0/renew")(side),
    "by token, audience of another host": _bearer(aud="https://evil.test/renew"),
    "by token, audience of signing": lambda side: _bearer(aud=f"{side.folder.url}/1.0/sign")(side),
    "by token, audience absent": _bearer(aud=...),
    "by token, issuer of a provisioner": _bearer(iss="ci"),
    "by token, issuer absent": _bearer(iss=...),
    "by token, other subject": _bearer(sub="b.test"),
    "by token, subject absent": _bearer(sub=...),
    "by token, no chain": _bearer(header={"x5cInsecure": ...}),
    "by token, chain a text": _bearer(header={"x5cInsecure": "x"}),
    "by token, chain of garbage": _bearer(header={"x5cInsecure": ["eA=="]}),
    "by token, of another CA": _of_another_ca,
    "by token, for servers only": _bearer(leaf={"purposes": [SERVER]}),
    "by token, certificate expired": _bearer(leaf=_EXPIRED),
    "by token, certificate expired where that is allowed": _bearer(leaf={**_EXPIRED, "provisioner": "after"}),
    "by token, certificate not yet valid": _bearer(leaf={"starts": timedelta(hours=1), "ends": timedelta(hours=2)}),
    "by token, certificate not to be renewed": _bearer(leaf={"provisioner": "norenew"}),
    **{f"by token, {name}": _forged_bearer(name) for name in FORGERIES},
    "by garbage": lambda side: post("/renew", Authorization="Bearer x"),
    "by an empty token": lambda side: post("/renew", Authorization="Bearer "),
    "by another scheme": _by_scheme("Basic"),
    "by the scheme in other case": _by_scheme("bearer"),
    "rekey": _rekey(),
    "rekey to P-384": _rekey(lambda: make_csr(P384, "a.test", ["a.test"])),
    "rekey to Ed25519": _rekey(lambda: make_csr(ED, "a.test")),
    "rekey to RSA 1024": _rekey(lambda: make_csr(rsa_key(1024), "a.test")),
    "rekey to P-224": _rekey(lambda: make_csr(P224, "a.test")),
    "rekey to the same key": _rekey(lambda: make_csr(LEAF_KEY, "a.test")),
    "rekey for other names": _rekey(lambda: make_csr(KEY, "evil.test", ["evil.test"])),
    "rekey with a broken signature": _rekey(lambda: make_csr(KEY, "a.test", broken=True)),
    "rekey without request": _rekey(None),
    "rekey with an empty body": lambda side: post("/rekey", client=_leaf(side)),
    "rekey that is not allowed": _rekey(provisioner="norenew"),
    "rekey by nobody": lambda side: post("/rekey", {"csr": CSR}),
    "rekey by token": lambda side: post(
        "/rekey", {"csr": CSR}, Authorization=f"Bearer {side.renew_token(_leaf(side))}"
    ),
}

# -- /revoke --------------------------------------------------------------------------------------------


def _revoke(serial: object = "12345", *, token_for: str | None = None, **over: object) -> Make:
    def make(side: Side) -> Request:
        subject = token_for if token_for is not None else str(serial)
        body = {"serial": serial, "ott": side.revoke_token(subject), "passive": True, **over}
        return post("/revoke", {name: value for name, value in body.items() if value is not ...})

    return make


def _revoke_claims(**over: Any) -> Make:
    return lambda side: post("/revoke", {"serial": "777", "ott": side.revoke_token("777", **over), "passive": True})


def _revoke_again(side: Side) -> Request:
    assert side.send(_revoke("424242")(side)).status == 200
    return _revoke("424242", reasonCode=4)(side)


def _with_spent_token(side: Side) -> Request:
    ott = side.revoke_token("31337")
    assert side.send(post("/revoke", {"serial": "31337", "ott": ott, "passive": True})).status == 200
    return post("/revoke", {"serial": "31337", "ott": ott, "passive": True})


def _own(side: Side, serial: Callable[[Party], object] = lambda leaf: str(leaf.serial), **over: object) -> Request:
    leaf = side.issue()
    return post("/revoke", {"serial": serial(leaf), "passive": True, **over}, client=leaf)


def _own_again(side: Side) -> Request:
    leaf = side.issue()
    request = post("/revoke", {"serial": str(leaf.serial), "passive": True}, client=leaf)
    assert side.send(request).status == 200
    return request


def _dead(make: Callable[[Side, Party], Request]) -> Make:
    """A request that a revoked certificate makes."""

    def send(side: Side) -> Request:
        leaf = side.issue()
        body = {"serial": str(leaf.serial), "ott": side.revoke_token(leaf.serial), "passive": True}
        assert side.send(post("/revoke", body)).status == 200
        return make(side, leaf)

    return send


REVOCATIONS: Final[Mapping[str, Make]] = {
    "by token": _revoke("1001"),
    "by token below /1.0": lambda side: post(
        "/1.0/revoke", {"serial": "1002", "ott": side.revoke_token("1002"), "passive": True}
    ),
    "with reason": _revoke("1003", reasonCode=1, reason="lost"),
    "with reason in other words": _revoke("1004", reason='<&>"'),
    "again": _revoke_again,
    "with a spent token": _with_spent_token,
    "not passive": _revoke("1005", passive=False),
    "passive absent": _revoke("1006", passive=...),
    "serial absent": _revoke(..., token_for="1"),
    "serial empty": _revoke("", token_for=""),
    "serial a number": _revoke(1007),
    "serial in hexadecimal": _revoke("0xff"),
    "serial in hexadecimal, token in decimal": _revoke("0xff", token_for="255"),
    "serial with leading zero": _revoke("0755"),
    "serial with underscores": _revoke("1_000"),
    "serial negative": _revoke("-5"),
    "serial with a plus": _revoke("+5"),
    "serial zero": _revoke("0"),
    "serial of words": _revoke("abc"),
    "serial with colons": _revoke("ab:cd"),
    "serial of 200 digits": _revoke("9" * 200),
    "reason code 11": _revoke("1008", reasonCode=11),
    "reason code -1": _revoke("1009", reasonCode=-1),
    "reason code 7": _revoke("1010", reasonCode=7),
    "reason code a text": _revoke("1011", reasonCode="1"),
    "reason code a fraction": _revoke("1012", reasonCode=1.5),
    "token for another serial": _revoke("1013", token_for="1014"),
    "token for signing": lambda side: post(
        "/revoke", {"serial": "1015", "ott": side.token(sub="1015"), "passive": True}
    ),
    "token garbage": lambda side: post("/revoke", {"serial": "1016", "ott": "x", "passive": True}),
    "token expired": _revoke_claims(exp=1),
    "token of nobody": _revoke_claims(iss="nobody"),
    "token with names": _revoke_claims(sans=["a.test"]),
    "token and nobody's certificate": lambda side: post("/revoke", {"serial": "1017", "passive": True}),
    "empty body": lambda side: post("/revoke"),
    "not JSON": lambda side: post("/revoke", b"nope"),
    "by its own certificate": _own,
    "by its own certificate, in hexadecimal": lambda side: _own(side, lambda leaf: hex(leaf.serial)),
    "by its own certificate, another serial": lambda side: _own(side, lambda leaf: "99"),
    "by its own certificate, again": _own_again,
    "by its own certificate, not passive": lambda side: _own(side, passive=False),
    "renewal of a revoked certificate": _dead(lambda side, leaf: post("/renew", client=leaf)),
    "renewal by token of a revoked certificate": _dead(
        lambda side, leaf: post("/renew", Authorization=f"Bearer {side.renew_token(leaf)}")
    ),
    "rekey of a revoked certificate": _dead(lambda side, leaf: post("/rekey", {"csr": CSR}, client=leaf)),
    "health with a revoked certificate": _dead(lambda side, leaf: Request("GET", "/health", client=leaf)),
}

# -- what is different on purpose ------------------------------------------------------------------------


def _spent_elsewhere(side: Side) -> Request:
    """A token for /sign that /revoke has seen."""
    ott = side.token()
    assert side.send(post("/revoke", {"serial": "1", "ott": ott, "passive": True})).status == 401
    return post("/sign", {"csr": CSR, "ott": ott})


def _spent_by_a_stranger(side: Side) -> Request:
    """A token whose id somebody has shown before, in a token he signed himself."""
    claims = side.claims()
    header = {"alg": "ES256", "kid": side.signers["ci"].kid, "typ": "JWT"}
    forged = make_jws(header, claims, make_key())
    assert side.send(post("/sign", {"csr": CSR, "ott": forged})).status == 401
    return post("/sign", {"csr": CSR, "ott": make_jws(header, claims, side.signers["ci"].key)})


def _rewritten(side: Side) -> Request:
    """A used token without id, its signature in the other form that is as good."""
    token = side.token(jti=...)
    assert side.send(post("/sign", {"csr": CSR, "ott": token})).status == 201
    return post("/sign", {"csr": CSR, "ott": rewritten_signature(token)})


def _with_many_names(side: Side) -> Request:
    names = [f"n{number}.test" for number in range(1001)]
    return post("/sign", {"csr": make_csr(KEY, "a.test", names), "ott": side.token(sans=names)})


ON_PURPOSE: Final[Mapping[str, Make]] = {
    "ready": _plain("GET", "/ready"),
    "token spent by a stranger": _spent_by_a_stranger,
    "token for another endpoint": _spent_elsewhere,
    "token without id, rewritten": _rewritten,
    "token issued before the start": _claims(iat=lambda side: _now(-3600), nbf=lambda side: _now(-3600)),
    "token over 64 KiB": _claims(user={"x": "x" * 65_536}),
    "body over 1 MiB": _sign(x="x" * 1_048_576),
    "header over 32 KiB": lambda side: get("/health", X_Long="x" * 33_000),
    "header of 101 lines": lambda side: get("/health", **{f"X_{number}": "x" for number in range(101)}),
    "seventy levels of JSON": _raw('{"csr": "CSR", "ott": "TOKEN", "x": ' + "[" * 70 + "]" * 70 + "}"),
    "1,001 names": _with_many_names,
    "begins before the issuer": _window("long", notBefore="-49h", notAfter="72h"),
    "renewal with an empty chain": _bearer(header={"x5cInsecure": []}),
    "ACME directory": _plain("GET", "/acme/acme/directory"),
}

TABLES: Final[Mapping[str, Mapping[str, Make]]] = {
    "public": PUBLIC,
    "body": BODIES,
    "token": TOKENS,
    "certificate": CERTIFICATES,
    "renewal": RENEWALS,
    "revocation": REVOCATIONS,
    "on purpose": ON_PURPOSE,
}
