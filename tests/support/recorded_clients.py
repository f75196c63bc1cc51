"""The client certificates of the recordings, which were not kept: made again with the recorded authority's key."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

from support.authority import PKI
from support.credentials import CLIENT, PROVISIONER_OID, SERVER, make_party, provisioner_extension, unb64url
from support.recorded import Exchange, load, load_key

_IN_TOKEN: Final = {
    ("renew", "ec"): "token good",
    ("renew", "rsa"): "token RSA certificate RS256",
    ("renew", "ed25519"): "token Ed25519 certificate",
    ("renew", "short"): "renew expired, token",
    ("renew", "afterexpiry"): "renew expired with allowRenewalAfterExpiry, token",
    ("revoke", "revoked"): "renew by token after revocation",
    ("bare", "ec"): "bare renew by token",
}
"""Client certificates that a bearer token of the same recording holds."""

_MALFORMED: Final = x509.UnrecognizedExtension(PROVISIONER_OID, bytes.fromhex("3003020101")), False

_FORGED: Final[Mapping[str, Mapping[str, Any]]] = {
    "forged": {},
    "f1": {},
    "f2": {"extensions": [provisioner_extension("nokey", "x")]},
    "f3": {"extensions": [provisioner_extension("ghost", "x")]},
    "f4": {"extensions": [provisioner_extension("norenew", "x")]},
    "f5": {"extensions": [_MALFORMED]},
    "f5b": {"extensions": [provisioner_extension("nokey", "x", 99)]},
    "f5c": {"extensions": [provisioner_extension("nokey", "x", 6)]},
    "f6": {"purposes": [SERVER]},
    "f7": {"purposes": []},
    "f8": {"usages": None},
    "f16": {"extensions": [provisioner_extension("broken", "x", 7)]},
}
"""Made with the issuing key behind the CA's back: what they have beside key usage and purpose."""


def token_leaf(token: str) -> x509.Certificate | None:
    """The first certificate in the header of a renewal token, None if there is none that can be read."""
    try:
        header = json.loads(unb64url(token.split(".")[0]))
        return x509.load_der_x509_certificate(base64.b64decode(header["x5cInsecure"][0]))
    except (ValueError, LookupError, TypeError):
        return None


def make_client(recording: str, client: str, pki: PKI) -> bytes:
    """DER of the client certificate that a recording calls so."""
    if client in _FORGED:
        return _forge(pki, load(recording), client)
    if (recording, client) in _IN_TOKEN:
        wanted = _IN_TOKEN[recording, client]
        leaf = token_leaf(next(e.bearer for e in load(recording) if e.name == wanted))
        assert leaf is not None
        return leaf.public_bytes(Encoding.DER)
    mine = [exchange for exchange in load(recording) if exchange.client == client]
    renewed = next((e for e in mine if e.is_issuance and e.target.endswith(("/renew", "/re-sign"))), None)
    if renewed is not None:
        return _before_renewal(renewed, pki)
    return _plain_leaf(mine, client, pki)


def _forge(pki: PKI, exchanges: tuple[Exchange, ...], client: str) -> bytes:
    at = next(exchange.at for exchange in exchanges if exchange.client == client)
    settings: dict[str, Any] = {"purposes": [CLIENT], "key_id": False, **_FORGED[client]}
    return make_party("forged.example.test", pki.issuer, now=at, key=load_key("leaf-ec"), **settings).der


def _before_renewal(exchange: Exchange, pki: PKI) -> bytes:
    """What was renewed into the certificate of this answer: the authority key identifier stood behind the subject's."""
    leaf = exchange.leaf
    length = leaf.not_valid_after_utc - leaf.not_valid_before_utc
    builder = (
        x509.CertificateBuilder(leaf.issuer, leaf.subject, leaf.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(exchange.at - timedelta(minutes=1))
        .not_valid_after(exchange.at - timedelta(minutes=1) + length)
    )
    authority = leaf.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_KEY_IDENTIFIER)
    others = [extension for extension in leaf.extensions if extension.oid != authority.oid]
    place = next(i for i, e in enumerate(others) if e.oid == ExtensionOID.SUBJECT_KEY_IDENTIFIER) + 1
    for extension in (*others[:place], authority, *others[place:]):
        raw = x509.UnrecognizedExtension(extension.oid, extension.value.public_bytes())
        builder = builder.add_extension(raw, extension.critical)
    assert isinstance(pki.issuer.key, ec.EllipticCurvePrivateKey)
    return builder.sign(pki.issuer.key, hashes.SHA256()).public_bytes(Encoding.DER)


def _plain_leaf(mine: list[Exchange], client: str, pki: PKI) -> bytes:
    """A leaf of which only what was asked with it is known: its serial, where it revoked itself."""
    serials = [int(json.loads(e.body)["serial"], 0) for e in mine if e.target == "/revoke" and e.status == 200]
    provisioner = client if client in ("norenew", "noext") else "nokey"
    extension = [] if provisioner == "noext" else [provisioner_extension(provisioner)]
    return make_party(
        "a.example.test", pki.issuer, now=mine[0].at, serial=serials[0] if serials else None, extensions=extension
    ).der


def provisioner_of(leaf: x509.Certificate) -> str:
    for extension in leaf.extensions:
        if extension.oid == PROVISIONER_OID:
            match = re.match(rb"0.\x02\x01.\x04(.)", extension.value.public_bytes(), re.DOTALL)
            assert match is not None
            name: bytes = extension.value.public_bytes()[match.end() :][: match[1][0]]
            return name.decode()
    return "noext"
