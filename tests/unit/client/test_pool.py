"""Connections that threads share, one at a time."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from provisor.client.address import parse_ca_url
from provisor.client.errors import Unreachable
from provisor.client.pool import Pool
from provisor.client.transport import make_tls_context
from provisor.testing import CA


@pytest.fixture(scope="module")
def ca() -> Iterator[CA]:
    with CA(listen=True) as running:
        yield running


@pytest.fixture
def pool(ca: CA) -> Iterator[Pool]:
    found = Pool(parse_ca_url(ca.url), make_tls_context(ca.root_pem.encode()))
    yield found
    found.close()


def test_one_after_the_other_use_one_connection(pool: Pool) -> None:
    for _ in range(3):
        assert pool.send("GET", "/health").status == 200
    assert len(pool._idle) == 1


def test_a_few_connections_are_kept_and_no_more(pool: Pool) -> None:
    with ThreadPoolExecutor(20) as threads:
        answers = list(threads.map(lambda _: pool.send("GET", "/health"), range(100)))
    assert [answer.status for answer in answers] == [200] * 100
    assert 1 <= len(pool._idle) <= 8


def test_a_request_that_fails_spoils_none_after_it(ca: CA, pool: Pool) -> None:
    pool.send("GET", "/health")
    ca.stop_listening()
    with pytest.raises(Unreachable):
        pool.send("GET", "/health")
    ca.listen()
    assert pool.send("GET", "/health").status == 200


def test_closing_closes_what_nobody_uses(pool: Pool) -> None:
    pool.send("GET", "/health")
    pool.close()
    assert not pool._idle
    assert pool.send("GET", "/health").status == 200


def test_what_was_open_before_a_fork_is_the_parents(pool: Pool) -> None:
    pool.send("GET", "/health")
    parents = pool._idle[0]
    pool._process = os.getpid() + 1  # as if this were the child
    assert pool.send("GET", "/health").status == 200
    assert list(pool._idle) != [parents]
    assert pool._process == os.getpid()


def test_a_pool_that_is_forgotten_is_closed(ca: CA, recwarn: pytest.WarningsRecorder) -> None:
    pool = Pool(parse_ca_url(ca.url), make_tls_context(ca.root_pem.encode()))
    pool.send("GET", "/health")
    del pool
    gc.collect()
    assert not recwarn.list
