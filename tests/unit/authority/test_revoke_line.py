"""The end of a line: whoever could still follow cannot any more, and every revocation tells who did it."""

from __future__ import annotations

from collections.abc import Iterator
from time import perf_counter

import pytest
from cryptography.x509 import load_der_x509_certificate

from provisor.authority.audit import Trail
from provisor.authority.inventory import Search, search
from provisor.authority.projector import Projector
from provisor.authority.revoke_line import LineRevoked, revoke_lineage
from provisor.core.identity import Operation
from provisor.errors import NotFound
from provisor.ports import Entry, Outcome
from provisor.server.operator import Operator
from support.authority import Answer, MemoryCA, make_config
from support.credentials import Party, make_signer

OPERATOR = Operator(user=4242, process=7)


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


def renew(ca: MemoryCA, leaf: Party) -> Party:
    ca.clock.advance(seconds=1)
    answer = ca.call("POST", "/renew", client_certificate=leaf)
    return Party(load_der_x509_certificate(answer.certificate.der), leaf.key)


def line_of(ca: MemoryCA, length: int) -> list[Party]:
    members = [ca.issue()]
    for _ in range(length - 1):
        members.append(renew(ca, members[-1]))
    return members


def serials(members: list[Party]) -> list[int]:
    return [member.certificate.serial_number for member in members]


def end(ca: MemoryCA, serial: int) -> LineRevoked:
    trail = Trail(Operation.REVOKE, ca.clock(), request_id="r-1", source=OPERATOR.source, timer=perf_counter)
    trail.who = OPERATOR.identity
    archive = ca.snapshot.archive
    assert archive is not None
    return ca.run(revoke_lineage(ca.snapshot, archive, serial, 4, "replaced", trail))


@pytest.mark.parametrize("indexed", [True, False])
@pytest.mark.parametrize("named", [0, 1, 3])
def test_every_member_leads_to_the_whole_line(ca: MemoryCA, named: int, indexed: bool) -> None:
    other = ca.issue()
    line = line_of(ca, 4)
    if indexed:
        ca.run(Projector().advance(ca.snapshot))
    done = end(ca, serials(line)[named])
    assert (done.lineage, sorted(done.revoked), done.already) == (serials(line)[0], sorted(serials(line)), 0)
    for member in line:
        assert ca.call("POST", "/renew", client_certificate=member).status == 401
    assert ca.call("POST", "/renew", client_certificate=other).status == 201


def test_each_revocation_has_an_event_that_names_the_user(ca: MemoryCA) -> None:
    line = line_of(ca, 2)
    before = ca.books()
    end(ca, serials(line)[0])
    events = ca.books().since(before).events
    assert {event.given.serial for event in events if event.given} == set(map(str, serials(line)))
    for event in events:
        assert (event.operation, event.outcome, event.method) == ("x509-revoke", "granted", "admin-socket")
        assert (event.subject, event.source) == ("uid 4242", "unix socket, pid 7")
        assert event.asked is not None
        assert (event.asked.reason, event.asked.subject) == (4, f"line of {serials(line)[0]}")


def test_once_more_revokes_nothing_and_writes_nothing(ca: MemoryCA) -> None:
    line = line_of(ca, 3)
    end(ca, serials(line)[0])
    before = ca.books()
    assert end(ca, serials(line)[1]) == LineRevoked(serials(line)[0], (), 3)
    assert ca.books().since(before).nothing


def test_what_expired_is_left_alone(ca: MemoryCA) -> None:
    line = line_of(ca, 2)
    ca.clock.advance(hours=23, minutes=59, seconds=30)
    fresh = renew(ca, line[1])
    ca.clock.advance(hours=12)
    assert end(ca, serials(line)[0]).revoked == (fresh.certificate.serial_number,)


def test_but_not_where_it_could_be_renewed_after_its_end() -> None:
    signer = make_signer("ci")
    entry = {**signer.entry(), "claims": {"allowRenewalAfterExpiry": True}}
    with MemoryCA(make_config(entry), signers=(signer,)) as ca:
        line = line_of(ca, 2)
        ca.clock.advance(days=3)
        assert sorted(end(ca, serials(line)[0]).revoked) == sorted(serials(line))
        assert ca.call("POST", "/renew", client_certificate=line[1]).status == 401


def test_a_renewal_that_was_faster_is_found_too(ca: MemoryCA) -> None:
    """It is recorded between our look and our revocation of its predecessor."""
    leaf = ca.issue()
    notary = ca.notary
    renewed: list[Answer] = []

    class Slow:
        async def submit(self, entry: Entry) -> Outcome:
            if not renewed:
                ca.snapshot.notary = notary
                renewed.append(await ca.send("POST", "/renew", client_certificate=leaf))
            return await notary.submit(entry)

    ca.snapshot.notary = Slow()  # type: ignore[assignment]
    done = end(ca, leaf.certificate.serial_number)
    successor = renewed[0].certificate.serial
    assert sorted(done.revoked) == sorted((leaf.certificate.serial_number, successor))


def test_a_line_that_nobody_recorded_is_not_found(ca: MemoryCA) -> None:
    ca.issue()
    with pytest.raises(NotFound):
        end(ca, 5)


def test_the_certificate_of_another_program_that_begins_a_line_ends_with_it() -> None:
    signer = make_signer("ci")
    with MemoryCA(make_config(signer.entry()), signers=(signer,)) as ca:
        foreign = ca.issue()
        line = line_of_foreign(ca, foreign)
        done = end(ca, line.certificate.serial_number)
        assert sorted(done.revoked) == sorted(serials([foreign, line]))
        assert ca.call("POST", "/renew", client_certificate=foreign).status == 401


def line_of_foreign(ca: MemoryCA, foreign: Party) -> Party:
    """Its record goes, as if a step-ca had issued it."""
    successor = renew(ca, foreign)
    serial = foreign.certificate.serial_number
    archive = ca.snapshot.archive
    assert archive is not None
    found = ca.run(search(ca.snapshot, archive, Search(serial=serial), "", 1))
    assert found.rows
    ca.store._get_connection().execute("DELETE FROM certificates WHERE rowid = 1")
    return successor
