"""An export is verified by who has nothing else, and so is a proof."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import msgspec
import pytest
from msgspec.structs import replace

from provisor.authority.log_export import export_lines, last_place, verify_export
from provisor.authority.log_heads import Signers
from provisor.authority.log_proof import InclusionProof, encode_proof, parse_proof, prove, verify_proof
from provisor.authority.log_report import LogReport, Wrong
from provisor.authority.log_verify import Auditor
from provisor.core.tree_head import SignedHead
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import Malformed, NotFound
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
        return parse_proof(encode_proof(ca.run(prove(ca.archive, 1))))

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
