"""What each part of a decision costs: microseconds in one process, without network, notary or store.

    PYTHONPATH=src:tests python scripts/bench_parts.py [--json] [--rounds 3000] [--only sign]

`whole` is a handler, from the request that is read to the bytes of the answer, with a notary and a ledger that
answer at once. The parts below it are pieces of the same way, run one after the other as a request runs them:
alone in a loop each would have the processor's caches for itself and look half as dear. `the rest` is what is
between them: coroutines, the trail, the entry. The median of the rounds counts, less the reading of the clock.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Coroutine, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from statistics import median
from time import perf_counter_ns
from typing import Any, Final, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_public_key
from msgspec import Struct

from provisor.authority import issue, renew
from provisor.authority.snapshot import Snapshot
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.durations import HOUR, Duration
from provisor.core.identity import Operation, X509Ask
from provisor.core.jose.audience import audiences_match
from provisor.core.jose.jws import parse_token, verify_signature
from provisor.core.jose.jwt import check_times, parse_claims, token_key
from provisor.core.keys import parse_public_spki, spki_der
from provisor.core.x509.build import build_leaf, build_renewed
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.chain import check_client_leaf, find_issuer
from provisor.core.x509.check import check_draft, check_invariants
from provisor.core.x509.draft import Draft, assemble
from provisor.core.x509.extensions import ProvisionerExtension
from provisor.core.x509.issuer import Issuer, make_issuer
from provisor.core.x509.request import parse_csr_pem, verify_csr
from provisor.notary.gate import check_entry
from provisor.notary.keyring import GateRules, SigningIssuer
from provisor.ports import CertificateRecord, Entry, Ledger, Notary, Outcome, ToSign
from provisor.provisioners.jwk import JWKProvisioner
from provisor.provisioners.registry import build_registry
from provisor.server.context import Context
from provisor.server.handlers import x509 as handlers
from provisor.server.request import Request
from provisor.wire.api import RevokeRequest, SignRequest
from provisor.wire.gojson import decode_json
from support.credentials import Party, TokenSigner, make_csr, make_jws, make_key, make_party, make_signer

T = TypeVar("T")

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOST: Final = "ca.example.test"
NAME: Final = "a.example.test"
WHOLE: Final = "whole"
REST: Final = "the rest"


class Part(Struct, frozen=True):
    name: str
    run: Callable[[], object]


class Figure(Struct, frozen=True):
    """`path` is the request it belongs to."""

    path: str
    part: str
    microseconds: float


def measure(path: str, parts: Sequence[Part], rounds: int) -> list[Figure]:
    """The wholes each in a loop of its own, the other parts in turns."""
    wholes = [part for part in parts if part.name.startswith(WHOLE)]
    pieces = [part for part in parts if part not in wholes]
    figures = [Figure(path, part.name, _medians([part], rounds)[0]) for part in wholes]
    figures += [Figure(path, part.name, took) for part, took in zip(pieces, _medians(pieces, rounds), strict=True)]
    if wholes and pieces:
        rest = figures[0].microseconds - sum(figure.microseconds for figure in figures[len(wholes) :])
        figures.append(Figure(path, REST, rest))
    return figures


def _medians(parts: Sequence[Part], rounds: int) -> list[float]:
    took = [[0] * rounds for _ in parts]
    clock = [0] * rounds
    for turn in range(rounds):
        for index, part in enumerate(parts):
            began = perf_counter_ns()
            part.run()
            took[index][turn] = perf_counter_ns() - began
        began = perf_counter_ns()
        clock[turn] = perf_counter_ns() - began
    return [(median(each) - median(clock)) / 1000 for each in took]


# -- a world without network, notary and store ------------------------------------------------------


class InstantNotary:
    """Says "committed" with a certificate made beforehand; keeps what it was given last."""

    def __init__(self) -> None:
        self.certificate = b""
        self.last: Entry | None = None

    async def submit(self, entry: Entry) -> Outcome:
        self.last = entry
        return Outcome(entry.id, "committed", certificate=self.certificate)


class InstantLedger:
    """Nothing is spent, nothing revoked, and one certificate recorded."""

    def __init__(self) -> None:
        self.record: CertificateRecord | None = None

    async def is_spent(self, key: str) -> bool:
        return False

    async def is_revoked(self, issuer: bytes, serial: int) -> bool:
        return False

    async def find_certificate(self, issuer: bytes, serial: int) -> CertificateRecord | None:
        return self.record


def finish(work: Coroutine[Any, Any, T]) -> T:
    """Run to the end what never waits."""
    try:
        work.send(None)
    except StopIteration as done:
        result: T = done.value
        return result
    raise RuntimeError("it waited")


def make_snapshot(signer: TokenSigner, issuer: Issuer, notary: Notary, ledger: Ledger) -> Snapshot:
    """One JWK provisioner, one issuer, a database that is never asked."""
    source = {
        "root": "root_ca.crt",
        "crt": "intermediate_ca.crt",
        "key": "intermediate_ca_key",
        "address": "127.0.0.1:9000",
        "dnsNames": [HOST],
        "db": {"type": "badgerv2", "dataSource": "db"},
        "authority": {"provisioners": [signer.entry()]},
    }
    config = load_config(json.dumps(source).encode()).config
    return Snapshot(
        epoch=1,
        config=config,
        registry=build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims)),
        issuer=issuer,
        issuers={issuer.id: issuer},
        roots=(),
        federated=(),
        notary=notary,
        ledger=ledger,
        clock=lambda: NOW,
        random=os.urandom,
        started=NOW,
    )


class Bench:
    """One CA and one request of every kind, made beforehand."""

    def __init__(self) -> None:
        month = timedelta(days=30)
        root = make_party("Root", None, now=NOW, starts=-month, ends=100 * month, authority=True)
        party = make_party("Issuer", root, now=NOW, starts=-month, ends=99 * month, authority=True, path_length=0)
        self.issuer = make_issuer([party.der], [root.der])
        self.signer = make_signer("ci")
        self.notary = InstantNotary()
        self.ledger = InstantLedger()
        self.snapshot = make_snapshot(self.signer, self.issuer, self.notary, self.ledger)  # type: ignore[arg-type]
        self.context = Context(self.snapshot.config.provisor.limits)
        self.csr = make_csr(make_key(), NAME, [NAME])
        self.token = self._token("sign", sub=NAME, sans=[NAME])
        self.body = json.dumps({"csr": self.csr, "ott": self.token, "notAfter": "", "notBefore": ""}).encode()
        self.leaf = self._issue(party)
        self.revocation = self._revocation(str(parse_certificate(self.leaf).serial))

    def _token(self, operation: str, **claims: object) -> str:
        now = int(NOW.timestamp())
        header = {"alg": "ES256", "kid": self.signer.kid, "typ": "JWT"}
        common = {
            "aud": f"https://{HOST}/1.0/{operation}",
            "exp": now + 300,
            "iat": now,
            "iss": self.signer.name,
            "jti": os.urandom(32).hex(),
            "nbf": now,
        }
        return make_jws(header, dict(sorted({**common, **claims}.items())), self.signer.key)

    def _issue(self, party: Party) -> bytes:
        """The DER of a certificate that was asked for and decided as all are."""
        finish(handlers.sign(self.snapshot, self.request(self.body), self.context))
        to_sign = self.to_sign
        algorithm = self.issuer.signature_algorithm
        assert isinstance(party.key, ec.EllipticCurvePrivateKey)
        der = assemble(to_sign.tbs, algorithm, party.key.sign(to_sign.tbs, ec.ECDSA(hashes.SHA256())))
        self.notary.certificate = der
        leaf, ref = parse_certificate(der), self.snapshot.registry.all[0].ref
        self.ledger.record = CertificateRecord(
            issuer=self.issuer.id,
            serial=leaf.serial,
            not_before=int(leaf.not_before.timestamp()),
            not_after=int(leaf.not_after.timestamp()),
            provisioner_id=ref.id,
            provisioner_name=ref.name,
            provisioner_kind=ref.kind,
            lineage=leaf.serial,
            predecessor=None,
            csr_digest=bytes(32),
            der=der,
        )
        return der

    def _revocation(self, serial: str) -> bytes:
        ott = self._token("revoke", sub=serial)
        return json.dumps({"serial": serial, "ott": ott, "reasonCode": 1, "passive": True}).encode()

    @property
    def entry(self) -> Entry:
        """What the notary was given last."""
        assert self.notary.last is not None
        return self.notary.last

    @property
    def to_sign(self) -> ToSign:
        assert self.entry.sign is not None
        return self.entry.sign

    def request(self, body: bytes, certificate: bytes | None = None) -> Request:
        """Parsed and read to its end, as the server hands it over."""
        scope: dict[str, Any] = {
            "method": "POST",
            "path": "/1.0/sign",
            "headers": [(b"host", b"ca.test"), (b"x-request-id", b"0123456789abcdef")],
            "client": ("192.0.2.7", 40000),
            "extensions": {} if certificate is None else {"tls": {"client_cert_der": certificate}},
        }

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        made = Request(scope, receive, trace_header=b"", body_limit=1 << 20)
        finish(made.body())
        return made


# -- the parts ------------------------------------------------------------------------------------


def floor_parts(bench: Bench) -> Iterator[Part]:
    """What the library needs for verifications: no part can be below it."""
    key, signed, scheme = make_key(), bench.token.encode(), ec.ECDSA(hashes.SHA256())
    signature, public = key.sign(signed, scheme), key.public_key()
    spki = spki_der(public)
    yield Part("P-256 verification", lambda: public.verify(signature, signed, scheme))
    yield Part("P-256 verification, key of a stranger", lambda: _load(spki).verify(signature, signed, scheme))


def _load(spki: bytes) -> ec.EllipticCurvePublicKey:
    key = load_der_public_key(spki)
    assert isinstance(key, ec.EllipticCurvePublicKey)
    return key


def sign_parts(bench: Bench) -> Iterator[Part]:
    ca, context, body = bench.snapshot, bench.context, bench.body
    depth = context.limits.json_depth
    request = bench.request(body)
    yield Part(WHOLE, lambda: finish(handlers.sign(ca, request, context)))
    yield Part("body JSON", lambda: decode_json(body, SignRequest, max_depth=depth))
    yield Part("CSR parse", lambda: parse_csr_pem(bench.csr))
    csr = parse_csr_pem(bench.csr)
    yield Part("CSR verify", lambda: verify_csr(csr))
    yield Part("trail", lambda: context.trail(ca, request, Operation.SIGN, body))
    asked = decode_json(body, SignRequest)
    ask = X509Ask(csr, asked.not_before, asked.not_after)
    yield Part("ask described", lambda: issue.describe_ask(ask))
    yield from _token_parts(bench, bench.token, Operation.SIGN)
    yield from _draft_parts(bench, ask)


def _token_parts(bench: Bench, text: str, operation: Operation) -> Iterator[Part]:
    ca = bench.snapshot
    provisioner = ca.registry.all[0]
    assert isinstance(provisioner, JWKProvisioner)
    audiences = ca.audiences.by_operation[operation]
    token = parse_token(text)
    claims = parse_claims(token)
    key = parse_public_spki(spki_der(bench.signer.key.public_key()))
    use = finish(provisioner.verify(token, claims, operation, audiences, NOW))

    def judge() -> None:
        check_times(claims, NOW)
        audiences_match(claims.aud, audiences)
        token_key(token, claims)

    yield Part("token parse", lambda: parse_token(text))
    yield Part("claims", lambda: parse_claims(token))
    yield Part("provisioner found", lambda: ca.registry.get_for_token(claims, token.key_id, ca.audiences.every))
    yield Part("token verify", lambda: verify_signature(token, key))
    yield Part("times, audience, key of use", judge)
    yield Part("identity", lambda: provisioner.identify(token, claims, use))


def _draft_parts(bench: Bench, ask: X509Ask) -> Iterator[Part]:
    ca, request = bench.snapshot, bench.request(bench.body)
    trail = bench.context.trail(ca, request, Operation.SIGN, bench.body)
    issued = finish(issue.sign(ca, bench.token, ask, trail))
    who, (provisioner, *_) = trail.who, ca.registry.all
    assert who is not None
    grant = issue.authorize(provisioner, who, ask, ca)
    start, end, _ = grant.validity.window(ask, trail.now)
    ref = grant.provisioner
    extension = ProvisionerExtension(ref.number, ref.name, ref.credential)
    checked = check_draft(issued.draft, issuer=ca.issuer, not_beyond_issuer=True)

    def build() -> object:
        return build_leaf(
            subject_cn=grant.subject,
            names=grant.names,
            spki=ask.request.spki,
            key=ask.request.key,
            issuer=ca.issuer,
            serial=ca.generate_serial(trail.now),
            not_before=start,
            not_after=end,
            subject_defaults=ca.subject_defaults,
            provisioner_extension=extension,
        )

    yield Part("grant", lambda: issue.authorize(provisioner, who, ask, ca))
    yield Part("grant match", lambda: grant.match(ask.request))
    yield Part("window", lambda: grant.validity.window(ask, trail.now))
    yield Part("build", build)
    yield Part("check and DER out", lambda: check_draft(issued.draft, issuer=ca.issuer, not_beyond_issuer=True))
    yield Part("draft described", lambda: issue.describe_draft(checked, None))
    yield Part("event", trail.event)
    yield Part("response JSON", lambda: handlers._issued(ca, issued, request))


def renew_parts(bench: Bench) -> Iterator[Part]:
    ca, context = bench.snapshot, bench.context
    request = bench.request(b"", bench.leaf)
    issuers = tuple(ca.issuers.values())

    def anew() -> object:
        ca.find_client.cache_clear()
        return finish(handlers.renewal(ca, request, context))

    yield Part(f"{WHOLE}, certificate new", anew)
    yield Part(f"{WHOLE}, certificate seen before", lambda: finish(handlers.renewal(ca, request, context)))
    leaf = parse_certificate(bench.leaf)
    yield Part("trail", lambda: context.trail(ca, request, Operation.RENEW, bench.leaf))
    yield Part("certificate parse", lambda: parse_certificate(bench.leaf))
    yield Part("issuer's signature verify", lambda: find_issuer(leaf, issuers))
    yield Part("client leaf rules", lambda: check_client_leaf(leaf, ca.issuer, NOW))

    def build() -> Draft:
        return build_renewed(
            leaf,
            issuer=ca.issuer,
            serial=ca.generate_serial(NOW),
            not_before=leaf.not_before,
            not_after=leaf.not_after,
        )

    draft = build()
    checked = check_draft(draft, issuer=ca.issuer, not_beyond_issuer=True)
    trail = context.trail(ca, request, Operation.RENEW, bench.leaf)
    issued = finish(renew.renew_by_certificate(ca, bench.leaf, trail))
    yield Part("build", build)
    yield Part("check and DER out", lambda: check_draft(draft, issuer=ca.issuer, not_beyond_issuer=True))
    yield Part("draft described", lambda: issue.describe_draft(checked, leaf.serial))
    yield Part("event", trail.event)
    yield Part("response JSON", lambda: handlers._issued(ca, issued, request))


def revoke_parts(bench: Bench) -> Iterator[Part]:
    ca, context = bench.snapshot, bench.context
    request = bench.request(bench.revocation)
    text = json.loads(bench.revocation)["ott"]
    depth = context.limits.json_depth
    yield Part(WHOLE, lambda: finish(handlers.revocation(ca, request, context)))
    yield Part("body JSON", lambda: decode_json(bench.revocation, RevokeRequest, max_depth=depth))
    yield Part("trail", lambda: context.trail(ca, request, Operation.REVOKE, bench.revocation))
    yield from _token_parts(bench, text, Operation.REVOKE)


def gate_parts(bench: Bench) -> Iterator[Part]:
    """What the notary does with every certificate before and after it signs."""
    finish(handlers.sign(bench.snapshot, bench.request(bench.body), bench.context))
    entry, sign, rules, issuer = bench.entry, bench.to_sign, GateRules(), bench.issuer
    signing = SigningIssuer(issuer, None)  # type: ignore[arg-type]  # nothing is signed here
    longest = Duration(24 * 3650 * HOUR)
    key, scheme = make_key(), ec.ECDSA(hashes.SHA256())
    signature = key.sign(sign.tbs, scheme)

    def invariants() -> object:
        return check_invariants(sign.tbs, issuer=issuer, max_validity=longest, allow_ca=False, now=NOW)

    yield Part("entry, its guards and its bytes", lambda: check_entry(entry, sign, signing, rules, NOW))
    yield Part("invariants of the bytes", invariants)
    yield Part("P-256 signature", lambda: key.sign(sign.tbs, scheme))
    yield Part("certificate assembled", lambda: assemble(sign.tbs, issuer.signature_algorithm, signature))


PATHS: Final[dict[str, Callable[[Bench], Iterator[Part]]]] = {
    "floor": floor_parts,
    "sign": sign_parts,
    "renew": renew_parts,
    "revoke": revoke_parts,
    "gate": gate_parts,
}


# -- output ---------------------------------------------------------------------------------------


def show(figures: Sequence[Figure]) -> str:
    lines = ["| path | part | µs |", "|---|---|---|"]
    lines += [f"| {figure.path} | {figure.part} | {figure.microseconds:.1f} |" for figure in figures]
    return "\n".join(lines)


def main(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--json", action="store_true", help="one array of objects, for machines")
    parser.add_argument("--rounds", type=int, default=3000, help="how often each part runs")
    parser.add_argument("--only", choices=tuple(PATHS), action="append", help="this path; may be repeated")
    options = parser.parse_args(arguments)
    bench = Bench()
    figures = [
        figure for path in options.only or PATHS for figure in measure(path, list(PATHS[path](bench)), options.rounds)
    ]
    if options.json:
        rows = [{"path": f.path, "part": f.part, "microseconds": round(f.microseconds, 2)} for f in figures]
        print(json.dumps(rows, indent=1))
    else:
        print(show(figures))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
