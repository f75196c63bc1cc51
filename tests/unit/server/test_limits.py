from __future__ import annotations

import asyncio

import pytest

from provisor.config.ca_json import Limits
from provisor.server.limits import ConnectionLimits, Connections, address_key


@pytest.mark.parametrize(
    ("peer", "key"),
    [
        (("192.0.2.1", 5), "192.0.2.1"),
        (("::ffff:192.0.2.1", 5, 0, 0), "192.0.2.1"),
        (("2001:db8::1", 5, 0, 0), "20010db800000000"),
        (("2001:db8:0:0:ffff::1", 5, 0, 0), "20010db800000000"),
        (("2001:db8:0:1::1", 5, 0, 0), "20010db800000001"),
        (("fe80::1%eth0", 5, 0, 2), "fe80000000000000"),
        ("", ""),
        (None, ""),
    ],
)
def test_a_connection_counts_for_its_address_or_its_network(peer: object, key: str) -> None:
    assert address_key(peer) == key


def connections(limits: ConnectionLimits, reasons: list[str]) -> Connections:
    return Connections(limits, loop=asyncio.new_event_loop(), on_refusal=reasons.append)


def test_an_address_gets_its_share_and_all_together_theirs() -> None:
    reasons: list[str] = []
    counted = connections(ConnectionLimits(connections=3, connections_per_address=2), reasons)
    assert [counted.admit("a"), counted.admit("a"), counted.admit("a")] == [True, True, False]
    assert [counted.admit("b"), counted.admit("c")] == [True, False]
    assert reasons == ["connections-per-address", "connections"]
    counted.release("a")
    assert counted.admit("c")
    for key in ("a", "b", "c"):
        counted.release(key)
    assert counted.admitted == 0
    counted.loop.close()


def test_the_limits_of_ca_json_are_taken_over() -> None:
    limits = ConnectionLimits.of(Limits(body_bytes=7, idle_seconds=3, connections_per_worker=9))
    assert (limits.body_bytes, limits.idle_seconds, limits.connections) == (7, 3, 9)
    assert ConnectionLimits.of(Limits(body_bytes=2**30)).buffered_bytes == 2**30


@pytest.mark.parametrize("name", ["body_bytes", "idle_seconds", "connections"])
@pytest.mark.parametrize("value", [0, -1])
def test_a_limit_is_positive(name: str, value: int) -> None:
    with pytest.raises(ValueError, match=name):
        ConnectionLimits(**{name: value})


def test_the_sweep_is_as_fine_as_the_shortest_time_needs() -> None:
    assert ConnectionLimits().sweep_seconds == 1.0
    assert ConnectionLimits(idle_seconds=0.2).sweep_seconds == pytest.approx(0.05)
