"""The files that command lines of `ca provisioner` name: keys, certificates, templates."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import JWK, encode_jwk, jwk_members, make_jwk
from provisor.core.keys import PrivateKey
from provisor.core.pem import encode_private_key, encode_public_key
from provisor.core.secret import Secret

Write = Callable[[str, str | bytes], object]
"""Writes one file, by name."""

DECRYPTER_PASSWORD = "capassword"


def write_provisioner_files(write: Write) -> None:
    """jwk, plain, ed, oct, ec, k2, rsa: keys; x5c, x5c2, x5cboth, leaf, scep, scepe: certificates; templates, data."""
    _write_keys(write)
    _write_certificates(write)
    note = '"note": "<b>&"'
    write("x.tpl", f'{{"subject": {{{{ toJson .Subject }}}}, "sans": {{{{ toJson .SANs }}}}, {note}}}\n')
    kinds = ("type", "keyId", "principals")
    values = (".Type", ".KeyID", ".Principals")
    members = ", ".join(f'"{kind}": {{{{ toJson {value} }}}}' for kind, value in zip(kinds, values, strict=True))
    write("s.tpl", f"{{{members}}}\n")
    write("bad.tpl", '{"subject": {{ toJson .Subject }\n')
    write("data.json", '{"ou": "Eng", "list": [1, 2]}\n')
    write("baddata.json", "{nope\n")


def _write_keys(write: Write) -> None:
    ec_key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    rsa_key = rsa.generate_private_key(65537, 2048)
    _write_jwk(write, "jwk", ec.generate_private_key(ec.SECP256R1()), "newpassword")
    _write_jwk(write, "plain", ec.generate_private_key(ec.SECP256R1()), "")
    _write_jwk(write, "ed", ed25519.Ed25519PrivateKey.generate(), "newpassword")
    write("oct.pub", json.dumps({"kty": "oct", "kid": "o", "alg": "HS256", "k": "c2VjcmV0c2VjcmV0"}))
    write("ec.pem", encode_private_key(ec_key, random=os.urandom))
    write("ec.pub.pem", encode_public_key(ec_key.public_key()))
    write("two.pub.pem", encode_public_key(ec_key.public_key()) + encode_public_key(other.public_key()))
    write("rsa.pub.pem", encode_public_key(rsa_key.public_key()))


def _write_jwk(write: Write, name: str, key: PrivateKey, password: str) -> None:
    jwk: JWK = make_jwk(key)
    write(f"{name}.pub", json.dumps(jwk_members(jwk)))
    private = encode_jwk(jwk, private=True)
    sealed = encrypt_pbes2(private, password.encode(), os.urandom, iterations=1000) if password else private
    write(f"{name}.priv", sealed)


def _write_certificates(write: Write) -> None:
    key, key2 = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    root, root2 = make_certificate("X5C Root", key, is_ca=True), make_certificate("X5C Root 2", key2, is_ca=True)
    write("x5c.crt", root)
    write("x5c2.crt", root2)
    write("x5cboth.crt", root + root2)
    write("leaf.crt", make_certificate("leaf", ec.generate_private_key(ec.SECP256R1()), is_ca=False))
    password = Secret(DECRYPTER_PASSWORD)
    for name, secret in (("scep", None), ("scepe", password)):
        decrypter = rsa.generate_private_key(65537, 2048)
        write(f"{name}.crt", make_certificate("SCEP decrypter", decrypter, is_ca=False))
        write(f"{name}.key", encode_private_key(decrypter, password=secret, random=os.urandom))


def make_certificate(name: str, key: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey, *, is_ca: bool) -> bytes:
    """A self-signed certificate in PEM; only a CA may sign others."""
    now = datetime.now(UTC)
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=not is_ca,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=is_ca,
        crl_sign=is_ca,
        encipher_only=False,
        decipher_only=False,
    )
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)
        .add_extension(usage, critical=True)
    )
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM)
