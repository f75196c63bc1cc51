"""Certificate extensions: the ones Provisor writes, and reading them back (RFC 5280 section 4.2)."""

from __future__ import annotations

import enum
from collections.abc import Sequence
from functools import lru_cache
from typing import Annotated

from cryptography import x509
from cryptography.hazmat import asn1
from msgspec import Struct

from provisor.core.der import OCTET_STRING, element
from provisor.core.names import Name
from provisor.core.x509 import oids
from provisor.core.x509.der import frame, object_id, unframe
from provisor.core.x509.general_names import encode_general_names, parse_general_names
from provisor.core.x509.name import encode_text
from provisor.errors import Malformed


class Extension(Struct, frozen=True):
    """One extension: `value` is the DER inside its OCTET STRING."""

    oid: str
    critical: bool
    value: bytes


class KeyUsage(enum.IntFlag):
    """RFC 5280 section 4.2.1.3. Bit 0 of the encoding is the first."""

    DIGITAL_SIGNATURE = 1
    CONTENT_COMMITMENT = 2
    KEY_ENCIPHERMENT = 4
    DATA_ENCIPHERMENT = 8
    KEY_AGREEMENT = 16
    CERT_SIGN = 32
    CRL_SIGN = 64
    ENCIPHER_ONLY = 128
    DECIPHER_ONLY = 256


class BasicConstraints(Struct, frozen=True):
    """RFC 5280 section 4.2.1.9. `path_length` None: no limit."""

    is_ca: bool
    path_length: int | None = None


# -- shapes ---------------------------------------------------------------------------------------


@asn1.sequence
class _BasicConstraints:
    is_ca: Annotated[bool, asn1.Default(False)]
    path_length: int | None


@asn1.sequence
class _LenientBasicConstraints:
    is_ca: bool | None
    path_length: int | None


@asn1.sequence
class _AuthorityKeyID:
    key_id: Annotated[bytes | None, asn1.Implicit(0)]
    issuer: Annotated[list[asn1.TLV] | None, asn1.Implicit(1)]
    serial: Annotated[int | None, asn1.Implicit(2)]


@asn1.sequence
class _Purposes:
    purposes: list[x509.ObjectIdentifier]


@asn1.sequence
class _Provisioner:
    type: int
    name: bytes
    credential_id: bytes
    pairs: list[asn1.PrintableString | str] | None


# -- key usage --------------------------------------------------------------------------------------


@lru_cache(maxsize=64)
def encode_key_usage(usage: KeyUsage) -> Extension:
    """Critical, as every certificate of ours has it."""
    octets = bytearray(2)
    for bit in range(9):
        if usage & (1 << bit):
            octets[bit // 8] |= 0x80 >> (bit % 8)
    # DER: a list of named bits ends with its last set bit (X.690 section 11.2.2).
    length = usage.bit_length()
    value = asn1.encode_der(asn1.BitString(bytes(octets[: (length + 7) // 8]), -length % 8))
    return Extension(oids.KEY_USAGE, critical=True, value=value)


@lru_cache(maxsize=64)
def parse_key_usage(value: bytes) -> KeyUsage:
    """Raises `ValueError`."""
    bits = asn1.decode_der(asn1.BitString, value).as_bytes()
    usage = 0
    for bit in range(min(9, 8 * len(bits))):
        if bits[bit // 8] & (0x80 >> (bit % 8)):
            usage |= 1 << bit
    return KeyUsage(usage)


def encode_ext_key_usage(purposes: Sequence[str]) -> Extension:
    return _encode_purposes(tuple(purposes))


@lru_cache(maxsize=64)
def _encode_purposes(purposes: tuple[str, ...]) -> Extension:
    ids = _Purposes(purposes=[object_id(purpose) for purpose in purposes])
    return Extension(oids.EXT_KEY_USAGE, critical=False, value=unframe(asn1.encode_der(ids)))


@lru_cache(maxsize=64)
def parse_ext_key_usage(value: bytes) -> tuple[str, ...]:
    """Raises `ValueError`."""
    return tuple(oid.dotted_string for oid in asn1.decode_der(_Purposes, frame(value)).purposes)


# -- basic constraints ------------------------------------------------------------------------------


def encode_basic_constraints(constraints: BasicConstraints) -> Extension:
    shape = _BasicConstraints(is_ca=constraints.is_ca, path_length=constraints.path_length)
    return Extension(oids.BASIC_CONSTRAINTS, critical=True, value=asn1.encode_der(shape))


@lru_cache(maxsize=64)
def parse_basic_constraints(value: bytes) -> BasicConstraints:
    """Raises `ValueError`."""
    shape = asn1.decode_der(_LenientBasicConstraints, value)
    if shape.path_length is not None and shape.path_length < 0:
        raise ValueError("a path length is negative")
    return BasicConstraints(bool(shape.is_ca), shape.path_length)


# -- key identifiers --------------------------------------------------------------------------------


def encode_subject_key_id(key_id: bytes) -> Extension:
    return Extension(oids.SUBJECT_KEY_ID, critical=False, value=element(OCTET_STRING, key_id))


def parse_subject_key_id(value: bytes) -> bytes:
    """Raises `ValueError`."""
    if len(value) == 22 and value.startswith(b"\x04\x14"):
        return value[2:]
    return asn1.decode_der(bytes, value)


def encode_authority_key_id(key_id: bytes) -> Extension:
    shape = _AuthorityKeyID(key_id=key_id, issuer=None, serial=None)
    return Extension(oids.AUTHORITY_KEY_ID, critical=False, value=asn1.encode_der(shape))


@lru_cache(maxsize=64)
def parse_authority_key_id(value: bytes) -> bytes:
    """The key identifier, empty if the extension names the issuer another way. Raises `ValueError`."""
    return asn1.decode_der(_AuthorityKeyID, value).key_id or b""


# -- subject alternative names ----------------------------------------------------------------------


def encode_subject_alt_name(names: Sequence[Name], *, critical: bool) -> Extension:
    """`critical` if the subject is empty. Order: dns, email, ip, uri. Raises `Unencodable`."""
    return Extension(oids.SUBJECT_ALT_NAME, critical=critical, value=encode_general_names(names))


def parse_subject_alt_name(value: bytes) -> tuple[Name, ...]:
    """The names of the four kinds, in their order; other kinds are passed over. Raises `ValueError`."""
    return parse_general_names(value)


# -- the provisioner --------------------------------------------------------------------------------


class ProvisionerExtension(Struct, frozen=True):
    """Which provisioner a certificate came from. `type` is the number of its kind, `pairs` keys and values in turn."""

    type: int
    name: str
    credential_id: str = ""
    pairs: tuple[str, ...] = ()


@lru_cache(maxsize=256)
def encode_provisioner(provisioner: ProvisionerExtension) -> Extension:
    shape = _Provisioner(
        type=provisioner.type,
        name=provisioner.name.encode(),
        credential_id=provisioner.credential_id.encode(),
        pairs=[encode_text(text) for text in provisioner.pairs] or None,
    )
    return Extension(oids.PROVISIONER, critical=False, value=asn1.encode_der(shape))


@lru_cache(maxsize=256)
def parse_provisioner(value: bytes) -> ProvisionerExtension:
    """Any type number is read. Raises `Malformed`."""
    try:
        shape = asn1.decode_der(_Provisioner, value)
        return ProvisionerExtension(
            shape.type,
            shape.name.decode(),
            shape.credential_id.decode(),
            tuple(text if isinstance(text, str) else text.as_str() for text in shape.pairs or ()),
        )
    except ValueError as error:
        raise Malformed(f"provisioner extension: {error}") from error
