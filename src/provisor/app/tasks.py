"""The boundary of background work: what fails there is reported and ends the process, never ignored."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Ended(Exception):
    """The process has done what it was told and ends with this status."""

    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


async def run_together(*work: Coroutine[Any, Any, None]) -> int:
    """Run until one of them raises `Ended`; its status. Any other exception ends all and is raised."""
    tasks = [asyncio.ensure_future(each) for each in work]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
        for task in done:
            error = task.exception()
            if isinstance(error, Ended):
                return error.status
            if error is not None:
                raise error
        return 0
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
