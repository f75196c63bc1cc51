"""A CA in memory: the whole application in process, its clock moved by assignment, its books open.

::

    ci = make_signer("ci")
    with MemoryCA(make_config(ci.entry()), signers=[ci]) as ca:
        answer = ca.call("POST", "/sign", {"csr": make_csr(key), "ott": ca.token()})
        ca.clock.advance(hours=2)

Everything is real but the sockets, the clock and, if asked for, the random octets.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import sqlite3
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random
from types import TracebackType
from typing import Any, Final, Self, TypeVar

from cryptography.x509 import load_der_x509_certificate
from msgspec import Struct

from provisor.app.bundle import Bundle, build_snapshot
from provisor.app.rules import gate_rules
from provisor.authority.audit import Event, encode_event, parse_event
from provisor.authority.snapshot import Snapshot
from provisor.config.load import load_config
from provisor.core.durations import format_rfc3339
from provisor.core.identity import ProvisionerRef
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.issuer import make_issuer
from provisor.kms.soft import SoftSigner
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import SigningIssuer
from provisor.notary.notary import NotaryCore
from provisor.ports import Caller, Entry, Outcome, ToSign
from provisor.server.application import Application, Authority
from provisor.server.context import Context
from provisor.server.observer import Observer
from provisor.server.request import Message, Scope
from provisor.server.routes import API, Router
from provisor.storage.base import SignedCertificate
from provisor.storage.encoding import decode_serial, hash_token_key
from provisor.storage.sqlite import SQLiteStore
from support.coroutines import finish
from support.credentials import Party, TokenSigner, algorithm_of, make_csr, make_jws, make_key, make_party, make_signer

T = TypeVar("T")

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
HOST: Final = "ca.test"
RENEW_ISSUER: Final = "step-ca-client/1.0"

Headers = Iterable[tuple[str, str]]
Body = bytes | str | Mapping[str, object] | None


class Clock:
    """Stands still until it is moved."""

    def __init__(self, now: datetime = NOW) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **parts: float) -> None:
        """`advance(hours=2)`: the words of `timedelta`."""
        self.now += timedelta(**parts)

    @property
    def seconds(self) -> int:
        return int(self.now.timestamp())


class PKI(Struct, frozen=True):
    """What the files of ca.json hold: certificates as DER and the issuing key."""

    chain: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    issuer: Party
    federated: tuple[bytes, ...] = ()


def make_pki(now: datetime = NOW, *, lifetime: timedelta = timedelta(days=3650)) -> PKI:
    """A root and an intermediate, a month old."""
    born = timedelta(days=-30)
    root = make_party("Test Root", None, now=now, starts=born, ends=lifetime, authority=True, path_length=1)
    issuer = make_party("Test Issuer", root, now=now, starts=born, ends=lifetime, authority=True, path_length=0)
    return PKI((issuer.der,), (root.der,), issuer)


def make_config(*provisioners: Mapping[str, object], **members: object) -> dict[str, object]:
    """A small ca.json with a database; `authority` of `members` is merged, the rest replaces."""
    authority = members.pop("authority", {})
    assert isinstance(authority, dict)
    return {
        "root": "root_ca.crt",
        "crt": "intermediate_ca.crt",
        "key": "intermediate_ca_key",
        "address": "127.0.0.1:9000",
        "dnsNames": [HOST],
        "logger": {"format": "json"},
        "db": {"type": "badgerv2", "dataSource": "db"},
        "authority": {"provisioners": list(provisioners), **authority},
        **members,
    }


class Answer(Struct, frozen=True):
    """One answer; header names in lower case, as ASGI has them."""

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes

    def header(self, name: str) -> str:
        """The value of a header that is there once at most, empty if it is not."""
        values = [value for key, value in self.headers if key == name]
        assert len(values) <= 1, f"{name} is there {len(values)} times"
        return values[0] if values else ""

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])

    @property
    def certificate(self) -> Certificate:
        """The leaf of a 201."""
        assert self.status == 201, self.body
        return parse_certificate(parse_certificates(self.json["crt"].encode())[0])


class TokenRow(Struct, frozen=True):
    """`key` is the hash under which the store keeps it."""

    key: bytes
    expires: int | None
    outcome: str
    digest: bytes


class Books(Struct, frozen=True):
    """Everything the store holds that a request can change; events and certificates in the order they were written."""

    events: tuple[Event, ...]
    event_bodies: tuple[bytes, ...]
    tokens: tuple[TokenRow, ...]
    certificates: tuple[int, ...]
    revocations: tuple[int, ...]

    def is_spent(self, key: str) -> bool:
        return any(row.key == hash_token_key(key) for row in self.tokens)

    def since(self, before: Books) -> Books:
        """What came after `before`."""
        return Books(
            self.events[len(before.events) :],
            self.event_bodies[len(before.event_bodies) :],
            tuple(row for row in self.tokens if row not in before.tokens),
            self.certificates[len(before.certificates) :],
            tuple(serial for serial in self.revocations if serial not in before.revocations),
        )

    @property
    def nothing(self) -> bool:
        return not (self.events or self.tokens or self.certificates or self.revocations)


class MemoryCA:
    """`signers` are provisioners whose keys sign tokens here; the first is the default one.

    `seed` makes ids and serials the same in every run. `log` collects the lines of the access log.
    """

    def __init__(
        self,
        config: Mapping[str, object] | None = None,
        *,
        pki: PKI | None = None,
        signers: Sequence[TokenSigner] = (),
        clock: Clock | None = None,
        started: datetime | None = None,
        seed: int | None = None,
        router: Router = API,
        caller: Caller | None = None,
    ) -> None:
        self.clock = clock or Clock()
        self.pki = pki or make_pki(self.clock.now)
        if config is None:
            signers = signers or (make_signer("ci"),)
            config = make_config(*(signer.entry() for signer in signers))
        self.document = dict(config)
        self.signers = {signer.name: signer for signer in signers}
        self.random: Callable[[int], bytes] = os.urandom if seed is None else Random(seed).randbytes
        self.store = SQLiteStore.open(":memory:")
        self.core = NotaryCore(self.store, clock=self.clock, random=self.random)
        self.notary = InlineNotary(self.core)
        self.caller = caller
        self._ids = count(1)
        self._runner = asyncio.Runner()
        self._started = started or self.clock.now
        self.snapshot = self._install(self.document)
        self.authority = Authority(self.snapshot)
        self.log: list[bytes] = []
        self.context = Context(self.snapshot.config.provisor.limits, Observer(write=self.log.append))
        self.context.observer.reconfigure(self.snapshot)
        self.app = Application(self.authority, self.context, router)

    # -- configuration --------------------------------------------------------------------------

    def _install(self, document: Mapping[str, object]) -> Snapshot:
        source = json.dumps(document).encode()
        config = load_config(source).config
        issuer = make_issuer(self.pki.chain, self.pki.roots)
        keyring = {issuer.id: SigningIssuer(issuer, SoftSigner(self.pki.issuer.key))}
        epoch = finish(self.notary.install(keyring, gate_rules(config)))
        bundle = Bundle(
            epoch=epoch,
            path="ca.json",
            source=source,
            chain=self.pki.chain,
            roots=self.pki.roots,
            federated=self.pki.federated,
            retiring=tuple(record.certificate for record in finish(self.store.issuers()) if record.state == "retiring"),
            started=self._started.timestamp(),
            store=None,
            tokens_not_before=finish(self.store.health()).tokens_not_before,
        )
        return build_snapshot(
            bundle,
            self.notary,
            self.store.ledger,
            clock=self.clock,
            random=self.random,
            archive=self.store.archive,
            caller=self.caller,
        )

    def reconfigure(self, document: Mapping[str, object], *, tell_workers: bool = True) -> None:
        """Another configuration under the next epoch, the books kept. Untold, the workers keep the old one."""
        self.document = dict(document)
        snapshot = self._install(document)
        if tell_workers:
            self.snapshot = snapshot
            self.authority.replace(snapshot)
            self.context.observer.reconfigure(snapshot)

    # -- requests -------------------------------------------------------------------------------

    def call(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Headers = (),
        client_certificate: Party | bytes | None = None,
    ) -> Answer:
        """One request and its answer. `path` may have a query; a mapping is sent as JSON."""
        return self.run(self.send(method, path, body, headers, client_certificate))

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._runner.run(work)

    def together(self, *requests: Coroutine[Any, Any, T]) -> list[T]:
        """Several requests under way at once."""

        async def gather() -> list[T]:
            return list(await asyncio.gather(*requests))

        return self.run(gather())

    async def send(
        self,
        method: str,
        path: str,
        body: Body = None,
        headers: Headers = (),
        client_certificate: Party | bytes | None = None,
    ) -> Answer:
        scope = _scope(method, path, headers, client_certificate)
        sent: list[Message] = []
        incoming = [{"type": "http.request", "body": _octets(body), "more_body": False}]

        async def receive() -> Message:
            return incoming.pop() if incoming else {"type": "http.disconnect"}

        async def send(message: Message) -> None:
            sent.append(message)

        await self.app(scope, receive, send)
        start, *parts = sent
        lines = tuple((name.decode("latin-1"), value.decode("latin-1")) for name, value in start["headers"])
        return Answer(start["status"], lines, b"".join(part["body"] for part in parts))

    # -- credentials ----------------------------------------------------------------------------

    def claims(self, signer: TokenSigner, operation: str = "sign", **over: Any) -> dict[str, object]:
        """The claims `step` would write, `over` replacing them; a value of `...` leaves one out."""
        now = self.clock.seconds
        claims: dict[str, object] = {
            "aud": f"https://{HOST}/1.0/{operation}",
            "exp": now + 300,
            "iat": now,
            "iss": signer.name,
            "jti": f"{next(self._ids):064x}",
            "nbf": now,
            "sans": ["a.test"],
            "sub": "a.test",
        } | over
        return {name: value for name, value in claims.items() if value is not ...}

    def token(
        self,
        signer: TokenSigner | None = None,
        *,
        operation: str = "sign",
        header: Mapping[str, object] | None = None,
        **over: Any,
    ) -> str:
        """A one-time token of a provisioner, by default the first one's for /sign of a.test."""
        signer = signer or next(iter(self.signers.values()))
        members: dict[str, object] = {"alg": algorithm_of(signer.key), "kid": signer.kid, "typ": "JWT"}
        kept = {name: value for name, value in {**members, **(header or {})}.items() if value is not ...}
        return make_jws(kept, self.claims(signer, operation, **over), signer.key)

    def revoke_token(self, serial: int | str, signer: TokenSigner | None = None, **over: Any) -> str:
        return self.token(signer, **{"operation": "revoke", "sub": str(serial), "sans": [], **over})

    def renew_claims(self, leaf: Party, **over: Any) -> dict[str, object]:
        now = self.clock.seconds
        claims: dict[str, object] = {
            "aud": f"https://{HOST}/1.0/renew",
            "exp": now + 300,
            "iat": now,
            "iss": RENEW_ISSUER,
            "nbf": now,
            "sub": leaf.common_name,
        } | over
        return {name: value for name, value in claims.items() if value is not ...}

    def renew_token(self, leaf: Party, *, header: Mapping[str, object] | None = None, **over: Any) -> str:
        """A bearer token signed by the leaf's key, with its chain in the header."""
        chain = [base64.b64encode(der).decode() for der in (leaf.der, *self.pki.chain)]
        members: dict[str, object] = {"alg": algorithm_of(leaf.key), "x5cInsecure": chain, **(header or {})}
        kept = {name: value for name, value in members.items() if value is not ...}
        return make_jws(kept, self.renew_claims(leaf, **over), leaf.key)

    def issue(self, signer: TokenSigner | None = None, **over: Any) -> Party:
        """A certificate by /sign, recorded, with a new key."""
        key = make_key()
        answer = self.call("POST", "/sign", {"csr": make_csr(key), "ott": self.token(signer, **over)})
        return Party(load_der_x509_certificate(answer.certificate.der), key)

    def record(self, certificate: bytes, provisioner: ProvisionerRef) -> None:
        """Put a certificate on record that somebody else signed with our key."""
        parsed = parse_certificate(certificate)
        to_sign = ToSign(
            issuer=self.snapshot.issuer.id,
            tbs=b"",
            serial=parsed.serial,
            provisioner_id=provisioner.id,
            provisioner_name=provisioner.name,
            provisioner_kind=provisioner.kind,
            lineage=parsed.serial,
            predecessor=None,
            csr_digest=b"",
        )
        signed = SignedCertificate(certificate, int(parsed.not_before.timestamp()), int(parsed.not_after.timestamp()))
        event = encode_event(Event(v=1, at=format_rfc3339(self.clock.now), operation="import", outcome="granted"))
        entry = Entry(id=self.random(16), sign=to_sign, event=event)
        (outcome,) = self.run(self.store.commit([entry], lambda _: signed, now=self.clock.seconds))
        assert outcome.committed, outcome

    def submit(self, entry: Entry) -> Outcome:
        """What a worker says to the notary, past everything that would have checked it."""
        return self.run(self.notary.submit(entry))

    # -- books ----------------------------------------------------------------------------------

    def books(self) -> Books:
        connection = self._connection()
        bodies = tuple(
            bytes(body)
            for (body,) in connection.execute("SELECT body FROM events WHERE body IS NOT NULL ORDER BY rowid")
        )
        tokens = connection.execute("SELECT key, expires, outcome, digest FROM spent_tokens").fetchall()
        certificates = connection.execute("SELECT serial FROM certificates ORDER BY rowid")
        revocations = connection.execute("SELECT serial FROM revocations ORDER BY serial")
        return Books(
            events=tuple(map(parse_event, bodies)),
            event_bodies=bodies,
            tokens=tuple(TokenRow(*row) for row in tokens),
            certificates=tuple(decode_serial(serial) for (serial,) in certificates),
            revocations=tuple(decode_serial(serial) for (serial,) in revocations),
        )

    def _connection(self) -> sqlite3.Connection:
        # A database in memory has no second door.
        return self.store._get_connection()

    # -- end ------------------------------------------------------------------------------------

    def close(self) -> None:
        self.notary.close()
        self.run(self.store.close())
        self._runner.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _scope(method: str, path: str, headers: Headers, client: Party | bytes | None) -> Scope:
    raw, _, query = path.partition("?")
    der = client.der if isinstance(client, Party) else client
    return {
        "type": "http",
        "asgi": {"version": "3.0", "spec_version": "2.3"},
        "http_version": "1.1",
        "method": method,
        "path": raw,
        "raw_path": raw.encode(),
        "query_string": query.encode(),
        "headers": [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers],
        "client": ("192.0.2.7", 40000),
        "server": ("127.0.0.1", 9000),
        "extensions": {} if der is None else {"tls": {"client_cert_der": der}},
    }


def _octets(body: Body) -> bytes:
    match body:
        case None:
            return b""
        case bytes():
            return body
        case str():
            return body.encode()
        case _:
            return json.dumps(body).encode()
