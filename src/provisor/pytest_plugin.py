"""Fixtures for pytest, there as soon as Provisor is installed; the CA itself is imported when one is used."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from provisor.testing import CA


@pytest.fixture
def provisor_ca() -> Iterator[CA]:
    """A CA in memory for one test (`provisor.testing.CA`)."""
    from provisor.testing import CA

    with CA() as ca:
        yield ca


@pytest.fixture(scope="session")
def provisor_shared_ca() -> Iterator[CA]:
    """The same for all tests of a run, for those that do not mind what the others did with it."""
    from provisor.testing import CA

    with CA() as ca:
        yield ca
