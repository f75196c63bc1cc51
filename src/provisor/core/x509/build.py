"""Drafts of the certificates that Provisor makes: leaves, their renewals, its own, and its authorities."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from msgspec.structs import replace

from provisor.core.keys import KeyInfo, subject_key_id
from provisor.core.names import Name
from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.draft import Draft
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    ProvisionerExtension,
    encode_authority_key_id,
    encode_basic_constraints,
    encode_ext_key_usage,
    encode_key_usage,
    encode_provisioner,
    encode_subject_alt_name,
    encode_subject_key_id,
)
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.name import EMPTY_NAME, Subject, encode_common_name, encode_name

_SIGNS = encode_key_usage(KeyUsage.DIGITAL_SIGNATURE)
_SIGNS_AND_ENCRYPTS = encode_key_usage(KeyUsage.DIGITAL_SIGNATURE | KeyUsage.KEY_ENCIPHERMENT)
_SIGNS_CERTIFICATES = encode_key_usage(KeyUsage.CERT_SIGN | KeyUsage.CRL_SIGN)
_SERVER_AND_CLIENT = encode_ext_key_usage((oids.SERVER_AUTH, oids.CLIENT_AUTH))
_NO_DEFAULTS = Subject()


def build_leaf(
    *,
    subject_cn: str,
    names: Sequence[Name],
    spki: bytes,
    key: KeyInfo,
    issuer: Issuer,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    subject_defaults: Subject = _NO_DEFAULTS,
    provisioner_extension: ProvisionerExtension | None = None,
) -> Draft:
    """The leaf of the built-in template: server and client, with exactly these names.

    `subject_defaults` fill what the common name leaves empty. Raises `Unencodable` for a name that
    cannot be written in ASCII.
    """
    subject = _leaf_subject(subject_cn, subject_defaults)
    extensions = [
        _SIGNS_AND_ENCRYPTS if key.kind == "RSA" else _SIGNS,
        _SERVER_AND_CLIENT,
        encode_subject_key_id(subject_key_id(spki)),
    ]
    if issuer.authority_key_id is not None:
        extensions.append(issuer.authority_key_id)
    if names:
        extensions.append(encode_subject_alt_name(names, critical=subject == EMPTY_NAME))
    if provisioner_extension is not None:
        extensions.append(encode_provisioner(provisioner_extension))
    return Draft(
        serial=serial,
        issuer=issuer.certificate.subject,
        signature_algorithm=issuer.signature_algorithm,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        extensions=tuple(extensions),
        names=tuple(names),
    )


def _leaf_subject(common_name: str, defaults: Subject) -> bytes:
    if defaults == _NO_DEFAULTS:
        return encode_common_name(common_name)
    return encode_name(replace(defaults, common_name=common_name or defaults.common_name).attributes())


def build_server_leaf(
    *,
    common_name: str,
    names: Sequence[Name],
    spki: bytes,
    key: KeyInfo,
    issuer: Issuer,
    serial: int,
    not_before: datetime,
    not_after: datetime,
) -> Draft:
    """The certificate of the CA's own listener: a leaf without a provisioner and without subject defaults."""
    return build_leaf(
        subject_cn=common_name,
        names=names,
        spki=spki,
        key=key,
        issuer=issuer,
        serial=serial,
        not_before=not_before,
        not_after=not_after,
    )


def build_renewed(
    old: Certificate,
    *,
    issuer: Issuer,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    new_spki: bytes | None = None,
) -> Draft:
    """The same certificate again, by today's issuer, with a new key if one is given.

    Subject and extensions are copied as they are, in their order and with their criticality; the
    authority key identifier is made new and comes first, after the subject key identifier if that is
    made new: for a new key, and for a certificate that had none.
    """
    spki = old.spki if new_spki is None else new_spki
    made: list[Extension] = []
    if new_spki is not None or old.extension(oids.SUBJECT_KEY_ID) is None:
        made.append(encode_subject_key_id(subject_key_id(spki)))
    if issuer.authority_key_id is not None:
        made.append(issuer.authority_key_id)
    dropped = {oids.AUTHORITY_KEY_ID} if new_spki is None else {oids.AUTHORITY_KEY_ID, oids.SUBJECT_KEY_ID}
    copied = (extension for extension in old.extensions if extension.oid not in dropped)
    return Draft(
        serial=serial,
        issuer=issuer.certificate.subject,
        signature_algorithm=issuer.signature_algorithm,
        subject=old.subject,
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        extensions=(*made, *copied),
        names=old.names,
    )


def build_ca(
    *,
    organization: str,
    common_name: str,
    path_length: int,
    spki: bytes,
    serial: int,
    not_before: datetime,
    not_after: datetime,
    signature_algorithm: bytes,
    parent: Certificate | None = None,
) -> Draft:
    """A root (no parent: it is its own) or an intermediate, signed with `signature_algorithm`."""
    subject = encode_name([(oids.ORGANIZATION, organization), (oids.COMMON_NAME, common_name)])
    extensions = [
        _SIGNS_CERTIFICATES,
        encode_basic_constraints(BasicConstraints(is_ca=True, path_length=path_length)),
        encode_subject_key_id(subject_key_id(spki)),
    ]
    if parent is not None and parent.skid:
        extensions.append(encode_authority_key_id(parent.skid))
    return Draft(
        serial=serial,
        issuer=subject if parent is None else parent.subject,
        signature_algorithm=signature_algorithm,
        subject=subject,
        not_before=not_before,
        not_after=not_after,
        spki=spki,
        extensions=tuple(extensions),
        names=(),
    )
