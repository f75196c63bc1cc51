"""Has a certificate been revoked? Asked of the list of its authority (RFC 5280), or of a responder (RFC 6960).

An answer counts when the authority signed it, or for a responder's answer one that it named for that; when it is
about this certificate; and when it is in date. Anything else is no answer, and the next place is asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import datetime, timedelta

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509 import ocsp
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID
from msgspec import Struct

from provisor.cli.certificates import web
from provisor.cli.exits import CommandError
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.errors import Malformed

_SKEW = timedelta(minutes=5)
"""Clocks differ."""

Note = Callable[[str], None]


class Places(Struct, frozen=True):
    """The URLs in a certificate, or those of the command line."""

    issuers: tuple[str, ...] = ()
    responders: tuple[str, ...] = ()
    lists: tuple[str, ...] = ()


class Question(Struct, frozen=True):
    """About one certificate, whose authority is known, at one moment."""

    certificate: Certificate
    issuer: Certificate
    now: datetime


class _NoAnswer(Exception):
    """This place said nothing that counts."""


def places_in(certificate: Certificate) -> Places:
    """Only what is asked over HTTP."""
    extensions = _library(certificate).extensions
    access: list[tuple[x509.ObjectIdentifier, str]] = []
    lists: list[str] = []
    for extension in extensions:
        if isinstance(extension.value, x509.AuthorityInformationAccess):
            access += [
                (entry.access_method, entry.access_location.value)
                for entry in extension.value
                if isinstance(entry.access_location, x509.UniformResourceIdentifier)
            ]
        elif isinstance(extension.value, x509.CRLDistributionPoints):
            lists += [
                name.value
                for point in extension.value
                for name in point.full_name or ()
                if isinstance(name, x509.UniformResourceIdentifier)
            ]
    return Places(
        issuers=tuple(url for method, url in access if method == AuthorityInformationAccessOID.CA_ISSUERS),
        responders=tuple(url for method, url in access if method == AuthorityInformationAccessOID.OCSP),
        lists=tuple(lists),
    )


def fetch_issuer(urls: Iterable[str]) -> Certificate | None:
    """The authority's certificate, from where the certificate says; None if it does not. Raises `CommandError`."""
    for url in urls:
        try:
            content = web.fetch(url)
        except web.Unreachable as error:
            raise CommandError(f"failed to download the issuing CA from {url}: {error}") from error
        try:
            return parse_certificate(parse_certificates(content)[0])
        except Malformed as error:
            raise CommandError("failed to parse the issuing CA") from error
    return None


def check_issuer(question: Question) -> None:
    """Raises `CommandError` unless the authority signed the certificate: another's word would be worth nothing."""
    if not is_issued_by(question.certificate, question.issuer):
        raise CommandError(
            "the issuing CA certificate did not sign the certificate: give the right one with '--issuing-ca'"
        )


# -- lists --------------------------------------------------------------------------------------


def check_lists(question: Question, urls: Iterable[str], *, complain: Note) -> str:
    """The place of the list that does not have the certificate. Raises `CommandError`."""
    asked = False
    for url in urls:
        asked = True
        try:
            revoked = _is_listed(question, web.fetch(url))
        except web.Unreachable as error:
            complain(f"error downloading crl: {error}")
            continue
        except _NoAnswer as error:
            complain(f"error parsing crl: {error}")
            continue
        if revoked:
            raise CommandError(f"certificate has been revoked according to CRL {url}")
        return url
    if not asked:
        raise CommandError("CRL distribution endpoint not found in certificate")
    raise CommandError("could not verify certificate against CRL distribution point(s)")


def _is_listed(question: Question, content: bytes) -> bool:
    crl = _load_list(content)
    key = _library(question.issuer).public_key()
    try:
        genuine = crl.issuer.public_bytes() == question.issuer.subject and crl.is_signature_valid(key)  # type: ignore[arg-type]
    except (TypeError, ValueError, UnsupportedAlgorithm):
        genuine = False
    if not genuine:
        raise _NoAnswer("not signed by the issuing CA")
    _check_dates(question.now, crl.last_update_utc, crl.next_update_utc)
    _check_scope(crl, question.certificate)
    entry = crl.get_revoked_certificate_by_serial_number(question.certificate.serial)
    return entry is not None and not _is_removed(entry)


def _load_list(content: bytes) -> x509.CertificateRevocationList:
    try:
        if b"-----BEGIN X509 CRL-----" in content:
            return x509.load_pem_x509_crl(content)
        return x509.load_der_x509_crl(content)
    except ValueError as error:
        raise _NoAnswer("x509: malformed crl") from error


def _check_scope(crl: x509.CertificateRevocationList, certificate: Certificate) -> None:
    """A list of only some certificates, or only of changes, says nothing by what it leaves out."""
    for extension in crl.extensions:
        value = extension.value
        if isinstance(value, x509.IssuingDistributionPoint):
            other_kind = value.only_contains_user_certs if certificate.is_ca else value.only_contains_ca_certs
            if other_kind or value.only_contains_attribute_certs or value.only_some_reasons or value.indirect_crl:
                raise _NoAnswer("the list is about other certificates")
        elif isinstance(value, x509.DeltaCRLIndicator):
            raise _NoAnswer("the list has only changes")
        elif extension.critical and not isinstance(value, x509.CRLNumber | x509.AuthorityKeyIdentifier):
            raise _NoAnswer("x509: unhandled critical extension")


def _is_removed(entry: x509.RevokedCertificate) -> bool:
    try:
        return entry.extensions.get_extension_for_class(x509.CRLReason).value.reason is x509.ReasonFlags.remove_from_crl
    except x509.ExtensionNotFound:
        return False


# -- responders ---------------------------------------------------------------------------------


def check_responders(question: Question, urls: Iterable[str], *, complain: Note) -> str:
    """The place of the responder that calls the certificate good. Raises `CommandError`."""
    request = _request(question)
    asked = False
    for url in urls:
        asked = True
        try:
            status = _status(question, web.fetch(url, request, kind="application/ocsp-request"))
        except (_NoAnswer, web.BadStatus):
            complain(f"error parsing response from OCSP server: {url}")
            continue
        except web.Unreachable:
            complain(f"error contacting OCSP server: {url}")
            continue
        if status is ocsp.OCSPCertStatus.REVOKED:
            raise CommandError(f"certificate has been revoked according to OCSP {url}")
        if status is ocsp.OCSPCertStatus.UNKNOWN:
            raise CommandError(f"certificate status is unknown according to OCSP {url}")
        return url
    if not asked:
        raise CommandError("no OCSP AIA extension found")
    raise CommandError("could not verify certificate against OCSP server(s)")


def _request(question: Question) -> bytes:
    builder = ocsp.OCSPRequestBuilder()
    # Every responder knows SHA-1 here; it only finds the certificate (RFC 5019 section 2.1.1).
    builder = builder.add_certificate(_library(question.certificate), _library(question.issuer), hashes.SHA1())
    return builder.build().public_bytes(Encoding.DER)


def _status(question: Question, content: bytes) -> ocsp.OCSPCertStatus:
    try:
        response = ocsp.load_der_ocsp_response(content)
        if response.response_status is not ocsp.OCSPResponseStatus.SUCCESSFUL:
            raise _NoAnswer(response.response_status.name)
        _check_signature(question, response)
        mine = next((one for one in response.responses if _is_about(one, question)), None)
        if mine is None:
            raise _NoAnswer("about another certificate")
        _check_dates(question.now, mine.this_update_utc, mine.next_update_utc)
        return mine.certificate_status
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _NoAnswer(str(error)) from error


def _is_about(one: ocsp.OCSPSingleResponse, question: Question) -> bool:
    if one.serial_number != question.certificate.serial:
        return False
    builder = ocsp.OCSPRequestBuilder()
    same = builder.add_certificate(_library(question.certificate), _library(question.issuer), one.hash_algorithm)
    wanted = same.build()
    return (one.issuer_name_hash, one.issuer_key_hash) == (wanted.issuer_name_hash, wanted.issuer_key_hash)


def _check_signature(question: Question, response: ocsp.OCSPResponse) -> None:
    """By the authority, or by one with a certificate of the authority for this purpose (RFC 6960 section 4.2.2.2)."""
    if _is_signed(response, _library(question.issuer)):
        return
    for found in response.certificates:
        if _may_respond(found, question) and _is_signed(response, found):
            return
    raise _NoAnswer("not signed by the issuing CA")


def _may_respond(found: x509.Certificate, question: Question) -> bool:
    try:
        purposes = found.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
        responder = parse_certificate(found.public_bytes(Encoding.DER))
    except (x509.ExtensionNotFound, ValueError, Malformed):
        return False
    return (
        ExtendedKeyUsageOID.OCSP_SIGNING in purposes
        and responder.not_before <= question.now <= responder.not_after
        and is_issued_by(responder, question.issuer)
    )


def _is_signed(response: ocsp.OCSPResponse, signer: x509.Certificate) -> bool:
    key, algorithm = signer.public_key(), response.signature_hash_algorithm
    try:
        if isinstance(key, ed25519.Ed25519PublicKey):
            key.verify(response.signature, response.tbs_response_bytes)
        elif isinstance(key, ec.EllipticCurvePublicKey) and algorithm is not None:
            key.verify(response.signature, response.tbs_response_bytes, ec.ECDSA(algorithm))
        elif isinstance(key, rsa.RSAPublicKey) and algorithm is not None:
            key.verify(response.signature, response.tbs_response_bytes, padding.PKCS1v15(), algorithm)
        else:
            return False
    except InvalidSignature:
        return False
    return True


# -- both ---------------------------------------------------------------------------------------


def _check_dates(now: datetime, this_update: datetime, next_update: datetime | None) -> None:
    # step-ca: asks nobody for the date; an old answer hides a newer revocation
    if this_update > now + _SKEW:
        raise _NoAnswer("from the future")
    if next_update is not None and next_update < now - _SKEW:
        raise _NoAnswer("out of date")


def _library(certificate: Certificate) -> x509.Certificate:
    return x509.load_der_x509_certificate(certificate.der)
