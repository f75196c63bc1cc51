"""A page of Markdown for every command, made from the code: `python scripts/command_pages.py`.

The pages lie in docs/commands, and once more in the package, for `--help` and completion. A test makes them anew and
compares.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from provisor.cli.grammar import Flag, FlagKind, StepCommand
from provisor.cli.main import LazyGroup, program
from provisor.cli.pages import FILE, encode_pages

FOLDER: Final = Path(__file__).parents[1] / "docs" / "commands"
_NOTE: Final = "<!-- made by scripts/command_pages.py -->"


def make_pages() -> dict[str, str]:
    """Name of the file and its text."""
    pages: dict[str, str] = {}
    found = list(_walk(program()))
    pages["README.md"] = _index(found)
    for command in found:
        pages[_file(command)] = _page(command)
    return pages


def make_table() -> bytes:
    """The file of the package."""
    return encode_pages({each.full_name.partition(" ")[2]: each.page() for each in _walk(program())})


def _walk(group: LazyGroup) -> Iterator[StepCommand]:
    for name, _ in group.summaries():
        command = group.find(name)
        if isinstance(command, LazyGroup):
            yield from _walk(command)
        elif isinstance(command, StepCommand):
            yield command


def _file(command: StepCommand) -> str:
    return command.full_name.partition(" ")[2].replace(" ", "_") + ".md"


def _summary(command: StepCommand) -> tuple[str, str]:
    first, _, rest = (command.help or "").partition("\n")
    return first.strip().rstrip("."), "\n".join(line.strip() for line in rest.strip().splitlines())


def _index(commands: list[StepCommand]) -> str:
    lines = [_NOTE, "", "# Commands", "", "| command | |", "|---|---|"]
    lines += [f"| [{each.full_name}]({_file(each)}) | {_cell(_summary(each)[0])} |" for each in commands]
    return "\n".join(lines) + "\n"


def _page(command: StepCommand) -> str:
    summary, description = _summary(command)
    lines = [_NOTE, "", f"# {command.full_name}", "", f"{summary[:1].upper()}{summary[1:]}.", ""]
    lines += ["```", f"{command.usage} [--FLAG=VALUE ...]", "```", ""]
    if description:
        lines += [description, ""]
    shown = [flag for flag in command.flags if not flag.hidden]
    if shown:
        lines += ["| flag | | environment |", "|---|---|---|", *map(_line, shown), ""]
    refused = sorted(f"`--{flag.name}`" for flag in command.flags if not flag.built)
    if refused:
        lines += [f"Refused by name, for `step` has them and this version does not: {', '.join(refused)}.", ""]
    return "\n".join(lines)


def _line(flag: Flag) -> str:
    names = ", ".join(f"`{'-' if len(name) == 1 else '--'}{name}`" for name in flag.names)
    value = "" if flag.kind is FlagKind.BOOL else f" *{flag.metavar}*"
    notes = [flag.help] if flag.help else []
    if flag.many:
        notes.append("may be repeated")
    if flag.default and flag.default != "false":
        notes.append(f"default `{flag.default}`")
    variable = "" if flag.ignores_environment else f"`{flag.variable}`"
    return f"| {names}{value} | {_cell('; '.join(notes))} | {variable} |"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("<", "&lt;")


def main() -> None:
    """Write them, and remove those of commands that are gone."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    pages = make_pages()
    for path in FOLDER.glob("*.md"):
        if path.name not in pages:
            path.unlink()
    for name, text in pages.items():
        (FOLDER / name).write_text(text, encoding="utf-8")
    FILE.write_bytes(make_table())
    sys.stdout.write(f"{len(pages)} pages in {FOLDER}\n")


if __name__ == "__main__":
    main()
