"""The command line grammar of `step`, on top of click's tree of commands.

A flag may stand anywhere, with one dash or two, as `--flag value` or `--flag=value`; a boolean is negated with
`--flag=false`; `--` ends the flags. A value comes from the command line, else from the environment
(`STEP_` and the first name), else from defaults.json (any name), else it is the built-in default.

A command is a function of one argument, its `Call`::

    @command("ca health", usage="", flags=(CA_URL, ROOT, CONTEXT), most=0)
    def health(call: Call) -> None:
        '''get the status of the CA'''
        client = open_client(call)
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from typing import Final

import click
import msgspec

from provisor.cli import context, exits
from provisor.cli.context import Paths
from provisor.cli.exits import CommandError, UsageError
from provisor.errors import ProvisorError

PROGRAM: Final = "provisor"

_BOOLEANS = {
    **dict.fromkeys(("1", "t", "T", "TRUE", "true", "True"), True),
    **dict.fromkeys(("0", "f", "F", "FALSE", "false", "False"), False),
}


class FlagKind(StrEnum):
    """What a flag's value must look like already on the command line."""

    TEXT = "text"
    BOOL = "bool"
    INT = "int"
    DURATION = "duration"


class Flag(msgspec.Struct, frozen=True, omit_defaults=True):
    """One flag. `names` are without dashes; the first names the environment variable, the longest is shown.

    `many` collects repeated values. `built=False`: `step` has it, this version refuses it by name.
    """

    names: tuple[str, ...]
    help: str = ""
    kind: FlagKind = FlagKind.TEXT
    default: str = ""
    metavar: str = "value"
    many: bool = False
    hidden: bool = False
    built: bool = True
    ignores_environment: bool = False

    @property
    def name(self) -> str:
        """The name in `Call` and in messages: the first with more than one letter."""
        return next((name for name in self.names if len(name) > 1), self.names[0])

    @property
    def variable(self) -> str:
        # step-ca: `-f, --force` really is STEP_F
        return "STEP_" + self.names[0].upper().replace("-", "_")


def text(*names: str, help: str = "", metavar: str = "value", default: str = "", hidden: bool = False) -> Flag:
    """A flag with a value."""
    return Flag(names=names, help=help, metavar=metavar, default=default, hidden=hidden)


def texts(*names: str, help: str = "", metavar: str = "value") -> Flag:
    """A flag that may be repeated."""
    return Flag(names=names, help=help, metavar=metavar, many=True)


def switch(*names: str, help: str = "", default: bool = False, hidden: bool = False) -> Flag:
    """A boolean flag."""
    return Flag(names=names, help=help, kind=FlagKind.BOOL, default="true" if default else "false", hidden=hidden)


def unbuilt(*names: str, kind: FlagKind = FlagKind.TEXT) -> Flag:
    """A flag of `step` that this version refuses by name."""
    return Flag(names=names, help="not supported by this version", kind=kind, hidden=True, built=False)


class Setting(msgspec.Struct, frozen=True):
    """The values of one flag. `is_set` is false for the built-in default."""

    values: tuple[str, ...]
    is_set: bool


class Call(msgspec.Struct, frozen=True):
    """One use of a command: its arguments and its flags, by the name of `Flag.name`."""

    command: str
    """The full name, `provisor ca token`, for messages."""
    arguments: tuple[str, ...]
    settings: Mapping[str, Setting]
    paths: Paths

    def is_set(self, name: str) -> bool:
        """By command line, environment or defaults.json."""
        return self.settings[name].is_set

    def text(self, name: str) -> str:
        """The value, the last one if repeated; "" when there is none."""
        values = self.settings[name].values
        return values[-1] if values else ""

    def texts(self, name: str) -> tuple[str, ...]:
        """All values in order."""
        return self.settings[name].values

    def switch(self, name: str) -> bool:
        """The value of a boolean flag."""
        return _BOOLEANS[self.text(name)]

    def number(self, name: str) -> int:
        """The value of an integer flag; 0 when there is none."""
        return int(self.text(name) or "0", 0)

    def has(self, name: str) -> bool:
        """The command defines the flag."""
        return name in self.settings

    def required(self, name: str) -> str:
        """The value. Raises `CommandError` `'provisor ca health' requires the '--ca-url' flag`."""
        if value := self.text(name):
            return value
        raise exits.missing_flag(self.command, name)


class UnknownFlag(UsageError):
    """`behind` is the number of arguments before the flag."""

    def __init__(self, name: str, behind: int, flags: Sequence[Flag] = ()) -> None:
        known = (each for flag in flags if not flag.hidden for each in flag.names if len(each) > 1)
        near = [f"--{each}" for each in exits.find_near(name, known)]
        super().__init__(f"flag provided but not defined: -{name}", near=near)
        self.behind = behind


class Words(msgspec.Struct, frozen=True):
    """A command line taken apart: flags with their values in order, and the rest."""

    given: Mapping[str, tuple[str, ...]]
    arguments: tuple[str, ...]


def split_words(words: Sequence[str], flags: Sequence[Flag]) -> Words:
    """Take a command line apart. Raises `UsageError` for an unknown flag, a missing or an impossible value."""
    by_name = {name: flag for flag in flags for name in flag.names}
    given: dict[str, tuple[str, ...]] = {}
    forms: dict[str, str] = {}
    arguments: list[str] = []
    rest = list(words)
    while rest:
        word = rest.pop(0)
        if word == "--":
            arguments += rest
            break
        if len(word) < 2 or not word.startswith("-"):
            arguments.append(word)
            continue
        name, has_value, value = word.lstrip("-").partition("=")
        flag = by_name.get(name)
        if flag is None:
            raise UnknownFlag(name, len(arguments), flags)
        if forms.setdefault(flag.name, name) != name:
            raise UsageError(f"Cannot use two forms of the same flag: {name} {forms[flag.name]}")
        if not has_value:
            value = _next_value(flag, name, rest)
        check_value(flag, name, value)
        given[flag.name] = (*given.get(flag.name, ()), value) if flag.many else (value,)
    return Words(given=given, arguments=tuple(arguments))


def _next_value(flag: Flag, name: str, rest: list[str]) -> str:
    if flag.kind is FlagKind.BOOL:
        return "true"
    if not rest:
        raise UsageError(f"flag needs an argument: -{name}")
    return rest.pop(0)


def check_value(flag: Flag, name: str, value: str) -> None:
    """Raises `UsageError` when the value cannot be one of the flag's kind."""
    if flag.kind is FlagKind.BOOL and value not in _BOOLEANS:
        raise UsageError(f'invalid boolean value "{value}" for -{name}: parse error')
    if flag.kind is FlagKind.INT and not _is_number(value):
        raise UsageError(f'invalid value "{value}" for flag -{name}: parse error')
    if flag.kind is FlagKind.DURATION:
        from provisor.core.durations import DurationError, parse_duration

        try:
            parse_duration(value)
        except DurationError:
            raise UsageError(f'invalid value "{value}" for flag -{name}: parse error') from None


def _is_number(value: str) -> bool:
    try:
        int(value, 0)
    except ValueError:
        return False
    return True


def settle(
    flags: Sequence[Flag],
    given: Mapping[str, tuple[str, ...]],
    environment: Mapping[str, str],
    defaults: Mapping[str, str],
) -> dict[str, Setting]:
    """The value of each flag: command line, environment, defaults.json, built-in."""
    return {flag.name: _settle_one(flag, given, environment, defaults) for flag in flags}


def _settle_one(
    flag: Flag, given: Mapping[str, tuple[str, ...]], environment: Mapping[str, str], defaults: Mapping[str, str]
) -> Setting:
    if flag.name in given:
        return Setting(given[flag.name], is_set=True)
    if not flag.ignores_environment and (value := environment.get(flag.variable, "")):
        return Setting(_from_elsewhere(flag, value, f"environment variable {flag.variable}"), is_set=True)
    for name in flag.names:
        if name in defaults:
            return Setting(_from_elsewhere(flag, defaults[name], f'"{name}" in defaults.json'), is_set=True)
    return Setting((flag.default,) if flag.default else (), is_set=False)


def _from_elsewhere(flag: Flag, value: str, source: str) -> tuple[str, ...]:
    try:
        check_value(flag, flag.name, value)
    except UsageError as error:
        raise CommandError(f"{error.message} (from the {source})") from error
    return tuple(part.strip() for part in value.split(",")) if flag.many else (value,)


def _asks_for_something(flag: Flag, setting: Setting) -> bool:
    """Set, and not only switched off."""
    off = flag.kind is FlagKind.BOOL and not _BOOLEANS[setting.values[-1]] if setting.values else False
    return setting.is_set and not off


class StepCommand(click.Command):
    """A leaf of the tree: parses with `split_words`, then calls `run` with a `Call`.

    `usage` is the first line of the usage text (`<subject> <crt-file> <key-file>`), quoted in complaints about the
    number of arguments, of which there are at least `least` and at most `most` (None: the rest is ignored).
    """

    def __init__(
        self,
        path: str,
        run: Callable[[Call], None],
        *,
        usage: str,
        flags: Sequence[Flag],
        least: int,
        most: int | None,
        reads_defaults: bool,
        own: bool,
    ) -> None:
        super().__init__(name=path.rsplit(" ", 1)[-1], help=(run.__doc__ or "").strip())
        self.full_name = f"{PROGRAM} {path}"
        self.usage = f"{self.full_name} {usage}".rstrip()
        self.flags = tuple(flags)
        self.own = own
        self._run = run
        self._least = least
        self._most = most
        self._reads_defaults = reads_defaults

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Only decides between help and run; the words stay as they are for `invoke`."""
        if wants_help(args):
            raise HelpWanted(self)
        ctx.args = args
        return args

    def invoke(self, ctx: click.Context) -> None:
        """Parse, settle, refuse what is not built, run. `ctx.obj` is the file of the global flag `--config`."""
        try:
            self._run(self.make_call(ctx.args, ctx.obj or ""))
        except ProvisorError as error:
            raise exits.translate(error, own=self.own) from error

    def make_call(self, args: Sequence[str], defaults_file: str = "") -> Call:
        """The `Call` of a command line. Raises `CommandError`."""
        words = self._split(args)
        self._check_count(len(words.arguments))
        paths, defaults = context.plain_paths(), dict[str, str]()
        if self._reads_defaults:
            name = words.given.get("context", ("",))[-1] or os.environ.get("STEP_CONTEXT", "")
            paths = context.find_paths(name)
            defaults = context.load_defaults(paths, defaults_file)
        settings = settle(self.flags, words.given, os.environ, defaults)
        for flag in self.flags:
            if not flag.built and _asks_for_something(flag, settings[flag.name]):
                raise exits.not_built(flag.name)
        return Call(command=self.full_name, arguments=words.arguments, settings=settings, paths=paths)

    def _split(self, args: Sequence[str]) -> Words:
        try:
            return split_words(args, self.flags)
        except UnknownFlag as error:
            if error.behind:
                # step-ca: behind an argument an unknown flag counts as one more argument
                self._check_count(error.behind + 1, too_few=False)
                raise CommandError(error.message, near=error.near) from error
            raise UsageError(error.message, page=self.help_page(), near=error.near) from error
        except UsageError as error:
            raise UsageError(error.message, page=self.help_page()) from error

    def _check_count(self, count: int, *, too_few: bool = True) -> None:
        if too_few and count < self._least:
            raise CommandError(f"not enough positional arguments were provided in '{self.usage}'")
        if self._most is not None and count > self._most:
            raise CommandError(f"too many positional arguments were provided in '{self.usage}'")

    def page(self) -> Page:
        """What help and completion show of it."""
        return Page(usage=self.usage, help=self.help or "", flags=self.flags)

    def help_page(self) -> str:
        """The text of `--help`: name, usage, description, options."""
        return self.page().text(self.full_name)


class Page(msgspec.Struct, frozen=True):
    """What help and completion show of a command: all that can be said of it without its code."""

    usage: str
    help: str
    flags: tuple[Flag, ...]

    def text(self, full_name: str) -> str:
        """Name, usage, description, options."""
        summary, _, description = self.help.partition("\n")
        lines = ["NAME", f"  {full_name} -- {summary.strip().rstrip('.')}", ""]
        lines += ["USAGE", f"  {self.usage} [--FLAG=VALUE ...]"]
        if description.strip():
            lines += ["", "DESCRIPTION", *("  " + line.strip() for line in description.strip().splitlines())]
        shown = [flag for flag in self.flags if not flag.hidden]
        if shown:
            lines += ["", "OPTIONS"]
        for flag in shown:
            value = "" if flag.kind is FlagKind.BOOL else f"={flag.metavar}"
            lines.append("  " + ", ".join(f"{'-' if len(name) == 1 else '--'}{name}{value}" for name in flag.names))
            if flag.help:
                lines.append(f"      {flag.help}")
        return "\n".join(lines)


class PageCommand(click.Command):
    """Stands for a command whose page alone is wanted, so that its code is not imported."""

    def __init__(self, full_name: str, page: Page) -> None:
        super().__init__(name=full_name.rsplit(" ", 1)[-1])
        self.full_name = full_name
        self.flags = page.flags
        self._page = page

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """There is nothing else to do than to show it."""
        raise HelpWanted(self)

    def help_page(self) -> str:
        return self._page.text(self.full_name)


class HelpWanted(Exception):
    """Not an error: somebody asked for the page of a command."""

    def __init__(self, command: click.Command) -> None:
        super().__init__()
        self.command = command


def wants_help(words: Sequence[str]) -> bool:
    """`--help` or `-h` (one dash or two) stands before the first `--`."""
    for word in words:
        if word == "--":
            return False
        if word in ("--help", "-help", "-h", "--h"):
            return True
    return False


def command(
    path: str,
    *,
    usage: str,
    flags: Sequence[Flag],
    least: int = 0,
    most: int | None = 0,
    reads_defaults: bool = True,
    own: bool = False,
) -> Callable[[Callable[[Call], None]], StepCommand]:
    """Make a function of a `Call` the command `path` (`ca token`, without the program's name).

    The first line of its docstring is the summary. `reads_defaults=False` for commands that do not look into
    defaults.json or contexts. `own=True` for commands that `step` does not have: errors use the table of exits.py.
    """

    def decorate(run: Callable[[Call], None]) -> StepCommand:
        return StepCommand(
            path, run, usage=usage, flags=flags, least=least, most=most, reads_defaults=reads_defaults, own=own
        )

    return decorate
