"""The access log, a line a request, and the application's own lines; both on stderr.

Formats of the access log are those of step-ca: JSON, text (key=value), and common (NCSA). Without
a `logger` section in ca.json there is none. A token is never written, only its id.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import os
import re
import select
import time
import traceback
from collections import deque
from collections.abc import Callable, Mapping, MutableMapping
from datetime import UTC, datetime
from typing import Any, Final, final

import msgspec
from msgspec import Struct

from provisor.core.durations import Duration, format_duration
from provisor.errors import ConfigError

__all__ = ["AccessLog", "LineWriter", "RequestLog", "error_reporter", "format_instant", "stamped"]

_PIPE_BYTES: Final = 4096  # written to a pipe in one piece (PIPE_BUF)
_BUFFER_BYTES: Final = 4 * 1024 * 1024
_RETRY_SECONDS: Final = 0.05
_ONLY_TRACE_HEALTH: Final = "STEP_LOGGER_ONLY_TRACE_HEALTH_ENDPOINT"
_REAL_IP: Final = "STEP_LOGGER_LOG_REAL_IP"
_REAL_IP_HEADERS: Final = (b"true-client-ip", b"x-real-ip", b"x-forwarded-for")
_HEALTH_PATHS: Final = frozenset({"/health", "/1.0/health"})
_is_bare: Final = re.compile(r"[A-Za-z0-9\-._/@^+]*").fullmatch
_SECONDS: Final = len("2006-01-02T15:04:05")
_NEVER: Final = "ott"


class RequestLog(Struct, frozen=True):
    """One finished request. `fields` are the handler's: serial, subject, error and so on."""

    method: str
    path: str
    protocol: str
    status: int
    size: int
    request_id: str
    remote_address: str
    started: datetime
    duration: Duration
    referer: str = ""
    user_agent: str = ""
    fields: Mapping[str, object] = {}


def stamped(*lines: str) -> bytes:
    """These lines with the time before each, in the form of the reference: `2006/01/02 15:04:05 text`."""
    moment = time.strftime("%Y/%m/%d %H:%M:%S ")
    return "".join(f"{moment}{line}\n" for line in lines).encode("utf-8", "backslashreplace")


@final
class LineWriter:
    """Writes lines to a descriptor, at most once a turn of the loop, and never waits for a reader.

    What cannot be written is kept up to a limit, then counted in `dropped`: a log whose reader
    stalls must not stop the CA.
    """

    def __init__(self, fd: int = 2, loop: asyncio.AbstractEventLoop | None = None) -> None:
        self.dropped = 0
        self._fd = fd
        self._loop = loop
        self._lines: deque[bytes] = deque()
        self._size = 0
        self._scheduled = False
        self._poll = select.poll()
        self._poll.register(fd, select.POLLOUT)

    def write(self, line: bytes) -> None:
        """`line` ends in a newline; several lines may come as one."""
        if self._size + len(line) > _BUFFER_BYTES:
            self.dropped += 1
            return
        self._lines.append(line)
        self._size += len(line)
        if self._loop is None:
            self.flush()
        elif not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self.flush)

    def flush(self) -> None:
        """Write what can be written now; lines stay whole, also beside those of other processes."""
        self._scheduled = False
        while self._lines:
            if not self._poll.poll(0):
                if self._loop is not None:
                    self._scheduled = True
                    self._loop.call_later(_RETRY_SECONDS, self.flush)
                return
            self._write_some()

    def _write_some(self) -> None:
        batch = [self._lines.popleft()]
        size = len(batch[0])
        while self._lines and size + len(self._lines[0]) <= _PIPE_BYTES:
            batch.append(self._lines.popleft())
            size += len(batch[-1])
        self._size -= size
        data = b"".join(batch)
        try:
            while data:
                data = data[os.write(self._fd, data) :]
        except BlockingIOError:
            self._lines.appendleft(data)
            self._size += len(data)
        except OSError:
            # Nobody can read it, now or later.
            self.dropped += len(batch)


@final
class AccessLog:
    """Formats requests. Raises `ConfigError` for a format that does not exist."""

    def __init__(
        self, format_name: str, write: Callable[[bytes], None], environ: Mapping[str, str] | None = None
    ) -> None:
        formats = {"": _text, "text": _text, "json": _json, "common": _common}
        if format_name not in formats:
            raise ConfigError("", f"unsupported logger.format '{format_name}'")
        environ = os.environ if environ is None else environ
        self._format = formats[format_name]
        self.shows_fields = self._format is not _common
        """Whether a line has the handlers' fields in it."""
        self._write = write
        self._skip_health = _is_true(environ.get(_ONLY_TRACE_HEALTH, ""))
        self._real_ip = _is_true(environ.get(_REAL_IP, ""))

    def emit(self, request: RequestLog) -> None:
        if self._skip_health and request.status < 400 and request.path in _HEALTH_PATHS:
            return  # step-ca: logged at trace level, which is never shown
        self._write(self._format(request))

    def remote_address(self, peer: str, headers: list[tuple[bytes, bytes]]) -> str:
        """The client's address: the socket's, or what a proxy says when the environment trusts it."""
        if self._real_ip:
            for wanted in _REAL_IP_HEADERS:
                for name, value in headers:
                    if name == wanted:
                        first = value.partition(b",")[0].strip().decode("latin-1")
                        with contextlib.suppress(ValueError):
                            return str(ipaddress.ip_address(first))
                        break
        return peer


def _is_true(text: str) -> bool:
    return text.lower() in ("1", "t", "true")


def _level(status: int) -> str:
    if status >= 500:
        return "error"
    return "warning" if status >= 400 else "info"


def format_instant(moment: datetime) -> str:
    """In UTC, to the second: `2006-01-02T15:04:05Z`."""
    return moment.astimezone(UTC).isoformat()[:_SECONDS] + "Z"


def _record(request: RequestLog) -> dict[str, object]:
    started = format_instant(request.started)
    record = dict(request.fields)
    record.pop(_NEVER, None)
    record.update(
        {
            "duration": format_duration(request.duration),
            "duration-ns": int(request.duration),
            # step-ca: the start of the request has this name, since `time` is the line's own
            "fields.time": started,
            "level": _level(request.status),
            "method": request.method,
            "name": "ca",
            "path": request.path,
            "protocol": request.protocol,
            "referer": request.referer,
            "remote-address": request.remote_address,
            "request-id": request.request_id,
            "size": request.size,
            "status": request.status,
            "time": started,
            "user-agent": request.user_agent,
            "user-id": "",
        }
    )
    return record


_encode = msgspec.json.Encoder(order="sorted", enc_hook=str).encode
_encode_text = msgspec.json.Encoder().encode


def _json(request: RequestLog) -> bytes:
    record = _record(request)
    record["msg"] = ""
    return _encode(record) + b"\n"


def _text(request: RequestLog) -> bytes:
    record = _record(request)
    parts = [f'time="{record.pop("time")}" level={record.pop("level")}']
    for name in sorted(record):
        value = record[name]
        text = value if isinstance(value, str) else _encode(value).decode()
        # A JSON string escapes quotes, backslashes and control characters: no line can be forged.
        parts.append(f"{name}={text if _is_bare(text) else _encode_text(text).decode()}")
    return (" ".join(parts) + "\n").encode("utf-8", "backslashreplace")


def _common(request: RequestLog) -> bytes:
    """NCSA common log format."""
    moment = request.started.astimezone(UTC).strftime("%d/%b/%Y:%H:%M:%S +0000")
    line = _escaped(f"{request.method} {request.path} {request.protocol}")
    return f'{request.remote_address or "-"} - - [{moment}] "{line}" {request.status} {request.size}\n'.encode()


def _escaped(text: str) -> str:
    return _encode_text(text).decode()[1:-1]


def error_reporter(write: Callable[[bytes], None]) -> Callable[[BaseException, MutableMapping[str, Any]], None]:
    """For `Site.report`: the stack of an exception that no handler knew, with the request it ended."""

    def report(error: BaseException, scope: MutableMapping[str, Any]) -> None:
        stack = "".join(traceback.format_exception(error)).rstrip("\n")
        where = _escaped(f"{scope['method']} {scope['path']}")
        write(stamped(f"internal error in {where}: {_escaped(repr(error))}") + stack.encode("utf-8", "replace") + b"\n")

    return report
