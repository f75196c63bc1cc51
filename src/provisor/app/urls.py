"""Where clients reach the CA, as its configuration says."""

from __future__ import annotations

from typing import Final

from provisor.config.ca_json import CAConfig

_HTTPS_PORT: Final = "443"


def server_url(config: CAConfig) -> str:
    """The URL of the first name, with the port unless it is the usual one."""
    name = config.dns_names[0]
    host = f"[{name}]" if ":" in name and not name.startswith("[") else name
    port = config.address.rpartition(":")[2]
    return f"https://{host}" if port == _HTTPS_PORT else f"https://{host}:{port}"
