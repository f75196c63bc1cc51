"""Reading ca.json: all faults at once, each with a pointer, the first one as the reference would print it."""

from __future__ import annotations

from typing import Final

import msgspec
from msgspec import Struct

from provisor.config import defaults
from provisor.config.ca_json import (
    AUTHORITY_MEMBERS,
    EMPTY,
    TOP_MEMBERS,
    AuthorityConfig,
    CAConfig,
    CRLConfig,
    DBConfig,
    KMSConfig,
    LoggerConfig,
    MonitoringConfig,
    ProvisionerEntry,
    SSHConfig,
    SubjectDefaults,
    TLSOptions,
)
from provisor.config.members import Fault, Faults, Members
from provisor.config.provisioner_members import CANONICAL_KINDS, check_types, read_claims
from provisor.config.rules import check_config
from provisor.config.settings import read_settings
from provisor.core.claims import json_kind
from provisor.core.durations import Duration
from provisor.core.json_text import JSONSyntaxError, find_syntax_error, line_and_column
from provisor.core.secret import Secret
from provisor.errors import BadRequest
from provisor.wire.gojson import canonical_members, decode_value

__all__ = ["Fault", "LoadedConfig", "canonical_members", "load_config"]


class LoadedConfig(Struct, frozen=True):
    """What was read. `config` is to be used only when there are no `faults`.

    `document` is the file as decoded, members as written, for `edit`.
    """

    config: CAConfig
    document: dict[str, object]
    faults: tuple[Fault, ...]
    warnings: tuple[Fault, ...]


def load_config(data: bytes, *, where: str = "ca.json", strict: bool = False) -> LoadedConfig:
    """Decodes and checks the octets of a ca.json. Never raises: what is wrong is in `faults`.

    `where` is the file's name in texts. `strict` makes faults of the warnings.
    """
    faults = Faults(where)
    document = _document(data, faults)
    config = EMPTY
    if document is not None:
        top = Members(faults, document, "$", "Config")
        config = _read_config(top)
        check_config(config, top)
    found, warnings = tuple(faults.fatal), tuple(faults.warnings)
    if strict:
        found += tuple(msgspec.structs.replace(warning, fatal=True) for warning in warnings)
        warnings = ()
    return LoadedConfig(config, document or {}, found, warnings)


def _document(data: bytes, faults: Faults) -> dict[str, object] | None:
    try:
        document = decode_value(data)
    except BadRequest as error:
        fault = find_syntax_error(data) or JSONSyntaxError(error.detail.removeprefix("error decoding json: "), 0)
        line, column = line_and_column(data, fault.position)
        faults.unreadable(f"line {line}, column {column}", str(fault))
        return None
    if document is None:
        return {}
    if not isinstance(document, dict):
        faults.unreadable("$", f"json: cannot unmarshal {json_kind(document)} into Go value of type config.Config")
        return None
    return document


def _read_config(top: Members) -> CAConfig:
    top.warn_unknown(TOP_MEMBERS)
    names = top.texts("dnsNames")
    return CAConfig(
        root=_paths(top, "root"),
        federated_roots=top.texts("federatedRoots") or (),
        crt=top.text("crt"),
        key=top.text("key"),
        address=top.text("address"),
        insecure_address=top.text("insecureAddress"),
        dns_names=defaults.DNS_NAMES if names is None else names,
        kms=_read_kms(top.child("kms", "apiv1.Options")),
        ssh=_read_ssh(top.child("ssh", "config.SSHConfig")),
        logger=_read_logger(top.child("logger", "logging.Config")),
        db=_read_db(top.child("db", "db.Config")),
        monitoring=_read_monitoring(top.child("monitoring", "monitoring.Config")),
        authority=_read_authority(top.child("authority", "config.AuthConfig")),
        tls=_read_tls(top.child("tls", "config.TLSOptions")),
        password=Secret(top.text("password")),
        templates=top.mapping("templates", "templates.Templates"),
        common_name=top.text("commonName") or defaults.COMMON_NAME,
        crl=_read_crl(top.child("crl", "config.CRLConfig")),
        metrics_address=top.text("metricsAddress"),
        provisor=read_settings(top),
    )


def _paths(top: Members, name: str) -> tuple[str, ...]:
    """One path or an array of them."""
    if isinstance(top.get(name), str):
        return (path,) if (path := top.text(name)) else ()
    return top.texts(name) or ()


def _read_authority(members: Members | None) -> AuthorityConfig:
    if members is None:
        return AuthorityConfig()
    members.warn_unknown(AUTHORITY_MEMBERS)
    backdate = members.duration("backdate")
    return AuthorityConfig(
        type=members.text("type").lower(),
        certificate_authority=members.text("certificateAuthority"),
        certificate_authority_fingerprint=members.text("certificateAuthorityFingerprint"),
        certificate_issuer=members.mapping("certificateIssuer", "apiv1.CertificateIssuer"),
        credentials_file=members.text("credentialsFile"),
        authority_id=members.text("authorityId"),
        deployment_type=members.text("deploymentType"),
        provisioners=_read_provisioners(members),
        template=_read_subject(members.child("template", "config.ASN1DN")),
        claims=read_claims(members),
        policy=members.mapping("policy", "policy.Options"),
        disable_issued_at_check=members.flag("disableIssuedAtCheck"),
        backdate=defaults.BACKDATE if backdate is None else backdate,
        enable_admin=members.flag("enableAdmin"),
        disable_get_ssh_hosts=members.flag("disableGetSSHHosts"),
    )


def _read_provisioners(authority: Members) -> tuple[ProvisionerEntry, ...]:
    value = authority.get("provisioners")
    where = authority.at("provisioners")
    if value is None:
        return ()
    if not isinstance(value, list):
        authority.unreadable(
            "provisioners", f"json: cannot unmarshal {json_kind(value)} into Go value of type []json.RawMessage"
        )
        return ()
    entries = (_read_provisioner(authority.faults, raw, f"{where}[{index}]") for index, raw in enumerate(value))
    return tuple(entry for entry in entries if entry is not None)


def _read_provisioner(faults: Faults, raw: object, pointer: str) -> ProvisionerEntry | None:
    if not isinstance(raw, dict):
        faults.unreadable(pointer, "error unmarshaling provisioner")
        return None
    any_kind = Members(faults, raw, pointer, "provisioner", prefix="error unmarshaling provisioner: ")
    written = any_kind.text("type")
    kind = CANONICAL_KINDS.get(written.lower())
    if kind is None:
        # step-ca: left out without a word, so that an older server can read the file of a newer one.
        faults.doubtful(
            pointer,
            f"provisioner of unknown type {written!r} is left out"
            if written
            else "provisioner without type is left out",
        )
        return None
    entry = Members(faults, raw, pointer, kind, prefix="error unmarshaling provisioner: ")
    check_types(entry, kind)
    return ProvisionerEntry(kind, entry.text("name"), raw, pointer)


def _read_subject(members: Members | None) -> SubjectDefaults:
    if members is None:
        return SubjectDefaults()
    members.warn_unknown(_SUBJECT)
    return SubjectDefaults(*(members.text(name) for name in _SUBJECT))


_SUBJECT: Final = (
    *(
        "country",
        "organization",
        "organizationalUnit",
        "locality",
        "province",
        "streetAddress",
        "serialNumber",
        "commonName",
    ),
)


def _read_tls(members: Members | None) -> TLSOptions:
    if members is None:
        return TLSOptions()
    members.warn_unknown(("cipherSuites", "minVersion", "maxVersion", "renegotiation"))
    return TLSOptions(
        cipher_suites=members.texts("cipherSuites") or defaults.CIPHER_SUITES,
        min_version=members.number("minVersion", "config.TLSVersion") or defaults.MIN_VERSION,
        max_version=members.number("maxVersion", "config.TLSVersion") or defaults.MAX_VERSION,
        renegotiation=members.flag("renegotiation"),
    )


def _read_crl(members: Members | None) -> CRLConfig:
    if members is None:
        return CRLConfig()
    members.warn_unknown(("enabled", "generateOnRevoke", "cacheDuration", "renewPeriod", "idpURL"))
    cache = members.duration("cacheDuration") or defaults.CRL_CACHE_DURATION
    return CRLConfig(
        enabled=members.flag("enabled"),
        generate_on_revoke=members.flag("generateOnRevoke"),
        cache_duration=cache,
        renew_period=members.duration("renewPeriod") or Duration(cache // 3 * 2),
        idp_url=members.text("idpURL"),
    )


def _read_db(members: Members | None) -> DBConfig | None:
    if members is None:
        return None
    members.warn_unknown(("type", "dataSource", "valueDir", "database", "badgerFileLoadingMode"))
    return DBConfig(
        type=members.text("type").lower(),
        data_source=members.text("dataSource"),
        value_dir=members.text("valueDir"),
        database=members.text("database"),
        badger_file_loading_mode=members.text("badgerFileLoadingMode"),
    )


def _read_kms(members: Members | None) -> KMSConfig | None:
    if members is None:
        return None
    members.warn_unknown(
        ("type", "uri", "credentialsFile", "pin", "managementKey", "region", "profile", "storageDirectory")
    )
    uri = members.text("uri")
    scheme, colon, _ = uri.partition(":")
    return KMSConfig(
        type=(members.text("type") or (scheme if colon else "")).lower(),
        uri=Secret(uri),
        credentials_file=members.text("credentialsFile"),
        pin=Secret(members.text("pin")),
        management_key=Secret(members.text("managementKey")),
        region=members.text("region"),
        profile=members.text("profile"),
        storage_directory=members.text("storageDirectory"),
    )


def _read_ssh(members: Members | None) -> SSHConfig | None:
    if members is None:
        return None
    members.warn_unknown(("hostKey", "userKey", "keys", "addUserPrincipal", "addUserCommand", "bastion"))
    return SSHConfig(
        host_key=members.text("hostKey"),
        user_key=members.text("userKey"),
        keys=members.mappings("keys", "*config.SSHPublicKey"),
        add_user_principal=members.text("addUserPrincipal") or defaults.SSH_ADD_USER_PRINCIPAL,
        add_user_command=members.text("addUserCommand") or defaults.SSH_ADD_USER_COMMAND,
        bastion=members.mapping("bastion", "config.Bastion"),
    )


def _read_logger(members: Members | None) -> LoggerConfig | None:
    if members is None:
        return None
    members.warn_unknown(("format", "traceHeader"))
    return LoggerConfig(format=members.text("format"), trace_header=members.text("traceHeader"))


def _read_monitoring(members: Members | None) -> MonitoringConfig | None:
    if members is None:
        return None
    members.warn_unknown(("type", "name", "key"))
    return MonitoringConfig(
        type=members.text("type").lower(), name=members.text("name"), key=Secret(members.text("key"))
    )
