"""Lists of revoked certificates built again: the bytes that were signed are the same."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from cryptography import x509
from cryptography.hazmat import asn1

from provisor.core.x509.algorithms import SCHEMES, is_signature_valid
from provisor.core.x509.crl import assemble_crl, encode_revoked, encode_tbs_crl
from provisor.core.x509.der import ExtensionSyntax
from provisor.core.x509.issuer import Issuer

DATA = Path(__file__).parent / "data"


@asn1.sequence
class RecordedEntry:
    serial: int
    revoked_at: asn1.UTCTime
    extensions: list[ExtensionSyntax] | None


@asn1.sequence
class RecordedList:
    version: int
    signature: asn1.TLV
    issuer: asn1.TLV
    this_update: asn1.UTCTime
    next_update: asn1.UTCTime
    entries: list[RecordedEntry] | None
    extensions: Annotated[asn1.TLV, asn1.Explicit(0)]


def entries_of(tbs: bytes) -> list[bytes]:
    """The entries made again: serial, time and, if there is one, the reason, which is the last octet."""
    return [
        encode_revoked(
            entry.serial,
            entry.revoked_at.as_datetime(),
            entry.extensions[0].value[-1] if entry.extensions else 0,
        )
        for entry in asn1.decode_der(RecordedList, tbs).entries or []
    ]


@pytest.mark.parametrize("path", sorted(DATA.glob("*.crl")), ids=lambda path: path.stem)
def test_a_recorded_list_is_the_same_octet_by_octet(path: Path, issuer: Issuer) -> None:
    recorded = x509.load_der_x509_crl(path.read_bytes())
    point = recorded.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert point.full_name is not None
    assert recorded.next_update_utc is not None
    tbs = encode_tbs_crl(
        issuer,
        number=recorded.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number,
        this_update=recorded.last_update_utc,
        next_update=recorded.next_update_utc,
        entries=entries_of(recorded.tbs_certlist_bytes),
        idp_url=point.full_name[0].value,
    )
    assert tbs.hex() == recorded.tbs_certlist_bytes.hex()
    assert assemble_crl(tbs, issuer, recorded.signature) == path.read_bytes()
    scheme = SCHEMES[issuer.signature_algorithm]
    assert is_signature_valid(issuer.certificate.spki, scheme, recorded.signature, tbs)
