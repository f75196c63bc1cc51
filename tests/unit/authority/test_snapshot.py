"""One epoch of the authority: audiences, ids, serials."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest

from provisor.authority.snapshot import audiences_for
from provisor.core.identity import Operation
from provisor.core.jose.audience import audiences_match
from provisor.errors import Unauthenticated
from support.authority import MemoryCA, make_config
from support.credentials import make_party


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


# -- audiences ------------------------------------------------------------------------------------------------


def test_each_operation_has_audiences_of_its_own() -> None:
    found = audiences_for(("ca.test",)).by_operation
    assert found[Operation.SIGN] == (
        "https://ca.test/1.0/sign",
        "https://ca.test/sign",
        "https://ca.test/1.0/ssh/sign",
        "https://ca.test/ssh/sign",
        "step-certificate-authority",
    )
    assert found[Operation.RENEW] == ("https://ca.test/1.0/renew", "https://ca.test/renew")
    assert found[Operation.REVOKE] == (
        "https://ca.test/1.0/revoke",
        "https://ca.test/revoke",
        "step-certificate-authority",
    )


def test_no_token_is_good_for_a_rekey() -> None:
    assert Operation.REKEY not in audiences_for(("ca.test",)).by_operation


@pytest.mark.parametrize("name", ["::1", "[::1]", "2001:db8::1"])
def test_an_address_of_version_6_stands_in_brackets(name: str) -> None:
    bare = name.strip("[]")
    assert f"https://[{bare}]/sign" in audiences_for((name,)).by_operation[Operation.SIGN]


def test_every_name_of_the_ca_makes_audiences() -> None:
    every = audiences_for(("a.test", "127.0.0.1")).every
    for host in ("a.test", "127.0.0.1"):
        for path in ("sign", "1.0/renew", "revoke", "1.0/ssh/sign", "ssh/rekey"):
            assert f"https://{host}/{path}" in every
    assert "https://b.test/sign" not in every


@pytest.mark.parametrize("operation", [Operation.SIGN, Operation.RENEW, Operation.REVOKE])
def test_no_audience_of_one_operation_is_good_for_another_but_the_legacy_one(operation: Operation) -> None:
    mine = audiences_for(("ca.test",)).by_operation
    for other, audiences in mine.items():
        if other is not operation:
            own = [audience for audience in audiences if audience != "step-certificate-authority"]
            assert not audiences_match(own, mine[operation])


# -- ids and serials ----------------------------------------------------------------------------------------------


def test_a_serial_is_positive_and_of_16_octets(ca: MemoryCA) -> None:
    for _ in range(100):
        assert 0 < ca.snapshot.generate_serial(ca.clock.now) < 1 << 128


def test_a_serial_has_80_bits_that_nobody_can_know(ca: MemoryCA) -> None:
    serials = [ca.snapshot.generate_serial(ca.clock.now) for _ in range(200)]
    assert len({serial & ((1 << 80) - 1) for serial in serials}) == 200
    assert len({serial >> 80 for serial in serials}) == 1, "the rest is the time"
    every_bit = 0
    for serial in serials:
        every_bit |= serial
    assert every_bit & ((1 << 80) - 1) == (1 << 80) - 1


def test_later_serials_are_larger(ca: MemoryCA) -> None:
    earlier = ca.snapshot.generate_serial(ca.clock.now)
    assert ca.snapshot.generate_serial(ca.clock.now + timedelta(milliseconds=1)) > earlier


@pytest.mark.parametrize("year", [1970, 2026, 2106, 9999])
def test_an_id_has_16_octets_in_any_year(ca: MemoryCA, year: int) -> None:
    assert len(ca.snapshot.generate_id(datetime(year, 6, 1, tzinfo=UTC))) == 16


# -- clients ------------------------------------------------------------------------------------------------------


def test_a_client_certificate_is_read_and_verified_once_an_epoch(ca: MemoryCA) -> None:
    leaf = ca.issue()
    first = ca.snapshot.find_client(leaf.der)
    assert ca.snapshot.find_client(bytes(bytearray(leaf.der))) is first
    assert (first.leaf.serial, first.issuer) == (leaf.serial, ca.snapshot.issuer)
    ca.reconfigure(ca.document)
    assert ca.snapshot.find_client(leaf.der) is not first


def test_other_octets_are_another_client_certificate(ca: MemoryCA) -> None:
    leaf = ca.issue()
    ca.snapshot.find_client(leaf.der)
    for at in range(len(leaf.der) - 80):  # all but the signature
        changed = bytearray(leaf.der)
        changed[at] ^= 1
        with pytest.raises(Unauthenticated):
            ca.snapshot.find_client(bytes(changed))


def test_what_was_refused_is_looked_at_again(ca: MemoryCA) -> None:
    stranger = make_party("a.test", None, now=ca.clock.now)
    for _ in range(2):
        with pytest.raises(Unauthenticated, match="not of an issuer"):
            ca.snapshot.find_client(stranger.der)


def test_a_remembered_client_is_still_refused_once_it_is_revoked(ca: MemoryCA) -> None:
    leaf = ca.issue()
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 201
    revoked = ca.call("POST", "/revoke", {"serial": str(leaf.serial), "passive": True}, client_certificate=leaf)
    assert revoked.status == 200
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 401


def test_a_remembered_client_is_still_refused_once_its_time_is_over(ca: MemoryCA) -> None:
    leaf = ca.issue()
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 201
    ca.clock.advance(hours=25)
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 401


def test_a_remembered_client_is_still_refused_once_its_provisioner_forbids_renewal(ca: MemoryCA) -> None:
    leaf = ca.issue()
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 201
    entry = next(iter(ca.signers.values())).entry(claims={"disableRenewal": True})
    ca.reconfigure(make_config(entry))
    assert ca.call("POST", "/renew", client_certificate=leaf).status == 401


# -- configuration ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("members", "header"),
    [
        ({}, b"x-smallstep-id"),
        ({"logger": {}}, b"x-smallstep-id"),
        ({"logger": {"traceHeader": "Trace-ID"}}, b"trace-id"),
    ],
    ids=str,
)
def test_the_trace_header_is_compared_in_lower_case(members: dict[str, object], header: bytes) -> None:
    with MemoryCA(make_config(**{"logger": None, **members})) as ca:
        assert ca.snapshot.trace_header == header


@pytest.mark.parametrize(("db", "durable"), [({"type": "badgerv2", "dataSource": "db"}, True), (None, False)])
def test_an_authority_is_durable_with_a_database(db: object, durable: bool) -> None:
    with MemoryCA(make_config(db=db)) as ca:
        assert ca.snapshot.durable == durable
