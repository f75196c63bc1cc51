"""Certificates and keys in files that become a member of a provisioner, base64 of PEM."""

from __future__ import annotations

import re
from base64 import b64encode

from provisor.cli import files
from provisor.cli.exits import CommandError
from provisor.core.keys import PublicKey, describe_key, parse_public_spki
from provisor.core.pem import PEMBlock, encode_pem, encode_public_key, parse_blocks, parse_private_key, parse_public_key
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.extensions import KeyUsage
from provisor.errors import BadKey, Malformed

_PRIVATE = {"EC": "*ecdsa.PrivateKey", "RSA": "*rsa.PrivateKey", "Ed25519": "ed25519.PrivateKey"}


def encode_octets(content: str) -> str:
    """How a member holds a text."""
    return b64encode(content.encode()).decode()


def read_given(path: str) -> bytes:
    """The content of the file that a flag names, even when it names none. Raises `CommandError`."""
    if not path:
        raise CommandError("open  failed: no such file or directory")
    return files.read_file(path)


def x5c_roots(path: str) -> str:
    """The value of `roots` of an X5C provisioner. Raises `CommandError`."""
    certificates = _read_bundle(path, f"error loading X5C Root certificates from {path}")
    for certificate in certificates:
        if not _signs_certificates(certificate):
            raise CommandError(
                f"error: certificate with common name '{certificate.common_name}' cannot be used as an X5C root "
                "certificate.\n\nX5C provisioner root certificates must have the 'Certificate Sign' key usage "
                "extension."
            )
    # step-ca: an empty line between the roots of X5C, none between those of others
    return encode_octets("\n".join(encode_pem("CERTIFICATE", one.der) for one in certificates))


def attestation_roots(paths: tuple[str, ...]) -> str:
    """The value of `attestationRoots` of an ACME provisioner. Raises `CommandError`."""
    certificates = []
    for path in paths:
        for certificate in _read_bundle(path, f"error reading certificates from {path}"):
            if not certificate.is_ca or not _signs_certificates(certificate):
                raise CommandError(f'certificate with common name "{certificate.common_name}" is not a valid CA')
            certificates.append(certificate)
    return _encode_bundle(certificates)


def decrypter_certificate(path: str) -> str:
    """The first certificate of a file, for `decrypterCertificate` of a SCEP provisioner. Raises `CommandError`."""
    doing = f'failed parsing certificate from "{path}": failed reading certificate from "{path}"'
    return _encode_bundle(_read_bundle(path, doing)[:1])


def decrypter_key(path: str) -> str:
    """The PEM block of a file as it is, encrypted or not, for `decrypterKeyPEM`. Raises `CommandError`."""
    doing = f'failed reading decrypter key from "{path}"'
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CommandError(f'{doing}: failed reading "{path}": open {path}: {files.system_text(error)}') from error
    block = _FIRST_BLOCK.search(content)
    if block is None or not parse_blocks(content):
        raise CommandError(f'{doing}: failed decoding "{path}": not a valid PEM encoded block')
    return b64encode(block[0].replace(b"\r\n", b"\n") + b"\n").decode()


_FIRST_BLOCK = re.compile(rb"-----BEGIN ([^\r\n]{1,100})-----\r?\n.*?-----END \1-----", re.DOTALL)


def public_keys(path: str) -> str:
    """The value of `publicKeys` of a K8sSA provisioner; empty when the file has no PEM block. Raises `CommandError`."""
    try:
        with open(path, "rb") as file:
            content = file.read()
    except OSError as error:
        raise CommandError(f"error reading pem keys: open {path}: {files.system_text(error)}") from error
    return encode_octets("\n".join(encode_public_key(_public_key(block, path)) for block in parse_blocks(content)))


def _public_key(block: PEMBlock, path: str) -> PublicKey:
    pem = encode_pem(block.label, block.der).encode()
    try:
        if block.label == "CERTIFICATE":
            return parse_public_spki(parse_certificate(block.der).spki)
        if not block.label.endswith("PRIVATE KEY"):
            return parse_public_key(pem)
        private = _PRIVATE.get(describe_key(parse_private_key(pem, None).public_key()).kind, block.label)
    except (BadKey, Malformed) as error:
        reason = "x509: malformed certificate" if block.label == "CERTIFICATE" else error.detail
        raise CommandError(f"error parsing public key from {path}: error parsing PEM: {reason}") from error
    raise CommandError(f"Unexpected public key type {private} in {path}")


def _signs_certificates(certificate: Certificate) -> bool:
    return certificate.key_usage is not None and KeyUsage.CERT_SIGN in certificate.key_usage


def _read_bundle(path: str, doing: str) -> list[Certificate]:
    """Every certificate of a PEM file, or the one of a DER file. What is wrong begins with `doing`."""
    try:
        if not path:
            raise CommandError('error reading "": no such file or directory')
        content = files.read_pem_file(path)
        if b"-----BEGIN " not in content:
            return [_certificate(content, f"error parsing {path}: error parsing certificate as DER format")]
        ders = [block.der for block in parse_blocks(content) if block.label == "CERTIFICATE"]
        if not ders:
            raise CommandError(f"error parsing {path}: does not contain a valid PEM encoded certificate")
        return [_certificate(der, f"error parsing {path}: error decoding PEM data") for der in ders]
    except CommandError as error:
        raise CommandError(f"{doing}: {error.message}") from error


def _certificate(der: bytes, doing: str) -> Certificate:
    try:
        return parse_certificate(der)
    except Malformed as error:
        raise CommandError(f"{doing}: x509: malformed certificate") from error


def _encode_bundle(certificates: list[Certificate]) -> str:
    return encode_octets("".join(encode_pem("CERTIFICATE", one.der) for one in certificates))
