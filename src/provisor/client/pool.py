"""Connections to one CA for any number of threads: each request has one for itself, the next one may use it again."""

from __future__ import annotations

import os
import ssl
from collections import deque
from collections.abc import Mapping
from typing import Final, final

from provisor.client.address import CAAddress
from provisor.client.transport import MAX_ANSWER_BYTES, TIMEOUT_SECONDS, Answer, Transport

_KEPT: Final = 8


@final
class Pool:
    """As `Transport`, for several threads at once. Without a lock, so that a fork cannot leave one locked."""

    def __init__(
        self, address: CAAddress, context: ssl.SSLContext, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._address = address
        self._context = context
        self._timeout = timeout_seconds
        self._idle: deque[Transport] = deque()
        self._process = os.getpid()

    def send(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        max_bytes: int = MAX_ANSWER_BYTES,
    ) -> Answer:
        """One request. Raises `Unreachable` without an answer, `BadAnswer` for one over `max_bytes`."""
        transport = self._take()
        try:
            return transport.send(method, path, body=body, headers=headers, max_bytes=max_bytes)
        finally:
            self._give_back(transport)

    def close(self) -> None:
        """Close what nobody uses; a later request opens another connection."""
        while self._idle:
            try:
                self._idle.pop().close()
            except IndexError:
                return

    def __del__(self) -> None:
        # Nothing is lost with an idle connection: who forgets to close is not told off.
        self.close()

    def _take(self) -> Transport:
        if self._process != os.getpid():
            # What was open before a fork is the parent's: two that talk on one TLS connection break it.
            self.close()
            self._process = os.getpid()
        try:
            return self._idle.pop()
        except IndexError:
            return Transport(self._address, self._context, timeout_seconds=self._timeout)

    def _give_back(self, transport: Transport) -> None:
        if len(self._idle) < _KEPT and self._process == os.getpid():
            self._idle.append(transport)
        else:
            transport.close()
