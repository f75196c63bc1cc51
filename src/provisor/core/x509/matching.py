"""Whether a name matches one constraint: domains by whole labels, mailboxes by RFC 5321, URIs by their host."""

from __future__ import annotations

import re

from msgspec import Struct

from provisor.core.names import parse_ip
from provisor.errors import NameConstrained

_LABEL = re.compile(r"[!-~]+\Z")
_ATOM = re.compile(r"(?:\\.|[0-9A-Za-z!#$%&'*+\-/=?^_`{|}~.])+", re.DOTALL)
_QUOTED = re.compile(r'"((?:\\[\x01-\x09\x0b\x0c\x0e-\x7f]|[\x01-\x08\x0b\x0c\x0e-!#-\[\]-\x7f])*)"')
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"}
_AUTHORITY = re.compile(r"[A-Za-z][A-Za-z0-9+.\-]*://([^/?#]*)")


def quote(text: str) -> str:
    """`text` in double quotes, as messages show names."""
    return '"' + "".join(_ESCAPES.get(c) or (c if c.isprintable() else f"\\u{ord(c):04x}") for c in text) + '"'


def refusal(text: str) -> NameConstrained:
    """The error for a name that is not allowed; the caller sees this very text."""
    return NameConstrained(text, public=text)


def split_domain(domain: str) -> list[str] | None:
    """The labels in lower case; None for a bad character or an empty label that is not the first, which is left out."""
    labels = domain.lower().split(".")
    if not labels[0]:
        labels = labels[1:]
    return labels if all(_LABEL.match(label) for label in labels) else None


def domain_matches(domain: str, constraint: str) -> bool:
    """Any depth below the constraint; a leading dot in it asks for at least one label more.

    An empty constraint matches everything. Raises `NameConstrained` for a domain that is none.
    """
    if not constraint:
        return True
    labels, wanted = split_domain(domain), split_domain(constraint)
    if labels is None or wanted is None:
        text = domain if labels is None else constraint
        raise refusal(f"internal error: cannot parse domain {quote(text)}")
    needed = len(wanted) + constraint.startswith(".")
    return len(labels) >= needed and labels[-len(wanted) :] == wanted


class Mailbox(Struct, frozen=True):
    """RFC 5321 section 4.1.2. The local part is without its quotes; the domain may be empty."""

    local: str
    domain: str


def parse_mailbox(text: str) -> Mailbox | None:
    """None for a text that is no mailbox."""
    if text.startswith('"'):
        quoted = _QUOTED.match(text)
        if quoted is None:
            return None
        local, rest = re.sub(r"\\(.)", r"\1", quoted[1], flags=re.DOTALL), text[quoted.end() :]
    else:
        atom = _ATOM.match(text)
        if atom is None:
            return None
        local, rest = re.sub(r"\\(.)", r"\1", atom[0], flags=re.DOTALL), text[atom.end() :]
        if local.startswith(".") or local.endswith(".") or ".." in local:
            return None
    if not rest.startswith("@") or split_domain(rest[1:]) is None:
        return None
    return Mailbox(local, rest[1:])


def mailbox_matches(mailbox: Mailbox, constraint: str) -> bool:
    """A constraint with `@` is one mailbox, its local part letter for letter; any other is a domain."""
    if "@" not in constraint:
        return domain_matches(mailbox.domain, constraint)
    wanted = parse_mailbox(constraint)
    if wanted is None:
        raise refusal(f"internal error: cannot parse constraint {quote(constraint)}")
    return mailbox.local == wanted.local and mailbox.domain.lower() == wanted.domain.lower()


def uri_matches(uri: str, constraint: str) -> bool:
    """By the host, without its port. Raises `NameConstrained` for a URI without a host, or with an address for one."""
    authority = _AUTHORITY.match(uri)
    host = authority[1].rpartition("@")[2] if authority else ""
    if not host:
        raise refusal(f"URI with empty host ({quote(uri)}) cannot be matched against constraints")
    if not host.endswith("]"):
        host = host.rpartition(":")[0] if ":" in host else host
    if host.startswith("[") or parse_ip(host):
        raise refusal(f"URI with IP ({quote(uri)}) cannot be matched against constraints")
    return domain_matches(host, constraint)
