from __future__ import annotations

import base64
import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa

from provisor.client.csr import csr_fingerprint, csr_pem, generate_key, make_csr
from provisor.core.keys import describe_key
from provisor.core.names import classify_sans
from provisor.core.x509.request import parse_csr, parse_csr_pem, verify_csr
from provisor.errors import BadKey, Unencodable

KEYS = [("EC", "P-256"), ("EC", "P-384"), ("EC", "P-521"), ("OKP", ""), ("RSA", "")]


@pytest.mark.parametrize(("kind", "curve"), KEYS)
def test_every_kind_of_key_signs_its_request(kind: str, curve: str) -> None:
    key = generate_key(kind, curve=curve or "P-256")
    names = classify_sans(["foo.internal", "10.0.0.1", "x@y.z", "https://u.r/i"])
    der = make_csr(key, "foo.internal", names)
    request = parse_csr(der)
    verify_csr(request)
    assert request.common_name == "foo.internal"
    assert sorted(request.names) == sorted(names)
    assert request.key.kind == describe_key(key.public_key()).kind
    assert x509.load_der_x509_csr(der).is_signature_valid


def test_an_rsa_key_has_the_size_that_was_asked_for() -> None:
    key = generate_key("RSA", bits=3072)
    assert isinstance(key, rsa.RSAPrivateKey)
    assert key.key_size == 3072


def test_a_request_without_names_asks_for_nothing() -> None:
    request = x509.load_der_x509_csr(make_csr(generate_key(), ""))
    assert not request.subject.rdns
    assert not list(request.extensions)


def test_a_long_name_is_allowed_as_the_reference_allows_it() -> None:
    name = "a" * 63 + ".internal"
    assert parse_csr(make_csr(generate_key(), name, classify_sans([name]))).common_name == name


def test_a_name_outside_ascii_cannot_be_encoded() -> None:
    with pytest.raises(Unencodable):
        make_csr(generate_key(), "é.internal", classify_sans(["é.internal"]))


def test_an_unknown_curve_is_refused() -> None:
    with pytest.raises(BadKey):
        generate_key("EC", curve="P-999")


def test_the_pem_reads_back() -> None:
    der = make_csr(generate_key(), "x")
    assert parse_csr_pem(csr_pem(der)).der == der


def test_the_fingerprint_is_base64url_without_padding() -> None:
    der = make_csr(generate_key(), "x")
    text = csr_fingerprint(der)
    assert base64.urlsafe_b64decode(text + "=") == hashlib.sha256(der).digest()
    assert "=" not in text
