"""Certificates by the thousand, generated, recorded without being signed; and the naive way to search them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Sequence
from random import Random

import msgspec
from msgspec import Struct

from provisor.core.names import NameKind, classify_san
from provisor.ports import Entry, IssuerID, Outcome, RecordRevocation, ToSign
from provisor.storage.base import Sign, SignedCertificate

ZONES = (
    "example.com",
    "a.example.com",
    "xexample.com",
    "example.org",
    "com",
    "EXAMPLE.net",
    "bad.example.com.evil.net",
)
PROVISIONERS = ("ci", "ops", "web", "wéb")


class Made(Struct, frozen=True):
    """A certificate as the model knows it. Times are unix seconds, `key` the name of its key."""

    serial: int
    names: tuple[str, ...]
    provisioner: str
    key: str
    not_before: int
    not_after: int
    lineage: int
    predecessor: int | None
    revoked: bool

    @property
    def der(self) -> bytes:
        """No certificate: the inventory does not read it while the event says everything."""
        return b"der of %d" % self.serial

    @property
    def fingerprint(self) -> bytes:
        return hashlib.sha256(self.der).digest()

    @property
    def key_digest(self) -> bytes:
        return hashlib.sha256(self.key.encode()).digest()

    @property
    def event(self) -> bytes:
        given = {"serial": str(self.serial), "names": self.names, "key": self.key_digest.hex()}
        return msgspec.json.encode({"v": 1, "operation": "x509-sign", "outcome": "granted", "given": given})


def populate(count: int, now: int, *, seed: int = 1) -> list[Made]:
    """Lines of renewals, names of every kind, some revoked, some expired; in the order of issue."""
    random = Random(seed)
    made: list[Made] = []
    for number in range(count):
        earlier = random.choice(made) if made and random.random() < 0.4 else None
        serial = (now * 1000 + number << 80) + random.getrandbits(80)
        start = now - random.randrange(0, 40 * 24 * 3600)
        made.append(
            Made(
                serial=serial,
                names=earlier.names if earlier else _names(random, number),
                provisioner=earlier.provisioner if earlier else random.choice(PROVISIONERS),
                key=earlier.key if earlier and random.random() < 0.5 else f"key {number // 3}",
                not_before=start,
                not_after=start + random.choice((3600, 24 * 3600, 30 * 24 * 3600, 90 * 24 * 3600)),
                lineage=earlier.lineage if earlier else serial,
                predecessor=earlier.serial if earlier else None,
                revoked=random.random() < 0.1,
            )
        )
    return made


def _names(random: Random, number: int) -> tuple[str, ...]:
    zone = random.choice(ZONES)
    names = [f"host{number}.{zone}"]
    if random.random() < 0.3:
        names.append(f"alias{number}.{zone}")
    if random.random() < 0.2:
        names.append(zone)
    if random.random() < 0.2:
        names.append(f"10.{random.randrange(256)}.{random.randrange(256)}.7")
    if random.random() < 0.1:
        names.append(f"User{number}@{zone}")
    if random.random() < 0.1:
        names.append(f"spiffe://{zone.lower()}/ns/{number}")
    if random.random() < 0.05:
        names.append(f"*.{zone}")
    return () if random.random() < 0.02 else tuple(names)


def entries_of(made: Sequence[Made], issuer: IssuerID, make_id: Callable[[], bytes]) -> list[Entry]:
    """An entry each."""
    return [
        Entry(
            make_id(),
            event=one.event,
            sign=ToSign(
                issuer,
                b"",
                one.serial,
                f"id of {one.provisioner}",
                one.provisioner,
                "JWK",
                one.lineage,
                one.predecessor,
                b"",
            ),
        )
        for one in made
    ]


def signatures_of(made: Sequence[Made]) -> Sign:
    def sign(index: int) -> SignedCertificate | Outcome:
        one = made[index]
        return SignedCertificate(one.der, one.not_before, one.not_after)

    return sign


def revocations_of(made: Iterable[Made], issuer: IssuerID, at: int) -> tuple[RecordRevocation, ...]:
    return tuple(
        RecordRevocation(issuer, one.serial, 1, "lost", at, one.not_after, one.provisioner, "t", mtls=False)
        for one in made
        if one.revoked
    )


# -- the naive way ------------------------------------------------------------------------------


def has_name(one: Made, name: str) -> bool:
    return any(each.lower() == name.lower() for each in one.names)


def is_below(one: Made, domain: str) -> bool:
    """A DNS name of it ends in the domain, and is not the domain itself."""
    return any(
        (san := classify_san(each)) is not None
        and san.kind is NameKind.DNS
        and each.lower().endswith(f".{domain.lower()}")
        for each in one.names
    )
