from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from provisor.core.x509.crl import assemble_crl, encode_revoked, encode_tbs_crl, next_number
from provisor.errors import NotSupported, Unencodable
from support.x509_lab import NOW, Lab

URL = "https://ca.test/1.0/crl"


def signed(lab: Lab, entries: list[bytes], *, number: int = 0) -> bytes:
    tbs = encode_tbs_crl(
        lab.issuer,
        number=number,
        this_update=NOW,
        next_update=NOW + timedelta(hours=1),
        entries=entries,
        idp_url=URL,
    )
    signature = lab.intermediate.key.sign(tbs, ec.ECDSA(hashes.SHA256()))
    return assemble_crl(tbs, lab.issuer, signature)


def test_another_library_believes_and_reads_the_list(lab: Lab) -> None:
    entries = [encode_revoked(5, NOW, 1), encode_revoked(1 << 127, NOW - timedelta(days=1), 0)]
    crl = x509.load_der_x509_crl(signed(lab, entries, number=300))
    issuer = x509.load_der_x509_certificate(lab.intermediate.certificate.der)
    key = issuer.public_key()
    assert isinstance(key, ec.EllipticCurvePublicKey)
    assert crl.is_signature_valid(key)
    assert crl.issuer == issuer.subject
    assert (crl.last_update_utc, crl.next_update_utc) == (NOW, NOW + timedelta(hours=1))
    assert [e.oid.dotted_string for e in crl.extensions] == ["2.5.29.35", "2.5.29.20", "2.5.29.28"]
    assert [e.critical for e in crl.extensions] == [False, False, True]
    assert crl.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number == 300
    point = crl.extensions.get_extension_for_class(x509.IssuingDistributionPoint).value
    assert point == x509.IssuingDistributionPoint(
        [x509.UniformResourceIdentifier(URL)], None, False, False, None, False, False
    )
    first, second = crl
    assert (first.serial_number, second.serial_number) == (5, 1 << 127)
    assert first.extensions.get_extension_for_class(x509.CRLReason).value.reason == x509.ReasonFlags.key_compromise
    assert len(second.extensions) == 0


def test_a_list_without_entries_has_no_list_of_entries(lab: Lab) -> None:
    crl = x509.load_der_x509_crl(signed(lab, []))
    assert len(crl) == 0
    end = b"\x17\x0d260601130000Z"
    assert crl.tbs_certlist_bytes.partition(end)[2][:1] == b"\xa0"


def test_the_distribution_point_is_as_documented(lab: Lab) -> None:
    url = URL.encode()
    point = b"\xa0" + bytes((len(url) + 4,)) + b"\xa0" + bytes((len(url) + 2,)) + b"\x86" + bytes((len(url),)) + url
    assert b"\x30" + bytes((len(point),)) + point in signed(lab, [])


@pytest.mark.parametrize("serial", [0, -1, -(1 << 200), 1 << 200, 127, 128, 255])
def test_any_serial_can_be_revoked(lab: Lab, serial: int) -> None:
    der = signed(lab, [encode_revoked(serial, NOW, 0)])
    assert encode_revoked(serial, NOW, 0) in der
    length = max(1, ((serial if serial >= 0 else ~serial).bit_length() + 8) // 8)
    assert b"\x02" + bytes((length,)) + serial.to_bytes(length, "big", signed=True) in der


@pytest.mark.parametrize("reason", range(1, 11))
def test_a_reason_is_an_enumeration(reason: int) -> None:
    assert encode_revoked(1, NOW, reason).endswith(bytes((0x0A, 1, reason)))


def test_no_reason_is_left_out() -> None:
    assert encode_revoked(1, NOW, 0).hex() == "301202010117" + "0d" + b"260601120000Z".hex()


def test_entries_keep_the_order_they_are_given_in(lab: Lab) -> None:
    serials = [300, 4, 40, 5]
    crl = x509.load_der_x509_crl(signed(lab, [encode_revoked(serial, NOW, 0) for serial in serials]))
    assert [revoked.serial_number for revoked in crl] == serials


@given(st.lists(st.integers(1, 1 << 159), min_size=1, max_size=300))
def test_lists_of_any_length_are_read_back(lab: Lab, serials: list[int]) -> None:
    crl = x509.load_der_x509_crl(signed(lab, [encode_revoked(serial, NOW, 0) for serial in serials]))
    assert [revoked.serial_number for revoked in crl] == serials


def test_a_revocation_after_2049_is_written_long() -> None:
    assert b"\x18\x0f20500101000000Z" in encode_revoked(1, datetime(2050, 1, 1, tzinfo=UTC), 0)


def test_an_issuer_that_may_not_sign_lists_signs_none(lab: Lab) -> None:
    with pytest.raises(NotSupported):
        encode_tbs_crl(
            replace(lab.issuer, crl_sign=False), number=0, this_update=NOW, next_update=NOW, entries=[], idp_url=URL
        )


def test_a_url_outside_ascii_cannot_be_encoded(lab: Lab) -> None:
    with pytest.raises(Unencodable):
        encode_tbs_crl(lab.issuer, number=0, this_update=NOW, next_update=NOW, entries=[], idp_url="https://ü")


def test_numbers_begin_at_zero() -> None:
    assert next_number(None) == 0
    assert next_number(0) == 1
    assert next_number(41) == 42


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_openssl_reads_the_list(lab: Lab, tmp_path: Path) -> None:
    path = tmp_path / "crl"
    path.write_bytes(signed(lab, [encode_revoked(serial, NOW, 7) for serial in (0, -5, 3)], number=9))
    text = subprocess.run(
        ["openssl", "crl", "-inform", "DER", "-in", str(path), "-noout", "-text"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert text.count("Serial Number:") == 3
    assert URL in text
    assert "Serial Number: -05" in text
