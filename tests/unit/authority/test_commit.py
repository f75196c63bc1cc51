"""Step 8 as the authority sees it: what an outcome means, and that refusals are recorded with the token they spend."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence
from typing import Final

import pytest

from provisor.authority.audit import Trail, parse_event
from provisor.authority.commit import TOKEN_GRACE, accounted, commit_granted
from provisor.authority.snapshot import Snapshot
from provisor.core.identity import Identity, Operation, ProvisionerRef, TokenUse
from provisor.errors import (
    AlreadyRevoked,
    BadRequest,
    CertificateRevoked,
    Forbidden,
    NameNotAllowed,
    OutcomeUnknown,
    ProvisorError,
    StaleEpoch,
    TokenReused,
    Unavailable,
)
from provisor.ports import Entry, Epoch, IssuerID, NotRevoked, Outcome, SpendToken, StoreHealth, ToSign, Unspent
from support.authority import MemoryCA

REF: Final = ProvisionerRef("ci:x", "ci", "JWK", 1, "x")
TO_SIGN: Final = ToSign(bytes(32), b"tbs", 1, "ci:x", "ci", "JWK", 1, None, b"")


class ScriptedNotary:
    """Answers entries one after the other, as told; the last answer for ever."""

    def __init__(self, *answers: Callable[[Entry], Outcome]) -> None:
        self._answers = list(answers)
        self.entries: list[Entry] = []

    async def submit(self, entry: Entry) -> Outcome:
        self.entries.append(entry)
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return answer(entry)

    async def sign_head(self, issuer: IssuerID, text: bytes) -> bytes:
        raise AssertionError

    async def sign_crl(self, issuer: IssuerID, tbs: bytes) -> bytes:
        raise AssertionError("no list is made here")

    async def health(self) -> StoreHealth:
        return StoreHealth(writable=True, high_water=0, epoch=1)


def committed(entry: Entry) -> Outcome:
    return Outcome(entry.id, "committed", certificate=b"der")


def refused(guard: str) -> Callable[[Entry], Outcome]:
    return lambda entry: Outcome(entry.id, "refused", guard=guard)


def failed(status: str) -> Callable[[Entry], Outcome]:
    return lambda entry: Outcome(entry.id, status, reason="why")


def lost(entry: Entry) -> Outcome:
    raise OutcomeUnknown("nobody knows")


@pytest.fixture(scope="module")
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as made:
        yield made


def snapshot(ca: MemoryCA, notary: ScriptedNotary) -> Snapshot:
    made = ca.snapshot
    return Snapshot(
        epoch=7,
        config=made.config,
        registry=made.registry,
        issuer=made.issuer,
        issuers=made.issuers,
        roots=made.roots,
        federated=made.federated,
        notary=notary,
        ledger=made.ledger,
        clock=ca.clock,
        random=ca.random,
        started=ca.clock.now,
    )


def trail(ca: MemoryCA, *, token: bool = True, known: bool = True) -> Trail:
    made = Trail(Operation.SIGN, ca.clock.now, digest=b"digest", timer=lambda: 0.0)
    if token:
        made.use, made.provisioner = TokenUse("id", 1000), REF
    if known:
        made.who = Identity(provisioner=REF, method="token" if token else "mtls", subject="a.test", token=made.use)
    return made


# -- grants ---------------------------------------------------------------------------------------------------


def test_a_grant_is_one_entry_with_everything_that_must_hold(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    guard = NotRevoked(bytes(32), 5)
    outcome = asyncio.run(commit_granted(snapshot(ca, notary), trail(ca), guards=(guard,), sign=TO_SIGN))
    assert outcome.certificate == b"der"
    (entry,) = notary.entries
    assert entry.guards == (Unspent("id"), guard, Epoch(7))
    assert entry.writes == (SpendToken("id", 1000 + TOKEN_GRACE, "granted", b"digest"),)
    assert entry.sign == TO_SIGN
    assert entry.event is not None
    assert parse_event(entry.event).outcome == "granted"


def test_a_grant_without_token_spends_none(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    asyncio.run(commit_granted(snapshot(ca, notary), trail(ca, token=False)))
    assert (notary.entries[0].guards, notary.entries[0].writes) == ((Epoch(7),), ())


def test_for_a_client_that_has_left_nothing_is_signed_and_nothing_spent(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    left = trail(ca)
    left.has_left = lambda: True
    with pytest.raises(Unavailable, match="left"):
        asyncio.run(commit_granted(snapshot(ca, notary), left))
    assert notary.entries == []


def test_a_token_without_end_is_kept_for_ever(ca: MemoryCA) -> None:
    notary, walked = ScriptedNotary(committed), trail(ca)
    walked.use = TokenUse("id", None)
    asyncio.run(commit_granted(snapshot(ca, notary), walked))
    assert notary.entries[0].writes == (SpendToken("id", None, "granted", b"digest"),)


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (refused("unspent"), TokenReused),
        (refused("epoch"), StaleEpoch),
        (refused("not-revoked"), CertificateRevoked),
        (refused("fresh-serial"), Unavailable),
        (refused("something-new"), Unavailable),
        (failed("rejected"), Forbidden),
        (failed("unavailable"), Unavailable),
        (failed("something-new"), Unavailable),
        (lost, OutcomeUnknown),
    ],
    ids=["unspent", "epoch", "not revoked", "serial", "unknown guard", "rejected", "unavailable", "unknown", "lost"],
)
def test_whatever_is_not_committed_is_an_error(
    ca: MemoryCA, answer: Callable[[Entry], Outcome], error: type[ProvisorError]
) -> None:
    with pytest.raises(error) as raised:
        asyncio.run(commit_granted(snapshot(ca, ScriptedNotary(answer)), trail(ca), sign=TO_SIGN))
    assert type(raised.value) is error


def test_a_second_revocation_is_a_conflict(ca: MemoryCA) -> None:
    with pytest.raises(AlreadyRevoked):
        asyncio.run(commit_granted(snapshot(ca, ScriptedNotary(refused("not-revoked"))), trail(ca)))


# -- refusals ---------------------------------------------------------------------------------------------------


def account(ca: MemoryCA, notary: ScriptedNotary, walked: Trail, error: ProvisorError) -> ProvisorError:
    """What is answered when a step raises `error`."""

    async def step() -> None:
        async with accounted(snapshot(ca, notary), walked):
            raise error

    with pytest.raises(ProvisorError) as raised:
        asyncio.run(step())
    return raised.value


NO: Final = NameNotAllowed("evil.test", public="no")


def test_a_refusal_is_recorded_with_the_token_it_spends(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    assert account(ca, notary, trail(ca), NO) is NO
    (entry,) = notary.entries
    assert entry.guards == (Unspent("id"),), "whatever the configuration is meanwhile"
    assert entry.writes == (SpendToken("id", 1000 + TOKEN_GRACE, "NameNotAllowed", b"digest"),)
    assert entry.sign is None
    assert entry.event is not None
    assert parse_event(entry.event).code == "NameNotAllowed"


def test_a_refusal_of_a_holder_of_a_certificate_spends_nothing(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    assert account(ca, notary, trail(ca, token=False), NO) is NO
    assert (notary.entries[0].guards, notary.entries[0].writes) == ((), ())


def test_a_stranger_is_not_recorded(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    assert account(ca, notary, trail(ca, token=False, known=False), NO) is NO
    assert notary.entries == []


def test_a_verified_token_of_nobody_known_yet_is_spent_too(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    account(ca, notary, trail(ca, known=False), NO)
    assert notary.entries[0].writes


@pytest.mark.parametrize(
    "error", [Unavailable("away"), StaleEpoch("old"), OutcomeUnknown("lost")], ids=lambda e: e.code
)
def test_a_503_is_no_refusal(ca: MemoryCA, error: ProvisorError) -> None:
    notary = ScriptedNotary(committed)
    assert account(ca, notary, trail(ca), error) is error
    assert notary.entries == []


def test_a_refusal_whose_twin_was_faster_is_a_reuse_and_recorded_as_one(ca: MemoryCA) -> None:
    notary = ScriptedNotary(refused("unspent"), committed)
    assert isinstance(account(ca, notary, trail(ca), NO), TokenReused)
    first, second = notary.entries
    assert (second.guards, second.writes) == ((), ())
    assert second.event is not None
    assert parse_event(second.event).code == "TokenReused"
    assert first.id != second.id, "the first may be looked up later, and did not happen"


def test_a_reuse_is_recorded_without_spending_again(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    error = TokenReused("token already used")
    assert account(ca, notary, trail(ca), error) is error
    assert notary.entries[0].writes == ()


@pytest.mark.parametrize(
    "answers",
    [
        [failed("unavailable")],
        [failed("rejected")],
        [refused("unspent"), failed("unavailable")],
        [lost],
    ],
    ids=["unavailable", "rejected", "twin, then unavailable", "lost"],
)
def test_a_refusal_that_cannot_be_recorded_is_503(ca: MemoryCA, answers: Sequence[Callable[[Entry], Outcome]]) -> None:
    assert isinstance(account(ca, ScriptedNotary(*answers), trail(ca), NO), Unavailable)


def test_what_passes_is_left_alone(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)

    async def step() -> None:
        async with accounted(snapshot(ca, notary), trail(ca)):
            pass

    asyncio.run(step())
    assert notary.entries == []


def test_a_bad_request_of_a_proven_caller_is_recorded_too(ca: MemoryCA) -> None:
    notary = ScriptedNotary(committed)
    account(ca, notary, trail(ca), BadRequest("notAfter cannot be in the past"))
    assert len(notary.entries) == 1
