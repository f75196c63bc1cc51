"""Terms, and the ranges that patterns become: what lies inside, and what only looks like it."""

from __future__ import annotations

import hashlib

import pytest

from provisor.core.terms import (
    certificate_terms,
    expiring,
    expiry_term,
    key_term,
    lineage_term,
    name_term,
    one,
    parse_digest,
    parse_name_pattern,
    provisioner_term,
)
from provisor.errors import BadRequest


def is_found(pattern: str, name: str) -> bool:
    wanted = parse_name_pattern(pattern)
    return wanted is None or wanted.holds(name_term(name))


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("*", "anything.example"),
        ("*", "10.0.0.1"),
        ("example.com", "example.com"),
        ("EXAMPLE.com", "example.COM"),
        ("example.com.", "example.com"),
        ("*.example.com", "www.example.com"),
        ("*.example.com", "a.b.c.example.com"),
        ("*.Example.COM", "WWW.example.com"),
        ("*.example.com", "*.example.com"),
        ("*.example.com", "x-y.example.com"),
        ("*.example.com", "é.example.com"),
        ("*.com", "example.com"),
        ("*.example.com.", "www.example.com"),
        ("10.0.0.1", "10.0.0.1"),
        ("10.0.0.0/8", "10.255.255.255"),
        ("10.0.0.0/8", "10.0.0.0"),
        ("10.1.2.3/8", "10.9.9.9"),
        ("0.0.0.0/0", "255.255.255.255"),
        ("10.0.0.1/32", "10.0.0.1"),
        ("2001:db8::/32", "2001:db8:ffff::1"),
        ("2001:DB8::1", "2001:db8:0::1"),
        ("::ffff:10.0.0.1", "10.0.0.1"),
        ("*@example.com", "root@Example.com"),
        ("Root@example.com", "root@EXAMPLE.com"),
        ("spiffe://example.com/*", "spiffe://example.com/ns/x"),
        ("spiffe://example.com/ns/x", "spiffe://example.com/ns/x"),
    ],
)
def test_a_pattern_finds(pattern: str, name: str) -> None:
    assert is_found(pattern, name)


@pytest.mark.parametrize(
    ("pattern", "name"),
    [
        ("example.com", "www.example.com"),
        ("example.com", "example.co"),
        ("example.com", "example.com.evil"),
        ("example.com", "root@example.com"),
        ("*.example.com", "example.com"),
        ("*.example.com", "xexample.com"),
        ("*.example.com", "www.xexample.com"),
        ("*.example.com", "www.example.com.evil"),
        ("*.example.com", "www.example.comm"),
        ("*.example.com", "www.example-com"),
        ("*.example.com", "example.com.www"),
        ("*.example.com", "root@www.example.com"),
        ("*.example.com", "spiffe://www.example.com/"),
        ("*.com", "com"),
        ("*.com", "xcom"),
        ("*.com", "com.example"),
        ("10.0.0.0/8", "11.0.0.0"),
        ("10.0.0.0/8", "9.255.255.255"),
        ("10.0.0.0/8", "10.example.com"),
        ("10.0.0.0/8", "a00::"),
        ("0.0.0.0/0", "::"),
        ("0.0.0.0/0", "example.com"),
        ("2001:db8::/32", "2001:db9::"),
        ("10.0.0.1/32", "10.0.0.2"),
        ("*@example.com", "root@www.example.com"),
        ("*@example.com", "root@example.com.evil"),
        ("*@example.com", "root@xexample.com"),
        ("*@example.com", "example.com"),
        ("spiffe://example.com/*", "spiffe://example.com.evil/ns"),
        ("spiffe://example.com/*", "spiffe://example.com"),
    ],
)
def test_what_only_looks_like_it_is_not_found(pattern: str, name: str) -> None:
    assert not is_found(pattern, name)


@pytest.mark.parametrize(
    "pattern",
    [
        "",
        "**",
        "*.",
        "*..com",
        "*example.com",
        "www*.example.com",
        "www.*.com",
        "*.*.com",
        "*.example.*",
        "example.*",
        "*@",
        "*@*",
        "*.example.com/8",
        "*.a@b",
        "10.0.0.*",
        "10.0.0.0/33",
        "2001:db8::/129",
        "*." + "a." * 200 + "com",
        "spiffe*",
    ],
)
def test_other_uses_of_the_asterisk_are_refused(pattern: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_name_pattern(pattern)
    assert caught.value.public


def test_names_of_any_length_become_terms_of_bounded_length() -> None:
    long, longer = "spiffe://x/" + "a" * 5000, "spiffe://x/" + "a" * 5001
    assert max(len(name_term(long)), len(provisioner_term("p" * 5000))) < 300
    assert name_term(long) != name_term(longer)
    assert is_found(long, long)
    assert not is_found(long, longer)
    assert is_found("spiffe://x/*", long)


def test_terms_of_other_kinds_are_never_confused_with_names() -> None:
    digest = hashlib.sha256(b"x").digest()
    terms = certificate_terms(
        names=("a.example.com", "A.example.com", ""),
        fingerprint=digest,
        key=digest,
        provisioner="d",
        lineage=5,
        not_after=7,
    )
    assert terms == {
        b"ndcom.example.a",
        b"f" + digest[:16],
        b"k" + digest[:16],
        b"pd",
        lineage_term(5),
        b"e" + (7).to_bytes(8, "big"),
    }


@pytest.mark.parametrize(
    ("since", "before", "at", "inside"),
    [
        (None, None, 0, True),
        (None, 100, 99, True),
        (None, 100, 100, False),
        (100, None, 100, True),
        (100, None, 99, False),
        (100, 200, 199, True),
        (None, None, 2**63, True),
        (None, 5, -7, True),
    ],
)
def test_a_span_of_time_includes_its_beginning_and_not_its_end(
    since: int | None, before: int | None, at: int, inside: bool
) -> None:
    assert expiring(since, before).holds(expiry_term(at)) is inside


def test_every_serial_has_a_line_of_its_own() -> None:
    serials = (0, 1, -1, 127, 128, 255, 256, -128, -129, 1 << 127, 1 << 159)
    assert len({lineage_term(serial) for serial in serials}) == len(serials)


def test_one_term_holds_nothing_beside_itself() -> None:
    assert one(b"x").holds(b"x")
    assert not one(b"x").holds(b"x\x00")
    assert one(b"x").first_of((b"a", b"y")) is None


@pytest.mark.parametrize("text", ["AB" * 32, ":".join(["ab"] * 32), " ".join(["ab"] * 32)])
def test_a_digest_is_read_in_the_usual_forms(text: str) -> None:
    assert parse_digest(text, "key") == b"\xab" * 32


@pytest.mark.parametrize("text", ["", "ab", "ab" * 31, "ab" * 33, "xy" * 32, "٣" * 64, "ab" * 31 + "a"])
def test_anything_else_is_no_digest(text: str) -> None:
    with pytest.raises(BadRequest):
        parse_digest(text, "key")


def test_a_key_and_a_fingerprint_of_the_same_octets_differ() -> None:
    assert key_term(b"a" * 32) != b"f" + b"a" * 16
