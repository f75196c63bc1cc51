"""A small PKI for TLS tests: root, intermediate, leaves; and client contexts."""

from __future__ import annotations

import functools
import ssl
import tempfile
from datetime import UTC, datetime, timedelta

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from provisor.server.tls import ClientAuthorities, ServerLeaf

Key = ec.EllipticCurvePrivateKey
CLIENT = ExtendedKeyUsageOID.CLIENT_AUTH
SERVER = ExtendedKeyUsageOID.SERVER_AUTH


class Identity:
    """A certificate and its key."""

    def __init__(self, certificate: x509.Certificate, key: Key) -> None:
        self.certificate = certificate
        self.key = key
        self.der = certificate.public_bytes(Encoding.DER)
        self.pem = certificate.public_bytes(Encoding.PEM)
        self.key_der = key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
        self.key_pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def make(
    name: str,
    issuer: Identity | None = None,
    *,
    ca: bool = False,
    usage: tuple[x509.ObjectIdentifier, ...] = (CLIENT,),
    starts: timedelta = timedelta(minutes=-5),
    ends: timedelta = timedelta(days=1),
) -> Identity:
    """A certificate, self-signed without an issuer, valid from `starts` to `ends` after now."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now + starts)
        .not_valid_after(now + ends)
        .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
    )
    if not ca:
        builder = builder.add_extension(x509.ExtendedKeyUsage(usage), critical=False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return Identity(builder.sign(issuer.key if issuer else key, hashes.SHA256()), key)


class World:
    """A CA with everything a TLS test needs of it."""

    def __init__(self) -> None:
        self.root = make("Root", ca=True)
        self.intermediate = make("Intermediate", self.root, ca=True)
        self.server = make("localhost", self.intermediate, usage=(SERVER, CLIENT))
        self.client = make("client.example.test", self.intermediate)
        self.authorities = ClientAuthorities((self.root.der, self.intermediate.der))

    def leaf(self) -> ServerLeaf:
        return self.leaf_of(self.server)

    def leaf_of(self, server: Identity) -> ServerLeaf:
        return ServerLeaf((server.der, self.intermediate.der), server.key_der)

    def new_server(self) -> Identity:
        return make("localhost", self.intermediate, usage=(SERVER, CLIENT))

    def client_context(self, who: Identity | None = None, *, version: ssl.TLSVersion | None = None) -> ssl.SSLContext:
        """Trusts the root; shows `who` alone, without the intermediate."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.root.der)
        if version is not None:
            context.minimum_version = context.maximum_version = version
        if who is not None:
            with tempfile.NamedTemporaryFile() as file:
                file.write(who.key_pem + who.pem)
                file.flush()
                context.load_cert_chain(file.name)
        return context


@functools.cache
def world() -> World:
    """One world for all tests of a process: making keys is most of the time."""
    return World()
