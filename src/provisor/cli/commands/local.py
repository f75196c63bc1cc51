"""`path` and `version`: commands that look at nothing but this machine."""

from __future__ import annotations

import platform
import sys

from provisor import __version__
from provisor.cli import output
from provisor.cli.context import find_paths
from provisor.cli.grammar import Call, command, switch

_MACHINES = {"x86_64": "amd64", "aarch64": "arm64"}


@command(
    "path",
    usage="",
    flags=(
        switch("base", help="print the folder of all contexts"),
        switch("profile", help="print the folder of the current profile"),
    ),
    most=None,
)
def path(call: Call) -> None:
    """print the folder of the configuration"""
    if call.switch("base"):
        output.data(call.paths.base)
        return
    paths = find_paths()
    output.data(paths.profile if call.switch("profile") else paths.step)


@command("version", usage="", flags=(), most=None, reads_defaults=False)
def version(call: Call) -> None:
    """print the version"""
    machine = platform.machine()
    output.data(f"Provisor/{__version__} ({sys.platform}/{_MACHINES.get(machine, machine)})")
    output.data(f"Python {platform.python_version()}")
