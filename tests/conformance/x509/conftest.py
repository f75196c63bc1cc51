"""The recorded authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.issuer import Issuer, make_issuer

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def issuer() -> Issuer:
    crt, root = (parse_certificates((DATA / name).read_bytes()) for name in ("intermediate_ca.crt", "root_ca.crt"))
    return make_issuer(crt, root)


@pytest.fixture(scope="session")
def root() -> Certificate:
    return parse_certificate(parse_certificates((DATA / "root_ca.crt").read_bytes())[0])
