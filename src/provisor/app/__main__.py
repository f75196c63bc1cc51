"""`python -m provisor.app ROLE --control FD`: how the supervisor starts its children."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable
from typing import Protocol

import uvloop

from provisor.errors import ProvisorError
from provisor.server.control import ChildControl, Failed


def main(arguments: list[str]) -> int:
    """One role until its end; the exit status. The supervisor says what to do while, or after, this imports."""
    role, _, descriptor = arguments
    make = _role(role)
    control = ChildControl.inherit(int(descriptor))
    process = make(control)
    gc.freeze()
    return uvloop.run(_run(process, control))


async def _run(process: _Process, control: ChildControl) -> int:
    """The boundary of the process: what keeps it from starting is a line for the operator, no stack."""
    try:
        return await process.run()
    except ProvisorError as error:
        control.send(Failed(faults=(error.detail,)))
        return 1


class _Process(Protocol):
    async def run(self) -> int: ...


def _role(role: str) -> Callable[[ChildControl], _Process]:
    """Imports only what the role needs: no parser of strangers' input is in the notary's memory without use."""
    match role:
        case "notary":
            from provisor.app.notary import NotaryProcess

            return NotaryProcess
        case "worker":
            from provisor.app.worker import Worker

            return Worker
        case "jobs":
            from provisor.app.jobs_process import JobsProcess

            return JobsProcess
        case _:
            raise SystemExit(f"unknown role {role}")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
