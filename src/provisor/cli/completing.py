"""What a shell may put where the cursor is. It runs at every press of Tab: nothing is imported that it can do without.

The shell asks with `provisor __complete WORD...`, the words up to the cursor, the last one being typed (or empty). The
answer is a line for each candidate: the word, and behind a tab what it is. No line: names of files are wanted, or
nothing is known.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import click
import msgspec

from provisor.cli.grammar import Flag, FlagKind, PageCommand, StepCommand
from provisor.cli.main import LazyGroup

_SHELLS = ("bash", "fish", "zsh")
_GLOBAL_FLAGS = (
    Flag(names=("config",), help="file with defaults for flags", metavar="file"),
    Flag(names=("help", "h"), help="show the page of a command", kind=FlagKind.BOOL),
    Flag(names=("version", "v"), help="print the version", kind=FlagKind.BOOL),
)


class Candidate(msgspec.Struct, frozen=True):
    """A word, and what it is in a few others."""

    word: str
    summary: str = ""


def find_candidates(root: LazyGroup, words: Sequence[str]) -> list[Candidate]:
    """The candidates for the last of `words`, which follow the program's name."""
    *before, current = words or [""]
    command, rest = _descend(root, before)
    if command is None or "--" in rest:
        return []
    flags = (
        command.flags if isinstance(command, StepCommand | PageCommand) else _GLOBAL_FLAGS if command is root else ()
    )
    found = _candidates(command, flags, rest, current)
    return [each for each in found if each.word.startswith(current)]


def _descend(root: LazyGroup, words: Sequence[str]) -> tuple[click.Command | None, list[str]]:
    """The group or command that `words` lead to, None if to nothing; and its own words."""
    command: click.Command | None = root
    rest = list(words)
    while rest and isinstance(command, LazyGroup):
        word = rest.pop(0)
        if word.startswith("-"):
            if command is root and word.lstrip("-") == "config" and rest:
                rest.pop(0)
        elif word != "help":
            command = command.find_page(word)
    return command, rest


def _candidates(
    command: click.Command, flags: Sequence[Flag], before: Sequence[str], current: str
) -> Iterator[Candidate]:
    waiting = _flag_of(flags, before[-1]) if before else None
    if waiting is not None:
        yield from _values(waiting)
    elif current.startswith("-"):
        yield from _flags(flags, before, current)
    elif isinstance(command, LazyGroup):
        yield from (Candidate(name, summary) for name, summary in command.summaries())
    elif command.name == "completion" and not before:
        yield from map(Candidate, _SHELLS)


def _flag_of(flags: Sequence[Flag], word: str) -> Flag | None:
    """The flag whose value has to follow this word."""
    if not word.startswith("-") or "=" in word:
        return None
    name = word.lstrip("-")
    return next((flag for flag in flags if name in flag.names and flag.kind is not FlagKind.BOOL), None)


def _flags(flags: Sequence[Flag], before: Sequence[str], current: str) -> Iterator[Candidate]:
    name, has_value, _ = current.partition("=")
    if has_value:
        flag = _flag_of(flags, name)
        if flag is not None:
            yield from (Candidate(f"{name}={value.word}", value.summary) for value in _values(flag))
        return
    given = {word.lstrip("-").partition("=")[0] for word in before if word.startswith("-")}
    for flag in flags:
        if flag.hidden or (given.intersection(flag.names) and not flag.many):
            continue
        longest = max(flag.names, key=len)
        yield Candidate(f"--{longest}" if len(longest) > 1 else f"-{longest}", flag.help)


def _values(flag: Flag) -> Iterator[Candidate]:
    if "context" in flag.names:
        from provisor.cli.context import load_contexts

        yield from map(Candidate, sorted(load_contexts()))


def as_lines(candidates: Sequence[Candidate]) -> str:
    """What a shell's script reads."""
    return "".join(f"{each.word}\t{each.summary}\n" for each in candidates)


BASH = r"""# Completion of provisor for bash: provisor completion bash >> ~/.bash_completion
_provisor() {
    local line
    COMPREPLY=()
    local words=("${COMP_WORDS[@]:1:COMP_CWORD}")
    # bash makes words of their own of "=" and what is beside it
    local joined=() glue=""
    for line in "${words[@]}"; do
        if [[ $line == "=" && ${#joined[@]} -gt 0 ]]; then
            joined[-1]+="="
            glue=yes
        elif [[ -n $glue ]]; then
            joined[-1]+=$line
            glue=""
        else
            joined+=("$line")
        fi
    done
    local last="${joined[-1]}"
    while IFS= read -r line; do
        line=${line%%$'\t'*}
        [[ $last == *=* ]] && line=${line#*=}
        COMPREPLY+=("$line")
    done < <("${COMP_WORDS[0]}" __complete "${joined[@]}" 2>/dev/null)
}
complete -o bashdefault -o default -F _provisor provisor
"""

ZSH = r"""#compdef provisor
# Completion of provisor for zsh: provisor completion zsh > "${fpath[1]}/_provisor"
_provisor() {
    local -a found
    local line word
    while IFS= read -r line; do
        word=${line%%$'\t'*}
        found+=("${word//:/\\:}:${line#*$'\t'}")
    done < <("${words[1]}" __complete "${(@)words[2,CURRENT]}" 2>/dev/null)
    if (( ${#found} )); then
        _describe 'provisor' found
    else
        _files
    fi
}
if [[ "${funcstack[1]}" == "_provisor" ]]; then
    _provisor
elif (( $+functions[compdef] )); then
    compdef _provisor provisor
fi
"""

FISH = r"""# Completion of provisor for fish: provisor completion fish > ~/.config/fish/completions/provisor.fish
function __provisor_complete
    set -l words (commandline -opc)
    set -l current (commandline -ct)
    set -l found ($words[1] __complete $words[2..-1] "$current" 2>/dev/null)
    if test (count $found) -gt 0
        printf '%s\n' $found
    else
        __fish_complete_path "$current"
    end
end
complete -c provisor -f -a '(__provisor_complete)'
"""

SCRIPTS = {"bash": BASH, "fish": FISH, "zsh": ZSH}
