from __future__ import annotations

import hashlib

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from msgspec.structs import replace

from provisor.core.keys import AnyPublicKey, describe_key
from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.algorithms import (
    ECDSA_SHA256,
    ECDSA_SHA384,
    ECDSA_SHA512,
    ED25519,
    PSS_SHA384,
    RSA_SHA256,
    RSA_SHA512,
)
from provisor.core.x509.extensions import Extension, KeyUsage, encode_key_usage
from provisor.core.x509.issuer import make_issuer, signature_algorithm_for
from provisor.errors import ConfigError, NameConstrained
from support.x509_lab import Lab, with_extension

RSA = rsa.generate_private_key(65537, 2048).public_key()
RSA_SHA1 = bytes.fromhex("300d06092a864886f70d0101050500")


def constraints(domain: str) -> Extension:
    value = x509.NameConstraints([x509.DNSName(domain)], None).public_bytes()
    return Extension(oids.NAME_CONSTRAINTS, critical=True, value=value)


def test_an_issuer_knows_its_chain_and_key(lab: Lab) -> None:
    issuer = lab.issuer
    assert issuer.id == hashlib.sha256(lab.intermediate.certificate.der).digest()
    assert issuer.certificate == lab.intermediate.certificate
    assert issuer.chain == (lab.intermediate.certificate.der,)
    assert issuer.signature_algorithm == ECDSA_SHA256
    assert issuer.crl_sign
    assert issuer.constraints.is_free


@pytest.mark.parametrize("chain", [[], [b""], [b"\x30\x00"]])
def test_a_chain_that_cannot_be_read_is_a_fault_of_configuration(chain: list[bytes]) -> None:
    with pytest.raises(ConfigError):
        make_issuer(chain)


def test_constraints_that_cannot_be_read_are_a_fault_of_configuration(lab: Lab) -> None:
    broken = Extension(oids.NAME_CONSTRAINTS, critical=True, value=b"\x30\x01")
    party = lab.authority("Broken", change=lambda draft: with_extension(draft, broken))
    with pytest.raises(ConfigError, match="name constraints"):
        make_issuer([party.certificate.der])


def test_an_issuer_without_the_key_usage_signs_no_lists(lab: Lab) -> None:
    usage = encode_key_usage(KeyUsage.CERT_SIGN)
    party = lab.authority("Quiet", change=lambda draft: with_extension(draft, usage))
    assert not make_issuer([party.certificate.der]).crl_sign


def test_constraints_of_the_whole_chain_and_of_its_root_count(lab: Lab) -> None:
    root = lab.authority("Constrained", change=lambda draft: with_extension(draft, constraints("test")))
    upper = lab.authority("Upper", parent=root)
    lower = lab.authority("Lower", parent=upper, change=lambda draft: with_extension(draft, constraints("lower.test")))
    unrelated = lab.authority("Unrelated", change=lambda draft: with_extension(draft, constraints("other")))
    chain = [lower.certificate.der, upper.certificate.der]
    roots = [unrelated.certificate.der, root.certificate.der]
    assert make_issuer(chain, roots).constraints.permitted_dns == ("lower.test", "test")
    assert make_issuer(chain, roots[:1]).constraints.permitted_dns == ("lower.test",)


def test_a_root_of_the_same_name_with_another_key_does_not_count(lab: Lab) -> None:
    twin = lab.authority("Root", change=lambda draft: with_extension(draft, constraints("twin")))
    assert make_issuer([lab.intermediate.certificate.der], [twin.certificate.der]).constraints.is_free


def test_a_root_counts_for_an_intermediate_that_does_not_identify_its_key(lab: Lab) -> None:
    root = lab.authority("Plain", change=lambda draft: with_extension(draft, constraints("test")))
    nameless = replace(root, certificate=replace(root.certificate, skid=b""))
    middle = lab.authority("Middle", parent=nameless)
    issuer = make_issuer([middle.certificate.der], [root.certificate.der])
    with pytest.raises(NameConstrained):
        issuer.constraints.check_names([Name(NameKind.DNS, "a.example")])


@pytest.mark.parametrize(
    ("key", "signed_with", "signs_with"),
    [
        (ec.generate_private_key(ec.SECP224R1()).public_key(), ECDSA_SHA512, ECDSA_SHA256),
        (ec.generate_private_key(ec.SECP256R1()).public_key(), RSA_SHA512, ECDSA_SHA256),
        (ec.generate_private_key(ec.SECP384R1()).public_key(), ECDSA_SHA256, ECDSA_SHA384),
        (ec.generate_private_key(ec.SECP521R1()).public_key(), ECDSA_SHA256, ECDSA_SHA512),
        (ed25519.Ed25519PrivateKey.generate().public_key(), ECDSA_SHA256, ED25519),
        (RSA, ECDSA_SHA384, RSA_SHA256),
        (RSA, RSA_SHA256, RSA_SHA256),
        (RSA, RSA_SHA512, RSA_SHA512),
        (RSA, PSS_SHA384, PSS_SHA384),
        (RSA, RSA_SHA1, RSA_SHA256),
    ],
)
def test_the_algorithm_follows_the_key_and_for_rsa_the_certificate(
    lab: Lab, key: AnyPublicKey, signed_with: bytes, signs_with: bytes
) -> None:
    certificate = replace(lab.root.certificate, key=describe_key(key), signature_algorithm=signed_with)
    assert signature_algorithm_for(certificate) == signs_with


def test_a_key_that_cannot_sign_is_a_fault_of_configuration(lab: Lab) -> None:
    key = describe_key(ed448.Ed448PrivateKey.generate().public_key())
    with pytest.raises(ConfigError, match="Ed448"):
        signature_algorithm_for(replace(lab.root.certificate, key=key))
