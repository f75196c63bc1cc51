"""The configuration in force, immutable, and the ports that the steps call."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import lru_cache
from typing import Final, final

import msgspec
from msgspec import Struct

from provisor.config.ca_json import CAConfig
from provisor.core.identity import Operation
from provisor.core.policy import read_policies
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import find_issuer
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.name import Subject
from provisor.errors import Malformed, Unauthenticated
from provisor.ports import Archive, Caller, IssuerID, Ledger, Notary
from provisor.provisioners.registry import Registry

_CLIENTS: Final = 1024
"""Client certificates a process remembers of an epoch, some 5 kB each: those of connections that are kept alive."""

LEGACY_AUDIENCE: Final = "step-certificate-authority"

_PATHS: Final[Mapping[Operation, tuple[str, ...]]] = {
    # step-ca: an SSH token is good at /sign too, so that it can ask for an identity certificate.
    Operation.SIGN: ("/1.0/sign", "/sign", "/1.0/ssh/sign", "/ssh/sign"),
    Operation.RENEW: ("/1.0/renew", "/renew"),
    Operation.REVOKE: ("/1.0/revoke", "/revoke"),
}
_SSH_PATHS: Final = tuple(f"{prefix}/ssh/{word}" for word in ("revoke", "renew", "rekey") for prefix in ("/1.0", ""))


class Audiences(Struct, frozen=True):
    """The `aud` values tokens may carry, by operation, and all of them together (core-api 2.1)."""

    by_operation: Mapping[Operation, tuple[str, ...]]
    every: tuple[str, ...]


def audiences_for(dns_names: tuple[str, ...]) -> Audiences:
    hosts = tuple(f"https://{_bracketed(name)}" for name in dns_names)
    by_operation = {
        operation: tuple(host + path for host in hosts for path in paths) for operation, paths in _PATHS.items()
    }
    for operation in (Operation.SIGN, Operation.REVOKE):
        by_operation[operation] += (LEGACY_AUDIENCE,)
    ssh = tuple(host + path for host in hosts for path in _SSH_PATHS)
    every = tuple(dict.fromkeys(value for values in by_operation.values() for value in values)) + ssh
    return Audiences(by_operation, every)


def _bracketed(name: str) -> str:
    try:
        return f"[{name}]" if ipaddress.ip_address(name.strip("[]")).version == 6 and not name.startswith("[") else name
    except ValueError:
        return name


class Client(Struct, frozen=True):
    """A certificate that was read, and the issuer of ours whose key signed it. Whether it still counts is not said."""

    leaf: Certificate
    issuer: Issuer


@final
class Snapshot:
    """One epoch of the authority. A request uses the one it began with.

    `issuers` are those whose certificates may be renewed (active or retiring); `issuer` signs.
    `durable` says whether a database is configured: without one nothing can be revoked. `archive` is there
    where operators are answered and jobs run, unless the store is in another process's memory. Tokens issued before
    `tokens_not_before` (unix seconds) were spent in a database that is lost, or were not: nobody knows. `caller` asks
    webhooks; without one a provisioner that has some refuses.
    """

    def __init__(
        self,
        *,
        epoch: int,
        config: CAConfig,
        registry: Registry,
        issuer: Issuer,
        issuers: Mapping[IssuerID, Issuer],
        roots: tuple[Certificate, ...],
        federated: tuple[Certificate, ...],
        notary: Notary,
        ledger: Ledger,
        clock: Callable[[], datetime],
        random: Callable[[int], bytes],
        started: datetime,
        archive: Archive | None = None,
        caller: Caller | None = None,
        tokens_not_before: int = 0,
    ) -> None:
        self.epoch = epoch
        self.config = config
        self.registry = registry
        self.issuer = issuer
        self.issuers = issuers
        self.roots = roots
        self.federated = federated
        self.notary = notary
        self.ledger = ledger
        self.archive = archive
        self.caller = caller
        self.policies = read_policies(config.authority.policy)
        self.clock = clock
        self.random = random
        self.started = started
        self.tokens_not_before = tokens_not_before
        self.durable = config.db is not None
        self.oldest_token = self._oldest_token()
        self.audiences = audiences_for(config.dns_names)
        self.backdate = config.authority.backdate
        self.subject_defaults = msgspec.convert(msgspec.structs.asdict(config.authority.template), Subject)
        self.trace_header = (config.logger.trace_header if config.logger else "").lower().encode() or b"x-smallstep-id"
        self.encoded: dict[str, tuple[bytes, bytes]] = {}
        self.find_client = lru_cache(maxsize=_CLIENTS)(self._find_client)

    def _oldest_token(self) -> int | None:
        """No token issued before this is taken (unix seconds); None where every spent token is remembered."""
        forgetful = not self.durable or self.config.provisor.switches.refuse_tokens_before_start
        checked = forgetful and not self.config.authority.disable_issued_at_check
        return int(self.started.timestamp()) if checked else None

    def _find_client(self, der: bytes) -> Client:
        """Read the certificate of a TLS client and verify who signed it. Raises `Unauthenticated` if none of ours did.

        Callers use `find_client`, which remembers: of these bytes both are true for as long as the issuers
        are these. Time, revocation and every rule are for the caller to look at, each time.
        """
        try:
            leaf = parse_certificate(der)
        except Malformed as error:
            raise Unauthenticated(f"client certificate: {error.detail}") from error
        issuer = find_issuer(leaf, tuple(self.issuers.values()))
        if issuer is None:
            raise Unauthenticated("client certificate is not of an issuer of this authority")
        return Client(leaf, issuer)

    def generate_id(self, now: datetime) -> bytes:
        """16 octets: 48 bits of milliseconds, 80 random bits, so that newer ones sort behind older ones."""
        return int(now.timestamp() * 1000).to_bytes(6, "big") + self.random(10)

    def generate_serial(self, now: datetime) -> int:
        """A positive serial of 128 bits, ordered by time, 80 of them unpredictable (RFC 5280 section 4.1.2.2)."""
        return int.from_bytes(self.generate_id(now), "big")
