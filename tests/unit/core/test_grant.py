"""The rules of a grant, as tables: what passes, and beside it what is one character off."""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.durations import HOUR, MINUTE, SECOND, Duration, TimeDuration, parse_time_duration
from provisor.core.grant import CommonNameIn, ConfirmedRequest, KeyRule, SameNames, ValidityRule, X509Grant
from provisor.core.identity import ProvisionerRef, X509Ask
from provisor.core.keys import KeyInfo
from provisor.core.names import Name, NameKind, classify_sans
from provisor.core.x509.request import CertificateRequest, parse_csr_pem
from provisor.errors import BadRequest, KeyNotAllowed, NameNotAllowed, ProvisorError, ValidityNotAllowed
from support.credentials import b64url, make_csr, make_key

NOW: Final = datetime(2026, 6, 1, 12, tzinfo=UTC)
KEY: Final = make_key()


def request(*sans: str, common_name: str = "") -> CertificateRequest:
    """A request as the parser reads it: with these names and no others."""
    return CertificateRequest(
        der=b"der",
        spki=b"",
        key=KeyInfo("EC", 256, "P-256"),
        common_name=common_name,
        subject=b"",
        names=classify_sans(sans),
    )


# -- names ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("granted", "asked"),
    [
        (["a", "b"], ["b", "a"]),
        (["a", "b"], []),
        (["a", "b"], ["a", "b", "a"]),
        (["a", "a"], ["a"]),
        ([], []),
        (["a", "10.0.0.1"], ["a"]),
        (["a", "10.0.0.1"], ["10.0.0.1"]),
        (["10.1.2.3"], ["::ffff:10.1.2.3"]),
        (["::1"], ["0:0:0:0:0:0:0:1"]),
        (["a", "max@a", "10.0.0.1", "spiffe://a/x"], ["spiffe://a/x", "max@a"]),
    ],
)
def test_a_request_for_the_same_names_or_none_of_a_kind_passes(granted: Sequence[str], asked: Sequence[str]) -> None:
    SameNames(classify_sans(granted)).check(request(*asked))


@pytest.mark.parametrize(
    ("granted", "asked", "text"),
    [
        (["a"], ["a", "b"], "DNS names - got [a b], want [a]"),
        (["a", "b"], ["a"], "DNS names - got [a], want [a b]"),
        ([], ["x"], "DNS names - got [x], want []"),
        (["foo"], ["foO"], "DNS names - got [foO], want [foo]"),
        (["a.test"], ["a.test."], "DNS names - got [a.test.], want [a.test]"),
        (["a.test"], ["x.a.test"], "DNS names - got [x.a.test], want [a.test]"),
        (["a.test"], ["*.test"], "DNS names - got [*.test], want [a.test]"),
        (["*.test"], ["a.test"], "DNS names - got [a.test], want [*.test]"),
        (["a.test"], ["a.test "], "DNS names - got [a.test ], want [a.test]"),
        (["a.test"], ["a.test", "10.0.0.1"], "IP addresses - got [10.0.0.1], want []"),
        (["10.0.0.1"], ["10.0.0.2"], "IP addresses - got [10.0.0.2], want [10.0.0.1]"),
        (["10.0.0.1"], ["::10.0.0.1"], "IP addresses - got [::a00:1], want [10.0.0.1]"),
        (["max@a"], ["max@b"], "email addresses - got [max@b], want [max@a]"),
        (["max@a"], ["Max@a"], "email addresses - got [Max@a], want [max@a]"),
        (["a.test"], ["a.test", "spiffe://x/y"], "URIs - got [spiffe://x/y], want []"),
        (["https://a/x"], ["https://a/X"], "URIs - got [https://a/X], want [https://a/x]"),
        # a name of one kind is not the same text of another kind
        (["10.0.0.1"], ["a.10.0.0.1"], "DNS names - got [a.10.0.0.1], want []"),
    ],
)
def test_a_request_for_other_names_is_refused(granted: Sequence[str], asked: Sequence[str], text: str) -> None:
    with pytest.raises(NameNotAllowed) as refusal:
        SameNames(classify_sans(granted)).check(request(*asked))
    assert refusal.value.public == f"certificate request does not contain the valid {text}"


NAMES: Final = st.builds(
    Name, st.sampled_from(NameKind), st.sampled_from(["a", "A", "b", "a.b", "*.b", "10.0.0.1", "::1", "x@a", "u:x"])
)


@given(granted=st.lists(NAMES, max_size=5), asked=st.lists(NAMES, max_size=5))
def test_a_name_that_was_not_granted_is_never_passed_over(granted: list[Name], asked: list[Name]) -> None:
    """Deny beats allow: whatever else is asked for, one foreign name refuses the request."""
    wanted = CertificateRequest(b"", b"", KeyInfo("EC"), "", b"", tuple(asked))
    rule = SameNames(tuple(granted))
    kinds = {name.kind for name in asked}
    same = {name for name in granted if name.kind in kinds} == set(asked)
    try:
        rule.check(wanted)
    except NameNotAllowed:
        assert not same
    else:
        assert same
        assert set(asked) <= set(granted)


@given(granted=st.lists(NAMES, max_size=5), asked=st.lists(NAMES, max_size=5), data=st.data())
def test_neither_order_nor_repetition_of_names_matters(
    granted: list[Name], asked: list[Name], data: st.DataObject
) -> None:
    def passes(names: Sequence[Name]) -> bool:
        try:
            SameNames(tuple(granted)).check(CertificateRequest(b"", b"", KeyInfo("EC"), "", b"", tuple(names)))
        except NameNotAllowed:
            return False
        return True

    assert passes(asked) == passes(data.draw(st.permutations(asked + asked)))


@pytest.mark.parametrize("common_name", ["", "svc", "a.test", "b.test"])
def test_the_subject_and_every_name_may_be_the_common_name(common_name: str) -> None:
    CommonNameIn(("svc", "a.test", "b.test")).check(request(common_name=common_name))


@pytest.mark.parametrize("common_name", ["c.test", "A.test", "a.test.", " a.test", "a.tes", "*"])
def test_no_other_common_name_passes(common_name: str) -> None:
    with pytest.raises(NameNotAllowed) as refusal:
        CommonNameIn(("a.test", "a.test")).check(request(common_name=common_name))
    assert refusal.value.public == (
        f"certificate request does not contain the valid common name - got {common_name}, want [a.test a.test]"
    )


# -- the request and its key ----------------------------------------------------------------------------------


def _digest(octets: bytes) -> str:
    return b64url(hashlib.sha256(octets).digest())


@pytest.mark.parametrize("digest", ["", _digest(b"der")])
def test_a_token_that_is_bound_to_this_request_or_to_none_passes(digest: str) -> None:
    ConfirmedRequest(digest).check(request())


@pytest.mark.parametrize(
    ("digest", "text"),
    [
        (_digest(b"other"), "does not match"),
        (_digest(b"der")[:-1] + "_", "does not match"),
        (_digest(b"der")[:-4], "does not match"),
        (hashlib.sha256(b"der").hexdigest(), "does not match"),
        (_digest(b"der") + "=", "error decoding fingerprint"),
        (_digest(b"der").replace("-", "+").replace("_", "/") + "/", "error decoding fingerprint"),
        ("***", "error decoding fingerprint"),
        ("ü", "error decoding fingerprint"),
        (" " + _digest(b"der"), "error decoding fingerprint"),
        ("AAAAA", "error decoding fingerprint"),
    ],
)
def test_a_token_that_is_bound_to_another_request_is_refused(digest: str, text: str) -> None:
    with pytest.raises(KeyNotAllowed) as refusal:
        ConfirmedRequest(digest).check(request())
    assert text in (refusal.value.public or "")


@pytest.mark.parametrize(
    "key",
    [
        KeyInfo("EC", 224, "P-224"),
        KeyInfo("EC", 256, "P-256"),
        KeyInfo("EC", 521, "P-521"),
        KeyInfo("Ed25519", 256),
        KeyInfo("RSA", 2048),
        KeyInfo("RSA", 2041),
        KeyInfo("RSA", 8192),
    ],
    ids=lambda key: key.label,
)
def test_a_strong_key_passes(key: KeyInfo) -> None:
    KeyRule().check(key)


@pytest.mark.parametrize("bits", [0, 512, 1024, 2040])
def test_a_short_rsa_key_is_refused(bits: int) -> None:
    with pytest.raises(KeyNotAllowed) as refusal:
        KeyRule().check(KeyInfo("RSA", bits))
    assert refusal.value.public == "certificate request RSA key must be at least 2048 bits (256 bytes)"


@pytest.mark.parametrize("kind", ["DSA", "X25519", "Ed448", ""])
def test_a_key_of_another_kind_is_refused(kind: str) -> None:
    with pytest.raises(BadRequest, match="is not supported"):
        KeyRule().check(KeyInfo(kind, 4096))


# -- validity ---------------------------------------------------------------------------------------------------


def rule(
    *, minimum: int = 5 * MINUTE, default: int = 24 * HOUR, maximum: int = 24 * HOUR, backdate: int = MINUTE
) -> ValidityRule:
    return ValidityRule(Duration(minimum), Duration(default), Duration(maximum), Duration(backdate))


def ask(not_before: str = "", not_after: str = "") -> X509Ask:
    return X509Ask(request(), parse_time_duration(not_before), parse_time_duration(not_after))


@pytest.mark.parametrize(
    ("not_before", "not_after", "start", "end", "explicit"),
    [
        ("", "", "11:59:00", "1+12:00:00", False),
        ("", "8h", "11:59:00", "20:00:00", True),
        ("", "24h", "11:59:00", "1+12:00:00", True),
        ("1h", "", "13:00:00", "1+13:00:00", False),
        ("-1h", "", "11:00:00", "1+11:00:00", False),
        ("0s", "0s", "11:59:00", "1+12:00:00", False),  # step-ca: zero says nothing
        ("1s", "", "12:00:01", "1+12:00:01", False),
        ("2h", "3h", "14:00:00", "17:00:00", True),
        ("", "4m", "11:59:00", "12:04:00", True),
        ("2026-06-01T14:00:00Z", "2026-06-01T15:00:00Z", "14:00:00", "15:00:00", True),
        ("2026-06-01T16:00:00+02:00", "1h", "14:00:00", "15:00:00", True),
        ("8760h", "", "365+12:00:00", "366+12:00:00", False),
    ],
)
def test_the_window_is_put_back_only_where_its_beginning_was_left_to_us(
    not_before: str, not_after: str, start: str, end: str, explicit: bool
) -> None:
    window = rule().window(ask(not_before, not_after), NOW)
    assert window == (_at(start), _at(end), explicit)


def _at(text: str) -> datetime:
    """`2+13:00:00` is one o'clock the day after tomorrow."""
    days, _, clock = text.rpartition("+")
    hours, minutes, seconds = map(int, clock.split(":"))
    midnight = NOW.replace(hour=0, minute=0, second=0)
    return midnight + timedelta(days=int(days or 0), hours=hours, minutes=minutes, seconds=seconds)


@pytest.mark.parametrize("fraction", [1, 499_999, 999_999])
def test_fractions_of_a_second_are_cut(fraction: int) -> None:
    start, end, _ = rule().window(ask("", "5m"), NOW.replace(microsecond=fraction))
    assert (start, end) == (NOW - timedelta(minutes=1), NOW + timedelta(minutes=5))


def test_fractions_add_up_before_they_are_cut() -> None:
    _, end, _ = rule().window(ask("", "5m30.5s"), NOW.replace(microsecond=600_000))
    assert end == NOW + timedelta(seconds=331)


@pytest.mark.parametrize(
    ("settings", "not_after"),
    [
        ({"minimum": 5 * MINUTE, "backdate": 0}, "5m"),
        ({"maximum": 30 * MINUTE, "default": 20 * MINUTE, "backdate": 0}, "30m"),
        ({"maximum": 30 * MINUTE, "default": 20 * MINUTE, "backdate": MINUTE}, "30m"),
        ({"maximum": 30 * MINUTE, "default": 20 * MINUTE, "backdate": MINUTE}, "2026-06-01T12:30:00Z"),
    ],
)
def test_a_length_of_exactly_a_limit_passes(settings: dict[str, int], not_after: str) -> None:
    rule(**settings).window(ask("", not_after), NOW)


def test_the_allowance_for_backdating_is_there_even_when_nothing_was_put_back() -> None:
    rule().window(ask("1h", "24h1m"), NOW)


@pytest.mark.parametrize(
    ("not_before", "not_after", "settings", "text"),
    [
        ("", "1m", {}, "requested duration of 2m0s is less than the authorized minimum certificate duration of 5m0s"),
        (
            "",
            "25h",
            {},
            "requested duration of 25h1m0s is more than the authorized maximum certificate duration of 24h1m0s",
        ),
        (
            "",
            "24h1s",
            {"backdate": 0},
            "requested duration of 24h0m1s is more than the authorized maximum certificate duration of 24h0m0s",
        ),
        (
            "1h",
            "24h1m1s",
            {},
            "requested duration of 24h1m1s is more than the authorized maximum certificate duration of 24h1m0s",
        ),
        (
            "",
            "4m59s",
            {"backdate": 0},
            "requested duration of 4m59s is less than the authorized minimum certificate duration of 5m0s",
        ),
        (
            "",
            "9999-12-31T23:59:59Z",
            {},
            "requested duration of 2562047h47m16.854775807s is more than the authorized maximum "
            "certificate duration of 24h1m0s",
        ),
    ],
)
def test_a_length_outside_the_limits_is_refused(
    not_before: str, not_after: str, settings: dict[str, int], text: str
) -> None:
    with pytest.raises(ValidityNotAllowed) as refusal:
        rule(**settings).window(ask(not_before, not_after), NOW)
    assert refusal.value.public == text


@pytest.mark.parametrize(
    ("not_before", "not_after", "text"),
    [
        ("", "-1h", "notAfter cannot be in the past; na=2026-06-01 11:00:00 +0000 UTC"),
        ("", "-1s", "notAfter cannot be in the past; na=2026-06-01 11:59:59 +0000 UTC"),
        ("-48h", "", "notAfter cannot be in the past; na=2026-05-31 12:00:00 +0000 UTC"),
        (
            "3h",
            "2026-06-01T14:00:00Z",
            "notAfter cannot be before notBefore; na=2026-06-01 14:00:00 +0000 UTC, nb=2026-06-01 15:00:00 +0000 UTC",
        ),
    ],
)
def test_what_is_no_window_is_a_bad_request(not_before: str, not_after: str, text: str) -> None:
    with pytest.raises(BadRequest) as refusal:
        rule().window(ask(not_before, not_after), NOW)
    assert refusal.value.public == text


@given(
    backdate=st.integers(0, 10).map(lambda minutes: minutes * MINUTE),
    maximum=st.integers(5, 2880).map(lambda minutes: minutes * MINUTE),
    not_before=st.none() | st.integers(-3600, 36_000),
    not_after=st.none() | st.integers(-3600, 360_000),
)
def test_no_window_is_outside_the_limits(
    backdate: int, maximum: int, not_before: int | None, not_after: int | None
) -> None:
    def relative(seconds: int | None) -> TimeDuration:
        return TimeDuration() if seconds is None else TimeDuration(after=Duration(seconds * SECOND))

    tested = rule(minimum=5 * MINUTE, default=min(maximum, HOUR), maximum=maximum, backdate=backdate)
    asked = X509Ask(request(), relative(not_before), relative(not_after))
    try:
        start, end, explicit = tested.window(asked, NOW)
    except (BadRequest, ValidityNotAllowed):
        return
    nanoseconds = int((end - start).total_seconds()) * SECOND
    assert 5 * MINUTE <= nanoseconds <= maximum + backdate
    assert end >= NOW
    assert explicit == bool(not_after)
    assert start.microsecond == end.microsecond == 0


# -- all of them --------------------------------------------------------------------------------------------------


def grant(names: Sequence[str] = ("a.test", "10.0.0.1"), confirmation: str = "") -> X509Grant:
    return X509Grant(
        provisioner=ProvisionerRef("ci:x", "ci", "JWK", 1, "x"),
        subject="a.test",
        names=classify_sans(names),
        common_name=CommonNameIn(("a.test", *names)),
        request_names=SameNames(classify_sans(names)),
        request=ConfirmedRequest(confirmation),
        key=KeyRule(),
        validity=rule(),
        extension=True,
    )


IP: Final = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))


@pytest.mark.parametrize(
    ("common_name", "names"),
    [("", []), ("a.test", []), ("10.0.0.1", ["a.test"]), ("a.test", ["a.test", IP]), ("", [IP])],
)
def test_a_request_that_was_granted_matches(common_name: str, names: list[x509.GeneralName | str]) -> None:
    grant().match(parse_csr_pem(make_csr(KEY, common_name, names)))


@pytest.mark.parametrize(
    ("asked", "confirmation", "error"),
    [
        (make_csr(KEY, "evil.test"), "", NameNotAllowed),
        (make_csr(KEY, "a.test", ["evil.test"]), "", NameNotAllowed),
        (make_csr(KEY, "", [x509.IPAddress(ipaddress.ip_address("10.0.0.2"))]), "", NameNotAllowed),
        (make_csr(KEY, "a.test"), b64url(bytes(32)), KeyNotAllowed),
    ],
    ids=["common name", "DNS name", "address", "binding"],
)
def test_a_request_that_was_not_granted_does_not_match(
    asked: str, confirmation: str, error: type[ProvisorError]
) -> None:
    with pytest.raises(error):
        grant(confirmation=confirmation).match(parse_csr_pem(asked))


def test_what_binds_the_request_is_looked_at_before_its_names() -> None:
    """As the reference does: the first refusal is the one that is told."""
    with pytest.raises(KeyNotAllowed):
        grant(confirmation=b64url(bytes(32))).match(parse_csr_pem(make_csr(KEY, "evil.test", ["evil.test"])))
