"""Certificates as lines: what a stranger called himself does nothing to a terminal or a spreadsheet."""

from __future__ import annotations

import csv
import io
import json

import pytest
from msgspec.structs import replace

from provisor.cli import rows
from provisor.wire.admin import CertificateItem, CertificatePage

ITEM = CertificateItem(
    serial="5",
    fingerprint="ab" * 32,
    names=("www.example.com", "b"),
    provisioner="ci",
    kind="JWK",
    not_before="2026-01-01T00:00:00Z",
    not_after="2026-01-02T00:00:00Z",
    state="valid",
    lineage="5",
)


def pages(*items: CertificateItem) -> list[CertificatePage]:
    return [CertificatePage(items[:1], "x"), CertificatePage((), "y"), CertificatePage(items[1:])]


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0", "%0", "|x"])
def test_no_cell_is_a_formula(name: str) -> None:
    text = "".join(rows.as_csv(pages(replace(ITEM, names=(name,), provisioner=name))))
    heading, row = csv.reader(io.StringIO(text, newline=""))
    assert row[heading.index("names")] == f"'{name}"
    assert row[heading.index("provisioner")] == f"'{name}"


@pytest.mark.parametrize("name", ['a"b', "a,b", "a\nb", 'a"\r\n=1,"', "a;b", "é"])
def test_a_cell_stays_one_cell(name: str) -> None:
    text = "".join(rows.as_csv(pages(replace(ITEM, names=(name,)), ITEM)))
    heading, first, second = csv.reader(io.StringIO(text, newline=""))
    assert first[heading.index("names")] == name
    assert len(first) == len(second) == len(heading)


@pytest.mark.parametrize("name", ["\x1b[2J", "a\rb", "a\nb", "\x9b31m", "\u202egnp.exe", "\u2028", "\x00"])
def test_a_terminal_is_given_nothing_to_obey(name: str) -> None:
    lines = list(rows.as_table(pages(replace(ITEM, names=(name,), provisioner=name))))
    assert len(lines) == 2
    assert all(line.rstrip("\n").isprintable() for line in lines)


def test_a_table_has_one_heading_and_says_how_many_names_there_are() -> None:
    lines = list(rows.as_table(pages(ITEM, replace(ITEM, serial="123456", names=("a" * 300,)))))
    assert [line.split()[0] for line in lines] == ["SERIAL", "5", "123456"]
    assert "www.example.com +1" in lines[1]
    assert "…" in lines[2]
    assert not list(rows.as_table([CertificatePage(())]))


def test_json_is_one_line() -> None:
    text = "".join(rows.as_json_array(pages(replace(ITEM, names=("a\nb",)), ITEM)))
    assert text.count("\n") == 1
    assert [each["serial"] for each in json.loads(text)] == ["5", "5"]
    assert "".join(rows.as_json_array([])) == "[]\n"
    assert [json.loads(line)["serial"] for line in rows.as_json_lines(pages(ITEM, ITEM))] == ["5", "5"]
