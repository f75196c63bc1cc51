"""Certificates that are made on this machine with a key at hand, by profile."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from enum import StrEnum

from msgspec import Struct

from provisor.cli.certificates.validity import Window
from provisor.core.keys import PrivateKey, describe_key, spki_der, subject_key_id
from provisor.core.names import Name
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import default_algorithm
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.draft import Draft, assemble, encode_tbs
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    encode_authority_key_id,
    encode_basic_constraints,
    encode_ext_key_usage,
    encode_key_usage,
    encode_subject_alt_name,
    encode_subject_key_id,
)
from provisor.core.x509.issuer import signature_algorithm_for
from provisor.core.x509.name import EMPTY_NAME
from provisor.core.x509.spki import describe_spki
from provisor.kms.soft import SoftSigner

SERIAL_OCTETS = 16


class Profile(StrEnum):
    """What a certificate is for. CSR: what its request asks for, and nothing else."""

    LEAF = "leaf"
    INTERMEDIATE = "intermediate-ca"
    ROOT = "root-ca"
    SELF_SIGNED = "self-signed"
    CSR = "csr"


class Wanted(Struct, frozen=True):
    """A certificate to be. `subject` is the DER of a Name, `path_length` None sets no limit.

    `requested` are the extensions of the request, for the profile that takes them over.
    """

    profile: Profile
    subject: bytes
    spki: bytes
    window: Window
    names: tuple[Name, ...] = ()
    path_length: int | None = 0
    requested: tuple[Extension, ...] = ()


class IssuingPair(Struct, frozen=True):
    """Who signs. `certificate` is None for a certificate that signs itself."""

    key: PrivateKey
    certificate: Certificate | None = None


def make_certificate(wanted: Wanted, issuer: IssuingPair) -> bytes:
    """The DER of the signed certificate. Raises `Unencodable`, and `ConfigError` for an issuer that cannot sign."""
    parent = issuer.certificate
    algorithm = (
        default_algorithm(describe_key(issuer.key.public_key())) if parent is None else signature_algorithm_for(parent)
    )
    draft = Draft(
        serial=int.from_bytes(secrets.token_bytes(SERIAL_OCTETS), "big") or 1,
        issuer=wanted.subject if parent is None else parent.subject,
        signature_algorithm=algorithm,
        subject=wanted.subject,
        not_before=wanted.window.not_before,
        not_after=wanted.window.not_after,
        spki=wanted.spki,
        extensions=tuple(_extensions(wanted, parent)),
        names=wanted.names,
    )
    tbs = encode_tbs(draft)
    return assemble(tbs, algorithm, SoftSigner(issuer.key).sign(tbs, algorithm))


def is_pair(certificate: Certificate, key: PrivateKey) -> bool:
    """The key is the certificate's."""
    return certificate.spki == spki_der(key.public_key())


def _extensions(wanted: Wanted, parent: Certificate | None) -> Sequence[Extension]:
    identifiers = [encode_subject_key_id(subject_key_id(wanted.spki))]
    if parent is not None and parent.skid:
        identifiers.append(encode_authority_key_id(parent.skid))
    match wanted.profile:
        case Profile.ROOT | Profile.INTERMEDIATE:
            return (*_authority(wanted), *identifiers)
        case Profile.CSR:
            asked = {extension.oid for extension in wanted.requested}
            return (*(one for one in identifiers if one.oid not in asked), *wanted.requested)
        case _:
            return (*_leaf(wanted), *identifiers, *_names(wanted))


def _authority(wanted: Wanted) -> tuple[Extension, Extension]:
    return (
        encode_key_usage(KeyUsage.CERT_SIGN | KeyUsage.CRL_SIGN),
        encode_basic_constraints(BasicConstraints(is_ca=True, path_length=wanted.path_length)),
    )


def _leaf(wanted: Wanted) -> tuple[Extension, Extension]:
    usage = KeyUsage.DIGITAL_SIGNATURE
    if describe_spki(wanted.spki).kind == "RSA":
        usage |= KeyUsage.KEY_ENCIPHERMENT
    return encode_key_usage(usage), encode_ext_key_usage((oids.SERVER_AUTH, oids.CLIENT_AUTH))


def _names(wanted: Wanted) -> tuple[Extension, ...]:
    if not wanted.names:
        return ()
    return (encode_subject_alt_name(wanted.names, critical=wanted.subject == EMPTY_NAME),)
