"""Which things are locked, and that locks stand for things and not for entries."""

from __future__ import annotations

import pytest

from provisor.ports import (
    Entry,
    Epoch,
    FreshSerial,
    LeaseHeld,
    MetaIs,
    NotRevoked,
    PutMeta,
    TakeLease,
    Unspent,
    WakeJob,
)
from provisor.storage.postgresql.locks import find_locks
from support.entries import ISSUER, OTHER_ISSUER, entry, revocation, spend

SHARED, EXCLUSIVE = False, True


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (entry(guards=(Unspent("t"),)), entry(spend("t", None))),
        (entry(guards=(NotRevoked(ISSUER, 5),)), entry(revocation(5))),
        (entry(guards=(Epoch(3),)), entry(PutMeta("epoch", "4"))),
        (entry(guards=(MetaIs("m", None),)), entry(PutMeta("m", "1"))),
        (entry(guards=(LeaseHeld("crl", "a", 1),)), entry(TakeLease("crl", "a", 9))),
        (entry(guards=(LeaseHeld("crl", "a", 1),)), entry(WakeJob("crl", "a", 9))),
    ],
)
def test_who_looks_and_who_writes_meet(one: Entry, other: Entry) -> None:
    (looked,), (written,) = find_locks([one]).items(), find_locks([other]).items()
    assert looked[0] == written[0]
    assert written[1] is EXCLUSIVE


@pytest.mark.parametrize(
    "looking", [entry(guards=(guard,)) for guard in (NotRevoked(ISSUER, 5), Epoch(3), LeaseHeld("crl", "a", 1))]
)
def test_those_who_only_look_do_not_meet(looking: Entry) -> None:
    assert set(find_locks([looking]).values()) == {SHARED}


def test_different_things_have_different_locks() -> None:
    things = [
        entry(spend("a")),
        entry(spend("b")),
        entry(revocation(5)),
        entry(revocation(6)),
        entry(revocation(5, issuer=OTHER_ISSUER)),
        entry(PutMeta("a", "")),
        entry(WakeJob("a", "b", 0)),
        entry(WakeJob("ab", "", 0)),
    ]
    assert len(find_locks(things)) == len(things)
    assert all(-(2**63) <= number < 2**63 for number in find_locks(things))


def test_a_thing_that_is_looked_at_and_written_is_locked_for_writing_in_whatever_order() -> None:
    look, write = entry(guards=(NotRevoked(ISSUER, 5),)), entry(revocation(5))
    assert find_locks([look, write]) == find_locks([write, look])
    assert set(find_locks([look, write]).values()) == {EXCLUSIVE}


def test_the_key_of_a_row_is_lock_enough_for_a_serial() -> None:
    assert find_locks([entry(guards=(FreshSerial(ISSUER, 5),))]) == {}
