"""The TLS side of the listeners: versions, suites, our own leaf, who may prove to be a client.

A context is immutable once made: a renewed leaf or another set of roots makes a new one, which new
connections use while the old ones keep theirs. Nothing is written to a disk: OpenSSL reads the
leaf and its key from a memory file.

Resumption: TLS 1.2 by ticket, as the reference; TLS 1.3 not (its tickets cost every connection
and no client of a CA uses them). A new context forgets the old tickets. Python's `ssl` names no
certificate authorities in its certificate request, and cannot end a handshake in which the client
offers only `h2`: that client gets HTTP/1.1 without ALPN.
"""

from __future__ import annotations

import base64
import os
import ssl
from collections.abc import Iterable
from typing import Final

from msgspec import Struct

from provisor.config.ca_json import TLSOptions
from provisor.config.defaults import CIPHER_SUITES
from provisor.errors import ConfigError

__all__ = [
    "ClientAuthorities",
    "ServerLeaf",
    "TLSEndpoint",
    "build_context",
    "describe_connection",
    "load_leaf",
    "openssl_suites",
]

_WHERE: Final = "ca.json: $.tls"

_VERSIONS: Final = {
    1.0: ssl.TLSVersion.TLSv1,
    1.1: ssl.TLSVersion.TLSv1_1,
    1.2: ssl.TLSVersion.TLSv1_2,
    1.3: ssl.TLSVersion.TLSv1_3,
}
_VERSION_NUMBERS: Final = {"TLSv1": 0x0301, "TLSv1.1": 0x0302, "TLSv1.2": 0x0303, "TLSv1.3": 0x0304}

_SUITES: Final = {
    "TLS_RSA_WITH_RC4_128_SHA": "RC4-SHA",
    "TLS_RSA_WITH_3DES_EDE_CBC_SHA": "DES-CBC3-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
    "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
    "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
    "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA": "ECDHE-ECDSA-RC4-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
    "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_RC4_128_SHA": "ECDHE-RSA-RC4-SHA",
    "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA": "ECDHE-RSA-DES-CBC3-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
    "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
    "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
    "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
    "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
}


def _versions(options: TLSOptions) -> tuple[ssl.TLSVersion, ssl.TLSVersion]:
    lowest = _VERSIONS.get(options.min_version or 1.2)
    highest = _VERSIONS.get(options.max_version or 1.3)
    if lowest is None or highest is None or lowest > highest:
        # step-ca: unknown versions get the same text
        raise ConfigError(_WHERE, "tls minVersion cannot exceed tls maxVersion")
    return lowest, highest


def openssl_suites(names: Iterable[str]) -> tuple[str, ...]:
    """The suites for TLS 1.2 and older by OpenSSL's names; unknown names match nothing."""
    found = (_SUITES.get(name) for name in names)
    return tuple(dict.fromkeys(name for name in found if name is not None))


class ServerLeaf(Struct, frozen=True):
    """Our own certificate chain, leaf first, as DER, and the leaf's private key as unencrypted PKCS #8 DER."""

    chain: tuple[bytes, ...]
    key: bytes

    def __repr__(self) -> str:
        return f"ServerLeaf({len(self.chain)} certificates)"


class ClientAuthorities(Struct, frozen=True):
    """Certificates (DER) that a client's chain may end in: roots, and the intermediates of our own chain."""

    certificates: tuple[bytes, ...]


def _pem(label: str, der: bytes) -> bytes:
    text = base64.encodebytes(der).replace(b"\n", b"")
    lines = [text[i : i + 64] for i in range(0, len(text), 64)]
    return b"-----BEGIN %b-----\n%b\n-----END %b-----\n" % (label.encode(), b"\n".join(lines), label.encode())


def load_leaf(context: ssl.SSLContext, leaf: ServerLeaf) -> None:
    """Give a context our certificate and its key."""
    data = _pem("PRIVATE KEY", leaf.key) + b"".join(_pem("CERTIFICATE", der) for der in leaf.chain)
    fd = os.memfd_create("leaf", os.MFD_CLOEXEC)
    try:
        with os.fdopen(os.dup(fd), "wb") as file:
            file.write(data)
        context.load_cert_chain(f"/proc/self/fd/{fd}")
    finally:
        os.close(fd)


def build_context(options: TLSOptions, leaf: ServerLeaf, clients: ClientAuthorities) -> ssl.SSLContext:
    """A context for new connections. Raises `ConfigError` when the options leave nothing to offer."""
    lowest, highest = _versions(options)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if lowest < ssl.TLSVersion.TLSv1_2:
        # OpenSSL 3 speaks TLS 1.0 and 1.1 at security level 0 only. Whoever configures them wants them.
        context.set_ciphers("DEFAULT:@SECLEVEL=0")
        context.options &= ~(ssl.OP_NO_TLSv1 | ssl.OP_NO_TLSv1_1)
    context.minimum_version = lowest
    context.maximum_version = highest
    if lowest < ssl.TLSVersion.TLSv1_3:
        _set_suites(context, options)
    # The reference follows the client's order of suites.
    context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_COMPRESSION
    context.num_tickets = 0
    context.set_alpn_protocols(["http/1.1"])
    load_leaf(context, leaf)
    context.verify_mode = ssl.CERT_OPTIONAL
    # A chain may end in an intermediate of ours: clients need not send it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    if clients.certificates:
        context.load_verify_locations(cadata=b"".join(dict.fromkeys(clients.certificates)))
    return context


def _set_suites(context: ssl.SSLContext, options: TLSOptions) -> None:
    suites = openssl_suites(options.cipher_suites or CIPHER_SUITES)
    try:
        if not suites:
            raise ssl.SSLError("no known name in the list")
        context.set_ciphers(":".join(suites))
    except ssl.SSLError as error:
        # step-ca: such a list makes the server accept connections and never answer
        reason = f"none of the cipher suites can be used: {', '.join(options.cipher_suites)}"
        raise ConfigError(f"{_WHERE}.cipherSuites", reason) from error


class TLSEndpoint:
    """The context that new connections use, and its replacement while serving."""

    def __init__(self, options: TLSOptions, leaf: ServerLeaf, clients: ClientAuthorities) -> None:
        self.context = build_context(options, leaf, clients)
        self._options = options
        self._leaf = leaf
        self._clients = clients

    def replace(
        self,
        *,
        options: TLSOptions | None = None,
        leaf: ServerLeaf | None = None,
        clients: ClientAuthorities | None = None,
    ) -> None:
        """Use these from the next connection on. Raises `ConfigError` and changes nothing if they do not fit."""
        options, leaf, clients = options or self._options, leaf or self._leaf, clients or self._clients
        self.context = build_context(options, leaf, clients)
        self._options, self._leaf, self._clients = options, leaf, clients


_suite_ids: dict[str, int] = {}


def _suite_id(tls: ssl.SSLObject, name: str) -> int | None:
    number = _suite_ids.get(name)
    if number is None:
        for suite in tls.context.get_ciphers():
            _suite_ids[suite["name"]] = suite["id"] & 0xFFFF
        number = _suite_ids.get(name)
    return number


def describe_connection(tls: ssl.SSLObject) -> dict[str, object]:
    """The ASGI TLS extension (version 0.2) for an established connection.

    `client_cert_name` stays None, for whoever wants it can read it from the certificate.
    `client_cert_chain` holds the client's certificate alone, as PEM; beside it, under the name
    `client_cert_der`, is its DER, None without one. That OpenSSL accepted it says that its chain,
    time and purpose were right at the handshake, not that they are now.
    """
    der = tls.getpeercert(binary_form=True)
    cipher = tls.cipher()
    return {
        "server_cert": None,
        "client_cert_chain": [ssl.DER_cert_to_PEM_cert(der)] if der else [],
        "client_cert_name": None,
        "client_cert_error": None,
        "tls_version": _VERSION_NUMBERS.get(tls.version() or ""),
        "cipher_suite": _suite_id(tls, cipher[0]) if cipher else None,
        "client_cert_der": der,
    }
