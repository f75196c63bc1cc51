"""Who issued a client's certificate, and whether it can be believed.

Two ways in: the certificate of a TLS handshake comes from one of our own issuers, and is checked
against it alone; the one in a renewal token brings its intermediates, up to one of our roots.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta

from cryptography.hazmat import asn1

from provisor.core.durations import format_go_time
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import SCHEMES, is_signature_valid
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.constraints import join_constraints
from provisor.core.x509.der import Signed, encoded
from provisor.core.x509.extensions import KeyUsage
from provisor.core.x509.issuer import Issuer
from provisor.errors import CertificateExpired, Malformed, ProvisorError, Unauthenticated

MAX_CHAIN = 8
"""Certificates in a chain, leaf and root included."""

_MAX_SIGNATURES = 32
"""Signatures that one chain may cost: candidates with one name and different keys multiply."""

UNDERSTOOD = frozenset(
    (
        oids.KEY_USAGE,
        oids.EXT_KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.NAME_CONSTRAINTS,
        oids.SUBJECT_ALT_NAME,
        oids.SUBJECT_KEY_ID,
        oids.AUTHORITY_KEY_ID,
        oids.CERTIFICATE_POLICIES,
    )
)
"""Extensions that may be critical."""

IsAbove = Callable[[Certificate, Sequence[Certificate]], bool]
"""Whether a certificate stands above the last one of a chain, leaf first, whose others are below that."""


def reaches_root(
    chain: Sequence[Certificate],
    intermediates: Sequence[Certificate],
    roots: Sequence[Certificate],
    is_above: IsAbove,
) -> bool:
    """Whether `chain` leads to one of `roots`: depth first, roots before intermediates, no key twice."""
    if len(chain) >= MAX_CHAIN:
        return False
    if any(is_above(root, chain) for root in roots):
        return True
    seen = {certificate.spki for certificate in chain}
    return any(
        reaches_root((*chain, parent), intermediates, roots, is_above)
        for parent in intermediates
        if parent.spki not in seen and is_above(parent, chain)
    )


def may_sign(certificate: Certificate) -> bool:
    """Whether it is an authority's, and its key usage lets it sign certificates."""
    return certificate.is_ca and (certificate.key_usage is None or KeyUsage.CERT_SIGN in certificate.key_usage)


def is_issued_by(child: Certificate, parent: Certificate) -> bool:
    """Whether `parent` is named as the issuer of `child` and its key signed it, with SHA-2 or Ed25519."""
    scheme = SCHEMES.get(child.signature_algorithm)
    if child.issuer != parent.subject or scheme is None:
        return False
    signed = asn1.decode_der(Signed, child.der)
    content = encoded(signed.content)
    return is_signature_valid(parent.spki, scheme, signed.signature.as_bytes(), content)


# -- the certificate of a TLS handshake -----------------------------------------------------------


def find_issuer(leaf: Certificate, issuers: Sequence[Issuer]) -> Issuer | None:
    """The issuer whose key signed `leaf`, None if none of them did."""
    return next((issuer for issuer in issuers if is_issued_by(leaf, issuer.certificate)), None)


def check_client_leaf(leaf: Certificate, issuer: Issuer, now: datetime) -> None:
    """Raises unless a certificate that `issuer` signed may speak for a client now.

    `CertificateExpired` outside its window or the issuer's; `Unauthenticated` for an authority, another
    purpose, a critical extension that nobody here understands, or a name that the issuer may not give.
    """
    for certificate in (leaf, issuer.certificate):
        if not certificate.not_before <= now <= certificate.not_after:
            raise CertificateExpired(
                f"certificate {certificate.common_name!r} is valid from {format_go_time(certificate.not_before)} "
                f"to {format_go_time(certificate.not_after)}"
            )
    _check_leaf(leaf)
    try:
        issuer.constraints.check_names(leaf.names)
    except ProvisorError as error:
        raise Unauthenticated(f"client certificate: {error.detail}") from error


def _check_leaf(leaf: Certificate) -> None:
    if leaf.is_ca:
        raise Unauthenticated("client certificate: of an authority")
    if not _serves_clients(leaf):
        raise Unauthenticated("client certificate: not for client authentication")
    _check_critical(leaf)


def _serves_clients(certificate: Certificate) -> bool:
    """Any purpose counts, and so does no list of purposes at all."""
    purposes = certificate.ext_key_usage
    return purposes is None or oids.CLIENT_AUTH in purposes or oids.ANY_PURPOSE in purposes


def _check_critical(certificate: Certificate) -> None:
    for extension in certificate.extensions:
        if not extension.critical:
            continue
        unread = extension.oid == oids.SUBJECT_ALT_NAME and not certificate.names
        if unread or extension.oid not in UNDERSTOOD:
            raise Unauthenticated(f"certificate: critical extension {extension.oid} is not understood")


# -- the certificate of a renewal token -------------------------------------------------------------


def verify_chain(ders: Sequence[bytes], roots: Sequence[Certificate], at: datetime | None = None) -> Certificate:
    """The leaf, first of `ders`, once it leads over the others to one of `roots`.

    Judged at `at`, by default a minute before the leaf's end, so that it may have expired meanwhile.
    The leaf may sign and may speak for a client. Raises `Unauthenticated`.
    """
    if not 1 <= len(ders) <= MAX_CHAIN:
        raise Unauthenticated(f"certificate chain of {len(ders)} certificates")
    try:
        leaf, *intermediates = map(parse_certificate, ders)
    except Malformed as error:
        raise Unauthenticated(error.detail) from error
    moment = leaf.not_after - timedelta(minutes=1) if at is None else at
    _check_leaf(leaf)
    if leaf.key_usage is None or KeyUsage.DIGITAL_SIGNATURE not in leaf.key_usage:
        raise Unauthenticated("client certificate: key usage lacks digitalSignature")
    if not leaf.not_before <= moment <= leaf.not_after:
        raise Unauthenticated("client certificate: not valid at the moment it is judged")
    if not reaches_root((leaf,), intermediates, roots, _Above(moment)):
        raise Unauthenticated("client certificate: no chain to a root of this CA")
    return leaf


class _Above:
    """The rules for a certificate above a client's, at one moment, with a limit to what a chain may cost."""

    def __init__(self, at: datetime) -> None:
        self._at = at
        self._signatures_left = _MAX_SIGNATURES

    def __call__(self, parent: Certificate, chain: Sequence[Certificate]) -> bool:
        if parent.subject != chain[-1].issuer or not self._may_issue(parent, chain):
            return False
        if self._signatures_left == 0:
            raise Unauthenticated("client certificate: too many candidates for its chain")
        self._signatures_left -= 1
        return is_issued_by(chain[-1], parent)

    def _may_issue(self, parent: Certificate, chain: Sequence[Certificate]) -> bool:
        """Rules of RFC 5280 section 6.1.4 for a certificate with the `chain` below it."""
        if not may_sign(parent) or not parent.not_before <= self._at <= parent.not_after:
            return False
        if parent.path_length is not None and len(chain) - 1 > parent.path_length:
            return False
        if not _serves_clients(parent):
            return False
        try:
            _check_critical(parent)
            constraints = join_constraints([parent])
            for certificate in chain:
                constraints.check_names(certificate.names)
        except ProvisorError:
            return False
        return not constraints.others
