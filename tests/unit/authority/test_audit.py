"""Audit events: canonical bytes, readable again, and never a credential; and the trail that ends in one."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Final

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.authority.audit import (
    EVENT_VERSION,
    LONGEST_REASON,
    Asked,
    Event,
    Given,
    Trail,
    encode_event,
    parse_event,
)
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse
from provisor.errors import NameNotAllowed, TokenReused

NOW: Final = datetime(2026, 6, 1, 12, 0, 0, 500_000, tzinfo=UTC)
REF: Final = ProvisionerRef("ci:x", "ci", "JWK", 1, "x")

TEXT: Final = st.text(st.characters(codec="utf-8"), max_size=30)
SERIALS: Final = st.integers(0, 1 << 160).map(str)
ASKED: Final = st.none() | st.builds(
    Asked,
    subject=TEXT,
    names=st.lists(TEXT, max_size=3),
    key=TEXT,
    not_before=TEXT,
    not_after=TEXT,
    serial=SERIALS,
    reason=st.none() | st.integers(0, 10),
)
GIVEN: Final = st.none() | st.builds(
    Given,
    serial=SERIALS,
    names=st.lists(TEXT, max_size=3),
    not_before=TEXT,
    not_after=TEXT,
    tbs=TEXT,
    predecessor=SERIALS,
)
EVENTS: Final = st.builds(
    Event,
    v=st.just(EVENT_VERSION),
    at=TEXT,
    operation=st.sampled_from([operation.value for operation in Operation]),
    outcome=st.sampled_from(["granted", "refused"]),
    request=TEXT,
    source=TEXT,
    step=st.integers(0, 9),
    code=TEXT,
    reason=TEXT,
    method=TEXT,
    provisioner=TEXT,
    provisioner_id=TEXT,
    kind=TEXT,
    subject=TEXT,
    token=TEXT,
    certificate=SERIALS,
    asked=ASKED,
    given=GIVEN,
)


# -- bytes --------------------------------------------------------------------------------------------------


@given(event=EVENTS)
def test_what_was_written_is_read_again(event: Event) -> None:
    body = encode_event(event)
    assert parse_event(body) == event
    assert encode_event(parse_event(body)) == body


@given(event=EVENTS)
def test_the_bytes_are_canonical(event: Event) -> None:
    """Version first, fields in their order, absent ones left out, no white space, UTF-8."""
    body = encode_event(event)
    members = json.loads(body)
    order = [name for name in Event.__struct_fields__ if name in members]
    assert list(members) == order
    assert order[0] == "v"
    assert all(members[name] for name in order[4:])
    assert json.dumps(members, separators=(",", ":"), ensure_ascii=False).encode() == body


def test_a_small_event_is_these_bytes() -> None:
    """Pinned: whoever checks a log years later counts on them."""
    event = Event(
        v=1,
        at="2026-06-01T12:00:00Z",
        operation="x509-sign",
        outcome="granted",
        token="id",
        asked=Asked(subject="a.test", names=["a.test"], reason=0),
        given=Given(serial="340282366920938463463374607431768211456"),
    )
    assert encode_event(event) == (
        b'{"v":1,"at":"2026-06-01T12:00:00Z","operation":"x509-sign","outcome":"granted","token":"id",'
        b'"asked":{"subject":"a.test","names":["a.test"],"reason":0},'
        b'"given":{"serial":"340282366920938463463374607431768211456"}}'
    )


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", b'{"v":"1"}', b'{"v":1,"at":"x","operation":"x","outcome":7}'])
def test_other_bytes_are_no_event(body: bytes) -> None:
    with pytest.raises(msgspec.DecodeError):
        parse_event(body)


# -- trail --------------------------------------------------------------------------------------------------


def trail(timer: Callable[[], float] = lambda: 0.0, **over: Any) -> Trail:
    return Trail(Operation.SIGN, NOW, timer=timer, **{"request_id": "r", "source": "192.0.2.7", "digest": b"d", **over})


def test_nobody_is_authenticated_at_the_beginning() -> None:
    assert not trail().authenticated


def test_a_verified_token_authenticates_before_its_holder_is_known() -> None:
    """So that what fails between the two still spends the token."""
    walked = trail()
    walked.use, walked.provisioner = TokenUse("id", None), REF
    assert walked.authenticated
    event = parse_event(walked.event(TokenReused("token already used")))
    assert (event.token, event.provisioner, event.method, event.subject) == ("id", "ci", "token", "")


def test_a_granted_event_says_who_what_and_for_what() -> None:
    walked = trail()
    walked.use = TokenUse("id", 7)
    walked.who = Identity(provisioner=REF, method="token", subject="a.test", token=walked.use)
    walked.asked = Asked(subject="a.test")
    walked.given = Given(serial="5")
    walked.enter(8)
    assert parse_event(walked.event()) == Event(
        v=1,
        at="2026-06-01T12:00:00.5Z",
        operation="x509-sign",
        outcome="granted",
        request="r",
        source="192.0.2.7",
        method="token",
        provisioner="ci",
        provisioner_id="ci:x",
        kind="JWK",
        subject="a.test",
        token="id",
        asked=Asked(subject="a.test"),
        given=Given(serial="5"),
    )


def test_a_refused_event_says_in_which_step_and_gives_nothing() -> None:
    walked = trail()
    walked.who = Identity(provisioner=REF, method="mtls", subject="a.test", serial=17)
    walked.given = Given(serial="5")
    walked.enter(3)
    event = parse_event(walked.event(NameNotAllowed("evil.test is not allowed", public="no")))
    assert (event.outcome, event.step, event.code) == ("refused", 3, "NameNotAllowed")
    assert event.reason == "evil.test is not allowed"
    assert event.given is None
    assert event.certificate == "17"


def test_texts_of_strangers_are_cut() -> None:
    """A token may be 64 KiB long, an event is not to be."""
    walked = trail(request_id="r" * 5000)
    walked.use = TokenUse("t" * 5000, None)
    walked.who = Identity(provisioner=REF, method="token", subject="s" * 5000)
    event = parse_event(walked.event(NameNotAllowed("d" * 5000)))
    assert {len(text) for text in (event.request, event.token, event.subject, event.reason)} == {LONGEST_REASON}


def test_steps_are_timed_from_one_to_the_next() -> None:
    moments = iter([0.0, 1.0, 3.0, 7.0, 7.0])
    walked = trail(timer=lambda: next(moments))
    walked.enter(1)
    walked.enter(2)
    walked.leave()
    assert walked.seconds == [(1, 2.0), (2, 4.0)]


def test_a_trail_that_entered_no_step_timed_none() -> None:
    walked = trail()
    walked.leave()
    assert walked.seconds == []
