"""`python -m bench.rows`: fill a store with certificates, and with all that is recorded with them.

    python -m bench.rows --config CA_JSON --count N     the store of a Provisor that is not running, its own issuer
    python -m bench.rows --db FILE --count N            a file of its own, made if it is not there

The certificates can be read and agree with their rows, events, log and index, so that `provisor db check
--no-signatures` finds nothing; only their signatures are those of other certificates. One in three was issued for a
token, the others renew it. Their times lie in the past thirty days, their ends ninety days behind them.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn, final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID, ObjectIdentifier
from msgspec import Struct

from provisor.config.load import load_config
from provisor.core import merkle
from provisor.core.terms import expiry_term, fingerprint_term, key_term, lineage_term, provisioner_term
from provisor.core.tree_head import TreeHead, encode_head
from provisor.core.x509 import oids
from provisor.core.x509.extensions import ProvisionerExtension, encode_provisioner
from provisor.ports import Entry, PutIssuer
from provisor.storage.encoding import encode_serial
from provisor.storage.judging import INDEXED
from provisor.storage.locate import locate
from provisor.storage.sqlite import SQLiteStore
from provisor.storage.token_days import insert_tokens

PROVISIONER: Final = ("ci@example.com:ez_s9wGmwbXQKy6FFI_eY6XqGx1U7NifFZC9MzlFVjs", "ci@example.com", "JWK")
LIFETIME: Final = timedelta(days=90)
SPREAD: Final = timedelta(days=30)

_CHUNK: Final = 200_000
_KEYS: Final = 64
_NAME: Final = b"h000000000.hosts.example.com"
_SERIAL: Final = bytes(range(1, 17))
_BEGIN: Final = datetime(2001, 2, 3, 4, 5, 6, tzinfo=UTC)
_END: Final = datetime(2002, 3, 4, 5, 6, 7, tzinfo=UTC)
_TOKEN_SECONDS: Final = 300

_SIGNED: Final = (
    b'{"v":1,"at":"%s","operation":"x509-sign","outcome":"granted","request":"6ab5210c-a7c2-4679-97a0-%012x",'
    b'"source":"192.0.2.7","method":"token","provisioner":"%s","provisioner_id":"%s","kind":"%s","subject":"%s",'
    b'"token":"%064x","asked":{"names":["%s"],"key":"ECDSA P-256"},"given":{"serial":"%d","names":["%s"],'
    b'"not_before":"%s","not_after":"%s","key":"%s","tbs":"%s"}}'
)
_RENEWED: Final = (
    b'{"v":1,"at":"%s","operation":"x509-renew","outcome":"granted","request":"6ab5210c-a7c2-4679-97a0-%012x",'
    b'"source":"192.0.2.7","method":"mtls","provisioner":"%s","provisioner_id":"%s","kind":"%s","subject":"%s",'
    b'"certificate":"%d","given":{"serial":"%d","names":["%s"],"not_before":"%s","not_after":"%s","key":"%s",'
    b'"tbs":"%s","predecessor":"%d"}}'
)


class Filled(Struct, frozen=True):
    certificates: int
    seconds: float
    octets: int


# -- certificates ---------------------------------------------------------------------------------------


@final
class Template:
    """One certificate, in which serial, window and name are replaced by others of the same length."""

    def __init__(self, issuer: x509.Certificate, signer: ec.EllipticCurvePrivateKey) -> None:
        key = ec.generate_private_key(ec.SECP256R1()).public_key()
        der = _build(issuer, signer, key).public_bytes(Encoding.DER)
        self.key = sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
        self.key_hex = self.key.hex().encode()
        self.key_term = key_term(self.key)
        self._parts = _cut(der, (_SERIAL, _utc(_BEGIN), _utc(_END), _NAME, _NAME))
        head = 4
        self._tbs = head, head + 4 + int.from_bytes(der[head + 2 : head + 4], "big")

    def fill(self, serial: bytes, begin: bytes, end: bytes, name: bytes) -> tuple[bytes, bytes]:
        """The DER, and the SHA-256 of its TBSCertificate in hex."""
        a, b, c, d, e, f = self._parts
        der = b"".join((a, serial, b, begin, c, end, d, name, e, name, f))
        first, last = self._tbs
        return der, sha256(der[first:last]).hexdigest().encode()


def _build(
    issuer: x509.Certificate, signer: ec.EllipticCurvePrivateKey, key: ec.EllipticCurvePublicKey
) -> x509.Certificate:
    name = _NAME.decode()
    identifier, shown, _ = PROVISIONER
    credential = identifier.partition(":")[2]
    extension = encode_provisioner(ProvisionerExtension(1, shown, credential))
    usages = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    return (
        x509.CertificateBuilder(issuer.subject, x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]), key)
        .serial_number(int.from_bytes(_SERIAL, "big"))
        .not_valid_before(_BEGIN)
        .not_valid_after(_END)
        .add_extension(x509.KeyUsage(True, *(False,) * 8), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier(sha256(issuer.signature).digest()[:20], None, None), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.UnrecognizedExtension(ObjectIdentifier(oids.PROVISIONER), extension.value), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _cut(der: bytes, marks: Sequence[bytes]) -> list[bytes]:
    parts = []
    for mark in marks:
        before, found, der = der.partition(mark)
        assert found
        parts.append(before)
    return [*parts, der]


def _utc(at: datetime) -> bytes:
    return at.strftime("%y%m%d%H%M%SZ").encode()


def make_issuer(key: ec.EllipticCurvePrivateKey, now: datetime) -> x509.Certificate:
    """A certificate authority."""
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Rows Issuing CA")])
    return (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(days=400))
        .not_valid_after(now + timedelta(days=4000))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )


# -- rows -----------------------------------------------------------------------------------------------


@final
class Maker:
    """Rows by their number, from 0. `first` is the place in the log before the first of them."""

    def __init__(self, issuer: x509.Certificate, issuer_n: int, provisioner_n: int, now: datetime, count: int) -> None:
        signer = ec.generate_private_key(ec.SECP256R1())
        self._templates = [Template(issuer, signer) for _ in range(_KEYS)]
        self._issuer_n = issuer_n
        self._provisioner_n = provisioner_n
        self._now = now
        self._count = count
        self._names = tuple(each.encode() for each in (PROVISIONER[1], PROVISIONER[0], PROVISIONER[2]))
        self._provisioner_term = provisioner_term(PROVISIONER[1])
        self._times: dict[int, tuple[bytes, bytes, bytes, bytes, bytes, int]] = {}
        self._line: list[tuple[int, bytes]] = []
        self._random = b""

    def make(self, first: int, last: int, place: int) -> Chunk:
        """The rows from `first` to before `last`; `place` is the first one's in the log."""
        chunk = Chunk()
        random = os.urandom((last - first) * 10)
        begin = self._now.timestamp() - SPREAD.total_seconds()
        step = SPREAD.total_seconds() / max(1, self._count)
        self._times.clear()
        fresh_tokens = self._now.timestamp() - 24 * 3600
        for at, number in enumerate(range(first, last)):
            moment = begin + number * step
            place = self._add(chunk, number, moment, random[at * 10 : at * 10 + 10], place, moment > fresh_tokens)
        return chunk

    def _add(self, chunk: Chunk, number: int, moment: float, random: bytes, place: int, with_token: bool) -> int:
        second = int(moment)
        times = self._times.get(second) or self._remember(second)
        utc_begin, utc_end, at, begin, end, not_after = times
        octets = int(moment * 1000).to_bytes(6, "big") + random
        serial = int.from_bytes(octets, "big")
        key = encode_serial(serial)
        template = self._templates[number % _KEYS]
        name = b"h%09d.hosts.example.com" % (number // 3)
        der, tbs = template.fill(octets, utc_begin, utc_end, name)
        renewed = number % 3
        if not renewed:
            self._line = [(serial, key)]
            body = _SIGNED % (
                *(at, number, *self._names, name, number, name, serial, name, begin, end, template.key_hex, tbs),
            )
        else:
            previous = self._line[-1][0]
            body = _RENEWED % (
                *(at, number, *self._names, name, previous, serial, name, begin, end, template.key_hex, tbs, previous),
            )
        first, first_key = self._line[0]
        predecessor = self._line[-1][1] if renewed else None
        self._line.append((serial, key))
        digest = sha256(der)
        entry = int(moment * 1000).to_bytes(6, "big") + sha256(octets).digest()[:10]
        chunk.certificates.append(
            (
                *(self._issuer_n, key, first_key, predecessor, second - 60, not_after, self._provisioner_n),
                *(0, b"" if renewed else tbs[:32], der),
            )
        )
        chunk.events.append((place, entry, self._issuer_n, key, body))
        chunk.leaves.append(merkle.hash_leaf(entry + body))
        chunk.terms += [
            (b"ndcom.example.hosts.h%09d" % (number // 3), place),
            (fingerprint_term(digest.digest()), place),
            (template.key_term, place),
            (self._provisioner_term, place),
            (lineage_term(first), place),
            (expiry_term(not_after), place),
        ]
        if with_token and not renewed:
            chunk.tokens[sha256(octets).digest()] = (
                sha256(octets).digest(),
                second + _TOKEN_SECONDS,
                "granted",
                tbs[:32],
            )
        return place + 1

    def _remember(self, second: int) -> tuple[bytes, bytes, bytes, bytes, bytes, int]:
        moment = datetime.fromtimestamp(second, UTC)
        begin, end = moment - timedelta(seconds=60), moment + LIFETIME
        shown = [each.strftime("%Y-%m-%dT%H:%M:%SZ").encode() for each in (moment, begin, end)]
        self._times[second] = found = (_utc(begin), _utc(end), shown[0], shown[1], shown[2], int(end.timestamp()))
        return found


@final
class Chunk:
    """What is inserted together."""

    def __init__(self) -> None:
        self.certificates: list[tuple[object, ...]] = []
        self.events: list[tuple[object, ...]] = []
        self.leaves: list[bytes] = []
        self.terms: list[tuple[bytes, int]] = []
        self.tokens: dict[bytes, tuple[object, ...]] = {}


def fill(path: Path, count: int, *, now: datetime, tell: Callable[[str], None] = lambda _: None) -> Filled:
    """Add so many certificates to a database that nobody has open, made if it is not there."""
    began = time.monotonic()
    issuer, key, end = _prepare(path, now)
    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for pragma in ("journal_mode = OFF", "synchronous = OFF", "cache_size = -1000000", "locking_mode = EXCLUSIVE"):
            connection.execute(f"PRAGMA {pragma}")
        maker = Maker(issuer, _issuer_number(connection, issuer), _provisioner_number(connection), now, count)
        edge = _edge(connection, end)
        for first in range(0, count, _CHUNK):
            last = min(count, first + _CHUNK)
            chunk = maker.make(first, last, end + first + 1)
            connection.execute("BEGIN")
            _insert(connection, chunk, int(now.timestamp()))
            edge = _extend(connection, edge, chunk.leaves)
            connection.execute("COMMIT")
            tell(f"{last} of {count}, {last / (time.monotonic() - began):.0f} a second")
        connection.execute(
            "INSERT INTO meta (key, value) VALUES (?, ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value",
            (INDEXED, str(end + count)),
        )
        if key is not None:
            _sign_head(connection, edge, issuer, key, int(now.timestamp()))
        connection.execute("PRAGMA locking_mode = NORMAL")
        connection.execute("PRAGMA journal_mode = WAL")
    return Filled(count, time.monotonic() - began, path.stat().st_size)


def _sign_head(
    connection: sqlite3.Connection,
    edge: merkle.Edge,
    issuer: x509.Certificate,
    key: ec.EllipticCurvePrivateKey,
    at: int,
) -> None:
    (authority,) = connection.execute("SELECT value FROM meta WHERE key = 'authority_id'").fetchone()
    identifier = sha256(issuer.public_bytes(Encoding.DER)).digest()
    text = encode_head(TreeHead(authority, edge.size, edge.root(), at, identifier))
    signature = key.sign(text, ec.ECDSA(hashes.SHA256()))
    query = "INSERT OR REPLACE INTO log_heads (size, at, text, signature) VALUES (?, ?, ?, ?)"
    connection.execute(query, (edge.size, at, text, signature))


def _prepare(path: Path, now: datetime) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | None, int]:
    """The newest active issuer of the store, or one that is made for it, with its key; and where its log ends."""

    async def prepare() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey | None, int]:
        store = SQLiteStore.open(path)
        try:
            active = [record for record in await store.issuers() if record.state == "active"]
            key = None if active else ec.generate_private_key(ec.SECP256R1())
            issuer = x509.load_der_x509_certificate(active[-1].certificate) if key is None else make_issuer(key, now)
            if key is not None:
                der = issuer.public_bytes(Encoding.DER)
                entry = Entry(id=os.urandom(16), writes=(PutIssuer(sha256(der).digest(), der, "active"),))
                await store.commit([entry], _signs_nothing, now=int(now.timestamp()))
            return issuer, key, await store.archive.log_end()
        finally:
            await store.close()

    return asyncio.run(prepare())


def _signs_nothing(_index: int) -> NoReturn:
    raise AssertionError("nothing is signed")


def _issuer_number(connection: sqlite3.Connection, issuer: x509.Certificate) -> int:
    identifier = sha256(issuer.public_bytes(Encoding.DER)).digest()
    return int(connection.execute("SELECT n FROM issuers WHERE id = ?", (identifier,)).fetchone()[0])


def _provisioner_number(connection: sqlite3.Connection) -> int:
    connection.execute("INSERT OR IGNORE INTO provisioners (id, name, kind) VALUES (?, ?, ?)", PROVISIONER)
    query = "SELECT n FROM provisioners WHERE id = ? AND name = ? AND kind = ?"
    return int(connection.execute(query, PROVISIONER).fetchone()[0])


def _edge(connection: sqlite3.Connection, end: int) -> merkle.Edge:
    """The log's tree over every event that is there already."""
    tiles = {(level, tile): hashes for level, tile, hashes in connection.execute("SELECT * FROM log_tiles")}
    row = connection.execute("SELECT max(tile) FROM log_tiles WHERE level = 0").fetchone()
    size = 0 if row[0] is None else row[0] * merkle.WIDTH + len(tiles[0, row[0]]) // merkle.HASH
    rows = connection.execute("SELECT id, body FROM events WHERE n > ? AND n <= ? ORDER BY n", (size, end))
    return _extend(connection, merkle.read_edge(size, tiles), [merkle.hash_leaf(id_ + body) for id_, body in rows])


def _extend(connection: sqlite3.Connection, edge: merkle.Edge, leaves: Sequence[bytes]) -> merkle.Edge:
    if not leaves:
        return edge
    edge, tiles = merkle.append(edge, leaves)
    rows: Iterator[tuple[int, int, bytes]] = ((tile.level, tile.index, tile.hashes) for tile in tiles)
    connection.executemany("INSERT OR REPLACE INTO log_tiles (level, tile, hashes) VALUES (?, ?, ?)", rows)
    return edge


def _insert(connection: sqlite3.Connection, chunk: Chunk, now: int) -> None:
    connection.executemany(
        "INSERT INTO certificates (issuer_n, serial, lineage, predecessor, not_before, not_after, provisioner_n,"
        " crl_shard, csr_digest, der) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        chunk.certificates,
    )
    connection.executemany("INSERT INTO events (n, id, issuer_n, serial, body) VALUES (?, ?, ?, ?, ?)", chunk.events)
    connection.executemany("INSERT INTO terms (term, n) VALUES (?, ?)", sorted(chunk.terms))
    insert_tokens(connection, chunk.tokens, now)


def main(words: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.rows", description="Fill a store with certificates.")
    where = parser.add_mutually_exclusive_group(required=True)
    where.add_argument("--config", help="ca.json of a Provisor that is not running")
    where.add_argument("--db", help="a database file, made if it is not there")
    parser.add_argument("--count", type=int, required=True, help="how many certificates")
    given = parser.parse_args(words)
    path = Path(given.db) if given.db else _find_store(Path(given.config))
    filled = fill(path, given.count, now=datetime.now(UTC), tell=lambda text: print(text, file=sys.stderr, flush=True))
    each = filled.octets / max(1, given.count)
    print(f"{filled.certificates} certificates in {filled.seconds:.1f} s, {filled.octets} octets, {each:.0f} each")
    return 0


def _find_store(config: Path) -> Path:
    db = load_config(config.read_bytes(), where=str(config)).config.db
    if db is None:
        raise SystemExit(f"{config} has no database")
    return locate(db.type, db.data_source)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
