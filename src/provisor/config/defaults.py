"""What holds where ca.json says nothing (core-api 3)."""

from __future__ import annotations

from typing import Final

from provisor.core.durations import HOUR, MINUTE, Duration

DNS_NAMES: Final = ("localhost", "127.0.0.1", "::1")
COMMON_NAME: Final = "Step Online CA"
BACKDATE: Final = MINUTE

CIPHER_SUITES: Final = (
    "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
    "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
)
MIN_VERSION: Final = 1.2
MAX_VERSION: Final = 1.3
TLS_VERSIONS: Final = (1.0, 1.1, 1.2, 1.3)

KNOWN_CIPHER_SUITES: Final = frozenset(
    (
        "TLS_RSA_WITH_RC4_128_SHA",
        "TLS_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_RC4_128_SHA",
        "TLS_ECDHE_RSA_WITH_3DES_EDE_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256",
        "TLS_AES_128_GCM_SHA256",
        "TLS_AES_256_GCM_SHA384",
        "TLS_CHACHA20_POLY1305_SHA256",
    )
)
"""Names the reference knows; another one is no error and matches nothing."""

CRL_CACHE_DURATION: Final = Duration(24 * HOUR)

SSH_ADD_USER_PRINCIPAL: Final = "provisioner"
SSH_ADD_USER_COMMAND: Final = "sudo useradd -m <principal>; nc -q0 localhost 22"

MAX_CERTIFICATE_DURATION: Final = Duration(87600 * HOUR)
"""Ten years: no claim and no request gets more past the signing gate."""

CERTIFICATES_KEPT: Final = Duration(90 * 24 * HOUR)
"""How long the row of a certificate stays after its end."""
