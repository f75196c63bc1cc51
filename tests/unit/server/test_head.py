from __future__ import annotations

import pytest

from provisor.server import answers
from provisor.server.head import RequestHead
from provisor.server.limits import ConnectionLimits

LIMITS = ConnectionLimits(header_bytes=100, header_count=3, body_bytes=10)


def head(*headers: tuple[bytes, bytes], url: bytes = b"/") -> RequestHead:
    made = RequestHead()
    made.add_url(url)
    for name, value in headers:
        made.add_header(name, value)
    return made


HOST = (b"Host", b"a")


@pytest.mark.parametrize(
    ("headers", "version", "answer"),
    [
        ([HOST], "1.1", None),
        ([], "1.0", None),
        ([HOST], "1.0", None),
        ([], "1.1", answers.MISSING_HOST),
        ([HOST, (b"hOST", b"a")], "1.1", answers.TOO_MANY_HOSTS),
        ([HOST, HOST], "1.0", answers.TOO_MANY_HOSTS),
        ([HOST], "2.0", answers.UNSUPPORTED_VERSION),
        ([HOST], "0.9", answers.BAD_REQUEST),
        ([HOST, (b"Content-Length", b"10")], "1.1", None),
        ([HOST, (b"Content-Length", b"11")], "1.1", answers.BODY_TOO_LARGE),
        ([HOST, (b"Transfer-Encoding", b"Chunked")], "1.1", None),
        ([HOST, (b"Transfer-Encoding", b"gzip, chunked")], "1.1", answers.UNSUPPORTED_ENCODING),
        ([HOST, (b"Expect", b"200-ok")], "1.1", answers.EXPECTATION_FAILED),
    ],
)
def test_a_head_is_judged_before_its_body(
    headers: list[tuple[bytes, bytes]], version: str, answer: bytes | None
) -> None:
    fault = head(*headers).find_fault(version, LIMITS)
    assert (fault.answer if fault else None) == answer


@pytest.mark.parametrize(
    ("headers", "version", "expects"),
    [
        ([HOST, (b"Expect", b"100-Continue"), (b"Content-Length", b"1")], "1.1", True),
        ([HOST, (b"Expect", b"100-continue"), (b"Transfer-Encoding", b"chunked")], "1.1", True),
        ([HOST, (b"Expect", b"100-continue"), (b"Content-Length", b"0")], "1.1", False),
        ([HOST, (b"Expect", b"100-continue")], "1.1", False),
        ([HOST, (b"Expect", b"100-continue"), (b"Content-Length", b"1")], "1.0", False),
    ],
)
def test_only_a_body_is_waited_for(headers: list[tuple[bytes, bytes]], version: str, expects: object) -> None:
    made = head(*headers)
    assert made.find_fault(version, LIMITS) is None
    assert made.expects_continue is expects


@pytest.mark.parametrize(
    ("made", "excess"),
    [
        (head(HOST, url=b"/" + b"x" * 90), False),
        (head(HOST, url=b"/" + b"x" * 91), True),
        (head((b"X", b"y" * 93), url=b"/"), False),
        (head(HOST, HOST, HOST), False),
        (head(HOST, HOST, HOST, HOST), True),
    ],
)
def test_size_and_number_of_headers_are_limited(made: RequestHead, excess: object) -> None:
    assert (made.find_excess(LIMITS) is not None) is excess


@pytest.mark.parametrize(
    ("url", "raw_path", "path", "query"),
    [
        (b"/", b"/", "/", b""),
        (b"/a?b?c", b"/a", "/a", b"b?c"),
        (b"/%2Fa%20", b"/%2Fa%20", "//a ", b""),
        (b"*", b"*", "*", b""),
        (b"http://host:1/x?y", b"/x", "/x", b"y"),
        (b"http://host", b"/", "/", b""),
    ],
)
def test_a_target_has_a_path_and_a_query(url: bytes, raw_path: bytes, path: str, query: bytes) -> None:
    target = head(url=url).find_target()
    assert target is not None
    assert (target.raw_path, target.path, target.query) == (raw_path, path, query)


@pytest.mark.parametrize("url", [b"http://[", b"/%zz", b"/a%", b"/%1"])
def test_what_is_no_target_is_told(url: bytes) -> None:
    assert head(url=url).find_target() is None
