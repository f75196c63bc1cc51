"""Who waits for whom: a commit that has begun holds what it has judged until it is durable."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from provisor.ports import Entry, Epoch, MetaIs, NotRevoked, Outcome, PutMeta
from provisor.storage.base import SignedCertificate
from support.coroutines import finish
from support.entries import ISSUER, NOW, entry, known_issuers, revocation, signed, signing, to_sign
from support.postgres import shared_cluster
from support.postgres_store import AnyLoopStore

SERIAL = 1 << 100
A_WHILE = 0.4


@pytest.fixture
def stores() -> Iterator[tuple[AnyLoopStore, AnyLoopStore]]:
    cluster = shared_cluster()
    database = cluster.create_database()
    one, other = (AnyLoopStore(cluster.target(database)) for _ in range(2))
    finish(one.commit([known_issuers(), entry(PutMeta("epoch", "1"))], signing(None, None), now=NOW))
    yield one, other
    finish(one.close())
    finish(other.close())
    cluster.drop_database(database)


class SlowSigning:
    """A commit whose signature takes as long as the test likes; `begun` once its guards hold."""

    def __init__(self, thread: ThreadPoolExecutor, store: AnyLoopStore, asked: Entry) -> None:
        self.begun = threading.Event()
        self.may_go_on = threading.Event()
        self.outcome: Future[list[Outcome]] = thread.submit(lambda: finish(store.commit([asked], self._sign, now=NOW)))

    def _sign(self, index: int) -> SignedCertificate:
        self.begun.set()
        assert self.may_go_on.wait(10)
        return signed()


@pytest.mark.parametrize(
    ("guarded", "contrary"),
    [
        (NotRevoked(ISSUER, SERIAL), entry(revocation(SERIAL))),
        (Epoch(1), entry(PutMeta("epoch", "2"), guards=(MetaIs("epoch", "1"),))),
    ],
    ids=["revocation", "epoch"],
)
def test_what_speaks_against_a_commit_under_way_waits_for_it(
    stores: tuple[AnyLoopStore, AnyLoopStore], guarded: NotRevoked | Epoch, contrary: Entry
) -> None:
    one, other = stores
    with ThreadPoolExecutor(2) as threads:
        renewal = SlowSigning(threads, one, entry(sign=to_sign(SERIAL + 1, predecessor=SERIAL), guards=(guarded,)))
        assert renewal.begun.wait(10)
        against = threads.submit(lambda: finish(other.commit([contrary], signing(None), now=NOW)))
        with pytest.raises(TimeoutError):
            against.result(A_WHILE)
        # Others go on meanwhile: a renewal of the same certificate under the same epoch is against nobody.
        also = entry(guards=(NotRevoked(ISSUER, SERIAL + 7), Epoch(1)))
        renewal.may_go_on.set()
        assert renewal.outcome.result(10)[0].committed
        assert against.result(10)[0].committed
        (late,) = finish(
            one.commit([also if isinstance(guarded, Epoch) else entry(guards=(guarded,))], signing(None), now=NOW)
        )
        assert late.guard in ("epoch", "not-revoked")


def test_commits_that_only_guard_on_the_same_things_do_not_wait(stores: tuple[AnyLoopStore, AnyLoopStore]) -> None:
    one, other = stores
    guards = (NotRevoked(ISSUER, SERIAL), Epoch(1))
    with ThreadPoolExecutor(2) as threads:
        renewal = SlowSigning(threads, one, entry(sign=to_sign(SERIAL + 1, predecessor=SERIAL), guards=guards))
        assert renewal.begun.wait(10)
        also = entry(sign=to_sign(SERIAL + 2, predecessor=SERIAL), guards=guards)
        assert finish(other.commit([also], signing(signed()), now=NOW))[0].committed
        assert not renewal.outcome.done()
        renewal.may_go_on.set()
        assert renewal.outcome.result(10)[0].committed


def test_a_replica_that_stands_still_loses_its_transaction_and_holds_nobody_up() -> None:
    """What it had begun is gone when it wakes, and it says so; what others did meanwhile stays."""
    cluster = shared_cluster()
    database = cluster.create_database()
    from provisor.storage.postgresql.dsn import Timeouts

    stores = [AnyLoopStore(cluster.target(database, timeouts=Timeouts(statement=6, pause=0.6))) for _ in range(2)]
    one, other = stores
    finish(one.commit([known_issuers()], signing(None), now=NOW))
    with ThreadPoolExecutor(2) as threads:
        stopped = SlowSigning(
            threads, one, entry(sign=to_sign(SERIAL + 1, predecessor=SERIAL), guards=(NotRevoked(ISSUER, SERIAL),))
        )
        assert stopped.begun.wait(10)
        assert finish(other.commit([entry(revocation(SERIAL))], signing(None), now=NOW))[0].committed
        stopped.may_go_on.set()
        # It came too late: on a new connection its guards are judged anew.
        assert stopped.outcome.result(10)[0].guard == "not-revoked"
    assert asyncio.run(other.ledger.find_certificate(ISSUER, SERIAL + 1)) is None
    for store in stores:
        finish(store.close())
    cluster.drop_database(database)
