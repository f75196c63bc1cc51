"""The tracer of a process, as the configuration in force wants it."""

from __future__ import annotations

import asyncio
import os
import socket
from time import monotonic
from typing import final

from provisor.config.ca_json import TracingSettings
from provisor.config.tracing import tracing_in_force
from provisor.server.observer import Observer
from provisor.server.routes import API
from provisor.server.tracing import Sampler, Tracer


@final
class Tracing:
    """Switches the tracer of an observer on and off. Used on the loop."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._settings: TracingSettings | None = None
        self._closing: set[asyncio.Task[None]] = set()

    def take_over(self, wanted: TracingSettings | None) -> None:
        """From now on as `provisor.tracing` of ca.json, or the environment, says.

        Raises `ConfigError` for settings that a start would have refused.
        """
        settings = tracing_in_force(wanted, os.environ)
        if settings == self._settings:
            return
        old = self._observer.tracer
        self._observer.tracer = None if settings is None else open_tracer(settings, self._observer)
        self._settings = settings
        if old is not None:
            task = asyncio.get_running_loop().create_task(old.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Send what is left, if that is quickly done."""
        tracer, self._observer.tracer, self._settings = self._observer.tracer, None, None
        if tracer is not None:
            await tracer.close()
        await asyncio.gather(*self._closing)


def open_tracer(settings: TracingSettings, observer: Observer) -> Tracer:
    """A tracer that sends by OTLP. What that needs is imported here, and nowhere else."""
    from provisor.server.otlp import OTLPSink

    return Tracer(
        Sampler(settings.sample_ratio, settings.asked_per_second, random=os.urandom, timer=monotonic),
        OTLPSink(settings, f"{socket.gethostname()}:{os.getpid()}", random=os.urandom),
        observer.metrics,
        route_of=API.pattern,
        report=observer.note,
        random=os.urandom,
    )
