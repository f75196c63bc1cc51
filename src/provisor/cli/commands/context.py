"""`context`: which of several authorities the other commands mean (cli-admin 2.5)."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import msgspec

from provisor.cli import context, files, output, prompt
from provisor.cli.commands.common import FORCE
from provisor.cli.context import Context
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch

_AS_JSON = switch("json", help="print JSON")


@command("context current", usage="", flags=(_AS_JSON,), most=None, reads_defaults=False)
def current(call: Call) -> None:
    """print the name of the current context"""
    found = _current()
    if found is None:
        raise CommandError("no context selected")
    output.data(_as_json(found) if call.switch("json") else found.name)


@command("context list", usage="", flags=(_AS_JSON,), most=None, reads_defaults=False)
def list_contexts(call: Call) -> None:
    """list the contexts, the current one first"""
    contexts = context.load_contexts()
    selected = _current()
    rest = [one for one in sorted(contexts.values(), key=lambda one: one.name.lower()) if one != selected]
    if call.switch("json"):
        entries = [(selected, True)] if selected else []
        entries += [(one, False) for one in rest]
        listed = [msgspec.structs.asdict(one) | {"current": is_current} for one, is_current in entries]
        output.data(msgspec.json.format(msgspec.json.encode(listed), indent=2).decode())
        return
    if selected is not None:
        output.data(f"▶ {selected.name}")
    for one in rest:
        output.data(one.name)


@command("context select", usage="", flags=(), least=1, most=1, reads_defaults=False)
def select(call: Call) -> None:
    """make a context the current one"""
    (name,) = call.arguments
    context.get_context(name)
    context.save_current(name)
    output.done("Context", name)


@command("context remove", usage="<name> [--force]", flags=(FORCE,), least=1, most=1, reads_defaults=False)
def remove(call: Call) -> None:
    """remove a context and its files

    The folders of its authority and its profile are deleted, unless another context uses them.
    """
    (name,) = call.arguments
    leaving = context.get_context(name)
    selected = _current()
    if selected is not None and selected.name == name:
        raise CommandError("cannot remove current context")
    folders = context.orphans_of(name)
    for folder in folders:
        _check_inside(folder)
    if not call.switch("force"):
        _ask(folders)
    context.remove_context(name)
    paths = context.context_paths(leaving)
    if paths.step in folders:
        _forget_ssh(Path(paths.base, "ssh", "includes"), paths.step)
    for folder in folders:
        _delete(folder)


def _current() -> Context | None:
    """Raises `CommandError` when the current one is gone."""
    name = context.load_current()
    if not name:
        return None
    contexts = context.load_contexts()
    if name not in contexts:
        raise CommandError(f"could not load context '{name}'")
    return contexts[name]


def _as_json(found: Context) -> str:
    return msgspec.json.encode(found).decode()


def _ask(folders: tuple[str, ...]) -> None:
    output.note("The following directories will be removed:\n")
    for folder in folders:
        output.note(f"  - {folder}")
    output.note()
    if not prompt.confirm("Would you like to remove them? This cannot be undone [y/n]", flag="force"):
        raise CommandError("context not removed")


def _check_inside(folder: str) -> None:
    """Nothing outside of the folder of all contexts is deleted: contexts.json may say anything."""
    base = os.path.realpath(context.base_path())
    if os.path.dirname(os.path.dirname(os.path.realpath(folder))) != base:
        raise CommandError(f"{folder} is not a folder of a context: remove it by hand")


def _delete(folder: str) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        return
    except OSError as error:
        raise CommandError(f"error removing {folder}: {files.system_text(error)}") from error


def _forget_ssh(includes: Path, step_path: str) -> None:
    """Without the line that brings the SSH configuration of the authority in."""
    try:
        lines = includes.read_text().splitlines(keepends=True)
    except (OSError, UnicodeDecodeError):
        return
    line = f'Include "{os.path.join(step_path, "ssh", "config")}"'
    kept = [one for one in lines if one.strip() != line]
    if kept != lines:
        files.write_file(includes, "".join(kept).encode(), 0o600, force=True)
