"""The numbers of the curves, against the curves of the library."""

from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from provisor.cli.inspection.as_json import _CURVES

CURVES: dict[str, ec.EllipticCurve] = {
    "P-224": ec.SECP224R1(),
    "P-256": ec.SECP256R1(),
    "P-384": ec.SECP384R1(),
    "P-521": ec.SECP521R1(),
}


@pytest.mark.parametrize("name", CURVES)
def test_the_generator_is_on_the_curve_and_is_the_public_key_of_one(name: str) -> None:
    p, b, n, gx, gy = _CURVES[name]
    assert (gy**2 - gx**3 + 3 * gx - b) % p == 0
    point = ec.derive_private_key(1, CURVES[name]).public_key().public_numbers()
    assert (point.x, point.y) == (gx, gy)
    last = ec.derive_private_key(n - 1, CURVES[name]).public_key().public_numbers()
    assert (last.x, last.y) == (gx, p - gy)
