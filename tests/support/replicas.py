"""Several Provisors on one PostgreSQL database."""

from __future__ import annotations

import ssl
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from support.load import KEY, Attempt
from support.postgres import Database
from support.server import Answer, RunningProvisor, exchange

FAST = {"statementSeconds": 4, "pauseSeconds": 1}
"""`provisor.database`: tests do not wait as long as operators."""


def make_replicas(
    folder: Path,
    database: Database,
    count: int = 2,
    *,
    url: str = "",
    settings: Mapping[str, object] | None = None,
    environment: Mapping[str, str] | None = None,
    workers: int = 1,
) -> list[RunningProvisor]:
    """CAs with one PKI, the same provisioners and the same database, each with an address of its own; not started."""
    made: list[RunningProvisor] = []
    for n in range(count):
        own = folder / f"replica-{n}"
        own.mkdir()
        ca = RunningProvisor(
            own,
            workers=workers,
            settings={"db": database.settings(url=url), **(settings or {})},
            environment=environment,
        )
        ca.records = database
        provisor = {"workers": workers, "database": FAST}
        if made:
            first = made[0]
            ca.pki, ca.keys = first.pki, first.keys
            ca.write_config(
                provisor=provisor, **{name: first.config[name] for name in ("root", "crt", "key", "authority")}
            )
        else:
            ca.write_config(provisor=provisor)
        made.append(ca)
    return made


@contextmanager
def running(replicas: list[RunningProvisor]) -> Iterator[list[RunningProvisor]]:
    with ExitStack() as stack:
        yield [stack.enter_context(ca) for ca in replicas]


def request_by_certificate(ca: RunningProvisor, attempt: Attempt, path: str, body: bytes = b"") -> Answer:
    """A request with the certificate that an attempt got."""
    assert attempt.answer is not None
    with tempfile.NamedTemporaryFile() as pem:
        chain = "".join(attempt.answer.json["certChain"])
        pem.write(chain.encode() + KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
        pem.flush()
        connection = ca.connect()
        context: ssl.SSLContext = ca.context()
        context.load_cert_chain(pem.name)
        connection = connection.__class__("localhost", ca.port, timeout=20, context=context)
        with closing(connection):
            return exchange(connection, "POST", path, body)
