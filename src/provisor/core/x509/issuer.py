"""An issuer: the certificate whose key signs, the chain above it, and what they permit."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from msgspec import Struct

from provisor.core.x509.algorithms import SCHEMES, default_algorithm
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.constraints import NameConstraints, join_constraints
from provisor.core.x509.extensions import Extension, KeyUsage, encode_authority_key_id
from provisor.errors import ConfigError, Malformed


class Issuer(Struct, frozen=True):
    """`id` is the SHA-256 of the certificate's DER, `chain` the DER of the `crt` file, issuer first.

    `authority_key_id` is the extension in every certificate it signs, None if the issuer has no key
    identifier. `crl_sign`: it may sign lists of revoked certificates.
    """

    id: bytes
    certificate: Certificate
    chain: tuple[bytes, ...]
    signature_algorithm: bytes
    constraints: NameConstraints
    crl_sign: bool
    authority_key_id: Extension | None


def make_issuer(chain: Sequence[bytes], roots: Sequence[bytes] = ()) -> Issuer:
    """The issuer whose certificates are `chain`, the issuing one first, below one of `roots`.

    Raises `ConfigError` for a certificate that cannot be read or a key that cannot sign.
    """
    if not chain:
        raise ConfigError("crt", "no issuer certificate")
    try:
        certificates = [parse_certificate(der) for der in chain]
        above = [root for root in map(parse_certificate, roots) if _is_above(root, certificates[-1])]
        constraints = join_constraints(certificates + above)
    except Malformed as error:
        raise ConfigError("crt", error.detail) from error
    certificate = certificates[0]
    return Issuer(
        id=hashlib.sha256(certificate.der).digest(),
        certificate=certificate,
        chain=tuple(chain),
        signature_algorithm=signature_algorithm_for(certificate),
        constraints=constraints,
        crl_sign=certificate.key_usage is not None and KeyUsage.CRL_SIGN in certificate.key_usage,
        authority_key_id=encode_authority_key_id(certificate.skid) if certificate.skid else None,
    )


def _is_above(root: Certificate, last: Certificate) -> bool:
    return root.subject == last.issuer and last.akid in (root.skid, b"")


def signature_algorithm_for(issuer: Certificate) -> bytes:
    """The AlgorithmIdentifier the issuer signs with. Raises `ConfigError` for a key that cannot sign.

    By the curve or kind of the key; an RSA key keeps the scheme that its own certificate is signed
    with, if that is an RSA scheme and no weaker than SHA-256.
    """
    if issuer.key.kind == "RSA":
        own = SCHEMES.get(issuer.signature_algorithm)
        if own is not None and own.kind == "RSA":
            return issuer.signature_algorithm
    try:
        return default_algorithm(issuer.key)
    except ValueError as error:
        raise ConfigError("crt", str(error)) from error
