from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from provisor.client.errors import BadAnswer
from provisor.client.renewal import Jitter, check_renewed, is_due, least_wait, next_delay, retry_delay
from provisor.core.durations import HOUR, MINUTE, SECOND, Duration
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import parse_certificate
from support.certificates import write_certificate
from support.peers import ThrowawayPKI

START = datetime(2026, 1, 1, tzinfo=UTC)
END = START + timedelta(hours=24)


def none(limit: Duration) -> Duration:
    return Duration(0)


def most(limit: Duration) -> Duration:
    return limit


@pytest.mark.parametrize(
    ("jitter", "expected"),
    [(none, Duration(16 * HOUR)), (most, Duration(16 * HOUR - 72 * MINUTE))],
)
def test_a_fresh_certificate_waits_until_a_third_is_left(jitter: Jitter, expected: Duration) -> None:
    assert next_delay(START, END, START, expires_in=None, period=None, jitter=jitter) == expected


def test_a_certificate_that_is_due_does_not_wait() -> None:
    late = START + timedelta(hours=20)
    assert next_delay(START, END, late, expires_in=None, period=None, jitter=none) == 0
    assert next_delay(START, END, END + timedelta(days=9), expires_in=None, period=None, jitter=most) == 0


def test_expires_in_counts_from_the_end() -> None:
    delay = next_delay(START, END, START, expires_in=Duration(2 * HOUR), period=None, jitter=most)
    assert delay == 22 * HOUR - 6 * MINUTE


def test_a_period_is_fixed() -> None:
    delay = next_delay(START, END, START, expires_in=None, period=Duration(3 * SECOND), jitter=most)
    assert delay == 3 * SECOND
    assert next_delay(START, END, START, expires_in=None, period=Duration(-SECOND), jitter=none) == 0


@pytest.mark.parametrize(
    ("left", "jitter", "due"),
    [
        (timedelta(hours=1), none, True),
        (timedelta(hours=1, seconds=1), none, False),
        (timedelta(hours=1, minutes=3), most, True),
        (timedelta(hours=1, minutes=3, seconds=1), most, False),
        (timedelta(hours=-1), none, True),
    ],
)
def test_a_certificate_is_due_when_little_is_left(left: timedelta, jitter: Jitter, due: bool) -> None:
    assert is_due(END, END - left, HOUR, jitter) is due


def test_the_random_part_is_bounded_by_a_twentieth() -> None:
    asked: list[Duration] = []

    def note(limit: Duration) -> Duration:
        asked.append(limit)
        return Duration(0)

    is_due(END, START, HOUR, note)
    next_delay(START, END, START, expires_in=None, period=None, jitter=note)
    assert asked == [3 * MINUTE, 72 * MINUTE]


@pytest.mark.parametrize(
    ("failures", "left", "seconds"),
    [
        (1, 20 * HOUR, 60),
        (2, 20 * HOUR, 120),
        (4, 20 * HOUR, 480),
        (5, 20 * HOUR, 900),
        (10_000, 20 * HOUR, 900),
        (1, 300 * SECOND, 30),
        (9, 300 * SECOND, 30),
        (9, 5 * SECOND, 2),
        (3, 0, 240),
        (3, -HOUR, 240),
    ],
)
def test_failures_are_tried_again_less_often_but_in_time(failures: int, left: int, seconds: int) -> None:
    assert retry_delay(failures, Duration(left), none) == seconds * SECOND
    assert 0.79 * seconds * SECOND < retry_delay(failures, Duration(left), most) <= seconds * SECOND


@pytest.mark.parametrize(("validity", "seconds"), [(24 * HOUR, 60), (300 * SECOND, 15), (10 * SECOND, 2), (0, 2)])
def test_a_certificate_that_is_due_at_once_is_used_for_a_while(validity: int, seconds: int) -> None:
    assert least_wait(Duration(validity)) == seconds * SECOND


def made(folder: Path, name: str, ends_in: timedelta = timedelta(hours=1)) -> tuple[bytes, ...]:
    pki = ThrowawayPKI(folder)
    write_certificate(pki, folder / "x.crt", folder / "x.key", name, ends_in=ends_in)
    return parse_certificates((folder / "x.crt").read_bytes())


@pytest.mark.parametrize(
    ("name", "ends_in", "fault"),
    [("bar", timedelta(hours=1), 'for "bar" (bar) instead of "foo" (foo)'), ("foo", timedelta(0), "expired on ")],
)
def test_a_certificate_for_others_or_of_the_past_is_refused(
    tmp_path: Path, name: str, ends_in: timedelta, fault: str
) -> None:
    old = parse_certificate(made(tmp_path, "foo")[0])
    chain = made(tmp_path, name, ends_in)
    with pytest.raises(BadAnswer) as raised:
        check_renewed(chain, old, parse_certificate(chain[0]).spki, datetime.now(UTC))
    assert fault in raised.value.detail


def test_a_leaf_that_the_next_certificate_did_not_sign_is_refused(tmp_path: Path) -> None:
    old, leaf = made(tmp_path, "foo"), made(tmp_path, "foo")[0]
    with pytest.raises(BadAnswer, match="broken chain"):
        check_renewed((leaf, leaf), parse_certificate(old[0]), parse_certificate(leaf).spki, datetime.now(UTC))


def test_a_renewal_is_taken(tmp_path: Path) -> None:
    old, chain = made(tmp_path, "foo"), made(tmp_path, "foo")
    leaf = parse_certificate(chain[0])
    assert check_renewed(chain, parse_certificate(old[0]), leaf.spki, datetime.now(UTC)) == leaf
