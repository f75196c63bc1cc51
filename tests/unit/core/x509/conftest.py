"""One authority for all of these tests: making it costs keys."""

from __future__ import annotations

import pytest

from support.x509_lab import Lab


@pytest.fixture(scope="session")
def lab() -> Lab:
    return Lab()
