"""ca.json as immutable data, member by member (core-api 3). Built by `load.load_config`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Struct

from provisor.config import defaults
from provisor.core.claims import ClaimSettings
from provisor.core.durations import Duration
from provisor.core.secret import Secret


class ProvisionerEntry(Struct, frozen=True):
    """One provisioner of a known kind.

    `kind` is the canonical spelling of its type, `raw` its JSON object with the members as they are
    written, `pointer` where it stands. The kind's own members are decoded by the provisioner itself.
    """

    kind: str
    name: str
    raw: Mapping[str, object]
    pointer: str

    def __repr__(self) -> str:
        # `raw` may hold a client secret or a challenge.
        return f"ProvisionerEntry(kind={self.kind!r}, name={self.name!r}, pointer={self.pointer!r})"


class SubjectDefaults(Struct, frozen=True):
    """`authority.template`: fills in the subject of a leaf where the leaf has no value."""

    country: str = ""
    organization: str = ""
    organizational_unit: str = ""
    locality: str = ""
    province: str = ""
    street_address: str = ""
    serial_number: str = ""
    common_name: str = ""


class AuthorityConfig(Struct, frozen=True):
    """`claims` is what this level sets; `policy` is the raw object, None without one."""

    type: str = ""
    certificate_authority: str = ""
    certificate_authority_fingerprint: str = ""
    certificate_issuer: Mapping[str, object] | None = None
    credentials_file: str = ""
    authority_id: str = ""
    deployment_type: str = ""
    provisioners: tuple[ProvisionerEntry, ...] = ()
    template: SubjectDefaults = SubjectDefaults()
    claims: ClaimSettings | None = None
    policy: Mapping[str, object] | None = None
    disable_issued_at_check: bool = False
    backdate: Duration = defaults.BACKDATE
    enable_admin: bool = False
    disable_get_ssh_hosts: bool = False


class DBConfig(Struct, frozen=True):
    """`type` in lower case."""

    type: str = ""
    data_source: str = ""
    value_dir: str = ""
    database: str = ""
    badger_file_loading_mode: str = ""


class KMSConfig(Struct, frozen=True):
    """`type` in lower case; from the URI's scheme when it is not given."""

    type: str = ""
    uri: Secret = Secret("")
    credentials_file: str = ""
    pin: Secret = Secret("")
    management_key: Secret = Secret("")
    region: str = ""
    profile: str = ""
    storage_directory: str = ""


class SSHConfig(Struct, frozen=True):
    """`keys` and `bastion` are raw objects."""

    host_key: str = ""
    user_key: str = ""
    keys: tuple[Mapping[str, object], ...] = ()
    add_user_principal: str = defaults.SSH_ADD_USER_PRINCIPAL
    add_user_command: str = defaults.SSH_ADD_USER_COMMAND
    bastion: Mapping[str, object] | None = None


class LoggerConfig(Struct, frozen=True):
    """`format` is "", text, json or common."""

    format: str = ""
    trace_header: str = ""


class MonitoringConfig(Struct, frozen=True):
    type: str = ""
    name: str = ""
    key: Secret = Secret("")


class TLSOptions(Struct, frozen=True):
    """Versions are numbers, 1.0 to 1.3. The suites apply to TLS 1.2 and below."""

    cipher_suites: tuple[str, ...] = defaults.CIPHER_SUITES
    min_version: float = defaults.MIN_VERSION
    max_version: float = defaults.MAX_VERSION
    renegotiation: bool = False


class CRLConfig(Struct, frozen=True):
    """A list is valid for `cache_duration` and renewed every `renew_period`; both are never zero."""

    enabled: bool = False
    generate_on_revoke: bool = False
    cache_duration: Duration = defaults.CRL_CACHE_DURATION
    renew_period: Duration = Duration(defaults.CRL_CACHE_DURATION // 3 * 2)
    idp_url: str = ""


class Switches(Struct, frozen=True, rename="camel"):
    """What the reference does and Provisor does only when told to, and what is stricter still. All off."""

    accept_sha1_requests: bool = msgspec.field(default=False, name="acceptSHA1Requests")
    accept_weak_rekey_keys: bool = False
    renew_unknown_certificates: bool = False
    renew_by_provisioner_name: bool = False
    refuse_tokens_before_start: bool = False
    allow_not_after_beyond_issuer: bool = False
    allow_hidden_names: bool = False
    refuse_authorities_from_templates: bool = False


class Limits(Struct, frozen=True, rename="camel"):
    """What a stranger may send and hold open."""

    body_bytes: int = 1_048_576
    header_bytes: int = 32_768
    header_count: int = 100
    json_depth: int = 64
    names_per_request: int = 1000
    handshake_seconds: int = 10
    header_seconds: int = 15
    body_seconds: int = 15
    idle_seconds: int = 15
    connections_per_worker: int = 4096
    connections_per_address: int = 1024
    token_bytes: int = 65_536


class TracingSettings(Struct, frozen=True, rename="camel"):
    """OpenTelemetry traces. `endpoint` is the base URL of an OTLP/HTTP receiver; empty: the environment names it.

    Of requests that bring no sampled trace the share `sample_ratio` is traced; of those that do, at most
    `asked_per_second` a worker, so that a stranger cannot have everything traced.
    """

    endpoint: str = ""
    sample_ratio: float = 0.01
    asked_per_second: int = 10
    service_name: str = "provisor"


class DatabaseSettings(Struct, frozen=True, rename="camel"):
    """How a PostgreSQL database is used. `password_file` holds its password in the first line.

    `statement_seconds` bounds every statement; a transaction that lies still for `pause_seconds` (its process was
    stopped) is ended by the server. `migrate`: bring an older schema up to date at the start.
    """

    password_file: str = ""
    statement_seconds: int = 8
    pause_seconds: int = 4
    migrate: bool = False


class RetentionSettings(Struct, frozen=True, rename="camel"):
    """How long what is over is kept; None: for ever.

    `certificates` is counted from a certificate's end; its line, its end and its fingerprint stay. `events` is counted
    from the event, which stays at least as long as its certificate; its hash stays in the audit log.
    """

    certificates: Duration | None = defaults.CERTIFICATES_KEPT
    events: Duration | None = None


class NetworkSettings(Struct, frozen=True, rename="camel"):
    """Where the CA itself may connect to. `allowed_addresses`: what the rule of addresses would refuse, and is meant.

    Proxies that the environment names are ignored unless `proxy_from_environment`.
    """

    allowed_addresses: tuple[str, ...] = ()
    proxy_from_environment: bool = False


class ProvisorSettings(Struct, frozen=True, rename="camel"):
    """The top-level object `provisor`, which the reference ignores.

    `workers` None: one a processor. `clock_tolerance_seconds`: how far the clock may be behind the
    latest time the store has seen. `max_certificate_duration`: the longest validity the signing gate lets pass.
    `admin_socket`: path of the local administrator's socket; None: beside ca.json; empty: there is none.
    """

    workers: int | None = None
    switches: Switches = Switches()
    limits: Limits = Limits()
    clock_tolerance_seconds: int = 120
    max_certificate_duration: Duration = defaults.MAX_CERTIFICATE_DURATION
    admin_socket: str | None = None
    tracing: TracingSettings | None = None
    database: DatabaseSettings = DatabaseSettings()
    retention: RetentionSettings = RetentionSettings()
    network: NetworkSettings = NetworkSettings()


class CAConfig(Struct, frozen=True):
    """The whole file. Paths are as written."""

    root: tuple[str, ...] = ()
    federated_roots: tuple[str, ...] = ()
    crt: str = ""
    key: str = ""
    address: str = ""
    insecure_address: str = ""
    dns_names: tuple[str, ...] = defaults.DNS_NAMES
    kms: KMSConfig | None = None
    ssh: SSHConfig | None = None
    logger: LoggerConfig | None = None
    db: DBConfig | None = None
    monitoring: MonitoringConfig | None = None
    authority: AuthorityConfig = AuthorityConfig()
    tls: TLSOptions = TLSOptions()
    password: Secret = Secret("")
    templates: Mapping[str, object] | None = None
    common_name: str = defaults.COMMON_NAME
    crl: CRLConfig = CRLConfig()
    metrics_address: str = ""
    provisor: ProvisorSettings = ProvisorSettings()

    @property
    def crl_idp_url(self) -> str:
        """The issuing distribution point of CRLs. step-ca: without a port when it is not configured."""
        return self.crl.idp_url or f"https://{self.dns_names[0]}/1.0/crl"


EMPTY: Final = CAConfig()

TOP_MEMBERS: Final = (
    *("root", "federatedRoots", "crt", "key", "address", "insecureAddress", "dnsNames", "kms", "ssh", "logger", "db"),
    *("monitoring", "authority", "tls", "password", "templates", "commonName", "crl", "metricsAddress", "provisor"),
)
"""Of the whole file, in the order they are written."""

AUTHORITY_MEMBERS: Final = (
    *(
        "type",
        "certificateAuthority",
        "certificateAuthorityFingerprint",
        "certificateIssuer",
        "credentialsFile",
        "config",
    ),
    *("authorityId", "deploymentType", "provisioners", "template", "claims", "policy", "disableIssuedAtCheck"),
    *("backdate", "enableAdmin", "disableGetSSHHosts"),
)
"""Of `authority`, in the order they are written."""
