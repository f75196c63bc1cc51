"""Whatever is changed in the log's tables is found, and named with its place."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from provisor.app.jobs import JobRunner
from provisor.authority.log import gap_data
from provisor.authority.log_report import Wrong
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core import merkle
from provisor.core.tree_head import SignedHead, TreeHead, encode_head, parse_head
from provisor.storage.encoding import encode_serial
from support.authority import MemoryCA
from support.log_world import LogCopy, LoggedCA, make_log

FIRST_SIGNED = 1
"""The place of the first certificate's event."""


@pytest.fixture(scope="module")
def ca() -> Iterator[LoggedCA]:
    with make_log() as made:
        yield made


@pytest.fixture
def log(ca: LoggedCA) -> LogCopy:
    return ca.copy()


def test_an_untouched_log_is_intact(ca: LoggedCA, log: LogCopy) -> None:
    report = log.verify(ca.newest())
    assert report.findings == []
    assert (report.size, report.events, report.heads) == (544, 544, 2)
    assert (report.certificates, report.revocations) == (3, 1)
    assert report.notes == []
    assert report.issuers == [ca.snapshot.issuer.certificate.fingerprint]


def test_events_that_are_not_sequenced_yet_are_no_fault(ca: LoggedCA) -> None:
    with LoggedCA() as young:
        young.issue()
        assert young.verify().passed
        young.sequence()
        young.fill(3)
        report = young.verify()
    assert report.passed
    assert report.notes == ["events 2 to 4 are not under a signed head yet"]


def flip(value: bytes, at: int = -1) -> bytes:
    changed = bytearray(value)
    changed[at] ^= 1
    return bytes(changed)


# -- hands that can write ---------------------------------------------------------------------------


def alter_body(log: LogCopy) -> None:
    body = log.scalar("SELECT body FROM events WHERE n = 300").replace(b"x509-sign", b"x509-sigh")
    log.execute("UPDATE events SET body = ? WHERE n = 300", body)


def alter_id(log: LogCopy) -> None:
    log.execute("UPDATE events SET id = ? WHERE n = 400", flip(log.scalar("SELECT id FROM events WHERE n = 400")))


def alter_last_body(log: LogCopy) -> None:
    log.execute("UPDATE events SET body = ? WHERE n = 544", b'{"v":1,"at":"","operation":"x","outcome":"refused"}')


def delete_event(log: LogCopy) -> None:
    log.execute("DELETE FROM events WHERE n = 77")


def delete_and_close_up(log: LogCopy) -> None:
    log.execute("DELETE FROM events WHERE n = 540")
    log.execute("UPDATE events SET n = n - 1 WHERE n > 540")


def swap(log: LogCopy) -> None:
    log.execute("UPDATE events SET n = -1 WHERE n = 10")
    log.execute("UPDATE events SET n = 10 WHERE n = 520")
    log.execute("UPDATE events SET n = 520 WHERE n = -1")


def insert_between(log: LogCopy) -> None:
    log.execute("UPDATE events SET n = -n WHERE n >= 541")
    log.execute("UPDATE events SET n = -n + 1 WHERE n < 0")
    body = b'{"v":1,"at":"2026-01-01T00:00:00Z","operation":"x509-sign","outcome":"refused"}'
    log.execute("INSERT INTO events (n, id, body) VALUES (541, ?, ?)", b"i" * 16, body)


def insert_before(log: LogCopy) -> None:
    log.execute("INSERT INTO events (n, id, body) VALUES (0, ?, ?)", b"i" * 16, b"{}")


def alter_leaf(log: LogCopy) -> None:
    hashes = log.scalar("SELECT hashes FROM log_tiles WHERE level = 0 AND tile = 1")
    log.execute("UPDATE log_tiles SET hashes = ? WHERE level = 0 AND tile = 1", flip(hashes, 3 * 32))


def alter_last_leaf(log: LogCopy) -> None:
    hashes = log.scalar("SELECT hashes FROM log_tiles WHERE level = 0 AND tile = 2")
    log.execute("UPDATE log_tiles SET hashes = ? WHERE level = 0 AND tile = 2", flip(hashes))


def alter_node(log: LogCopy) -> None:
    hashes = log.scalar("SELECT hashes FROM log_tiles WHERE level = 1")
    log.execute("UPDATE log_tiles SET hashes = ? WHERE level = 1", flip(hashes))


def delete_tile(log: LogCopy) -> None:
    log.execute("DELETE FROM log_tiles WHERE level = 0 AND tile = 0")


def delete_upper_tile(log: LogCopy) -> None:
    log.execute("DELETE FROM log_tiles WHERE level = 1")


def alter_head_size(log: LogCopy) -> None:
    text = log.scalar("SELECT text FROM log_heads ORDER BY size DESC").replace(b"\n544\n", b"\n543\n")
    log.execute("UPDATE log_heads SET text = ? WHERE size = 544", text)


def alter_head_signature(log: LogCopy) -> None:
    signature = flip(log.scalar("SELECT signature FROM log_heads ORDER BY size DESC"))
    log.execute("UPDATE log_heads SET signature = ? WHERE size = 544", signature)


def refile_head(log: LogCopy) -> None:
    log.execute("UPDATE log_heads SET size = 500 WHERE size = 544")


def delete_heads(log: LogCopy) -> None:
    log.execute("DELETE FROM log_heads")


def truncate_events(log: LogCopy) -> None:
    log.execute("DELETE FROM events WHERE n > 530")


def truncate_events_and_tiles(log: LogCopy) -> None:
    log.execute("DELETE FROM events WHERE n > 530")
    hashes = log.scalar("SELECT hashes FROM log_tiles WHERE level = 0 AND tile = 2")
    log.execute("UPDATE log_tiles SET hashes = ? WHERE level = 0 AND tile = 2", hashes[: 18 * 32])


def rewrite(log: LogCopy) -> None:
    alter_body(log)
    log.rebuild()


def first_certificate(log: LogCopy) -> tuple[bytes, bytes]:
    serial, der = log.execute(
        "SELECT c.serial, c.der FROM certificates c JOIN events e ON e.serial = c.serial WHERE e.n = 1"
    )[0]
    return serial, der


def alter_certificate(log: LogCopy) -> None:
    serial, der = first_certificate(log)
    place = der.index(b"a.test") if b"a.test" in der else len(der) // 2
    log.execute("UPDATE certificates SET der = ? WHERE serial = ?", flip(der, place), serial)


def alter_certificate_signature(log: LogCopy) -> None:
    serial, der = first_certificate(log)
    log.execute("UPDATE certificates SET der = ? WHERE serial = ?", flip(der), serial)


def delete_certificate(log: LogCopy) -> None:
    log.execute("DELETE FROM certificates WHERE serial = ?", first_certificate(log)[0])


def insert_certificate(log: LogCopy) -> None:
    log.execute(
        "INSERT INTO certificates SELECT issuer_n, ?, lineage, predecessor, not_before, not_after, provisioner_n,"
        " crl_shard, csr_digest, der FROM certificates LIMIT 1",
        encode_serial(4711),
    )


def alter_reference(log: LogCopy) -> None:
    log.execute("UPDATE events SET serial = ? WHERE n = 1", encode_serial(4711))


def drop_reference(log: LogCopy) -> None:
    log.execute("UPDATE events SET serial = NULL, issuer_n = NULL WHERE n = 1")


def delete_revocation(log: LogCopy) -> None:
    log.execute("DELETE FROM revocations")


def alter_reason(log: LogCopy) -> None:
    log.execute("UPDATE revocations SET reason_code = 6")


def alter_revocation_time(log: LogCopy) -> None:
    log.execute("UPDATE revocations SET revoked_at = revoked_at + 3600")


def insert_revocation(log: LogCopy) -> None:
    log.execute(
        "INSERT INTO revocations SELECT issuer_n, ?, 1, '', revoked_at, NULL, '', '', 0 FROM revocations LIMIT 1",
        encode_serial(4711),
    )


def forge_event(log: LogCopy) -> None:
    """One that would explain a certificate which nobody can show."""
    body = (
        b'{"v":1,"at":"2026-01-01T00:00:00Z","operation":"x509-sign","outcome":"granted",'
        b'"given":{"serial":"4711","tbs":"00"}}'
    )
    query = "INSERT INTO events (n, id, issuer_n, serial, body) VALUES (545, ?, 1, ?, ?)"
    log.execute(query, b"i" * 16, encode_serial(4711), body)


def alter_issuer(log: LogCopy) -> None:
    other = MemoryCA()
    log.execute("UPDATE issuers SET certificate = ?", other.pki.chain[0])
    other.close()


CASES: list[tuple[Callable[[LogCopy], None], set[tuple[Wrong, int | None]]]] = [
    (alter_body, {(Wrong.EVENT_ALTERED, 300)}),
    (alter_id, {(Wrong.EVENT_ALTERED, 400)}),
    (alter_last_body, {(Wrong.EVENT_ALTERED, 544)}),
    (delete_event, {(Wrong.EVENT_MISSING, 77)}),
    (
        delete_and_close_up,
        {(Wrong.EVENT_MISSING, 540), (Wrong.LOG_TRUNCATED, 544), *((Wrong.EVENT_MOVED, n) for n in range(540, 544))},
    ),
    (swap, {(Wrong.EVENT_MOVED, 10), (Wrong.EVENT_MOVED, 520)}),
    (insert_between, {(Wrong.EVENT_INSERTED, 541), *((Wrong.EVENT_MOVED, n) for n in range(542, 546))}),
    (insert_before, {(Wrong.EVENT_INSERTED, 0)}),
    (alter_leaf, {(Wrong.TILE_ALTERED, 260)}),
    (alter_last_leaf, {(Wrong.TILE_ALTERED, 544)}),
    (alter_node, {(Wrong.TILE_ALTERED, None)}),
    (delete_tile, {(Wrong.TILE_MISSING, None)}),
    (delete_upper_tile, {(Wrong.TILE_MISSING, None)}),
    (alter_head_size, {(Wrong.HEAD_ALTERED, 543)}),
    (alter_head_signature, {(Wrong.HEAD_ALTERED, 544)}),
    (refile_head, {(Wrong.HEAD_ALTERED, 500)}),
    (delete_heads, {(Wrong.HEAD_ALTERED, None)}),
    (truncate_events, {(Wrong.LOG_TRUNCATED, 531)}),
    (truncate_events_and_tiles, {(Wrong.LOG_TRUNCATED, 531)}),
    (rewrite, {(Wrong.LOG_FORKED, 544)}),
    (alter_certificate, {(Wrong.CERTIFICATE_ALTERED, 1)}),
    (alter_certificate_signature, {(Wrong.CERTIFICATE_ALTERED, 1)}),
    (delete_certificate, {(Wrong.CERTIFICATE_MISSING, 1)}),
    (insert_certificate, {(Wrong.CERTIFICATE_WITHOUT_EVENT, None)}),
    (alter_reference, {(Wrong.REFERENCE_ALTERED, 1), (Wrong.CERTIFICATE_WITHOUT_EVENT, None)}),
    (drop_reference, {(Wrong.REFERENCE_ALTERED, 1), (Wrong.CERTIFICATE_WITHOUT_EVENT, None)}),
    (delete_revocation, {(Wrong.REVOCATION_MISSING, 274)}),
    (alter_reason, {(Wrong.REVOCATION_ALTERED, 274)}),
    (alter_revocation_time, {(Wrong.REVOCATION_ALTERED, 274)}),
    (insert_revocation, {(Wrong.REVOCATION_WITHOUT_EVENT, None)}),
    (forge_event, {(Wrong.CERTIFICATE_MISSING, 545)}),
]


@pytest.mark.parametrize(("tamper", "expected"), CASES, ids=lambda value: getattr(value, "__name__", ""))
def test_what_was_done_is_named_with_its_place(
    log: LogCopy, tamper: Callable[[LogCopy], None], expected: set[tuple[Wrong, int | None]]
) -> None:
    tamper(log)
    report = log.verify()
    assert {(finding.wrong, finding.place) for finding in report.findings} == expected, report.findings


def test_an_issuer_of_another_vouches_for_nothing(log: LogCopy) -> None:
    alter_issuer(log)
    assert Wrong.ISSUER_UNKNOWN in {finding.wrong for finding in log.verify().findings}


# -- what only a second party sees ------------------------------------------------------------------


def go_back(log: LogCopy) -> None:
    """To what was true once: the state at the first head, as a backup would have it."""
    size = log.scalar("SELECT min(size) FROM log_heads")
    log.execute("DELETE FROM log_heads WHERE size > ?", size)
    for table in ("certificates", "revocations"):
        later = "SELECT serial FROM events WHERE n > ? AND serial IS NOT NULL"
        log.execute(f"DELETE FROM {table} WHERE serial IN ({later})", size)
    log.execute("DELETE FROM events WHERE n > ?", size)
    log.rebuild()


def test_going_back_is_seen_by_who_kept_a_head(ca: LoggedCA, log: LogCopy) -> None:
    go_back(log)
    assert log.verify().passed
    (finding,) = log.verify(ca.newest()).findings
    assert (finding.wrong, finding.place) == (Wrong.LOG_TRUNCATED, 272)


def test_a_rewritten_log_is_seen_by_who_kept_an_older_head(ca: LoggedCA, log: LogCopy) -> None:
    old = log.execute("SELECT text, signature FROM log_heads ORDER BY size LIMIT 1")[0]
    log.execute("UPDATE events SET body = ? WHERE n = 5", log.scalar("SELECT body FROM events WHERE n = 6"))
    log.rebuild()
    root = asked_root(log)
    text = encode_head(
        TreeHead(
            log.scalar("SELECT value FROM meta WHERE key = 'authority_id'"),
            544,
            root,
            ca.clock.seconds,
            ca.snapshot.issuer.id,
        )
    )
    signature = ca.core.find_signing(ca.snapshot.issuer.id).signer.sign(text, ca.snapshot.issuer.signature_algorithm)  # type: ignore[union-attr]
    log.execute("DELETE FROM log_heads")
    log.execute("INSERT INTO log_heads VALUES (544, ?, ?, ?)", ca.clock.seconds, text, signature)
    assert log.verify().passed
    (finding,) = log.verify(SignedHead(*old)).findings
    assert (finding.wrong, finding.place) == (Wrong.LOG_FORKED, 271)


def asked_root(log: LogCopy) -> bytes:
    tiles = {(level, index): hashes for level, index, hashes in log.execute("SELECT * FROM log_tiles")}
    return merkle.hash_range(0, 544, tiles)


def test_a_kept_head_that_was_touched_is_no_witness(ca: LoggedCA, log: LogCopy) -> None:
    kept = ca.newest()
    head = parse_head(kept.text)
    other = encode_head(TreeHead(head.authority, head.size, bytes(32), head.at, head.issuer))
    (finding,) = log.verify(SignedHead(other, kept.signature)).findings
    assert finding.wrong is Wrong.HEAD_ALTERED


def test_without_signatures_a_broken_one_is_not_looked_at(log: LogCopy) -> None:
    alter_certificate_signature(log)
    assert log.verify(signatures=False).passed


# -- gaps -------------------------------------------------------------------------------------------


@pytest.fixture
def holed() -> Iterator[LoggedCA]:
    """Somebody took an event away before the log got there; the log went on."""
    with LoggedCA() as ca:
        ca.runner = JobRunner(lambda: ca.snapshot, lambda _: None)
        ca.fill(300)
        ca.issue()
        ca.fill(1)
        ca._connection().execute("CREATE TABLE taken AS SELECT * FROM events WHERE n IN (40, 301)")
        ca._connection().execute("DELETE FROM events WHERE n IN (40, 301)")
        ca.fill(29)
        ca.sequence()
        yield ca


def test_a_gap_is_a_finding_and_so_is_what_its_event_did(holed: LoggedCA) -> None:
    assert [(each.wrong, each.place) for each in holed.verify(holed.newest()).findings] == [
        (Wrong.LOG_GAP, 40),
        (Wrong.LOG_GAP, 301),
        (Wrong.CERTIFICATE_WITHOUT_EVENT, None),
    ]


def test_to_put_the_event_back_does_not_undo_it(holed: LoggedCA) -> None:
    holed._connection().execute("INSERT INTO events SELECT * FROM taken")
    report = holed.verify()
    assert [(each.wrong, each.place) for each in report.findings] == [
        (Wrong.EVENT_INSERTED, 40),
        (Wrong.EVENT_INSERTED, 301),
    ]
    assert "the tree has a gap here" in report.findings[0].text


def test_nor_to_say_that_it_was_forgotten_by_age(holed: LoggedCA) -> None:
    holed._connection().execute("INSERT INTO meta VALUES ('events_dropped', '330')")
    assert (Wrong.LOG_GAP, 40) in {(each.wrong, each.place) for each in holed.verify().findings}


def test_an_event_of_the_tree_that_is_gone_is_no_gap_for_whoever_writes_its_leaf(ca: LoggedCA, log: LogCopy) -> None:
    """The heads are over the event."""
    log.execute("DELETE FROM events WHERE n = 300")
    hashes = log.scalar("SELECT hashes FROM log_tiles WHERE level = 0 AND tile = 1")
    forged = hashes[: 43 * 32] + merkle.hash_leaf(gap_data(300)) + hashes[44 * 32 :]
    log.execute("UPDATE log_tiles SET hashes = ? WHERE level = 0 AND tile = 1", forged)
    found = {finding.wrong for finding in log.verify().findings}
    assert found == {Wrong.LOG_GAP, Wrong.TILE_ALTERED, Wrong.LOG_FORKED}


# -- events that are forgotten by age ---------------------------------------------------------------


def forget(log: LogCopy, upto: int) -> None:
    log.execute("DELETE FROM events WHERE n <= ? AND serial IS NULL", upto)
    log.execute("INSERT INTO meta VALUES ('events_dropped', ?)", str(upto))


def test_a_revocation_of_a_time_that_is_forgotten_is_a_note(log: LogCopy) -> None:
    forget(log, 300)
    report = log.verify()
    assert report.findings == []
    assert "1 revocations are of a time whose events are forgotten by age: they were compared with nothing" in (
        report.notes
    )


def test_a_later_one_without_an_event_is_a_finding(ca: LoggedCA, log: LogCopy) -> None:
    """However much was forgotten before it."""
    forget(log, 300)
    insert_revocation(log)
    log.execute("UPDATE revocations SET revoked_at = revoked_at + 700 WHERE serial = ?", encode_serial(4711))
    assert [finding.wrong for finding in log.verify().findings] == [Wrong.REVOCATION_WITHOUT_EVENT]


def test_so_it_is_when_everything_is_said_to_be_forgotten(log: LogCopy) -> None:
    """The time of the head over it tells how long ago that was."""
    forget(log, 544)
    insert_revocation(log)
    log.execute("UPDATE revocations SET revoked_at = revoked_at + 700 WHERE serial = ?", encode_serial(4711))
    assert [finding.wrong for finding in log.verify().findings] == [Wrong.REVOCATION_WITHOUT_EVENT]


def test_progress_is_told(ca: LoggedCA) -> None:
    told: list[tuple[int, int]] = []
    ca.run(verify_log(ca.archive, Auditor(ca.clock.seconds, progress=lambda *of: told.append(of))))
    assert told == [(0, 544)]
