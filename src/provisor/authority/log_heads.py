"""Signed heads against the issuers that may have signed them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import final

from provisor.authority.log_report import LogReport, Wrong
from provisor.core.tree_head import SignedHead, TreeHead, parse_head, verify_head
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.errors import Malformed


@final
class Signers:
    """The certificates of issuers by their ids.

    With `anchors`, certificates that the reader trusts, an issuer counts only if it is one of them or one of them
    signed it; without, any counts, and the reader compares the ids in the report.
    """

    def __init__(self, issuers: Iterable[bytes], anchors: Sequence[Certificate] = ()) -> None:
        self._anchors = anchors
        self._certificates: dict[bytes, Certificate] = {}
        self.untrusted: list[str] = []
        for der in issuers:
            self.learn(der)
        for anchor in anchors:
            self._certificates.setdefault(hashlib.sha256(anchor.der).digest(), anchor)

    def learn(self, der: bytes) -> None:
        """Another issuer, unless it cannot be read or leads to none of the anchors."""
        try:
            certificate = parse_certificate(der)
        except Malformed:
            return
        if self._anchors and not self._is_trusted(certificate):
            self.untrusted.append(certificate.fingerprint)
            return
        self._certificates[hashlib.sha256(der).digest()] = certificate

    def find(self, issuer: bytes) -> Certificate | None:
        return self._certificates.get(issuer)

    def _is_trusted(self, certificate: Certificate) -> bool:
        return any(certificate.der == each.der or is_issued_by(certificate, each) for each in self._anchors)


def check_head(signed: SignedHead, signers: Signers, authority: str, where: str, report: LogReport) -> TreeHead | None:
    """The head if it is genuine; otherwise the report says why it is not. Any authority's, if `authority` is empty."""
    try:
        head = parse_head(signed.text)
    except Malformed as error:
        report.add(Wrong.HEAD_ALTERED, where, error.detail)
        return None
    issuer = signers.find(head.issuer)
    if issuer is None:
        text = f"signed by issuer {head.issuer.hex()}, which is not known or not trusted"
        report.add(Wrong.ISSUER_UNKNOWN, where, text, head.size)
        return None
    try:
        verify_head(signed, issuer)
    except Malformed as error:
        report.add(Wrong.HEAD_ALTERED, where, error.detail, head.size)
        return None
    if authority and head.authority != authority:
        report.add(Wrong.HEAD_ALTERED, where, f"of another authority's log: {head.authority}", head.size)
        return None
    if (shown := issuer.fingerprint) not in report.issuers:
        report.issuers.append(shown)
    return head
