"""The pages of the commands are those of this code."""

from __future__ import annotations

import subprocess
import sys

import pytest

from provisor.cli.pages import FILE, load_pages
from scripts.command_pages import FOLDER, make_pages, make_table

PAGES = make_pages()


def test_there_is_a_page_for_each_command_and_no_other() -> None:
    assert {path.name for path in FOLDER.glob("*.md")} == set(PAGES)


@pytest.mark.parametrize("name", sorted(PAGES))
def test_a_page_says_what_the_command_does(name: str) -> None:
    text = (FOLDER / name).read_text(encoding="utf-8")
    assert text == PAGES[name], "run `python scripts/command_pages.py`"


@pytest.mark.parametrize("name", sorted(set(PAGES) - {"README.md"}))
def test_every_flag_says_what_it_is_for(name: str) -> None:
    empty = [line for line in PAGES[name].splitlines() if line.startswith("| `") and line.split("|")[2].strip() == ""]
    assert not empty


def test_help_and_completion_show_the_same() -> None:
    assert FILE.read_bytes() == make_table(), "run `python scripts/command_pages.py`"
    assert len(load_pages()) == len(PAGES) - 1


def test_help_of_a_command_does_not_import_it() -> None:
    words = "from provisor.cli.main import run; import sys; run(['ca', 'certificate', '--help']); "
    words += "sys.exit('provisor.cli.commands.ca_certificate' in sys.modules or 'cryptography' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", words],
        env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "provisor ca certificate <subject>" in done.stdout
