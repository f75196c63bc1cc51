"""Is the database what it was when it was written? Its pages, its rows against the certificates in them, its log.

The log is verified by `authority.log_verify`, which compares events with certificates and revocations, signatures
included. What is looked at here is what no event tells: the columns beside the DER, the lines, the index.
"""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from msgspec import Struct

from provisor.authority.log_report import LogReport
from provisor.authority.log_verify import Auditor, verify_log
from provisor.core.terms import lineage_term
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Malformed
from provisor.ports import Archive, InventoryRow, IssuerID, IssuerRecord
from provisor.storage.backup import Progress, count_rows, find_damage, open_reading

_PAGE: Final = 500
_MOST: Final = 1000
"""Faults that are kept."""


class Fault(Struct, frozen=True):
    """One thing that is wrong, and where."""

    where: str
    text: str

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


class Checked(Struct, frozen=True):
    """What was found. `certificates` were compared with their rows; `notes` are not faults."""

    faults: tuple[Fault, ...]
    notes: tuple[str, ...]
    rows: dict[str, int]
    certificates: int
    events: int
    log_size: int
    authority: str

    @property
    def passed(self) -> bool:
        return not self.faults


class Depth(Struct, frozen=True):
    """How closely to look. `sample`: compare the rows of about so many certificates, None of all."""

    signatures: bool = True
    sample: int | None = None


async def check_database(
    archive: Archive, path: Path | None, *, now: int, depth: Depth, progress: Progress | None = None
) -> Checked:
    """Everything that is wrong with a database. `path` is its file, None for one on a server.

    Raises `Unavailable` if it cannot be read to the end.
    """
    faults: list[Fault] = []
    rows: dict[str, int] = {}
    if path is not None:
        rows = _look_into(path, faults)
    first, second = _halves(progress)
    looked_at = await _compare_rows(archive, depth, faults, first)
    report = await verify_log(archive, Auditor(now=now, signatures=depth.signatures, progress=second))
    _take_over(report, faults)
    return Checked(
        faults=tuple(faults[:_MOST]),
        notes=tuple(report.notes),
        rows=rows,
        certificates=looked_at,
        events=report.events,
        log_size=report.size,
        authority=report.authority,
    )


def _halves(progress: Progress | None) -> tuple[Progress | None, Progress | None]:
    """For the rows, and for the log behind them."""
    if progress is None:
        return None, None
    return lambda done, total: progress(done, 2 * total), lambda done, total: progress(total + done, 2 * total)


def _take_over(report: LogReport, faults: list[Fault]) -> None:
    faults += [Fault(finding.where, f"{finding.wrong.value}: {finding.text}") for finding in report.findings]


# -- the file -----------------------------------------------------------------------------------------


def _look_into(path: Path, faults: list[Fault]) -> dict[str, int]:
    """Pages, references, and what the index holds without a certificate; how many rows there are."""
    with contextlib.closing(open_reading(path)) as connection:
        faults += [Fault("database", text) for text in find_damage(connection)]
        if faults:
            return {}
        for where, text, query in _ORPHANS:
            (count,) = connection.execute(query).fetchone()
            if count:
                faults.append(Fault(where, f"{count} {text}"))
        return count_rows(connection)


_ORPHANS: Final = (
    (
        "index",
        "terms lead to no certificate",
        "SELECT count(*) FROM terms t LEFT JOIN events e ON e.n = t.n"
        " LEFT JOIN certificates c ON c.issuer_n = e.issuer_n AND c.serial = e.serial WHERE c.serial IS NULL",
    ),
    (
        "certificates",
        "are there, and among the forgotten ones too",
        "SELECT count(*) FROM expired_certificates x JOIN certificates c USING (issuer_n, serial)",
    ),
    (
        "index",
        "places ahead of the log",
        "SELECT ifnull(max(CAST(value AS INTEGER) - (SELECT ifnull(max(n), 0) FROM events), 0), 0)"
        " FROM (SELECT max(CAST(value AS INTEGER)) AS value FROM meta WHERE key = 'projected')",
    ),
)


# -- rows ---------------------------------------------------------------------------------------------


async def _compare_rows(archive: Archive, depth: Depth, faults: list[Fault], progress: Progress | None) -> int:
    """Every certificate of the log, or of a sample of its pages, against its row; how many there were."""
    reach = await archive.index_reach()
    issuers = _read_issuers(await archive.issuers(), faults)
    every = 1 if not depth.sample else max(1, reach.end // max(1, depth.sample))
    looked_at = 0
    before: int | None = None
    limit = max(1, _PAGE // every)
    while page := await archive.issued_newest(before, limit):
        for row in page:
            looked_at += 1
            for text in _find_faults(row, issuers.get(row.certificate.issuer)):
                _note(faults, f"certificate {row.certificate.serial}", text)
        place = page[-1].place or 0
        if (page[0].place or 0) <= reach.indexed:
            await _find_in_index(archive, page[0], faults)
        if progress is not None:
            progress(reach.end - place, reach.end)
        before = place - limit * (every - 1)
        if before <= 1:
            break
    return looked_at


def _read_issuers(records: Sequence[IssuerRecord], faults: list[Fault]) -> dict[IssuerID, Certificate]:
    found = {}
    for record in records:
        try:
            found[record.id] = parse_certificate(record.certificate)
        except Malformed as error:
            faults.append(Fault(f"issuer {record.id.hex()}", f"its certificate cannot be read: {error.detail}"))
            continue
        if found[record.id].fingerprint != record.id.hex():
            faults.append(Fault(f"issuer {record.id.hex()}", "its certificate is another"))
    return found


def _find_faults(row: InventoryRow, issuer: Certificate | None) -> Sequence[str]:
    record = row.certificate
    try:
        certificate = parse_certificate(record.der)
    except Malformed as error:
        return [f"its DER cannot be read: {error.detail}"]
    found = []
    if certificate.serial != record.serial:
        found.append(f"its DER has serial {certificate.serial}")
    window = int(certificate.not_before.timestamp()), int(certificate.not_after.timestamp())
    if window != (record.not_before, record.not_after):
        found.append(f"its DER is valid from {window[0]} to {window[1]}, its row says otherwise")
    if issuer is None or certificate.issuer != issuer.subject:
        found.append("its DER names another issuer than its row")
    if record.predecessor is None and record.lineage != record.serial:
        found.append("it renews nothing, and is of the line of another")
    if record.predecessor is not None and record.lineage == record.serial:
        found.append(f"it renews {record.predecessor}, and is the first of its line")
    return found


async def _find_in_index(archive: Archive, row: InventoryRow, faults: list[Fault]) -> None:
    """One of every page is looked up as an operator would, by its line."""
    found = await archive.issued_with_term(lineage_term(row.certificate.lineage), (row.place or 0) + 1, 1)
    if not found or found[0].place != row.place:
        _note(faults, f"certificate {row.certificate.serial}", "the index does not know it")


def _note(faults: list[Fault], where: str, text: str) -> None:
    if len(faults) < _MOST:
        faults.append(Fault(where, text))
