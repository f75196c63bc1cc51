"""Two whole Provisors on one database are one CA."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from support.load import Attempt
from support.peers import jwk_provisioner
from support.postgres import Database, new_database
from support.replicas import make_replicas, request_by_certificate, running
from support.server import RunningProvisor, wait_for

pytestmark = pytest.mark.slow

ELSEWHERE = "is in force elsewhere: this replica's ca.json differs"


@pytest.fixture
def database() -> Iterator[Database]:
    with new_database() as made:
        yield made


def send(ca: RunningProvisor, attempt: Attempt) -> int:
    connection = ca.connect()
    try:
        return attempt.send(connection)
    finally:
        connection.close()


def issue(ca: RunningProvisor, name: str) -> Attempt:
    attempt = Attempt(ca, name)
    assert send(ca, attempt) == 201, attempt
    return attempt


def revoke(ca: RunningProvisor, serial: int) -> int:
    body = {"serial": str(serial), "ott": ca.token(str(serial), purpose="revoke"), "reasonCode": 1, "passive": True}
    return ca.post("/1.0/revoke", body).status


def test_what_one_has_done_the_other_knows_at_once(tmp_path: Path, database: Database) -> None:
    with running(make_replicas(tmp_path, database, settings={"crl": {"enabled": True}})) as (one, other):
        # A token works once.
        attempt = issue(one, "a.example.test")
        for ca in (other, one):
            again = Attempt(one, "b.example.test")
            again.body = attempt.body
            assert send(ca, again) == 401
        # What is revoked on one is not renewed on the other.
        for n in range(3):
            held = issue(one, f"r{n}.example.test")
            assert request_by_certificate(other, held, "/1.0/renew").status == 201
            assert revoke(one, held.certificate.serial_number) == 200
            assert request_by_certificate(other, held, "/1.0/renew").status == 401
            assert revoke(other, held.certificate.serial_number) == 400
        # One list, made by one of them.
        lists = {ca.get("/1.0/crl").body for ca in (one, other)}
        assert len(lists) == 1
        assert [row[0] for row in database.query("SELECT value FROM provisor.meta WHERE key = 'epoch'")] == ["1"]


def test_a_configuration_that_was_superseded_issues_nothing(tmp_path: Path, database: Database) -> None:
    with running(make_replicas(tmp_path, database)) as (one, other):
        issue(other, "before.example.test")
        authority = {"provisioners": [*one.config["authority"]["provisioners"], jwk_provisioner("new")]}  # type: ignore[index]
        one.write_config(authority=authority)
        one.reload()
        issue(one, "new.example.test")
        refused = Attempt(other, "old.example.test")
        assert send(other, refused) == 503
        other.await_log(ELSEWHERE)
        answer = other.get("/ready")
        assert (answer.status, ELSEWHERE in answer.json["message"]) == (503, True)
        # Its file brought up to date, it comes back by itself, and the token still works.
        other.write_config(authority=authority)
        other.await_ready()
        assert send(other, refused) == 201
        assert "new" in {each["name"] for each in other.get("/1.0/provisioners").json["provisioners"]}
        issue(one, "after.example.test")


def test_a_change_that_concerns_one_host_leaves_the_others_alone(tmp_path: Path, database: Database) -> None:
    with running(make_replicas(tmp_path, database)) as (one, other):
        one.write_config(dnsNames=["localhost", "127.0.0.1", "one.example.test"])
        one.reload()
        assert ELSEWHERE not in other.log
        issue(one, "a.example.test")
        issue(other, "b.example.test")
        assert database.query("SELECT value FROM provisor.meta WHERE key = 'epoch'")[0][0] == "1"


def test_a_start_does_not_bring_back_what_was_superseded(tmp_path: Path, database: Database) -> None:
    with running(make_replicas(tmp_path, database)) as (one, other):
        other.stop()
        one.write_config(authority={"provisioners": [*one.config["authority"]["provisioners"], jwk_provisioner("new")]})  # type: ignore[index]
        one.reload()
        late = other.spawn()
        assert late.wait(20) == 2
        assert "was superseded" in other.log
        assert one.get("/ready").status == 200
        # Where nobody serves the newer one any more, the older one may come back.
        one.stop()
        other.start()
        issue(other, "again.example.test")


def test_a_new_configuration_may_come_with_a_start(tmp_path: Path, database: Database) -> None:
    replicas = make_replicas(tmp_path, database)
    with running(replicas[:1]) as (one,):
        replicas[1].write_config(
            authority={"provisioners": [*one.config["authority"]["provisioners"], jwk_provisioner("new")]}  # type: ignore[index]
        )
        with running(replicas[1:]) as (other,):
            one.await_log(ELSEWHERE)
            issue(other, "a.example.test")
            wait_for(lambda: one.get("/ready").status == 503, "it says that it is ready", one)


def test_who_meets_strangers_has_no_password(tmp_path: Path, database: Database) -> None:
    secret = "s3cret-of-the-database"
    url = database.cluster.url(password=secret, options="sslmode=disable")
    with running(make_replicas(tmp_path, database, 1, url=url, environment={"PGPASSWORD": secret})) as (ca,):
        issue(ca, "a.example.test")
        for pid in ca.pids("worker"):
            assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
            assert secret.encode() not in memory_of(pid)
        assert secret not in ca.log


def memory_of(pid: int) -> bytes:
    """What the process has written to in its memory."""
    found = bytearray()
    with open(f"/proc/{pid}/maps") as maps, open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in maps:
            bounds, flags = line.split()[:2]
            if flags.startswith("rw") and "[v" not in line:
                low, high = (int(each, 16) for each in bounds.split("-"))
                memory.seek(low)
                try:
                    found += memory.read(high - low)
                except OSError:
                    continue
    return bytes(found)
