"""What a start needs from the disk, loaded and checked, every fault reported at once.

The notary starts from it and `provisor ca check` reports it; neither serves anything by it alone.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Sequence
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar, final

import msgspec
from msgspec import Struct

from provisor.config.ca_json import CAConfig
from provisor.config.load import Fault, load_config
from provisor.config.tracing import check_tracing
from provisor.core.claims import BUILT_IN, merge
from provisor.core.durations import format_go_time
from provisor.core.keys import PasswordNeeded, WrongPassword, spki_der
from provisor.core.names import classify_sans
from provisor.core.pem import parse_certificates
from provisor.core.secret import Secret
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.core.x509.issuer import Issuer, make_issuer
from provisor.errors import BadKey, ConfigError, Forbidden, Malformed
from provisor.kms.base import Signer
from provisor.kms.registry import open_key_manager
from provisor.provisioners.registry import Registry, build_registry
from provisor.storage.locate import locate_store
from provisor.storage.postgresql.dsn import Target, without_password

T = TypeVar("T")

LARGEST_FILE: Final = 4 * 1024 * 1024


class StartRefused(ConfigError):
    """Why the CA does not start: every fault, the one the reference would name first in front."""

    def __init__(self, faults: Sequence[Fault], *, unreadable: bool = False) -> None:
        """`unreadable`: ca.json itself could not be read, so that nothing else was looked at."""
        super().__init__(faults[0].pointer, faults[0].text)
        self.faults = tuple(faults)
        self.unreadable = unreadable


@final
class Startup(Struct, frozen=True):
    """A configuration that may be served.

    `original` is ca.json, `source` the same without its password, `store` the SQLite file, the
    PostgreSQL database, or None for memory.
    Certificates are DER. `warnings` do not stop the start.
    """

    path: str
    original: bytes
    source: bytes
    config: CAConfig
    chain: tuple[bytes, ...]
    roots: tuple[bytes, ...]
    federated: tuple[bytes, ...]
    issuer: Issuer
    signer: Signer
    registry: Registry
    store: Path | Target | None
    warnings: tuple[Fault, ...]


def load_startup(
    path: str, password: Secret | None, now: datetime, *, strict: bool = False, shown: str = ""
) -> Startup:
    """Everything a start reads; `shown` is how texts call the file.

    Raises `StartRefused` with all faults, `PasswordNeeded` for a key nobody can open.
    """
    try:
        data = read_file(path)
    except ConfigError as error:
        raise StartRefused([Fault("", error.reason, fatal=True)], unreadable=True) from error
    loaded = load_config(data, where=shown or path, strict=strict)
    fatal = [fault for fault in loaded.faults if fault.fatal]
    if fatal:
        raise StartRefused(fatal, unreadable=not loaded.document)
    found = _Findings()
    config = loaded.config
    roots = found.attempt("$.root", lambda: load_certificates(config.root)) or ()
    federated = found.attempt("$.federatedRoots", lambda: load_certificates(config.federated_roots)) or ()
    chain = found.attempt("$.crt", lambda: load_certificates((config.crt,))) or ()
    issuer = found.attempt("$.crt", lambda: make_issuer(chain, roots)) if chain else None
    signer = found.attempt("$.key", lambda: open_key(config, password))
    registry = found.attempt("$.authority.provisioners", lambda: _build_registry(config))
    store = found.attempt("$.db", lambda: locate_store(config.db, config.provisor.database) if config.db else None)
    found.attempt("$.provisor.tracing", lambda: check_tracing(config.provisor.tracing, os.environ))
    if issuer and signer:
        found.attempt("$.key", lambda: _check_key(issuer, signer))
        found.attempt("$.dnsNames", lambda: _check_own_names(config, issuer))
        found.attempt("$.crl", lambda: _check_crl(config, issuer))
        found.attempt("$.crt", lambda: _check_dates(issuer, now))
    if found.faults or issuer is None or signer is None or registry is None:
        raise StartRefused(found.faults)
    warnings = [*loaded.warnings, *_trust_warnings(chain, roots), *_disabled(registry)]
    return Startup(
        path=path,
        original=data,
        source=_without_password(loaded.document),
        config=config,
        chain=chain,
        roots=roots,
        federated=federated,
        issuer=issuer,
        signer=signer,
        registry=registry,
        store=store,
        warnings=tuple(warnings),
    )


def needs_password(path: str) -> str | None:
    """The key file that must be decrypted before the CA starts; None if none must, or something else is wrong first."""
    try:
        config = load_config(read_file(path), where=path).config
        open_key(config, None)
    except PasswordNeeded:
        return config.key
    except (ConfigError, BadKey):
        return None
    return None


@final
class _Findings:
    """Collects faults where a chain of exceptions would show only the first."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []

    def attempt(self, pointer: str, load: Callable[[], T]) -> T | None:
        try:
            return load()
        except PasswordNeeded:
            raise
        except (ConfigError, BadKey, Malformed, Forbidden) as error:
            text = error.reason if isinstance(error, ConfigError) else error.public or error.detail
            where = error.where.removeprefix("ca.json: ") if isinstance(error, ConfigError) else ""
            self.faults.append(Fault(where if where.startswith("$") else pointer, text, fatal=True))
            return None


def read_file(path: str) -> bytes:
    """A file of bounded size. Raises `ConfigError` in the words of the reference."""
    try:
        with open(path, "rb") as file:
            if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                raise ConfigError("", f'error reading "{path}": not a regular file')
            data = file.read(LARGEST_FILE + 1)
    except OSError as error:
        raise ConfigError("", f'error reading "{path}": {(error.strerror or str(error)).lower()}') from error
    if len(data) > LARGEST_FILE:
        raise ConfigError("", f'error reading "{path}": larger than {LARGEST_FILE} bytes')
    return data


def load_certificates(paths: Sequence[str]) -> tuple[bytes, ...]:
    """Every certificate of every file, in order. Raises `ConfigError`, `Malformed`."""
    ders: list[bytes] = []
    for path in paths:
        try:
            found = parse_certificates(read_file(path))
            for der in found:
                parse_certificate(der)
        except Malformed as error:
            raise ConfigError("", f"error reading {path}: {error.detail}") from error
        ders.extend(found)
    return tuple(ders)


def open_key(config: CAConfig, password: Secret | None) -> Signer:
    kms = config.kms
    manager = open_key_manager(kms.type if kms else "", kms.uri.reveal().decode() if kms else "")
    try:
        return manager.open_signer(config.key, password or config.password or None)
    except WrongPassword as error:
        raise ConfigError("$.key", f"error decrypting {config.key}: x509: decryption password incorrect") from error


def _build_registry(config: CAConfig) -> Registry:
    return build_registry(config.authority.provisioners, merge(BUILT_IN, config.authority.claims))


def _check_key(issuer: Issuer, signer: Signer) -> None:
    if spki_der(signer.public_key) != issuer.certificate.spki:
        cause = "x509: provided PrivateKey doesn't match parent's PublicKey"
        raise ConfigError("$.key", f"authority.GetTLSCertificate: error creating certificate: {cause}")
    if not issuer.certificate.is_ca:
        raise ConfigError("$.crt", "the issuer certificate is not a CA certificate")


def _check_own_names(config: CAConfig, issuer: Issuer) -> None:
    """The CA could not give itself a certificate for its own names."""
    try:
        issuer.constraints.check_names(classify_sans(config.dns_names))
    except Forbidden as error:
        raise ConfigError("$.dnsNames", f"authority.GetTLSCertificate: {error.public}") from error


def _check_crl(config: CAConfig, issuer: Issuer) -> None:
    if not config.crl.enabled:
        return
    if config.db is None:
        raise ConfigError("$.crl", "could not generate a CRL: could not retrieve CRL from database: not implemented")
    if not issuer.crl_sign:
        raise ConfigError("$.crl", "could not generate a CRL: the issuer certificate lacks the key usage cRLSign")


def _check_dates(issuer: Issuer, now: datetime) -> None:
    certificate = issuer.certificate
    if now > certificate.not_after:
        raise ConfigError("$.crt", f"the issuer certificate expired on {format_go_time(certificate.not_after)}")


def _trust_warnings(chain: Sequence[bytes], roots: Sequence[bytes]) -> list[Fault]:
    """step-ca: a chain that leads to none of the roots starts all the same; say so."""
    certificates = [parse_certificate(der) for der in chain]
    for below, above in pairwise(certificates):
        if not is_issued_by(below, above):
            return [Fault("$.crt", f"{_named(below)} is not issued by the certificate that follows it", fatal=False)]
    last = certificates[-1]
    trusted = [parse_certificate(der) for der in roots]
    if last.der in roots or any(is_issued_by(last, root) for root in trusted):
        return []
    return [
        Fault(
            "$.crt", f"{_named(last)} does not lead to any certificate of root: no client will accept it", fatal=False
        )
    ]


def _named(certificate: Certificate) -> str:
    return f'certificate "{certificate.common_name}"'


def _disabled(registry: Registry) -> list[Fault]:
    return [
        Fault(fault.where, f'failed to initialize {fault.kind} provisioner "{fault.name}": {fault.reason}', fatal=False)
        for fault in registry.faults
    ]


def _without_password(document: object) -> bytes:
    """ca.json as workers get it: they open no key and no database server."""
    if isinstance(document, dict):
        document = {name: _hidden(name, value) for name, value in document.items() if name.lower() != "password"}
    return msgspec.json.encode(document)


def _hidden(name: str, value: object) -> object:
    """A member without the password of a database server."""
    if name.lower() != "db" or not isinstance(value, dict):
        return value
    kind = next((each for name, each in value.items() if name.lower() == "type"), "")
    if str(kind).lower() != "postgresql":
        return value
    return {n: without_password(str(v)) if n.lower() == "datasource" else v for n, v in value.items()}
