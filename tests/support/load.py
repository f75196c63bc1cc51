"""Requests for certificates, many at once and each accounted for: what a client was told against what is stored."""

from __future__ import annotations

import hashlib
import http.client
import json
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provisor.core.jose.jws import parse_token
from provisor.storage.encoding import decode_serial
from support.postgres import Database
from support.server import Answer, RunningProvisor, exchange

NOTHING_ISSUED: Final = "nothing was issued"
OUTCOME_UNKNOWN: Final = "outcome unknown"

KEY: Final = ec.generate_private_key(ec.SECP256R1())


def make_request(name: str) -> str:
    """A certificate signing request for one DNS name."""
    return (
        x509.CertificateSigningRequestBuilder()
        .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(KEY, hashes.SHA256())
        .public_bytes(Encoding.PEM)
        .decode()
    )


class Attempt:
    """One token and what became of it. `seconds` is how long the answer took, or its absence."""

    def __init__(self, ca: RunningProvisor, name: str, provisioner: str = "tester") -> None:
        self.name = name
        token = ca.token(name, provisioner=provisioner)
        self.token_id = str(parse_token(token).claims["jti"])
        self.body = json.dumps({"csr": make_request(name), "ott": token}).encode()
        self.answer: Answer | None = None
        self.failure: Exception | None = None
        self.began = 0.0
        self.ended = 0.0

    @property
    def seconds(self) -> float:
        return self.ended - self.began

    @property
    def status(self) -> int:
        """Of the answer; 0 without one."""
        return self.answer.status if self.answer else 0

    @property
    def message(self) -> str:
        return str(self.answer.json.get("message", "")) if self.answer else ""

    @property
    def certificate(self) -> x509.Certificate:
        """What the client holds."""
        assert self.answer is not None
        return x509.load_pem_x509_certificate(self.answer.json["crt"].encode())

    def send(self, connection: http.client.HTTPSConnection) -> int:
        """The status; 0 if the connection broke."""
        self.answer, self.failure = None, None
        self.began = time.monotonic()
        try:
            self.answer = exchange(connection, "POST", "/1.0/sign", self.body)
        except (OSError, http.client.HTTPException) as error:
            self.failure = error
            connection.close()
        self.ended = time.monotonic()
        return self.status

    def __repr__(self) -> str:
        return f"{self.name}: {self.status} {self.message} {self.failure!r} after {self.seconds:.2f} s"


class Load:
    """Sends attempts from several threads, each over a connection of its own; kept alive, or a new one a request."""

    def __init__(
        self, ca: RunningProvisor, attempts: Sequence[Attempt], *, threads: int = 4, kept: bool = True
    ) -> None:
        self.attempts = attempts
        self._ca = ca
        self._kept = kept
        self._next = iter(attempts)
        self._lock = threading.Lock()
        self._stop = False
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(threads)]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    @property
    def answered(self) -> int:
        return sum(attempt.status != 0 for attempt in self.attempts)

    def stop(self) -> None:
        """Begin no more."""
        self._stop = True

    def join(self, seconds: float = 90.0) -> list[Attempt]:
        """The attempts that were made."""
        deadline = time.monotonic() + seconds
        for thread in self._threads:
            thread.join(max(0.0, deadline - time.monotonic()))
            assert not thread.is_alive(), "a request hangs"
        return [attempt for attempt in self.attempts if attempt.ended]

    def run(self) -> list[Attempt]:
        self.start()
        return self.join()

    def _take(self) -> Attempt | None:
        with self._lock:
            return None if self._stop else next(self._next, None)

    def _run(self) -> None:
        connection = self._ca.connect(timeout=30)
        with closing(connection):
            while (attempt := self._take()) is not None:
                if attempt.send(connection) == 0:
                    time.sleep(0.01)  # nobody listens for a moment: the load should outlive it
                if not self._kept:
                    connection.close()


def attempts(ca: RunningProvisor, label: str, count: int, provisioner: str = "tester") -> list[Attempt]:
    return [Attempt(ca, f"{label}-{number}.example.test", provisioner) for number in range(count)]


class Stored:
    """What the database holds, read the way an operator would: by its tables, from a connection that cannot write."""

    def __init__(self, place: Path | Database) -> None:
        if isinstance(place, Database):
            self._read(lambda table, columns: place.query(f"SELECT {columns} FROM provisor.{table}"))
        else:
            with closing(sqlite3.connect(f"{place.as_uri()}?mode=ro", uri=True)) as connection:
                tables = {"tokens": "spent_tokens"}
                self._read(
                    lambda table, columns: connection.execute(f"SELECT {columns} FROM {tables.get(table, table)}")
                )

    def _read(self, select: Callable[[str, str], Iterable[Sequence[Any]]]) -> None:
        self.certificates = {decode_serial(serial): bytes(der) for serial, der in select("certificates", "serial, der")}
        self.tokens = {bytes(key) for (key,) in select("tokens", "key")}
        self.events = [
            (None if serial is None else decode_serial(serial), json.loads(body))
            for serial, body in select("events", "serial, body")
        ]
        self._granted: dict[str, list[int | None]] = {}
        for serial, event in self.events:
            if event["outcome"] == "granted":
                self._granted.setdefault(event.get("token", ""), []).append(serial)

    def is_spent(self, attempt: Attempt) -> bool:
        return hashlib.sha256(attempt.token_id.encode()).digest() in self.tokens

    def issued(self, attempt: Attempt) -> list[int | None]:
        """Serials that were issued for the token of this attempt."""
        return self._granted.get(attempt.token_id, [])


def check_accounts(ca: RunningProvisor, made: Iterable[Attempt]) -> None:
    """Nothing that a client holds is missing, no token works twice, and what was not issued can still be.

    Sends every attempt once more; the server must be ready. Afterwards every token is spent, with one certificate each.
    """
    made = list(made)
    check_answers(made)
    before = Stored(ca.records)
    issued = {attempt.name: before.issued(attempt) for attempt in made}
    for attempt in made:
        serials = issued[attempt.name]
        assert before.is_spent(attempt) == bool(serials), f"{attempt}: the token is spent without a certificate"
        if attempt.status == 201:
            assert serials == [attempt.certificate.serial_number], f"{attempt}: {serials}"
            held = attempt.certificate.public_bytes(Encoding.DER)
            assert before.certificates[attempt.certificate.serial_number] == held, attempt
        elif NOTHING_ISSUED in attempt.message:
            assert not serials, f"{attempt}: a certificate is recorded"
    again = Load(ca, made, threads=4).run()
    for attempt in again:
        expected = 401 if issued[attempt.name] else 201
        assert attempt.status == expected, f"expected {expected} the second time, got {attempt}"
    after = Stored(ca.records)
    assert all(len(after.issued(attempt)) == 1 for attempt in made)


def check_answers(made: Iterable[Attempt]) -> None:
    """A fresh token is answered 201, or 503 with the time to come back, and in time; or the connection broke."""
    for attempt in made:
        assert attempt.status in (0, 201, 503), attempt
        if attempt.answer is not None and attempt.status == 503:
            assert attempt.answer.headers["retry-after"].isdigit(), attempt
            assert (NOTHING_ISSUED in attempt.message) != (OUTCOME_UNKNOWN in attempt.message), attempt
