"""`python -m bench.slow_notary DELAY IN_FLIGHT SECONDS DATABASE [CONCURRENCY]`: the notary with a slow signer.

Writes one line of JSON: good and failed entries, seconds, CPU seconds. Certificates of the run are verified.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from bench.pki import PKI
from provisor.core.keys import PublicKey, describe_key, spki_der
from provisor.core.names import classify_sans
from provisor.core.pem import parse_certificates, parse_private_key
from provisor.core.x509.build import build_leaf
from provisor.core.x509.check import check_draft
from provisor.core.x509.issuer import Issuer, make_issuer
from provisor.errors import ProvisorError
from provisor.kms.soft import SoftSigner
from provisor.notary.inline import InlineNotary
from provisor.notary.keyring import GateRules, SigningIssuer
from provisor.notary.notary import NotaryCore
from provisor.ports import Entry, Epoch, SpendToken, ToSign, Unspent
from provisor.storage.sqlite import SQLiteStore

CONCURRENCY = 64
_PREPARED_A_SECOND = 4000
_VERIFY_EVERY = 100


class SleepingSigner:
    """A key in memory whose every signature takes `delay` seconds, as if it were elsewhere.

    `concurrency` is what such a key says it bears: with `delay` it is the ceiling of what can be measured here.
    """

    costly = True

    def __init__(self, signer: SoftSigner, delay: float, concurrency: int) -> None:
        self._signer = signer
        self.concurrency = concurrency
        self._delay = delay

    @property
    def public_key(self) -> PublicKey:
        return self._signer.public_key

    @property
    def signature_algorithms(self) -> tuple[bytes, ...]:
        return self._signer.signature_algorithms

    def sign(self, data: bytes, signature_algorithm: bytes) -> bytes:
        time.sleep(self._delay)
        return self._signer.sign(data, signature_algorithm)


class Tally(Struct):
    """What became of the entries."""

    good: int = 0
    reasons: Counter[str] = Counter()
    kept: list[bytes] = []


def make_entries(issuer: Issuer, epoch: int, count: int) -> list[Entry]:
    """Certificates to sign, each with a token to spend, as a signing request leads to."""
    key = ec.generate_private_key(ec.SECP256R1()).public_key()
    names = classify_sans(["slow.load.test"])
    now = datetime.now(UTC).replace(microsecond=0)
    entries = []
    for number in range(count):
        serial = int.from_bytes(os.urandom(15), "big") + 1
        draft = build_leaf(
            subject_cn="slow.load.test",
            names=names,
            spki=spki_der(key),
            key=describe_key(key),
            issuer=issuer,
            serial=serial,
            not_before=now - timedelta(minutes=1),
            not_after=now + timedelta(hours=24),
        )
        tbs = check_draft(draft, issuer=issuer, not_beyond_issuer=True).tbs
        sign = ToSign(issuer.id, tbs, serial, "bench", "bench", "JWK", serial, None, os.urandom(32))
        token = f"token-{number}"
        expires = int(now.timestamp()) + 600
        spend = SpendToken(token, expires, "granted", os.urandom(32))
        entries.append(Entry(os.urandom(16), (Unspent(token), Epoch(epoch)), (spend,), b"{}", sign))
    return entries


async def drive(notary: InlineNotary, entries: list[Entry], in_flight: int, seconds: float) -> Tally:
    """A closed loop: so many at a time, each the next when its last one is done."""
    tally = Tally()
    waiting = iter(entries)
    end = time.monotonic() + seconds

    async def client() -> None:
        for entry in waiting:
            if time.monotonic() > end:
                return
            try:
                outcome = await notary.submit(entry)
            except ProvisorError as error:
                tally.reasons[error.detail] += 1
                continue
            if not outcome.committed:
                tally.reasons[f"{outcome.status} {outcome.guard}{outcome.reason}"] += 1
                await asyncio.sleep(0.001)  # who is refused does not ask again at once
                continue
            tally.good += 1
            if tally.good % _VERIFY_EVERY == 1:
                tally.kept.append(outcome.certificate)

    await asyncio.gather(*(client() for _ in range(in_flight)))
    return tally


async def run(delay: float, in_flight: int, seconds: float, database: Path, concurrency: int) -> dict[str, object]:
    with TemporaryDirectory() as folder:
        pki = PKI(Path(folder))
        chain = parse_certificates(pki.issuer_file.read_bytes())
        issuer = make_issuer(chain, parse_certificates(pki.root_file.read_bytes()))
        key = parse_private_key(pki.issuer_key_file.read_bytes(), None)
    core = NotaryCore(SQLiteStore.open(database), clock=lambda: datetime.now(UTC), random=os.urandom)
    notary = InlineNotary(core)
    signing = SigningIssuer(issuer, SleepingSigner(SoftSigner(key), delay, concurrency))
    epoch = await notary.install({issuer.id: signing}, GateRules())
    entries = make_entries(issuer, epoch, int(seconds * _PREPARED_A_SECOND))
    before, began = time.process_time(), time.monotonic()
    tally = await drive(notary, entries, in_flight, seconds)
    used, took = time.process_time() - before, time.monotonic() - began
    signer = x509.load_der_x509_certificate(chain[0])
    for der in tally.kept:
        x509.load_der_x509_certificate(der).verify_directly_issued_by(signer)
    notary.close()
    return {
        "good": tally.good,
        "failed": sum(tally.reasons.values()),
        "reasons": dict(tally.reasons.most_common(3)),
        "seconds": took,
        "cpu": used,
        "verified": len(tally.kept),
    }


def main(words: list[str]) -> None:
    delay, in_flight, seconds, database, *rest = words
    concurrency = int(rest[0]) if rest else CONCURRENCY
    found = asyncio.run(run(float(delay), int(in_flight), float(seconds), Path(database), concurrency))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main(sys.argv[1:])
