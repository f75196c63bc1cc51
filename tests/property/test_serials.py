"""Serials: unique, in the order of time, and not to be guessed (RFC 5280 section 4.1.2.2)."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from support.authority import NOW, MemoryCA
from support.fuzzing import fuzz

MANY = 20_000
RANDOM_BITS = 80


@pytest.fixture(scope="module")
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as each:
        yield each


@fuzz(200)
@given(after=st.integers(0, 200 * 365 * 86_400_000), later=st.integers(1, 86_400_000))
def test_later_is_larger(ca: MemoryCA, after: int, later: int) -> None:
    first = NOW + timedelta(milliseconds=after)
    early, late = (ca.snapshot.generate_serial(at) for at in (first, first + timedelta(milliseconds=later)))
    assert 0 < early < late < 1 << 127


def test_within_one_instant_no_two_are_alike_and_eighty_bits_look_random(ca: MemoryCA) -> None:
    """Six standard deviations: a good generator fails here once in a thousand million runs."""
    serials = [ca.snapshot.generate_serial(NOW) for _ in range(MANY)]
    assert len(set(serials)) == MANY
    assert len({serial >> RANDOM_BITS for serial in serials}) == 1
    tails = [serial & ((1 << RANDOM_BITS) - 1) for serial in serials]
    slack = 6 * math.sqrt(MANY) / 2
    for bit in range(RANDOM_BITS):
        assert abs(sum(tail >> bit & 1 for tail in tails) - MANY / 2) < slack, f"bit {bit}"
    changes = Counter(bit for one, two in pairwise(tails) for bit in _bits(one ^ two))
    for bit in range(RANDOM_BITS):
        assert abs(changes[bit] - (MANY - 1) / 2) < slack, f"bit {bit} follows the one before"
    octets = Counter(octet for tail in tails for octet in tail.to_bytes(RANDOM_BITS // 8, "big"))
    expected = MANY * (RANDOM_BITS // 8) / 256
    chi_squared = sum((octets[octet] - expected) ** 2 / expected for octet in range(256))
    assert abs(chi_squared - 255) < 6 * math.sqrt(2 * 255)


def _bits(value: int) -> list[int]:
    return [bit for bit in range(RANDOM_BITS) if value >> bit & 1]


def test_certificates_that_are_issued_have_them_in_their_order(ca: MemoryCA) -> None:
    serials = []
    for _ in range(20):
        serials.append(ca.issue().serial)
        ca.clock.advance(milliseconds=1)
    assert serials == sorted(set(serials))
