from __future__ import annotations

import json
import os
import re
from datetime import UTC, datetime

import pytest

from provisor.core.durations import Duration
from provisor.errors import ConfigError
from provisor.server.logging import AccessLog, LineWriter, RequestLog, error_reporter, stamped

STARTED = datetime(2026, 11, 23, 17, 28, 54, tzinfo=UTC)


def request(**changes: object) -> RequestLog:
    values: dict[str, object] = {
        "method": "POST",
        "path": "/1.0/sign",
        "protocol": "HTTP/1.1",
        "status": 201,
        "size": 3209,
        "request_id": "7",
        "remote_address": "192.0.2.1",
        "started": STARTED,
        "duration": Duration(1_500_000),
        "user_agent": "Step CLI",
        "fields": {"ott": "eyJ.secret", "token": "abc", "serial": "5", "sans": {"dns": ["a"]}},
    }
    return RequestLog(**(values | changes))  # type: ignore[arg-type]  # a table of changes


def emitted(format_name: str, entry: RequestLog, **environ: str) -> str:
    lines: list[bytes] = []
    AccessLog(format_name, lines.append, environ).emit(entry)
    return b"".join(lines).decode()


def test_json_has_the_recorded_fields_and_never_the_token() -> None:
    line = emitted("json", request())
    assert line.endswith("}\n")
    record = json.loads(line)
    assert list(record) == sorted(record)
    assert record == {
        "duration": "1.5ms",
        "duration-ns": 1_500_000,
        "fields.time": "2026-11-23T17:28:54Z",
        "level": "info",
        "method": "POST",
        "msg": "",
        "name": "ca",
        "path": "/1.0/sign",
        "protocol": "HTTP/1.1",
        "referer": "",
        "remote-address": "192.0.2.1",
        "request-id": "7",
        "sans": {"dns": ["a"]},
        "serial": "5",
        "size": 3209,
        "status": 201,
        "time": "2026-11-23T17:28:54Z",
        "token": "abc",
        "user-agent": "Step CLI",
        "user-id": "",
    }


@pytest.mark.parametrize("format_name", ["", "text"])
def test_text_is_names_and_values(format_name: str) -> None:
    assert emitted(format_name, request(fields={"error": 'a "b"\nc'})) == (
        'time="2026-11-23T17:28:54Z" level=info duration=1.5ms duration-ns=1500000 error="a \\"b\\"\\nc" '
        'fields.time="2026-11-23T17:28:54Z" method=POST name=ca path=/1.0/sign protocol=HTTP/1.1 referer= '
        'remote-address=192.0.2.1 request-id=7 size=3209 status=201 user-agent="Step CLI" user-id=\n'
    )


def test_common_is_the_ncsa_format() -> None:
    assert emitted("common", request()) == (
        '192.0.2.1 - - [23/Nov/2026:17:28:54 +0000] "POST /1.0/sign HTTP/1.1" 201 3209\n'
    )


@pytest.mark.parametrize("format_name", ["json", "text", "common"])
@pytest.mark.parametrize("nasty", ['/a"\n192.0.2.9 - - forged', "/\x00\x1b[2J", "/\r\nlevel=info"])
def test_no_request_can_forge_a_line(format_name: str, nasty: str) -> None:
    line = emitted(format_name, request(path=nasty, request_id=nasty, user_agent=nasty, fields={"error": nasty}))
    assert line.count("\n") == 1
    assert "\r" not in line
    assert "\x1b" not in line


@pytest.mark.parametrize(
    ("status", "level"), [(200, "info"), (399, "info"), (400, "warning"), (499, "warning"), (500, "error")]
)
def test_the_level_follows_the_status(status: int, level: str) -> None:
    assert json.loads(emitted("json", request(status=status)))["level"] == level


def test_an_unknown_format_is_refused_as_recorded() -> None:
    with pytest.raises(ConfigError) as caught:
        AccessLog("xml", print, {})
    assert str(caught.value) == "unsupported logger.format 'xml'"


@pytest.mark.parametrize(
    ("path", "status", "shown"),
    [("/health", 200, False), ("/1.0/health", 200, False), ("/health", 500, True), ("/healthy", 200, True)],
)
def test_health_can_be_left_out(path: str, status: int, shown: object) -> None:
    line = emitted("json", request(path=path, status=status), STEP_LOGGER_ONLY_TRACE_HEALTH_ENDPOINT="true")
    assert bool(line) is shown
    assert emitted("json", request(path=path, status=status))


@pytest.mark.parametrize(
    ("headers", "address"),
    [
        ([], "192.0.2.1"),
        ([(b"x-forwarded-for", b"198.51.100.7, 10.0.0.1")], "198.51.100.7"),
        ([(b"x-forwarded-for", b"198.51.100.7"), (b"x-real-ip", b"198.51.100.8")], "198.51.100.8"),
        ([(b"x-real-ip", b"198.51.100.8"), (b"true-client-ip", b"2001:db8::1")], "2001:db8::1"),
        ([(b"true-client-ip", b"evil"), (b"x-real-ip", b"198.51.100.8")], "198.51.100.8"),
        ([(b"x-real-ip", b"300.1.1.1")], "192.0.2.1"),
    ],
)
def test_the_address_a_proxy_tells_is_used_only_when_wanted(headers: list[tuple[bytes, bytes]], address: str) -> None:
    trusting = AccessLog("json", print, {"STEP_LOGGER_LOG_REAL_IP": "true"})
    assert trusting.remote_address("192.0.2.1", headers) == address
    assert AccessLog("json", print, {}).remote_address("192.0.2.1", headers) == "192.0.2.1"


def test_lines_have_the_time_of_the_reference_before_them() -> None:
    assert re.fullmatch(rb"(\d{4}/\d\d/\d\d \d\d:\d\d:\d\d (a|b)\n){2}", stamped("a", "b"))


def test_an_internal_error_is_told_with_its_stack() -> None:
    lines: list[bytes] = []
    try:
        raise RuntimeError("one\ntwo")
    except RuntimeError as error:
        error_reporter(lines.append)(error, {"method": "GET", "path": "/a\nb"})
    first, *rest = lines[0].decode().splitlines()
    assert "internal error in GET /a\\nb: RuntimeError('one\\\\ntwo')" in first
    assert rest[0] == "Traceback (most recent call last):"


def test_a_reader_that_stalls_costs_lines_and_not_the_server() -> None:
    read, write = os.pipe()
    try:
        writer = LineWriter(write)
        line = b"x" * 4095 + b"\n"
        for _ in range(2000):
            writer.write(line)
        assert 0 < writer.dropped < 2000
        kept = 2000 - writer.dropped
        received = b""
        while received.count(b"\n") < kept:
            received += os.read(read, 1 << 20)
            writer.flush()
        assert received == line * kept
    finally:
        os.close(read)
        os.close(write)


def test_a_reader_that_is_gone_is_no_error() -> None:
    read, write = os.pipe()
    os.close(read)
    writer = LineWriter(write)
    writer.write(b"a\n")
    assert writer.dropped == 1
    os.close(write)
