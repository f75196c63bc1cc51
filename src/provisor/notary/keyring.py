"""What the notary signs with, and the rules it signs under."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from provisor.core.durations import HOUR, Duration
from provisor.core.x509.check import CURVES
from provisor.core.x509.issuer import Issuer
from provisor.kms.base import Signer
from provisor.ports import IssuerID

ACTIVE = "active"


class SigningIssuer(Struct, frozen=True):
    """An issuer and its key. Only an active one signs certificates; every one signs its CRL."""

    issuer: Issuer
    signer: Signer
    state: str = ACTIVE


Keyring = Mapping[IssuerID, SigningIssuer]


class GateRules(Struct, frozen=True):
    """What no certificate may exceed, whatever a worker says: from the configuration as the notary itself reads it."""

    max_validity: Duration = Duration(10 * 365 * 24 * HOUR)
    max_crl_validity: Duration = Duration(30 * 24 * HOUR)
    not_beyond_issuer: bool = True
    min_rsa_bits: int = 2048
    curves: frozenset[str] = CURVES
    allow_authorities: bool = False
    """Whether a template of the operator's may make certificates of authorities."""
