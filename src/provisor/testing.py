"""A whole CA for tests: real in every part, in the memory of this process, there in milliseconds.

::

    from provisor.testing import CA

    with CA() as ca:
        certificate = ca.issue("localhost")

It runs on a thread of its own, so that tests may be asynchronous or not. In pytest the fixture `provisor_ca` is one.
"""

from __future__ import annotations

import asyncio
import json
import os
import socket
import ssl
import threading
import weakref
from collections.abc import Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta
from types import TracebackType
from typing import Any, Final, Self, TypeVar, final

import uvloop
from cryptography.hazmat.primitives.asymmetric import ec

from provisor import pki
from provisor.app.inline import InlineCA
from provisor.client.certificate import Certificate
from provisor.client.client import Client, Names
from provisor.client.errors import Unreachable
from provisor.client.provisioner_key import ProvisionerKey
from provisor.client.source import Moment
from provisor.client.transport import MAX_ANSWER_BYTES, Answer
from provisor.config.load import load_config
from provisor.core.claims import BUILT_IN, merge
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, jwk_members, make_jwk
from provisor.core.keys import PrivateKey, fingerprint
from provisor.core.pem import encode_pem
from provisor.core.x509.issuer import make_issuer
from provisor.errors import ConfigError
from provisor.kms.soft import SoftSigner
from provisor.provisioners.registry import build_registry
from provisor.startup import Startup

__all__ = ["CA"]

T = TypeVar("T")

_AGE: Final = timedelta(days=365)  # so that certificates can be issued that are over
_ITERATIONS: Final = 1000  # tests are impatient, and have no secrets
_PATIENCE_SECONDS: Final = 30.0
_CLAIMS: Final = {"minTLSCertDuration": "1s", "maxTLSCertDuration": "87600h", "allowRenewalAfterExpiry": False}


@final
class CA:
    """A root, an intermediate and a JWK provisioner, made anew; nothing is written to a disk.

    `provisioner` is its name, `password` that of its key; `claims` are merged into its claims (for instance
    `allowRenewalAfterExpiry`), `settings` into ca.json. Certificates may be for a second or for ten years.
    """

    def __init__(
        self,
        name: str = "Test",
        *,
        dns: Sequence[str] = ("localhost", "127.0.0.1", "::1"),
        provisioner: str = "test",
        password: str = "password",
        claims: Mapping[str, object] | None = None,
        settings: Mapping[str, object] | None = None,
        listen: bool = False,
    ) -> None:
        """With `listen` it can be reached by HTTPS at `url`. Raises `ConfigError` for settings that are none."""
        self.password = password
        self.provisioner_key = ProvisionerKey(provisioner, ec.generate_private_key(ec.SECP256R1()))
        entry = _provisioner(self.provisioner_key, password, {**_CLAIMS, **(claims or {})})
        document = _document(dns, entry)
        _merge(document, settings or {})
        born = datetime.now(UTC) - _AGE
        root = pki.make_root(name, now=born)
        intermediate = pki.make_intermediate(name, root, now=born)
        self._root = root.certificate.der
        self._offset = timedelta()
        self._shifting = threading.RLock()
        self._address: tuple[str, int] = ("", 0)
        self._name = document["dnsNames"][0]
        startup = _startup(document, root.certificate.der, intermediate.certificate.der, intermediate.key)
        self._ca = InlineCA(startup, clock=_Clock(weakref.ref(self)))
        self._listeners: list[AsyncExitStack] = []
        self._loop = _Loop()
        try:
            self._loop.run(self._ca.__aenter__())
        except BaseException:
            self._loop.close()
            raise
        self._stop = weakref.finalize(self, _stop, self._loop, self._ca, self._listeners)
        self._client = self._make_client(None)
        if listen:
            self.listen()

    # -- its life -------------------------------------------------------------------------------

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Forget everything."""
        self._stop()

    def listen(self, host: str = "127.0.0.1", port: int = 0) -> str:
        """Serve HTTPS, at a free port unless one is given; the URL. After `stop_listening` at the same port again."""
        if self._listeners:
            return self.url
        sock = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.bind((host, port or self._address[1]))
            stack = AsyncExitStack()
            self._loop.run(stack.enter_async_context(self._ca.listening(sock)))
        except BaseException:
            sock.close()
            raise
        stack.callback(sock.close)
        self._listeners.append(stack)
        self._address = sock.getsockname()[:2]
        return self.url

    def stop_listening(self) -> None:
        """Be away, for tests of what others do then. What was issued stays."""
        while self._listeners:
            self._loop.run(self._listeners.pop().aclose())

    # -- what it is -----------------------------------------------------------------------------

    @property
    def url(self) -> str:
        """Where it listens, or would; the address that tokens are for."""
        host = f"[{self._name}]" if ":" in self._name else self._name
        return f"https://{host}:{self._address[1]}" if self._address[1] else f"https://{host}"

    @property
    def root_pem(self) -> str:
        """What those who trust this CA need."""
        return encode_pem("CERTIFICATE", self._root)

    @property
    def fingerprint(self) -> str:
        """SHA-256 of the root in hex, for `Client.bootstrap` and `provisor ca bootstrap`."""
        return fingerprint(self._root)

    @property
    def now(self) -> datetime:
        """The time of day, as this CA and its clients see it."""
        return datetime.now(UTC) + self._offset

    def travel(self, by: timedelta) -> None:
        """Move the time of this CA and its clients. TLS handshakes keep to the machine's."""
        self._offset += by

    # -- what it does ---------------------------------------------------------------------------

    def client(self) -> Client:
        """A client that asks this CA without a network. The CA lives as long as it."""
        return self._make_client(self)

    def _make_client(self, kept: Self | None) -> Client:
        way = _InProcess(self._loop, self._ca, kept)
        return Client(self.url, self.root_pem, way=way, clock=_Clock(weakref.ref(self)))

    def issue(
        self,
        names: Names,
        *,
        private_key: PrivateKey | None = None,
        not_before: Moment = None,
        not_after: Moment = None,
        age: timedelta = timedelta(),
    ) -> Certificate:
        """A certificate for these names, for a day; with an `age` of two days it is over by now."""
        with self._shifting:
            self._offset -= age
            try:
                return self._client.issue(
                    names, self.provisioner_key, private_key=private_key, not_before=not_before, not_after=not_after
                )
            finally:
                self._offset += age

    def server_context(self, names: Names = "localhost", *, verify_clients: bool = False) -> ssl.SSLContext:
        """For a server with a new certificate; with `verify_clients` it lets in only clients with one of this CA."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_verify_locations(cadata=self.root_pem)
        if verify_clients:
            context.verify_mode = ssl.CERT_REQUIRED
        self.issue(names).use_in(context)
        return context

    def client_context(self, names: Names | None = None) -> ssl.SSLContext:
        """For a client that trusts this CA; with `names` it shows a new certificate."""
        context = self._client.client_context()
        if names is not None:
            self.issue(names).use_in(context)
        return context


@final
class _Clock:
    """That of a CA which may be gone by now: the clock holds it not."""

    def __init__(self, ca: weakref.ref[CA]) -> None:
        self._ca = ca

    def __call__(self) -> datetime:
        ca = self._ca()
        return datetime.now(UTC) if ca is None else ca.now


@final
class _Loop:
    """A loop on a thread of its own."""

    def __init__(self) -> None:
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="provisor-testing", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Have it done there. Raises `Unreachable` when the loop is gone."""
        if self._loop.is_closed():
            work.close()
            raise Unreachable("the CA of this test is closed")
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(_PATIENCE_SECONDS)

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        if not self.is_here:
            self._thread.join(_PATIENCE_SECONDS)
            self._loop.close()

    @property
    def is_here(self) -> bool:
        return threading.current_thread() is self._thread


def _stop(loop: _Loop, ca: InlineCA, listeners: list[AsyncExitStack]) -> None:
    if not loop.is_here:  # a garbage collector may have come by on that thread; nobody can wait for it there
        while listeners:
            loop.run(listeners.pop().aclose())
        loop.run(ca.__aexit__(None, None, None))
    loop.close()


@final
class _InProcess:
    """The way to a CA in this process, for any number of threads."""

    def __init__(self, loop: _Loop, ca: InlineCA, kept: CA | None) -> None:
        self._loop = loop
        self._ca = ca
        self._kept = kept

    def open(self, certificate: Certificate | None) -> _InProcessSender:
        shown = None
        if certificate is not None:
            certificate.private_key  # noqa: B018 - who does not have it cannot show the certificate
            shown = certificate.chain[0]
        return _InProcessSender(self._loop, self._ca, shown)


@final
class _InProcessSender:
    def __init__(self, loop: _Loop, ca: InlineCA, certificate: bytes | None) -> None:
        self._loop = loop
        self._ca = ca
        self._certificate = certificate

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        return self._loop.run(self._ca.ask(method, path, body or b"", headers, certificate=self._certificate))

    def close(self) -> None:
        """Nothing is held."""


def _provisioner(key: ProvisionerKey, password: str, claims: Mapping[str, object]) -> dict[str, object]:
    jwk = make_jwk(key.private_key)
    encrypted = encrypt_pbes2(encode_jwk(jwk, private=True), password.encode(), os.urandom, iterations=_ITERATIONS)
    return {"type": "JWK", "name": key.name, "key": jwk_members(jwk), "encryptedKey": encrypted, "claims": claims}


def _document(dns: Sequence[str], provisioner: Mapping[str, object]) -> dict[str, Any]:
    """ca.json; files are named in it and never read."""
    return {
        "root": "memory",
        "crt": "memory",
        "key": "memory",
        "address": "127.0.0.1:0",
        "dnsNames": list(dns),
        "db": {"type": "sqlite", "dataSource": "memory"},
        "authority": {"provisioners": [provisioner]},
    }


def _merge(document: dict[str, Any], settings: Mapping[str, object]) -> None:
    """Objects are merged, lists of provisioners joined, everything else replaced."""
    for name, value in settings.items():
        present = document.get(name)
        if isinstance(present, dict) and isinstance(value, Mapping):
            _merge(present, value)
        elif name == "provisioners" and isinstance(present, list) and isinstance(value, Sequence):
            present.extend(value)
        else:
            document[name] = value


def _startup(document: Mapping[str, object], root: bytes, intermediate: bytes, key: PrivateKey) -> Startup:
    """What `load_startup` reads from files. Raises `ConfigError`."""
    source = json.dumps(document).encode()
    loaded = load_config(source)
    if fatal := [fault for fault in loaded.faults if fault.fatal]:
        raise ConfigError(fatal[0].pointer, fatal[0].text)
    config = loaded.config
    return Startup(
        path="ca.json",
        original=source,
        source=source,
        config=config,
        chain=(intermediate,),
        roots=(root,),
        federated=(),
        issuer=make_issuer((intermediate,), (root,)),
        signer=SoftSigner(key),
        registry=build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims)),
        store=None,
        warnings=(),
    )
