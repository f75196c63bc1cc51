"""Policies: which names certificates may have (templates 4).

A rule set is made once; looking a name up costs the same whatever the number of rules. Deny beats
allow. A type of name without any rule is refused as soon as something else is allowed explicitly.
"""

from __future__ import annotations

import enum
import ipaddress
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Final, final

from msgspec import Struct

from provisor.core.idna_names import IDNAError, to_ascii
from provisor.core.names import Name, NameKind, classify_san, split_kinds
from provisor.core.text import go_quoted
from provisor.core.url import URLError, parse_url
from provisor.core.x509.matching import Mailbox, parse_mailbox, split_domain


class PolicyError(ValueError):
    """A rule that cannot be used. The text is the reference's."""


class Reason(enum.Enum):
    NOT_ALLOWED = "not allowed"
    CANNOT_PARSE_DOMAIN = "cannot parse domain"
    CANNOT_PARSE_MAILBOX = "cannot parse mailbox"
    CANNOT_MATCH = "cannot match"
    MISPLACED = "misplaced"
    """A principal, or a whole kind of certificate, that a policy has no place for."""


class Refusal(Struct, frozen=True):
    """Why a name is refused. `text` is the reference's, `detail` says which rule, or that there is none."""

    reason: Reason
    kind: str
    name: str
    detail: str

    @property
    def text(self) -> str:
        quoted = go_quoted(self.name)
        return {
            Reason.NOT_ALLOWED: f"{self.kind} name {quoted} not allowed",
            Reason.CANNOT_PARSE_DOMAIN: f"cannot parse {self.kind} domain {quoted}",
            Reason.CANNOT_PARSE_MAILBOX: f"cannot parse {self.kind} rfc822Name {quoted}",
            Reason.CANNOT_MATCH: f"error matching {self.kind} name {quoted} to constraint",
            Reason.MISPLACED: self.detail,
        }[self.reason]


class Match(Struct, frozen=True):
    """One decision on the way: which rule let a name through, or stopped it. `rule` is "" where none did."""

    kind: str
    name: str
    verdict: str
    rule: str


Notes = Callable[[Match], None]


def _silent(_match: Match) -> None:
    pass


# -- rules ---------------------------------------------------------------------------------------

_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


class _Domains:
    """Host names: `*.x` matches exactly one label more than `x`."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._below: dict[str, str] = {}

    def add(self, rule: str, written: str) -> None:
        if rule.startswith("."):
            self._below.setdefault(rule[1:].lower(), written)
        else:
            self._exact.setdefault(rule.lower(), written)

    def find(self, name: str, *, literal_wildcards: bool = False) -> str | None:
        """The rule that matches a name. `*.x` matches only where such names may be asked for literally."""
        if name == " " or name.startswith("."):
            return None
        if "*" in name and (not name.startswith("*.") or "*" in name[1:] or not literal_wildcards):
            return None
        lowered = name.lower()
        if (rule := self._exact.get(lowered)) is not None:
            return rule
        label, _, parent = lowered.partition(".")
        return self._below.get(parent) if label else None

    def __bool__(self) -> bool:
        return bool(self._exact or self._below)


class _Networks:
    def __init__(self) -> None:
        self._by_length: dict[tuple[int, int], dict[int, str]] = {}

    def add(self, network: _Network, written: str) -> None:
        found = self._by_length.setdefault((network.version, network.prefixlen), {})
        found.setdefault(int(network.network_address), written)

    def find(self, text: str) -> str | None:
        address = ipaddress.ip_address(text)
        mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
        address = mapped or address
        number, bits = int(address), address.max_prefixlen
        for (version, length), found in self._by_length.items():
            if version == address.version:
                rule = found.get(number >> (bits - length) << (bits - length))
                if rule is not None:
                    return rule
        return None

    def __bool__(self) -> bool:
        return bool(self._by_length)


class _Mailboxes:
    def __init__(self) -> None:
        self._exact: dict[tuple[str, str], str] = {}
        self.domains = _Domains()

    def add(self, rule: str, written: str) -> None:
        if "@" not in rule:
            self.domains.add(rule, written)
            return
        local, _, domain = rule.rpartition("@")
        mailbox = parse_mailbox(rule)
        self._exact.setdefault((mailbox.local if mailbox else local, domain.lower()), written)

    def find(self, mailbox: Mailbox) -> str | None:
        exact = self._exact.get((mailbox.local, mailbox.domain.lower()))
        return exact if exact is not None else self.domains.find(mailbox.domain)

    def __bool__(self) -> bool:
        return bool(self._exact or self.domains)


class _Texts:
    """Whole texts in any case; `*` matches every one where that is allowed."""

    def __init__(self) -> None:
        self._exact: dict[str, str] = {}
        self._any = False

    def add(self, rule: str, *, star: bool) -> None:
        if star and rule == "*":
            self._any = True
        self._exact.setdefault(rule.lower(), rule)

    def find(self, text: str) -> str | None:
        found = self._exact.get(text.lower())
        return "*" if found is None and self._any else found

    def __bool__(self) -> bool:
        return bool(self._exact)


@final
class _Side:
    """All rules that allow, or all that deny."""

    def __init__(self, word: str, rules: Mapping[str, Sequence[str]]) -> None:
        self.dns, self.ip, self.email, self.uri = _Domains(), _Networks(), _Mailboxes(), _Domains()
        self.principal, self.cn = _Texts(), _Texts()
        for rule in _unique(rules.get("cn", ())):
            self.cn.add(_named(f"cannot parse {word} common name constraint", rule, _normal_common_name), star=False)
        for rule in _unique(rules.get("dns", ())):
            normal = _named(f"cannot parse {word} domain constraint", rule, _normal_domain)
            self.dns.add(normal, normal)
        for rule in _unique(rules.get("ip", ())):
            self.ip.add(_normal_network(rule, word), _shown_network(rule, word))
        for rule in _unique(rules.get("email", ())):
            normal = _named(f"cannot parse {word} email constraint", rule, _normal_mailbox)
            self.email.add(normal, normal)
        for rule in _unique(rules.get("uri", ())):
            normal = _named(f"cannot parse {word} URI domain constraint", rule, _normal_uri_domain)
            self.uri.add(normal, normal)
        for rule in _unique(rules.get("principal", ())):
            self.principal.add(rule, star=True)

    def __bool__(self) -> bool:
        return any((self.dns, self.ip, self.email, self.uri, self.principal, self.cn))


def _unique(rules: Iterable[str]) -> Iterable[str]:
    return dict.fromkeys(rules)


def _named(what: str, rule: str, normal: Callable[[str], str]) -> str:
    try:
        return normal(rule)
    except PolicyError as error:
        raise PolicyError(f"{what} {go_quoted(rule)}: {error}") from None


def _normal_common_name(rule: str) -> str:
    normal = rule.lower().strip()
    if not normal:
        raise PolicyError(f"contraint {go_quoted(rule)} can not be empty or white space string")
    if normal == "*":
        raise PolicyError('wildcard constraint "*" is not supported')
    return normal


def _stripped(rule: str, what: str) -> str:
    """A domain with `*.` in front as `.`; shared by host names and hosts of URIs."""
    normal = rule.lower().strip()
    quoted = go_quoted(rule)
    if ".." in normal:
        raise PolicyError(f"{what} constraint {quoted} cannot have empty labels")
    if normal.startswith("."):
        raise PolicyError(f"{what} constraint {quoted} with wildcard should start with *")
    if normal.rfind("*") > 0:
        raise PolicyError(f"{what} constraint {quoted} can only have wildcard as starting character")
    return normal


def _normal_domain(rule: str) -> str:
    normal = rule.lower().strip()
    quoted = go_quoted(rule)
    if not normal:
        raise PolicyError(f"contraint {quoted} can not be empty or white space string")
    normal = _stripped(rule, "domain")
    if normal.startswith("*") and not normal.startswith("*.") and len(normal) > 1:
        raise PolicyError(f"wildcard character in domain constraint {quoted} can only be used to match (full) labels")
    try:
        ascii_name = to_ascii(normal[1:] if normal.startswith("*.") else normal)
    except IDNAError as error:
        raise PolicyError(f"domain constraint {quoted} can not be converted to ASCII: {error}") from None
    if split_domain(ascii_name) is None:
        raise PolicyError(f"cannot parse domain constraint {quoted}")
    return ascii_name


def _normal_uri_domain(rule: str) -> str:
    normal = rule.lower().strip()
    quoted = go_quoted(rule)
    what = "URI domain"
    if not normal:
        raise PolicyError(f"URI domain contraint {quoted} cannot be empty or white space string")
    if "://" in normal:
        raise PolicyError(f"{what} constraint {quoted} contains scheme (not supported yet)")
    normal = _stripped(rule, what)
    if "[" in normal or "]" in normal:
        raise PolicyError(f"{what} constraint {quoted} contains invalid square brackets")
    host = normal[1:] if normal.startswith("*.") else normal
    if host.count(":") == 1:
        raise PolicyError(f"{what} constraint {quoted} cannot contain port")
    try:
        ipaddress.ip_address(host)
    except ValueError:
        pass
    else:
        raise PolicyError(f"{what} constraint {quoted} cannot be an IP")
    try:
        ascii_name = to_ascii(host)
    except IDNAError as error:
        raise PolicyError(f"{what} constraint {quoted} cannot be converted to ASCII: {error}") from None
    if split_domain(ascii_name) is None:
        raise PolicyError(f"cannot parse {what} constraint {quoted}")
    return ascii_name


def _normal_mailbox(rule: str) -> str:
    normal = rule.lower().strip()
    quoted = go_quoted(rule)
    if not normal:
        raise PolicyError(f"email contraint {quoted} can not be empty or white space string")
    if "*" in normal:
        raise PolicyError(f"email constraint {quoted} cannot contain asterisk wildcard")
    if normal.count("@") > 1:
        raise PolicyError(f"email constraint {quoted} contains too many @ characters")
    normal = normal.removeprefix("@")
    if not normal:
        # the reference crashes here
        raise PolicyError(f"email constraint {quoted} has no domain")
    if normal.startswith("."):
        raise PolicyError(f"email constraint {quoted} cannot start with period")
    if "@" not in normal:
        return _mail_domain(normal, quoted)
    if not normal.isascii():
        raise PolicyError(f"cannot parse email constraint {quoted} as RFC 2821 mailbox")
    mailbox = parse_mailbox(normal)
    if mailbox is None:
        raise PolicyError(f"cannot parse email constraint {quoted} as RFC 2821 mailbox")
    domain = normal.rpartition("@")[2]
    try:
        ascii_domain = to_ascii(domain)
    except IDNAError as error:
        text = f"email constraint {quoted} domain part {go_quoted(domain)} cannot be converted to ASCII: {error}"
        raise PolicyError(text) from None
    whole = f"{mailbox.local}@{ascii_domain}"
    if split_domain(whole) is None:
        raise PolicyError(f"cannot parse email domain constraint {quoted}")
    return whole


def _mail_domain(domain: str, quoted: str) -> str:
    try:
        ascii_domain = to_ascii(domain)
    except IDNAError as error:
        raise PolicyError(f"email domain constraint {quoted} cannot be converted to ASCII: {error}") from None
    if split_domain(ascii_domain) is None:
        raise PolicyError(f"cannot parse email domain constraint {quoted}")
    return ascii_domain


def _normal_network(rule: str, word: str) -> _Network:
    try:
        if "%" in rule:
            raise ValueError
        if "/" in rule:
            if not rule.rpartition("/")[2].isdecimal():
                raise ValueError
            network = ipaddress.ip_network(rule, strict=False)
        else:
            network = ipaddress.ip_network(ipaddress.ip_address(rule))
    except ValueError:
        raise PolicyError(f"cannot parse {word} constraint {go_quoted(rule)} as IP nor CIDR") from None
    if isinstance(network, ipaddress.IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return ipaddress.ip_network(f"{mapped}/{network.prefixlen - 96}")
    return network


def _shown_network(rule: str, word: str) -> str:
    return str(_normal_network(rule, word))


# -- the engine ----------------------------------------------------------------------------------

_WILDCARD: Final = "*."


@final
class NamePolicy:
    """One set of rules. Immutable."""

    def __init__(
        self, allow: Mapping[str, Sequence[str]], deny: Mapping[str, Sequence[str]], *, wildcards: bool = False
    ) -> None:
        """Lists of rules by kind: cn, dns, ip, email, uri, principal. Raises `PolicyError`."""
        self._allow = _Side("permitted", allow)
        self._deny = _Side("excluded", deny)
        self._wildcards = wildcards

    def __bool__(self) -> bool:
        return bool(self._allow or self._deny)

    def check_certificate(self, names: Iterable[Name], common_name: str, notes: Notes = _silent) -> Refusal | None:
        """Names of a certificate, then its common name; None when all are allowed."""
        kinds = split_kinds(names)
        for kind in (NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI):
            for value in kinds[kind]:
                if refusal := self._check(str(kind), value, notes):
                    return refusal
        return self._check_common_name(common_name, notes)

    def check_names(self, names: Iterable[Name], notes: Notes = _silent) -> Refusal | None:
        """Names without a common name: of an order, or of an administrator."""
        return self.check_certificate(names, "", notes)

    def _check_common_name(self, name: str, notes: Notes) -> Refusal | None:
        """Its own rules first; where they do not let it through, the rules of the kind of name it looks like."""
        if not name:
            return None
        if self._allow.cn or self._deny.cn:
            denied = self._deny.cn.find(name)
            allowed = self._allow.cn.find(name) if self._allow.cn else "" if denied is None else None
            if denied is None and allowed is not None:
                notes(Match("cn", name, "allowed", allowed))
                return None
        classified = classify_san(name)
        if classified is None:
            return None
        refusal = self._check(str(classified.kind), classified.value, notes)
        return None if refusal is None else _as_common_name(refusal, name)

    def check_principals(self, principals: Sequence[str], *, host: bool, notes: Notes = _silent) -> Refusal | None:
        """Of an SSH certificate: host names and addresses, or users and their addresses."""
        kinds = split_kinds(name for text in principals if (name := classify_san(text)))
        word = "host" if host else "user"
        if not host and kinds[NameKind.IP]:
            return _misplaced(f"IP principals [{' '.join(kinds[NameKind.IP])}] not expected in SSH {word} certificate ")
        if kinds[NameKind.URI]:
            shown = " ".join(kinds[NameKind.URI])
            return _misplaced(f"URL principals [{shown}] not expected in SSH {word} certificate ")
        first = "dns" if host else "principal"
        order = ((first, NameKind.DNS), ("ip", NameKind.IP), ("email", NameKind.EMAIL))
        if not host:
            order = (("email", NameKind.EMAIL), (first, NameKind.DNS), ("ip", NameKind.IP))
        for kind, of in order:
            for value in kinds[of]:
                if refusal := self._check(kind, value, notes):
                    return refusal
        return None

    def _check(self, kind: str, value: str, notes: Notes) -> Refusal | None:
        if kind == "ip":
            value = str(ipaddress.ip_address(value))
        allow, deny = getattr(self._allow, kind), getattr(self._deny, kind)
        if not allow and not deny and self._allow:
            shown = "username principal" if kind == "principal" else kind
            notes(Match(kind, value, "refused", ""))
            return _refused(kind, value, f"{shown} {go_quoted(value)} is not explicitly permitted by any constraint")
        try:
            denied = self._find(deny, kind, value)
            allowed = self._find(allow, kind, value) if denied is None and allow else ""
        except _Stop as stop:
            notes(Match(kind, value, "error", ""))
            return stop.refusal
        if denied is not None:
            notes(Match(kind, value, "denied", denied))
            return _refused(kind, value, f"{kind} {go_quoted(value)} is excluded by constraint {go_quoted(denied)}")
        if allowed is None:
            notes(Match(kind, value, "refused", ""))
            return _refused(kind, value, f"{kind} {go_quoted(value)} is not permitted by any constraint")
        notes(Match(kind, value, "allowed", allowed))
        return None

    def _find(self, rules: object, kind: str, value: str) -> str | None:
        """The rule that matches. Raises `_Stop` for a name that is none."""
        if kind == "dns":
            name = _ascii_domain(value)
            assert isinstance(rules, _Domains)
            return rules.find(name, literal_wildcards=self._wildcards)
        if kind == "ip":
            assert isinstance(rules, _Networks)
            return rules.find(value)
        if kind == "email":
            mailbox = _mailbox(value)
            assert isinstance(rules, _Mailboxes)
            return rules.find(mailbox)
        if kind == "uri":
            assert isinstance(rules, _Domains)
            return rules.find(_uri_host(value)) if rules else None
        assert isinstance(rules, _Texts)
        return rules.find(value)


class _Stop(Exception):
    """A name that no rule can be asked about."""

    def __init__(self, reason: Reason, kind: str, name: str, detail: str) -> None:
        super().__init__(detail)
        self.refusal = Refusal(reason, kind, name, detail)


def _refused(kind: str, name: str, detail: str) -> Refusal:
    return Refusal(Reason.NOT_ALLOWED, kind, name, detail)


def _misplaced(text: str) -> Refusal:
    return Refusal(Reason.MISPLACED, "", "", text)


def _as_common_name(refusal: Refusal, name: str) -> Refusal:
    return Refusal(refusal.reason, "cn", name, refusal.detail)


def _ascii_domain(name: str) -> str:
    quoted = go_quoted(name)
    rest = name.removeprefix(_WILDCARD)
    try:
        ascii_name = to_ascii(rest)
    except IDNAError:
        raise _Stop(Reason.CANNOT_PARSE_DOMAIN, "dns", name, f"dns {quoted} cannot be converted to ASCII") from None
    if not ascii_name or split_domain(ascii_name) is None:
        raise _Stop(Reason.CANNOT_PARSE_DOMAIN, "dns", name, f"cannot parse dns {quoted}")
    return _WILDCARD + ascii_name if name.startswith(_WILDCARD) else ascii_name


def _mailbox(address: str) -> Mailbox:
    mailbox = parse_mailbox(address) if address.isascii() else None
    # the reference crashes on an empty domain
    if mailbox is None or not mailbox.domain:
        raise _Stop(Reason.CANNOT_PARSE_MAILBOX, "email", address, 'invalid rfc822Name {"" ""}')
    return mailbox


def _uri_host(uri: str) -> str:
    quoted = go_quoted(uri)
    try:
        url = parse_url(uri)
    except URLError:
        raise _Stop(Reason.CANNOT_MATCH, "uri", uri, f"cannot parse URI {quoted}") from None
    host = url.host
    if not host:
        detail = f"URI with empty host ({quoted}) cannot be matched against constraints"
    elif "*" in host:
        detail = f"URI host {quoted} cannot contain asterisk"
    else:
        if ":" in host and not host.endswith("]"):
            host = host.rpartition(":")[0]
        if host.startswith("[") or _is_address(host):
            detail = f"URI with IP {quoted} cannot be matched against constraints"
        elif not host.isascii() or split_domain(host) is None:
            detail = f"cannot parse domain {go_quoted(host)}"
        else:
            return host
    raise _Stop(Reason.CANNOT_MATCH, "uri", uri, detail)


def _is_address(host: str) -> bool:
    return re.fullmatch(r"[0-9.]+|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*", host) is not None and _parses(host)


def _parses(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


# -- what a level of the configuration holds -----------------------------------------------------


class Policies(Struct, frozen=True):
    """The policies of one level; None where a kind of certificate has no rules."""

    x509: NamePolicy | None = None
    ssh_user: NamePolicy | None = None
    ssh_host: NamePolicy | None = None

    def check_ssh(self, principals: Sequence[str], *, host: bool, notes: Notes = _silent) -> Refusal | None:
        """A policy for one kind of SSH certificate refuses the other kind altogether."""
        mine, other = (self.ssh_host, self.ssh_user) if host else (self.ssh_user, self.ssh_host)
        if mine is not None:
            return mine.check_principals(principals, host=host, notes=notes)
        if other is None:
            return None
        this, that = ("host", "user") if host else ("user", "host")
        return _misplaced(
            f"authority not allowed to sign SSH {this} certificates when SSH {that} certificate policy is active"
        )


NO_POLICIES: Final = Policies()
_X509_KINDS: Final = ("cn", "dns", "ip", "email", "uri")
_SSH_KINDS: Final = ("dns", "ip", "email", "principal")
_LONGEST: Final = 100_000


def read_policies(value: object) -> Policies:
    """The form of `authority.policy`. Unknown members are ignored. Raises `PolicyError`."""
    top = _object(value, "Options", "")
    x509 = _level(top, "x509", "X509PolicyOptions", "X509NameOptions", _X509_KINDS)
    ssh = _object(top.get("ssh"), "Options", "ssh")
    return Policies(
        x509,
        _level(ssh, "user", "SSHUserCertificateOptions", "SSHNameOptions", _SSH_KINDS, "ssh."),
        _level(ssh, "host", "SSHHostCertificateOptions", "SSHNameOptions", _SSH_KINDS, "ssh."),
    )


def _level(
    parent: Mapping[str, object], name: str, go: str, names_go: str, kinds: Sequence[str], prefix: str = ""
) -> NamePolicy | None:
    path = prefix + name
    members = _object(parent.get(name), go, path)
    sides = []
    for side in ("allow", "deny"):
        lists = _object(members.get(side), go, f"{path}.{side}", names_go)
        sides.append({kind: _texts(lists.get(kind), f"{path}.{side}.{kind}", names_go) for kind in kinds})
    wildcards = members.get("allowwildcardnames")
    if wildcards is not None and not isinstance(wildcards, bool):
        where = f"{go}.{path}.allowWildcardNames"
        raise PolicyError(f"json: cannot unmarshal {_kind(wildcards)} into Go struct field {where} of type bool")
    made = NamePolicy(*sides, wildcards=bool(wildcards))
    return made or None


def _object(value: object, go: str, path: str, wanted: str = "") -> Mapping[str, object]:
    """An object with its names in lower case."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        where = f"struct field {go}.{path}" if path else "value"
        raise PolicyError(f"json: cannot unmarshal {_kind(value)} into Go {where} of type policy.{wanted or go}")
    return {str(name).lower(): member for name, member in value.items()}


def _texts(value: object, path: str, go: str) -> Sequence[str]:
    if value is None:
        return ()
    if not isinstance(value, list | tuple):
        raise PolicyError(f"json: cannot unmarshal {_kind(value)} into Go struct field {go}.{path} of type []string")
    if len(value) > _LONGEST:
        raise PolicyError(f"{path} has more than {_LONGEST} rules")
    for item in value:
        if not isinstance(item, str):
            raise PolicyError(f"json: cannot unmarshal {_kind(item)} into Go struct field {go}.{path} of type string")
    return value


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, int | float):
        return "number"
    if isinstance(value, str):
        return "string"
    return "array" if isinstance(value, list | tuple) else "object"
