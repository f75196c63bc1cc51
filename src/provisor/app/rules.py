"""From the configuration to what the notary's gate lets pass."""

from __future__ import annotations

from provisor.config.ca_json import CAConfig
from provisor.notary.keyring import GateRules


def gate_rules(config: CAConfig) -> GateRules:
    """What no certificate may exceed, by the notary's own reading of the configuration."""
    switches = config.provisor.switches
    return GateRules(
        max_validity=config.provisor.max_certificate_duration,
        max_crl_validity=max(GateRules().max_crl_validity, config.crl.cache_duration),
        not_beyond_issuer=not switches.allow_not_after_beyond_issuer,
        min_rsa_bits=0 if switches.accept_weak_rekey_keys else 2048,
    )
