"""What `make up` tells a newcomer when the CA serves."""

from __future__ import annotations

import hashlib
import os

from provisor.app.urls import server_url
from provisor.startup import Startup


def first_certificate(startup: Startup, path: str) -> tuple[str, ...]:
    """The root's fingerprint, and the three commands with which to get a first certificate."""
    url = server_url(startup.config)
    fingerprint = hashlib.sha256(startup.roots[0]).hexdigest()
    password = os.path.join(os.path.dirname(os.path.dirname(path)), "secrets", "password")
    name = next((p.ref.name for p in startup.registry.all if p.ref.kind == "JWK"), "NAME")
    return (
        "",
        f"Root fingerprint: {fingerprint}",
        "Get a first certificate from another terminal (`step` in place of `.venv/bin/provisor` works as well):",
        "",
        f"  export STEPPATH=$(mktemp -d) && .venv/bin/provisor ca bootstrap --ca-url {url} --fingerprint {fingerprint}",
        f"  .venv/bin/provisor ca certificate web.internal web.crt web.key --provisioner {name} "
        f"--provisioner-password-file {password}",
        "  .venv/bin/provisor certificate inspect --short web.crt",
        "",
    )
