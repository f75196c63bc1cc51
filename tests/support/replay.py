"""A recording sent again, in its order and at its moments, to one CA in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import timedelta
from functools import cache
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from provisor.app.jobs import JobRunner, schedule_first
from provisor.server.application import Application
from provisor.server.routes import PLAIN
from support.authority import Answer, Clock, MemoryCA
from support.credentials import make_signer
from support.recorded import ELSEWHERE, Document, Exchange, load, load_document, load_key, load_pki
from support.recorded_clients import make_client, provisioner_of, token_leaf

DOCUMENTS: Final = {"crl": "ca-crl", "bare": "ca-bare"}
"""Which configuration a recording was made with, if not the main one."""

ALL_SWITCHES: Final = dict.fromkeys(
    (
        *("acceptSHA1Requests", "acceptWeakRekeyKeys", "renewUnknownCertificates", "renewByProvisionerName"),
        *("refuseTokensBeforeStart", "allowNotAfterBeyondIssuer"),
    ),
    True,
)


def _drop_limits(document: Document) -> Document:
    provisioners = [entry for entry in document["authority"]["provisioners"] if entry["name"] != "limits"]
    return {**document, "authority": {**document["authority"], "provisioners": provisioners}}


def _replace_limits(document: Document) -> Document:
    """`limits` is there again, last, with the key called shared."""
    old = next(e for e in load_document("ca")["authority"]["provisioners"] if e["name"] == "limits")
    entry = {**old, "key": make_signer("limits", load_key("shared")).entry()["key"]}
    provisioners = [*document["authority"]["provisioners"], entry]
    return {**document, "authority": {**document["authority"], "provisioners": provisioners}}


def _slow_list(document: Document) -> Document:
    crl = {"generateOnRevoke": False, "idpURL": "http://crl.example.test/x.crl", "cacheDuration": "10m"}
    return {**document, "crl": {**document["crl"], **crl, "renewPeriod": "1m"}}


def _check_issued_at(document: Document) -> Document:
    return {**document, "authority": {**document["authority"], "disableIssuedAtCheck": False}}


CHANGES: Final[Mapping[tuple[str, str], Callable[[Document], Document]]] = {
    ("renew", "renew after the provisioner was removed"): _drop_limits,
    ("renew", "renew after the provisioner's key was replaced"): _replace_limits,
    ("crl", "after restart"): lambda document: document,
    ("crl", "with idpURL, not generated on revoke"): _slow_list,
    ("bare", "bare token again after restart (map lost, check disabled)"): lambda document: document,
    ("bare", "bare token again after restart (check enabled)"): _check_issued_at,
}
"""The server was restarted with a changed configuration before these."""


@cache
def replay(recording: str, *, switched: bool) -> Mapping[str, Answer]:
    """Every answer to a recording, sent in its order to one CA, all switches off or on."""
    return dict(_replay(recording, switched))


def _replay(recording: str, switched: bool) -> Iterator[tuple[str, Answer]]:
    document = load_document(DOCUMENTS.get(recording, "ca"))
    if switched:
        document["provisor"] = {"switches": ALL_SWITCHES}
    exchanges = load(recording)
    pki = load_pki(document)
    clock = Clock(exchanges[0].at)
    ca = MemoryCA(document, pki=pki, clock=clock)
    looks = 0
    try:
        clients = {name: make_client(recording, name, pki) for name in _clients(exchanges)}
        _put_on_record(ca, exchanges, clients.values())
        for exchange in exchanges:
            # Our list is made once a second at most, so each look at it comes a second later than it did.
            looks += exchange.is_crl
            clock.now = exchange.at + timedelta(seconds=looks if exchange.is_crl else 0)
            change = CHANGES.get((recording, exchange.name))
            if change is not None:
                document = change(document)
                ca = _restart(ca, document)
            if (recording, exchange.name) in ELSEWHERE:
                continue
            yield exchange.name, _send(ca, exchange, clients.get(exchange.client))
    finally:
        ca.close()


def _restart(ca: MemoryCA, document: Document) -> MemoryCA:
    """With a database the books are kept; without one everything is forgotten."""
    if "db" in document:
        ca.reconfigure(document)
        return ca
    fresh = MemoryCA(document, pki=ca.pki, clock=ca.clock)
    ca.close()
    return fresh


def _send(ca: MemoryCA, exchange: Exchange, client: bytes | None) -> Answer:
    if exchange.is_crl:
        _run_jobs(ca, exchange)
    app = ca.app
    if exchange.port == "plain":
        ca.app = Application(ca.authority, ca.context, PLAIN)
    try:
        return ca.call(exchange.method, exchange.target, exchange.body, exchange.headers, client)
    finally:
        ca.app = app


def _run_jobs(ca: MemoryCA, exchange: Exchange) -> None:
    def report(text: str) -> None:
        raise AssertionError(text)

    if exchange.name == "first" or (exchange.recording, exchange.name) in CHANGES:
        ca.run(schedule_first(ca.snapshot))
    ca.run(JobRunner(lambda: ca.snapshot, report).run_due())


def _clients(exchanges: tuple[Exchange, ...]) -> list[str]:
    here = (e for e in exchanges if e.client and (e.recording, e.name) not in ELSEWHERE)
    return list(dict.fromkeys(exchange.client for exchange in here))


def _put_on_record(ca: MemoryCA, exchanges: tuple[Exchange, ...], clients: Iterable[bytes]) -> None:
    """What the recorded CA had issued before: not what was forged, and nothing without a database."""
    tokens = [leaf for exchange in exchanges if (leaf := token_leaf(exchange.bearer))]
    leaves = {*tokens, *map(x509.load_der_x509_certificate, clients)}
    for leaf in leaves:
        if "forged" in leaf.subject.rfc4514_string() or leaf.issuer != ca.pki.issuer.certificate.subject:
            continue
        found = ca.snapshot.registry.find_by_name(provisioner_of(leaf))
        assert found is not None
        if "db" in ca.document:
            ca.record(leaf.public_bytes(Encoding.DER), found.ref)
