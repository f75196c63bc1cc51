"""An export is verified by who has nothing else, and so is a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from msgspec.structs import replace

from provisor.app.jobs import JobRunner
from provisor.authority.log_export import export_lines, last_place, verify_export
from provisor.authority.log_heads import Signers
from provisor.authority.log_proof import (
    ConsistencyProof,
    InclusionProof,
    encode_proof,
    parse_proof,
    prove,
    prove_consistency,
    verify_consistency_proof,
    verify_proof,
)
from provisor.authority.log_report import LogReport, Wrong
from provisor.authority.log_verify import Auditor
from provisor.core.tree_head import SignedHead
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import Malformed, NotFound, Unavailable
from support.log_world import LoggedCA, make_log

Lines = list[bytes]


@pytest.fixture(scope="module")
def ca() -> Iterator[LoggedCA]:
    with make_log() as made:
        yield made


def export(ca: LoggedCA, first: int = 1) -> Lines:
    async def collect() -> Lines:
        return [line async for line in export_lines(ca.archive, first)]

    return ca.run(collect())


def check(*files: Sequence[bytes], kept: tuple[SignedHead, ...] = (), roots: Sequence[bytes] = ()) -> LogReport:
    anchors = tuple(map(parse_certificate, roots))
    return verify_export([(f"file {n}", lines) for n, lines in enumerate(files)], Auditor(0, kept, anchors))


def wrongs(report: LogReport) -> list[Wrong]:
    return [finding.wrong for finding in report.findings]


class TestExport:
    def test_it_stands_alone(self, ca: LoggedCA) -> None:
        report = check(export(ca), kept=(ca.newest(),), roots=ca.pki.roots)
        assert report.findings == []
        assert (report.events, report.heads, report.size, report.notes) == (544, 2, 544, [])
        assert report.issuers == [ca.snapshot.issuer.certificate.fingerprint]

    @pytest.mark.parametrize("at", [2, 255, 256, 257, 271, 272, 513, 544])
    def test_a_second_file_goes_on_where_the_first_ended(self, ca: LoggedCA, at: int) -> None:
        first = cut(export(ca), at - 1)
        assert last_place(b"".join(first)) == at - 1
        report = check(first, export(ca, at), kept=(ca.newest(),))
        assert report.findings == []
        assert report.events == 544

    def test_one_that_begins_late_is_held_by_its_heads(self, ca: LoggedCA) -> None:
        assert check(export(ca, 300)).findings == []
        assert wrongs(check(export(ca, 300), kept=(ca.newest(),))) == []

    def test_one_that_begins_behind_the_end_has_no_events(self, ca: LoggedCA) -> None:
        report = check(export(ca), export(ca, 545))
        assert (report.findings, report.events) == ([], 544)

    @pytest.mark.parametrize(
        ("change", "wrong"),
        [
            (lambda lines: edit(lines, b'"n":300,', b'"body":"', b'"body":"AAAA'), Wrong.LOG_FORKED),
            (lambda lines: [line for line in lines if b'"n":300,' not in line], Wrong.EVENT_MISSING),
            (lambda lines: swap(lines, 299, 300), Wrong.EVENT_MISSING),
            (lambda lines: lines[:-1], Wrong.LOG_TRUNCATED),
            (lambda lines: lines[:200], Wrong.LOG_TRUNCATED),
            (lambda lines: [*lines[:200], lines[-1]], Wrong.LOG_TRUNCATED),
            (lambda lines: [*lines[:9], b"{}\n", *lines[9:]], Wrong.EXPORT_BROKEN),
            (lambda lines: [*lines[:9], b"\xff\n", *lines[9:]], Wrong.EXPORT_BROKEN),
            (lambda lines: lines[1:], Wrong.EXPORT_BROKEN),
            (lambda lines: lines + lines, Wrong.EXPORT_BROKEN),
            (lambda lines: edit(lines, b'"line":"head"', b'"text":"c', b'"text":"d'), Wrong.HEAD_ALTERED),
            (lambda lines: edit(lines, b'"line":"head"', b'"signature":"ME', b'"signature":"MA'), Wrong.HEAD_ALTERED),
            (lambda lines: [line for line in lines if b'"line":"issuer"' not in line], Wrong.ISSUER_UNKNOWN),
        ],
    )
    def test_what_was_changed_is_found(self, ca: LoggedCA, change: Callable[[Lines], Lines], wrong: Wrong) -> None:
        assert wrong in wrongs(check(change(export(ca))))

    def test_a_shorter_one_is_seen_by_who_kept_a_head(self, ca: LoggedCA) -> None:
        shorter = cut(export(ca), 271)
        assert check(shorter).passed
        assert wrongs(check(shorter, kept=(ca.newest(),))) == [Wrong.LOG_TRUNCATED]

    def test_another_authority_proves_nothing_to_who_trusts_this_one(self, ca: LoggedCA) -> None:
        with LoggedCA() as other:
            other.fill(3)
            other.sequence()
            foreign = export(other)
        assert check(foreign).passed
        assert wrongs(check(foreign, roots=ca.pki.roots)) == [Wrong.ISSUER_UNKNOWN]
        assert Wrong.EXPORT_BROKEN in wrongs(check(export(ca), foreign))

    def test_a_gap_is_exported_as_one_and_found(self) -> None:
        with LoggedCA() as holed:
            holed.runner = JobRunner(lambda: holed.snapshot, lambda _: None)
            holed.fill(9)
            holed._connection().execute("DELETE FROM events WHERE n = 4")
            holed.sequence()
            lines = export(holed)
            assert b'{"line":"gap","n":4}\n' in lines
            report = check(lines, kept=(holed.newest(),))
            assert [(each.wrong, each.place) for each in report.findings] == [(Wrong.LOG_GAP, 4)]
            closed = [line for line in lines if b'"line":"gap"' not in line]
            assert wrongs(check(closed)) == [Wrong.EVENT_MISSING]
            holed._connection().execute("DELETE FROM events WHERE n = 5")
            with pytest.raises(Unavailable, match="event 5 is missing"):
                export(holed)


def edit(lines: Lines, which: bytes, old: bytes, new: bytes) -> Lines:
    changed = [line.replace(old, new) if which in line else line for line in lines]
    assert changed != lines
    return changed


def swap(lines: Lines, one: int, other: int) -> Lines:
    at = {n: next(i for i, line in enumerate(lines) if b'"n":%d,' % n in line) for n in (one, other)}
    changed = list(lines)
    changed[at[one]], changed[at[other]] = lines[at[other]], lines[at[one]]
    return changed


def cut(lines: Lines, size: int) -> Lines:
    """The export of the log when it had this size."""
    begin = msgspec.json.decode(lines[0])
    end = next(i for i, line in enumerate(lines) if b'"n":%d,' % size in line)
    last = lines[end + 1 : end + 2] if b'"line":"head"' in lines[end + 1] else []
    first = msgspec.json.encode({**begin, "size": size}) + b"\n"
    return [first, *lines[1 : end + 1], *last, msgspec.json.encode({"line": "end", "size": size}) + b"\n"]


class TestProof:
    @pytest.fixture
    def proof(self, ca: LoggedCA) -> InclusionProof:
        parsed = parse_proof(encode_proof(ca.run(prove(ca.archive, 1))))
        assert isinstance(parsed, InclusionProof)
        return parsed

    @pytest.fixture
    def der(self, ca: LoggedCA) -> bytes:
        return ca.run(ca.archive.evidence(1, 1))[0].der

    def test_it_holds_for_its_certificate(self, ca: LoggedCA, proof: InclusionProof, der: bytes) -> None:
        signers = Signers([proof.issuer], [parse_certificate(each) for each in ca.pki.roots])
        assert verify_proof(proof, signers, certificate=der).findings == []
        assert verify_proof(proof, signers, kept=ca.newest(), certificate=der).findings == []

    def test_it_holds_for_no_other(self, ca: LoggedCA, proof: InclusionProof, der: bytes) -> None:
        other = ca.run(ca.archive.evidence(272, 1))[0].der
        for certificate in (other, der[:-1], b"", ca.pki.chain[0]):
            assert wrongs(verify_proof(proof, Signers([proof.issuer]), certificate=certificate)) == [Wrong.PROOF_WRONG]

    def test_under_a_head_that_was_kept(self, ca: LoggedCA) -> None:
        old = ca.run(ca.archive.heads(0, 1))[0]
        kept = SignedHead(old.text, old.signature)
        proof = ca.run(prove(ca.archive, 1, kept))
        assert verify_proof(proof, Signers([proof.issuer]), kept=kept).passed
        assert wrongs(verify_proof(proof, Signers([proof.issuer]), kept=ca.newest())) == [Wrong.PROOF_WRONG]
        with pytest.raises(NotFound):
            ca.run(prove(ca.archive, 272, kept))

    @pytest.mark.parametrize("place", [1, 2, 256, 257, 512, 513, 544])
    def test_every_event_can_be_proven(self, ca: LoggedCA, place: int) -> None:
        proof = ca.run(prove(ca.archive, place))
        assert verify_proof(proof, Signers([proof.issuer])).passed
        for bad in (
            replace(proof, place=place % 544 + 1),
            replace(proof, body=proof.body + b" "),
            replace(proof, id=b"x" * 16),
            replace(proof, hashes=proof.hashes[1:]),
            replace(proof, hashes=(bytes(32), *proof.hashes[1:])),
        ):
            assert wrongs(verify_proof(bad, Signers([proof.issuer]))) == [Wrong.PROOF_WRONG]

    def test_what_has_no_place_cannot_be(self, ca: LoggedCA) -> None:
        for place in (545, 10**9):
            with pytest.raises(NotFound):
                ca.run(prove(ca.archive, place))

    @pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"null", b'{"version":"x"}', b"\xff"])
    def test_what_is_none_is_not_read(self, data: bytes) -> None:
        with pytest.raises(Malformed):
            parse_proof(data)


class TestConsistency:
    @pytest.fixture
    def older(self, ca: LoggedCA) -> SignedHead:
        record = ca.run(ca.archive.heads(0, 1))[0]
        return SignedHead(record.text, record.signature)

    @pytest.fixture
    def proof(self, ca: LoggedCA, older: SignedHead) -> ConsistencyProof:
        parsed = parse_proof(encode_proof(ca.run(prove_consistency(ca.archive, older))))
        assert isinstance(parsed, ConsistencyProof)
        return parsed

    def signers(self, ca: LoggedCA, proof: ConsistencyProof) -> Signers:
        anchors = [parse_certificate(each) for each in ca.pki.roots]
        return Signers([proof.older.issuer, proof.newer.issuer], anchors)

    def test_it_holds_from_a_head_to_the_newest(self, ca: LoggedCA, older: SignedHead, proof: ConsistencyProof) -> None:
        signers = self.signers(ca, proof)
        report = verify_consistency_proof(proof, signers, kept=(older, ca.newest()))
        assert (report.findings, report.size, report.heads) == ([], 544, 2)
        assert report.newest_head == ca.newest().text

    def test_from_a_head_to_itself(self, ca: LoggedCA, older: SignedHead) -> None:
        proof = ca.run(prove_consistency(ca.archive, older, older))
        assert proof.hashes == ()
        assert verify_consistency_proof(proof, self.signers(ca, proof), kept=(older,)).passed

    def test_what_was_changed_does_not_hold(self, ca: LoggedCA, proof: ConsistencyProof) -> None:
        for bad in (
            replace(proof, hashes=proof.hashes[1:]),
            replace(proof, hashes=(*proof.hashes, bytes(32))),
            replace(proof, hashes=(bytes(32), *proof.hashes[1:])),
            replace(proof, hashes=(b"", *proof.hashes[1:])),
            replace(proof, older=proof.newer, newer=proof.older),
            replace(proof, newer=proof.older),
        ):
            assert wrongs(verify_consistency_proof(bad, self.signers(ca, proof))) == [Wrong.PROOF_WRONG]
        forged = replace(proof.newer, head=proof.newer.head.replace(b"\n544\n", b"\n545\n"))
        bad = replace(proof, newer=forged)
        assert wrongs(verify_consistency_proof(bad, self.signers(ca, proof))) == [Wrong.HEAD_ALTERED]

    def test_a_head_that_is_not_in_it_is_no_part_of_what_it_proves(self, ca: LoggedCA, older: SignedHead) -> None:
        proof = ca.run(prove_consistency(ca.archive, older, older))
        report = verify_consistency_proof(proof, self.signers(ca, proof), kept=(ca.newest(),))
        assert wrongs(report) == [Wrong.PROOF_WRONG]

    def test_nobody_trusted_signed_it(self, ca: LoggedCA, proof: ConsistencyProof) -> None:
        with LoggedCA() as other:
            report = verify_consistency_proof(proof, self.signers(other, proof))
        assert wrongs(report) == [Wrong.ISSUER_UNKNOWN] * 2

    def test_backwards_or_beyond_the_log_nothing_is_proven(self, ca: LoggedCA, older: SignedHead) -> None:
        with pytest.raises(NotFound, match="no proof leads from 544 to 271 events"):
            ca.run(prove_consistency(ca.archive, ca.newest(), older))
        with LoggedCA() as young:
            young.fill(3)
            young.sequence()
            with pytest.raises(NotFound, match="no proof leads from 271 to 3 events in a log of 3"):
                young.run(prove_consistency(young.archive, older))

    def test_a_log_that_was_rewritten_makes_no_proof(self, ca: LoggedCA, older: SignedHead) -> None:
        log = ca.copy()
        log.execute("UPDATE events SET body = ? WHERE n = 5", b'{"v":1,"at":"","operation":"x","outcome":"refused"}')
        log.rebuild()
        with pytest.raises(NotFound, match="does not go on from the head of 271 events to that of 544: verify it"):
            ca.run(prove_consistency(log.archive, older, ca.newest()))
