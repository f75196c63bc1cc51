"""Certificates as lines for people, for spreadsheets and for programs.

Names come from strangers: on a terminal nothing of them is obeyed, in a spreadsheet nothing is a formula.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from typing import Final

import msgspec

from provisor.wire.admin import CertificateItem, CertificatePage

_HEADINGS: Final = ("SERIAL", "NAME", "PROVISIONER", "NOT AFTER", "STATE")
_WIDEST: Final = 48
_COLUMNS: Final = (
    *("serial", "fingerprint", "names", "provisioner", "kind", "notBefore", "notAfter", "state", "revokedAt"),
    *("lineage", "predecessor", "place"),
)
_FORMULA: Final = frozenset("=+-@\t\r\n|%")

_encode = msgspec.json.Encoder().encode


def printable(text: str) -> str:
    """What a terminal may be given: everything that is not printable as an escape."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode() for character in text
    )


def as_table(pages: Iterable[CertificatePage]) -> Iterator[str]:
    """Lines; the columns are as wide as the first page needs them."""
    widths: list[int] = []
    for page in pages:
        cells = [_cells(item) for item in page.certificates]
        if cells and not widths:
            widths = [max(map(len, column)) for column in zip(_HEADINGS, *cells, strict=True)]
            yield _line(_HEADINGS, widths)
        for row in cells:
            yield _line(row, widths)


def _cells(item: CertificateItem) -> Sequence[str]:
    name = printable(item.names[0]) if item.names else ""
    if len(name) > _WIDEST:
        name = f"{name[: _WIDEST - 1]}…"
    if len(item.names) > 1:
        name += f" +{len(item.names) - 1}"
    return item.serial, name, printable(item.provisioner), item.not_after, item.state


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "  ".join(f"{cell:<{width}}" for cell, width in zip(cells, widths, strict=True)).rstrip() + "\n"


def as_json_array(pages: Iterable[CertificatePage]) -> Iterator[str]:
    """One array on one line, piece by piece."""
    between = "["
    for page in pages:
        for item in page.certificates:
            yield between + _encode(item).decode()
            between = ","
    yield "]\n" if between == "," else "[]\n"


def as_json_lines(pages: Iterable[CertificatePage]) -> Iterator[str]:
    for page in pages:
        for item in page.certificates:
            yield _encode(item).decode() + "\n"


def as_csv(pages: Iterable[CertificatePage]) -> Iterator[str]:
    """RFC 4180, with a heading."""
    yield _csv_line(_COLUMNS)
    for page in pages:
        for item in page.certificates:
            yield _csv_line(
                (
                    item.serial,
                    item.fingerprint,
                    " ".join(item.names),
                    item.provisioner,
                    item.kind,
                    item.not_before,
                    item.not_after,
                    item.state,
                    item.revoked_at,
                    item.lineage,
                    item.predecessor,
                    "" if item.place is None else str(item.place),
                )
            )


def _csv_line(cells: Sequence[str]) -> str:
    line = io.StringIO()
    csv.writer(line).writerow([_harmless(cell) for cell in cells])
    return line.getvalue()


def _harmless(cell: str) -> str:
    """A spreadsheet computes what begins like a formula, unless an apostrophe stands before it."""
    return f"'{cell}" if cell and cell[0] in _FORMULA else cell


def as_pem(pages: Iterable[CertificatePage]) -> Iterator[str]:
    for page in pages:
        for item in page.certificates:
            yield item.certificate
