"""What a readable ca.json has to obey before a CA starts from it, in the order the reference checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from provisor.config import defaults
from provisor.config.ca_json import CAConfig
from provisor.config.members import Faults, Members
from provisor.core.claims import BUILT_IN, ClaimsError, merge
from provisor.core.names import split_host_port
from provisor.core.policy import PolicyError, read_policies
from provisor.wire.gojson import canonical_members
from provisor.wire.provisioners import KINDS


def check_config(config: CAConfig, top: Members) -> None:
    """Reports every broken rule and every doubt. `top` gives the pointers as members are written."""
    _check_required(config, top)
    _check_addresses(config, top)
    _check_tls(config, top)
    _check_backends(config, top)
    _check_authority(config, top)
    _check_crl(config, top)
    _check_start(config, top)
    _check_not_built(config, top)


def _check_required(config: CAConfig, top: Members) -> None:
    if not config.address:
        top.faults.wrong(top.at("address"), "address cannot be empty")
    if not config.dns_names:
        top.faults.wrong(top.at("dnsNames"), "dnsNames cannot be empty")
    if not config.root or not all(config.root):
        top.faults.wrong(top.at("root"), "root cannot be empty")
    for name in ("crt", "key"):
        if not getattr(config, name):
            top.faults.wrong(top.at(name), f"{name} cannot be empty")


def _check_addresses(config: CAConfig, top: Members) -> None:
    if config.address and not _is_address(config.address):
        top.faults.wrong(top.at("address"), f"invalid address {config.address}")
    if config.metrics_address and not _is_address(config.metrics_address):
        # step-ca: the text names the value of `address`; the pointer names the right member.
        top.faults.wrong(top.at("metricsAddress"), f'invalid metrics address "{config.address}"')
    if config.insecure_address and not _is_address(config.insecure_address):
        # step-ca: starts, and fails when it comes to listening.
        top.faults.wrong(top.at("insecureAddress"), f"invalid insecure address {config.insecure_address}")


def _is_address(text: str) -> bool:
    try:
        split_host_port(text)
    except ValueError:
        return False
    return True


def _check_tls(config: CAConfig, top: Members) -> None:
    tls = config.tls
    pointer = top.at("tls")
    known = all(version in defaults.TLS_VERSIONS for version in (tls.min_version, tls.max_version))
    if not known or tls.min_version > tls.max_version:
        top.faults.wrong(pointer, "tls minVersion cannot exceed tls maxVersion")
    for name in tls.cipher_suites:
        if name not in defaults.KNOWN_CIPHER_SUITES:
            top.faults.doubtful(f"{pointer}.cipherSuites", f"cipher suite {name!r} is not known and matches nothing")


CAS_TYPES: Final = frozenset(("stepcas", "cloudcas", "vaultcas", "externalcas"))
KMS_TYPES: Final = frozenset(
    ("cloudkms", "awskms", "azurekms", "pkcs11", "yubikey", "sshagentkms", "capi", "mackms", "tpmkms", "kms")
)
_LATER: Final = "is not supported by this version of Provisor"


def _check_backends(config: CAConfig, top: Members) -> None:
    cas, kms = config.authority.type, config.kms.type if config.kms else ""
    pointer = f"{top.at('authority')}.type"
    if cas in CAS_TYPES:
        top.faults.wrong(pointer, f"authority.type {cas} {_LATER}; leave it out to sign with a key of this CA")
    elif cas not in ("", "softcas"):
        top.faults.wrong(pointer, f"unsupported cas type {cas}")
    pointer = f"{top.at('kms')}.type"
    if kms in KMS_TYPES:
        top.faults.wrong(pointer, f"kms.type {kms} {_LATER}; use key files and leave kms out")
    elif kms not in ("", "softkms", "file"):
        top.faults.wrong(pointer, f"unsupported kms type {kms}")


def _check_authority(config: CAConfig, top: Members) -> None:
    authority = config.authority
    pointer = top.at("authority")
    accounts = [entry for entry in authority.provisioners if entry.kind == "K8sSA"]
    if len(accounts) > 1:
        top.faults.wrong(accounts[1].pointer, "cannot have more than one kubernetes service account provisioner")
    if authority.backdate < 0:
        top.faults.wrong(f"{pointer}.backdate", "authority.backdate cannot be less than 0")


def _check_crl(config: CAConfig, top: Members) -> None:
    """Also when the list is not enabled, as the reference does."""
    pointer = top.at("crl")
    for name, value in (("cacheDuration", config.crl.cache_duration), ("renewPeriod", config.crl.renew_period)):
        if value < 0:
            top.faults.wrong(f"{pointer}.{name}", f"crl.{name} must be greater than or equal to 0")
            return
    if config.crl.cache_duration < config.crl.renew_period:
        top.faults.wrong(
            f"{pointer}.cacheDuration", "crl.cacheDuration must be greater than or equal to crl.renewPeriod"
        )


BUILT_DB_TYPES: Final = frozenset(("badger", "badgerv1", "badgerv2", "bbolt", "sqlite", "postgresql"))
"""All but PostgreSQL are kept in SQLite, in or beside the data source."""


def _check_start(config: CAConfig, top: Members) -> None:
    """What the reference finds while it starts, after the file as a whole is accepted."""
    _check_db(config, top)
    try:
        merge(BUILT_IN, config.authority.claims)
    except ClaimsError as error:
        pointer = f"{top.at('authority')}.claims.{error.member}"
        top.faults.wrong(pointer, f"error generating provisioner config: claims: {error}")
    _check_clashes(config, top.faults)
    if config.crl.enabled and config.db is None:
        text = "could not generate a CRL: could not retrieve CRL from database: not implemented"
        top.faults.wrong(f"{top.at('crl')}.enabled", text)
    if config.logger and config.logger.format not in ("", "text", "json", "common"):
        top.faults.wrong(f"{top.at('logger')}.format", f"unsupported logger.format '{config.logger.format}'")
    if config.monitoring and config.monitoring.type not in ("", "newrelic"):
        top.faults.wrong(f"{top.at('monitoring')}.type", f"unsupported monitoring.type '{config.monitoring.type}'")


def _check_db(config: CAConfig, top: Members) -> None:
    if config.db is None or config.db.type in BUILT_DB_TYPES:
        return
    kind = config.db.type
    pointer = f"{top.at('db')}.type"
    if kind == "mysql":
        top.faults.wrong(pointer, f"db.type {kind} {_LATER}; use sqlite or postgresql")
    else:
        top.faults.wrong(pointer, f"Error opening database of Type {kind}: {kind} database not supported")


def _check_clashes(config: CAConfig, faults: Faults) -> None:
    """Two provisioners of one id or name; those that will fail to initialise count too."""
    ids: set[str] = set()
    names: set[str] = set()
    for entry in config.authority.provisioners:
        kind = KINDS[entry.kind.lower()]
        token_id = kind.token_id(entry.name, canonical_members(entry.raw, kind.members))
        if token_id in ids:
            faults.wrong(entry.pointer, "cannot add multiple provisioners with the same id")
        elif entry.name in names:
            faults.wrong(entry.pointer, "cannot add multiple provisioners with the same name")
        ids.add(token_id)
        names.add(entry.name)


_STRUCT_FIELD: Final = re.compile(r"(Go struct field \w+\.)")
"""The reference names where a value of the wrong kind stands from the top of the file."""


def _check_not_built(config: CAConfig, top: Members) -> None:
    """Rules of the whole authority that this version could only ignore: it must not start then."""
    authority, pointer = config.authority, top.at("authority")
    try:
        read_policies(authority.policy)
    except PolicyError as error:
        text, where = str(error), f"{pointer}.policy"
        if text.startswith("json: "):
            top.faults.unreadable(where, _STRUCT_FIELD.sub(r"\1authority.policy.", text))
        else:
            top.faults.wrong(where, text)
    if authority.enable_admin:
        text = f"authority.enableAdmin {_LATER}; set it to false and keep the provisioners in this file"
        top.faults.wrong(f"{pointer}.enableAdmin", text)
    if authority.deployment_type.lower() == "linked":
        top.faults.wrong(f"{pointer}.deploymentType", f"authority.deploymentType linked {_LATER}")
    if config.monitoring and config.monitoring.type == "newrelic":
        text = f"monitoring.type newrelic {_LATER}; remove monitoring, or use metricsAddress"
        top.faults.wrong(f"{top.at('monitoring')}.type", text)
    if config.ssh is not None:
        text = f"SSH {_LATER}: SSH requests are answered as by a CA without SSH keys"
        top.faults.doubtful(top.at("ssh"), text)


def _says_something(value: object) -> bool:
    """Whether anything in a tree of objects is not empty, null or false."""
    if isinstance(value, Mapping):
        return any(_says_something(member) for member in value.values())
    return bool(value)
