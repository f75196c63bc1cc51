from __future__ import annotations

import re

import pytest

from provisor.server import answers
from provisor.server.answers import Framing, encode_head

JSON = (b"content-type", b"application/json")


def names(data: bytes) -> list[str]:
    return [line.partition(b":")[0].decode() for line in data.split(b"\r\n")[1:] if line]


@pytest.mark.parametrize(
    ("status", "size", "is_head", "http10", "keep_alive", "added", "framing", "stays"),
    [
        (200, 16, False, False, True, ["Content-Length"], Framing.LENGTH, True),
        (200, 16, False, False, False, ["Content-Length", "Connection"], Framing.LENGTH, False),
        (200, 0, False, False, True, ["Content-Length"], Framing.LENGTH, True),
        (200, 2048, False, False, True, ["Content-Length"], Framing.LENGTH, True),
        (200, 2049, False, False, True, ["Transfer-Encoding"], Framing.CHUNKED, True),
        (200, 2049, False, False, False, ["Connection", "Transfer-Encoding"], Framing.CHUNKED, False),
        (200, None, False, False, True, ["Transfer-Encoding"], Framing.CHUNKED, True),
        (200, 16, True, False, True, ["Content-Length"], Framing.NO_BODY, True),
        (200, 2049, True, False, True, [], Framing.NO_BODY, True),
        (405, 0, True, False, True, [], Framing.NO_BODY, True),
        (200, 16, False, True, False, ["Content-Length"], Framing.LENGTH, False),
        (200, 16, False, True, True, ["Content-Length", "Connection"], Framing.LENGTH, True),
        (200, 2049, False, True, True, [], Framing.CLOSE, False),
        (200, None, False, True, False, [], Framing.CLOSE, False),
        (204, 0, False, False, True, [], Framing.NO_BODY, True),
        (304, 0, False, False, True, [], Framing.NO_BODY, True),
    ],
)
def test_a_head_marks_the_end_of_its_body(
    status: int,
    size: int | None,
    is_head: bool,
    http10: bool,
    keep_alive: bool,
    added: list[str],
    framing: Framing,
    stays: bool,
) -> None:
    head = encode_head(status, [JSON], size=size, is_head=is_head, http10=http10, keep_alive=keep_alive)
    assert names(head.data) == ["Content-Type", "Date", *added]
    assert (head.framing, head.keep_alive) == (framing, stays)
    assert head.data.startswith(b"HTTP/1.0 " if http10 else b"HTTP/1.1 ")
    assert head.data.endswith(b"\r\n\r\n")


def test_the_date_is_that_of_rfc_9110() -> None:
    head = encode_head(200, [], size=0, is_head=False, http10=False, keep_alive=True)
    assert re.search(
        rb"\r\nDate: (Mon|Tue|Wed|Thu|Fri|Sat|Sun), \d\d [A-Z][a-z]{2} \d{4} \d\d:\d\d:\d\d GMT\r\n", head.data
    )


def test_the_applications_own_framing_headers_are_heeded_or_replaced() -> None:
    own = [(b"content-length", b"5"), (b"connection", b"Close"), (b"transfer-encoding", b"gzip"), (b"date", b"then")]
    head = encode_head(200, own, size=None, is_head=False, http10=False, keep_alive=True)
    assert names(head.data) == ["Content-Length", "Date", "Connection"]
    assert b"Date: then\r\n" in head.data
    assert (head.framing, head.keep_alive) == (Framing.LENGTH, False)


@pytest.mark.parametrize("header", [(b"x", b"a\r\nb: c"), (b"x", b"a\nb"), (b"x", b"a\rb"), (b"x\r\ny", b"a")])
def test_a_line_break_in_a_header_is_an_error(header: tuple[bytes, bytes]) -> None:
    with pytest.raises(ValueError, match="line break"):
        encode_head(200, [header], size=0, is_head=False, http10=False, keep_alive=True)


def test_an_unknown_status_has_a_phrase_too() -> None:
    head = encode_head(299, [], size=0, is_head=False, http10=False, keep_alive=True)
    assert head.data.startswith(b"HTTP/1.1 299 status code 299\r\n")


@pytest.mark.parametrize("answer", [answers.BODY_TOO_LARGE, answers.OVERLOADED, answers.INTERNAL_ERROR])
def test_a_json_answer_says_its_length_truly(answer: bytes) -> None:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"Content-Length: %d\r\n" % len(body) in head
    assert body.startswith(b'{"status":' + head.split(b" ")[1] + b',"message":"The certificate authority ')
