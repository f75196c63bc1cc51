"""Does a certificate lead to a root, and is it for this host? For any purpose, as `certificate verify` asks.

The rules of RFC 5280 section 6.1 for signatures, windows, authorities, path lengths and names.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime

from provisor.core.durations import format_rfc3339
from provisor.core.names import NameKind, parse_ip
from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.chain import UNDERSTOOD, is_issued_by, may_sign, reaches_root
from provisor.core.x509.constraints import join_constraints
from provisor.errors import ProvisorError, Unauthenticated

_HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9_](?:[A-Za-z0-9_-]*)(?:\.[A-Za-z0-9_][A-Za-z0-9_-]*)*\.?")


def verify(
    leaf: Certificate,
    intermediates: Sequence[Certificate],
    roots: Sequence[Certificate],
    *,
    host: str,
    now: datetime,
) -> None:
    """Raises `Unauthenticated` with the recorded text. An empty `host` is not checked."""
    _check_itself(leaf, now)
    if host:
        check_host(leaf, host)
    if any(root.der == leaf.der for root in roots):
        return
    is_above = _Above(now)
    if not reaches_root((leaf,), intermediates, roots, is_above):
        raise is_above.problem


def _check_itself(certificate: Certificate, now: datetime) -> None:
    for extension in certificate.extensions:
        if extension.critical and extension.oid not in UNDERSTOOD:
            raise Unauthenticated("x509: unhandled critical extension")
    text = f"x509: certificate has expired or is not yet valid: current time {format_rfc3339(now)} is "
    if now < certificate.not_before:
        raise Unauthenticated(f"{text}before {format_rfc3339(certificate.not_before)}")
    if now > certificate.not_after:
        raise Unauthenticated(f"{text}after {format_rfc3339(certificate.not_after)}")


class _Above:
    """The rules for a certificate above another, at one moment; `problem` is the last one that broke a rule."""

    def __init__(self, now: datetime) -> None:
        self.problem = Unauthenticated("x509: certificate signed by unknown authority")
        self._now = now

    def __call__(self, parent: Certificate, chain: Sequence[Certificate]) -> bool:
        if not is_issued_by(chain[-1], parent) or not may_sign(parent):
            return False
        try:
            _check_itself(parent, self._now)
            _check_authority(parent, chain)
        except ProvisorError as error:
            self.problem = Unauthenticated(error.public or error.detail)
            return False
        return True


def _check_authority(parent: Certificate, chain: Sequence[Certificate]) -> None:
    below = sum(1 for certificate in chain[1:] if certificate.subject != certificate.issuer)
    if parent.path_length is not None and below > parent.path_length:
        raise Unauthenticated("x509: too many intermediates for path length constraint")
    constraints = join_constraints([parent])
    for certificate in chain:
        constraints.check_names(certificate.names)


# -- names --------------------------------------------------------------------------------------


def check_host(certificate: Certificate, host: str) -> None:
    """Raises `Unauthenticated` unless the certificate is for this DNS name or address (RFC 6125 section 6.4)."""
    address = parse_ip(host[1:-1] if host.startswith("[") and host.endswith("]") else host)
    kind = NameKind.IP if address else NameKind.DNS
    known = [name.value for name in certificate.names if name.kind is kind]
    if address:
        if address in known:
            return
        if not known:
            raise Unauthenticated(
                f"x509: cannot validate certificate for {host} because it doesn't contain any IP SANs"
            )
    elif any(_matches(pattern, host) for pattern in known):
        return
    elif certificate.extension(oids.SUBJECT_ALT_NAME) is None and _HOST.fullmatch(certificate.common_name):
        raise Unauthenticated("x509: certificate relies on legacy Common Name field, use SANs instead")
    elif not known:
        raise Unauthenticated(f"x509: certificate is not valid for any names, but wanted to match {host}")
    raise Unauthenticated(f"x509: certificate is valid for {', '.join(known)}, not {host}")


def _matches(pattern: str, host: str) -> bool:
    """A wildcard is the whole first label and stands for exactly one."""
    pattern, host = pattern.lower().rstrip("."), host.lower().rstrip(".")
    if not pattern or pattern == host:
        return bool(pattern)
    first, _, rest = pattern.partition(".")
    label, _, domain = host.partition(".")
    return first == "*" and bool(rest) and bool(label) and domain == rest
