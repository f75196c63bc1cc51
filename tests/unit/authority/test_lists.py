"""The list of revoked certificates: made under a lease, numbered without a gap, served from memory."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest
from cryptography import x509

from provisor.app.jobs import JobRunner, schedule_first
from provisor.authority.lists import CRL_JOB, refresh_crl
from provisor.ports import CRLRecord, JobRecord
from support.authority import PKI, MemoryCA, make_config
from support.credentials import TokenSigner, make_party, make_signer

SIGNER: TokenSigner = make_signer("ci")


def _report(text: str) -> None:
    raise AssertionError(text)


def make(**crl: object) -> MemoryCA:
    settings = {"enabled": True, "generateOnRevoke": True, "cacheDuration": "1h", **crl}
    ca = MemoryCA(make_config(SIGNER.entry(), crl=settings), signers=[SIGNER])
    ca.run(schedule_first(ca.snapshot))
    return ca


@pytest.fixture
def ca() -> Iterator[MemoryCA]:
    with make() as made:
        work(made)
        yield made


def work(ca: MemoryCA) -> None:
    ca.run(JobRunner(lambda: ca.snapshot, _report).run_due())


def newest(ca: MemoryCA) -> CRLRecord:
    record = ca.run(ca.store.ledger.find_crl(ca.snapshot.issuer.id))
    assert record is not None
    return record


def parsed(ca: MemoryCA) -> x509.CertificateRevocationList:
    return x509.load_der_x509_crl(newest(ca).der)


def due(ca: MemoryCA) -> JobRecord:
    (job,) = (job for job in ca.run(ca.store.ledger.due_jobs(ca.clock.seconds)) if job.kind == CRL_JOB)
    return job


def revoke(ca: MemoryCA, serial: int, **over: object) -> None:
    body = {"serial": str(serial), "passive": True, "ott": ca.revoke_token(serial), **over}
    assert ca.call("POST", "/revoke", body).status == 200


def test_the_first_list_is_number_zero_and_empty(ca: MemoryCA) -> None:
    crl = parsed(ca)
    assert newest(ca).number == 0
    assert list(crl) == []
    assert crl.last_update_utc == ca.clock.now
    assert crl.next_update_utc == ca.clock.now + timedelta(hours=1)
    key = ca.pki.issuer.certificate.public_key()
    assert crl.is_signature_valid(key)  # type: ignore[arg-type]  # the issuer's is an EC key


def test_a_revocation_makes_a_new_list_due(ca: MemoryCA) -> None:
    ca.clock.advance(seconds=5)
    revoke(ca, 300, reasonCode=4)
    revoke(ca, 5)
    work(ca)
    assert newest(ca).number == 1, "one list for both"
    assert [entry.serial_number for entry in parsed(ca)] == [5, 300]


def test_without_generate_on_revoke_the_list_waits_for_its_time() -> None:
    with make(generateOnRevoke=False, renewPeriod="10m") as ca:
        work(ca)
        revoke(ca, 5)
        ca.clock.advance(minutes=9, seconds=59)
        work(ca)
        assert (newest(ca).number, list(parsed(ca))) == (0, [])
        ca.clock.advance(seconds=1)
        work(ca)
        assert (newest(ca).number, len(list(parsed(ca)))) == (1, 1)


def test_a_list_is_renewed_before_it_is_over(ca: MemoryCA) -> None:
    """Two thirds of its time, as the reference renews it."""
    ca.clock.advance(minutes=39, seconds=59)
    work(ca)
    assert newest(ca).number == 0
    ca.clock.advance(seconds=1)
    work(ca)
    assert newest(ca).number == 1


def test_a_list_is_made_once_a_second_at_most(ca: MemoryCA) -> None:
    revoke(ca, 5)
    work(ca)
    assert newest(ca).number == 0
    ca.clock.advance(seconds=1)
    work(ca)
    assert newest(ca).number == 1


def test_what_has_expired_an_hour_ago_leaves_the_list(ca: MemoryCA) -> None:
    leaf = ca.issue()
    revoke(ca, leaf.serial)
    revoke(ca, 5)
    ca.clock.advance(hours=24, minutes=59)
    work(ca)
    assert [entry.serial_number for entry in parsed(ca)] == [5, leaf.serial]
    ca.clock.advance(hours=1)
    work(ca)
    assert [entry.serial_number for entry in parsed(ca)] == [5], "a certificate nobody recorded never expires"


def test_of_two_processes_one_makes_the_list(ca: MemoryCA) -> None:
    ca.clock.advance(seconds=1)
    revoke(ca, 5)
    job = due(ca)
    made = ca.together(refresh_crl(ca.snapshot, job), refresh_crl(ca.snapshot, job))
    assert sorted(made) == [False, True]
    assert newest(ca).number == 1


def test_who_took_the_lease_and_stalled_does_not_overwrite_a_newer_list(ca: MemoryCA) -> None:
    ca.clock.advance(seconds=1)
    revoke(ca, 5)
    stale = due(ca)
    assert ca.run(refresh_crl(ca.snapshot, stale))
    number = newest(ca).number
    assert not ca.run(refresh_crl(ca.snapshot, stale))
    assert newest(ca).number == number


def test_a_revocation_during_the_making_is_on_the_next_list(ca: MemoryCA) -> None:
    ca.clock.advance(seconds=1)
    revoke(ca, 5)
    job = due(ca)
    ca.together(refresh_crl(ca.snapshot, job), _revoking(ca, 6))
    ca.clock.advance(seconds=2)
    work(ca)
    assert [entry.serial_number for entry in parsed(ca)] == [5, 6]


async def _revoking(ca: MemoryCA, serial: int) -> bool:
    body = {"serial": str(serial), "passive": True, "ott": ca.revoke_token(serial)}
    return (await ca.send("POST", "/revoke", body)).status == 200


# -- serving ------------------------------------------------------------------------------------------------------


def test_before_the_first_list_there_is_none() -> None:
    with MemoryCA(make_config(SIGNER.entry(), crl={"enabled": True})) as ca:
        assert ca.call("GET", "/crl").status == 503


def test_a_list_that_is_known_is_not_sent_again(ca: MemoryCA) -> None:
    first = ca.call("GET", "/crl")
    assert (first.status, first.header("etag")) == (200, '"0"')
    again = ca.call("GET", "/crl", headers=[("If-None-Match", first.header("etag"))])
    assert (again.status, again.body, again.header("etag")) == (304, b"", '"0"')
    assert ca.call("GET", "/crl?pem", headers=[("If-None-Match", '"0"')]).status == 200, "that is another text"


def test_a_new_list_is_served_as_soon_as_it_is_made(ca: MemoryCA) -> None:
    before = ca.call("GET", "/crl").body
    ca.clock.advance(seconds=1)
    revoke(ca, 5)
    work(ca)
    after = ca.call("GET", "/crl")
    assert after.body == newest(ca).der != before
    assert after.header("etag") == '"1"'


def test_whoever_revoked_sees_it_at_the_next_look(ca: MemoryCA) -> None:
    """The look waits for the list that is due, however soon it comes."""
    ca.clock.advance(seconds=1)
    revoke(ca, 5)

    async def look() -> int:
        return len(list(x509.load_der_x509_crl((await ca.send("GET", "/crl")).body)))

    async def make_list() -> int:
        return int(await refresh_crl(ca.snapshot, await _due(ca)))

    assert ca.together(look(), make_list()) == [1, 1]


async def _due(ca: MemoryCA) -> JobRecord:
    return next(job for job in await ca.store.ledger.due_jobs(ca.clock.seconds) if job.kind == CRL_JOB)


def test_the_list_of_a_new_issuer_holds_what_the_former_one_issued(ca: MemoryCA) -> None:
    earlier, later = ca.issue(), ca.issue()
    revoke(ca, earlier.serial)
    root = make_party("Another Root", None, now=ca.clock.now, authority=True, ends=timedelta(days=3650))
    issuer = make_party("Another Issuer", root, now=ca.clock.now, authority=True, ends=timedelta(days=3650))
    ca.pki = PKI((issuer.der,), (*ca.pki.roots, root.der), issuer)
    ca.reconfigure(ca.document)
    ca.run(schedule_first(ca.snapshot))
    revoke(ca, later.serial)
    ca.clock.advance(seconds=2)
    work(ca)
    assert [entry.serial_number for entry in parsed(ca)] == sorted([earlier.serial, later.serial])
    assert not [job for job in ca.run(ca.store.ledger.due_jobs(ca.clock.seconds)) if job.kind == CRL_JOB]
