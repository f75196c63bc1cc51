"""Where a PostgreSQL database is, from `db` of ca.json; never its password in words.

step-ca's form: `{"type": "postgresql", "dataSource": "postgresql://user@host:port/?sslmode=...", "database": "name"}`.
What the data source leaves open, the environment says as for every PostgreSQL client (PGHOST, PGUSER, PGPASSWORD,
PGPASSFILE, PGSSLMODE, PGSSLROOTCERT, PGSSLCERT, PGSSLKEY, PGSERVICE ...).
"""

from __future__ import annotations

from typing import Any, Final
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

from msgspec import Struct

from provisor.core.secret import Secret
from provisor.errors import ConfigError

_SOURCE: Final = "ca.json: $.db.dataSource"
_SCHEMES: Final = ("postgresql", "postgres")
_HIDDEN: Final = frozenset({"password", "sslpassword"})
_OURS: Final = frozenset(
    {
        *("application_name", "connect_timeout", "keepalives", "keepalives_count", "keepalives_idle"),
        *("keepalives_interval", "statement_timeout", "tcp_user_timeout"),
    }
)
"""Set by the store itself, whatever the data source says."""
_DRIVER: Final = frozenset(
    {
        *("default_query_exec_mode", "description_cache_capacity", "fallback_application_name"),
        *("pool_health_check_period", "pool_max_conn_idle_time", "pool_max_conn_lifetime", "pool_max_conns"),
        *("pool_max_conn_lifetime_jitter", "pool_min_conns", "pool_min_idle_conns"),
        *("statement_cache_capacity", "statement_cache_mode"),
    }
)
"""For the driver of step-ca; they mean nothing here."""
_HARMLESS: Final = {
    "channel_binding": ("disable", "prefer"),
    "gssencmode": ("disable", "prefer"),
    "requirepeer": ("",),
    "require_auth": ("",),
}
"""Options that cannot be had, with the values that ask for nothing."""
_SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")


class Timeouts(Struct, frozen=True):
    """Seconds. `statement`: one statement, its waiting for locks included. `pause`: how long a transaction may lie
    still, in which its locks hold others up: a replica that is stopped has lost it after that.
    """

    connect: float = 3.0
    statement: float = 8.0
    pause: float = 4.0


class Target(Struct, frozen=True):
    """A database, and how to get in. `hosts` are tried in turn until one takes writes.

    `query` are the options of the data source that the driver reads. `password_file` is read for each connection.
    """

    hosts: tuple[str, ...] = ()
    ports: tuple[int, ...] = ()
    user: str = ""
    password: Secret = Secret("")
    password_file: str = ""
    database: str = ""
    query: tuple[tuple[str, str], ...] = ()
    timeouts: Timeouts = Timeouts()

    @property
    def shown(self) -> str:
        """For logs and errors."""
        ports = self.ports or (0,) * len(self.hosts)
        hosts = (f"{_bracketed(host)}:{port}" if port else host for host, port in zip(self.hosts, ports, strict=True))
        user = f"{self.user}@" if self.user else ""
        return f"postgresql://{user}{','.join(hosts)}/{self.database}"

    def __repr__(self) -> str:
        return f"Target({self.shown})"

    def arguments(self) -> dict[str, Any]:
        """For `asyncpg.connect`. Raises `ConfigError` if the password file cannot be read."""
        query = dict(self.query)
        query.setdefault("target_session_attrs", "read-write")
        arguments: dict[str, Any] = {"dsn": f"postgresql://?{urlencode(query, quote_via=quote)}"}
        if self.hosts:
            arguments["host"] = list(self.hosts)
        if any(self.ports):
            arguments["port"] = [port or 5432 for port in self.ports]
        if self.user:
            arguments["user"] = self.user
        if self.database:
            arguments["database"] = self.database
        password = self._read_password()
        if password:
            arguments["password"] = password
        return arguments

    def _read_password(self) -> str:
        if not self.password_file:
            return self.password.reveal().decode()
        try:
            with open(self.password_file, encoding="utf-8") as file:
                return file.readline(4096).rstrip("\r\n")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
            raise ConfigError("ca.json: $.provisor.database.passwordFile", f"{self.password_file}: {reason}") from error


def parse_target(
    data_source: str, database: str = "", *, password_file: str = "", timeouts: Timeouts | None = None
) -> Target:
    """The target of a data source; `database` overrides the name in it. Raises `ConfigError` without the password."""
    parts = _split(data_source)
    user_info, _, host_list = parts.netloc.rpartition("@")
    user, _, password = user_info.partition(":")
    hosts, ports = _parse_hosts(host_list)
    query: dict[str, str] = {}
    for name, value in _parse_query(parts.query):
        match name:
            case "user":
                user = user or quote(value)
            case "password":
                password = password or quote(value)
            case "host" if not hosts:
                hosts, ports = _parse_hosts(value)
            case "port" if not any(ports):
                ports = tuple(_parse_port(each) for each in value.split(","))
            case "dbname" | "database":
                database = database or value
            case "host" | "port":
                pass
            case _:
                _take_option(query, name, value)
    if len(ports) == 1 and len(hosts) > 1:
        ports *= len(hosts)
    if hosts and len(ports) != len(hosts):
        raise ConfigError(_SOURCE, "there is not one port for each host")
    return Target(
        hosts=hosts,
        ports=ports,
        user=unquote(user),
        password=Secret(unquote(password)),
        password_file=password_file,
        database=database or unquote(parts.path.removeprefix("/")),
        query=tuple(query.items()),
        timeouts=timeouts or Timeouts(),
    )


def without_password(data_source: str) -> str:
    """The data source as processes may have it that connect to nothing; empty if it cannot be read."""
    try:
        parts = _split(data_source)
        pairs = [(name, value) for name, value in _parse_query(parts.query) if name not in _HIDDEN]
    except ConfigError:
        return ""
    user_info, at, host_list = parts.netloc.rpartition("@")
    netloc = user_info.partition(":")[0] + at + host_list
    return urlunsplit(parts._replace(netloc=netloc, query=urlencode(pairs, quote_via=quote)))


def _split(data_source: str) -> SplitResult:
    scheme = data_source.partition("://")[0]
    if not data_source:
        raise ConfigError(_SOURCE, "is missing")
    try:
        parts = urlsplit(data_source)
    except ValueError as error:
        raise ConfigError(_SOURCE, "is not a URL") from error
    if scheme not in _SCHEMES or parts.fragment:
        # What is no URL may hold a password in any place: nothing of it is repeated.
        raise ConfigError(_SOURCE, "is not a URL such as postgresql://user@host:5432/?sslmode=verify-full")
    return parts


def _parse_query(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, strict_parsing=bool(query))
    except ValueError as error:
        raise ConfigError(_SOURCE, "its options are not of the form name=value&name=value") from error


def _parse_hosts(text: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    if not text:
        return (), ()
    pairs = [_parse_host(each) for each in text.split(",")]
    return tuple(host for host, _ in pairs), tuple(port for _, port in pairs)


def _parse_host(text: str) -> tuple[str, int]:
    if text.startswith("["):
        host, closed, rest = text[1:].partition("]")
        if not closed or (rest and not rest.startswith(":")):
            raise ConfigError(_SOURCE, "an IPv6 address is not well formed")
        port = rest[1:]
    else:
        host, _, port = text.partition(":")
    return unquote(host) or "localhost", _parse_port(port)


def _parse_port(text: str) -> int:
    """0 for none."""
    if not text:
        return 0
    if not text.isdecimal() or not 0 < int(text) < 65536:
        # It may be the end of a password with a colon in it.
        raise ConfigError(
            _SOURCE, "a port is not a number; ':', '/' and '@' of a password are written %3A, %2F and %40"
        )
    return int(text)


def _take_option(query: dict[str, str], name: str, value: str) -> None:
    if name in _OURS or name in _DRIVER:
        return
    if name in _HARMLESS:
        if value not in _HARMLESS[name]:
            raise ConfigError(_SOURCE, f"option {name}={value} is not supported")
        return
    if name == "sslmode" and value not in _SSL_MODES:
        raise ConfigError(_SOURCE, f"sslmode must be one of {', '.join(_SSL_MODES)}")
    query[name] = value


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
