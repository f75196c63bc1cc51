"""From the configuration to what the notary's gate lets pass."""

from __future__ import annotations

from provisor.config.ca_json import CAConfig, ProvisionerEntry
from provisor.errors import ConfigError
from provisor.notary.keyring import GateRules
from provisor.provisioners.options import TemplateSource, read_options


def gate_rules(config: CAConfig) -> GateRules:
    """What no certificate may exceed, by the notary's own reading of the configuration."""
    switches = config.provisor.switches
    return GateRules(
        max_validity=config.provisor.max_certificate_duration,
        max_crl_validity=max(GateRules().max_crl_validity, config.crl.cache_duration),
        not_beyond_issuer=not switches.allow_not_after_beyond_issuer,
        min_rsa_bits=0 if switches.accept_weak_rekey_keys else 2048,
        allow_authorities=not switches.refuse_authorities_from_templates and _has_template(config),
    )


def _has_template(config: CAConfig) -> bool:
    """Whether any provisioner has a template that the operator wrote; the built-in ones make no authorities."""
    return any(_is_custom(read_options(entry.raw).x509) for entry in config.authority.provisioners if _readable(entry))


def _is_custom(source: TemplateSource | None) -> bool:
    return source is not None and source.is_custom


def _readable(entry: ProvisionerEntry) -> bool:
    try:
        read_options(entry.raw)
    except ConfigError:
        return False
    return True
