"""Where the files of a user are: $STEPPATH, contexts, and the defaults of flags.

`base` is $STEPPATH or ~/.step. Without contexts everything lies there; a context names an authority folder and a
profile folder below it. Contexts are in use when there is a current one, or contexts.json is not empty.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from pathlib import Path

import msgspec

from provisor.cli import files, output, prompt
from provisor.cli.exits import CommandError
from provisor.core.json_text import find_syntax_error

_SELECTING_KEYS = ("context", "profile", "authority")


class Context(msgspec.Struct, frozen=True):
    """A named pair of folders below `base`: `authorities/<authority>` and `profiles/<profile>`."""

    name: str
    authority: str
    profile: str


class Paths(msgspec.Struct, frozen=True):
    """`step` is what `provisor path` prints; `profile` is `base` too when no context is in use."""

    base: str
    step: str
    profile: str
    context: Context | None = None

    @property
    def root(self) -> str:
        """The root certificate that `ca bootstrap` and `ca init` write."""
        return os.path.join(self.step, "certs", "root_ca.crt")

    @property
    def ca_config(self) -> str:
        """ca.json"""
        return os.path.join(self.step, "config", "ca.json")

    @property
    def defaults(self) -> str:
        """defaults.json of the authority, or of everything when no context is in use."""
        return os.path.join(self.step, "config", "defaults.json")

    @property
    def identity(self) -> str:
        """identity.json, which names a client certificate for every CA."""
        return os.path.join(self.step, "config", "identity.json")

    @property
    def profile_defaults(self) -> str:
        """defaults.json of the profile, which overrides the authority's; only with contexts."""
        return os.path.join(self.profile, "config", "defaults.json")


def base_path() -> str:
    """$STEPPATH or ~/.step, cleaned, not created. A relative one stays relative."""
    given = os.environ.get("STEPPATH", "")
    return os.path.normpath(given or os.path.join(os.path.expanduser("~"), ".step"))


def plain_paths() -> Paths:
    """The paths of somebody who uses no contexts."""
    base = base_path()
    return Paths(base=base, step=base, profile=base)


def context_paths(context: Context) -> Paths:
    """The paths of one context."""
    base = base_path()
    return Paths(
        base=base,
        step=os.path.join(base, "authorities", context.authority),
        profile=os.path.join(base, "profiles", context.profile),
        context=context,
    )


def find_paths(name: str = "") -> Paths:
    """The paths of the context `name`, else of the current one, else the plain ones.

    With contexts but none current, a single one is taken; of several the person at the terminal chooses, and the
    choice becomes current. Raises `CommandError` for an unknown name.
    """
    contexts = load_contexts()
    if name:
        if name not in contexts:
            raise CommandError(f"could not load context '{name}'")
        return context_paths(contexts[name])
    current = load_current()
    if current:
        if current not in contexts:
            raise CommandError(f"could not load context '{current}'")
        return context_paths(contexts[current])
    if not contexts:
        return plain_paths()
    return context_paths(_choose(contexts))


def _choose(contexts: Mapping[str, Context]) -> Context:
    names = sorted(contexts, key=str.lower)
    if len(names) == 1:
        return contexts[names[0]]
    chosen = names[prompt.select("Select a context for 'provisor':", names, name="Context", flag="context")]
    save_current(chosen)
    return contexts[chosen]


def in_use() -> bool:
    """New authorities are put into a context of their own."""
    return bool(load_current() or load_contexts())


def load_contexts() -> dict[str, Context]:
    """The content of contexts.json; empty without the file."""
    path = os.path.join(base_path(), "contexts.json")
    entries = _load_object(path, where=f"error unmarshaling context map: {path}")
    return {
        name: Context(name, authority=str(entry.get("authority", "")), profile=str(entry.get("profile", "")))
        for name, entry in entries.items()
        if isinstance(entry, dict)
    }


def load_current() -> str:
    """The name of the current context, or ""."""
    return str(_load_object(os.path.join(base_path(), "current-context.json")).get("context", ""))


def save_current(name: str) -> None:
    """Make a context the current one."""
    content = json.dumps({"context": name}, ensure_ascii=False, separators=(",", ":")).encode()
    files.write_file(os.path.join(base_path(), "current-context.json"), content, 0o644, force=True)


def get_context(name: str) -> Context:
    """Raises `CommandError`."""
    contexts = load_contexts()
    if name not in contexts:
        raise CommandError(f"context '{name}' not found")
    return contexts[name]


def remove_context(name: str) -> None:
    """Out of contexts.json. Raises `CommandError`."""
    contexts = load_contexts()
    contexts.pop(name, None)
    _save_contexts(contexts)


def orphans_of(name: str) -> tuple[str, ...]:
    """The folders of a context that no other one uses. Raises `CommandError`."""
    context = get_context(name)
    others = [one for one in load_contexts().values() if one.name != name]
    paths = context_paths(context)
    found = []
    if all(one.authority != context.authority for one in others):
        found.append(paths.step)
    if all(one.profile != context.profile for one in others):
        found.append(paths.profile)
    return tuple(found)


def _save_contexts(contexts: Mapping[str, Context]) -> None:
    content = {name: {"profile": one.profile, "authority": one.authority} for name, one in sorted(contexts.items())}
    path = os.path.join(base_path(), "contexts.json")
    files.write_file(path, json.dumps(content, indent=4, ensure_ascii=False).encode(), 0o600, force=True)


def add_context(context: Context) -> Paths:
    """Write the context, make it current, create its profile's empty defaults. Raises `CommandError`."""
    if any(re.search(r"(^\.*$)|/|\x00", part) for part in (context.name, context.authority, context.profile)):
        raise CommandError(f"invalid context name '{context.name}'")
    contexts = load_contexts() | {context.name: context}
    paths = context_paths(context)
    files.make_folder(paths.base)
    _save_contexts(contexts)
    save_current(context.name)
    files.make_folder(os.path.dirname(paths.profile_defaults))
    if not os.path.exists(paths.profile_defaults):
        files.write_file(paths.profile_defaults, b"{}", 0o600)
    return paths


def paths_for_new_authority(default_name: str, *, context: str = "", authority: str = "", profile: str = "") -> Paths:
    """Where `ca init` and `ca bootstrap` write.

    A new context when contexts are in use or one of the three flags is given; its name is `context`, else
    `default_name`; authority and profile default to the name.
    """
    if not (context or authority or profile or in_use()):
        return plain_paths()
    name = context or default_name
    return add_context(Context(name, authority=authority or name, profile=profile or name))


def warn_if_configured() -> None:
    """Says that this machine knows an authority already, when that one is in no context."""
    if not in_use() and os.path.exists(plain_paths().ca_config):
        output.note("⚠️  It looks like step is already configured to connect to an authority.")
        output.note("With a context of its own (--context NAME) a second authority leaves this one alone.")
        output.note()


def load_defaults(paths: Paths, config: str = "") -> dict[str, str]:
    """The values of defaults.json by flag name, as text.

    With contexts the profile's file overrides the authority's; without, `config` (the flag `--config`) names another
    file. Lists and objects are left out. Raises `CommandError` when a file is not a JSON object.
    """
    if paths.context is None:
        return _defaults_of(config or paths.defaults)
    merged = _defaults_of(paths.defaults) | _defaults_of(paths.profile_defaults)
    for key in _SELECTING_KEYS:
        if merged.pop(key, None) is not None:
            output.note(f"cannot set '{key}' attribute in config files")
    return merged


def _defaults_of(path: str) -> dict[str, str]:
    where = f"failed loading context configuration: error parsing {path}"
    return {name: _as_text(value) for name, value in _load_object(path, where=where).items() if _is_plain(value)}


def _is_plain(value: object) -> bool:
    return isinstance(value, str | int | float | bool)


def _as_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _load_object(path: str, *, where: str = "") -> dict[str, object]:
    """A JSON object from a file; empty when the file does not exist. `where` begins the complaint about JSON."""
    try:
        content = Path(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        raise CommandError(f"error reading {path}: {files.system_text(error)}") from error
    try:
        return msgspec.json.decode(content, type=dict[str, object])
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        reason = find_syntax_error(content) or error
        raise CommandError(f"{where or f'error parsing {path}'}: {reason}") from error


def resolve(paths: Paths, name: str) -> str:
    """A name inside ca.json or a template: `~/x` and `./x` as in a shell, anything else below `paths.step`."""
    if os.path.isabs(name):
        return name
    if name.startswith("~/"):
        return os.path.join(os.path.expanduser("~"), name[2:])
    if name.startswith(("./", "../")):
        return os.path.abspath(name)
    return os.path.join(paths.step, name)
