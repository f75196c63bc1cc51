"""`completion`."""

from __future__ import annotations

from provisor.cli import output
from provisor.cli.completing import SCRIPTS
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command


@command("completion", usage="<shell>", flags=(), least=1, most=1, reads_defaults=False)
def completion(call: Call) -> None:
    """print the script with which a shell completes commands and flags

    The shell is bash, zsh or fish.

    bash: provisor completion bash >> ~/.bash_completion
    zsh:  provisor completion zsh > "${fpath[1]}/_provisor"
    fish: provisor completion fish > ~/.config/fish/completions/provisor.fish
    """
    shell = call.arguments[0]
    if shell not in SCRIPTS:
        raise CommandError(f"unsupported shell {shell}")
    output.data(SCRIPTS[shell].rstrip("\n"))
