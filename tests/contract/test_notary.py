"""What every notary promises: inline and over its socket, with the store in a file, in memory and in PostgreSQL."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from msgspec.structs import replace

from provisor.core.durations import HOUR, Duration
from provisor.core.x509 import oids
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.crl import encode_revoked, encode_tbs_crl
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.extensions import Extension
from provisor.errors import Forbidden, OutcomeUnknown, Unavailable
from provisor.notary.keyring import GateRules
from provisor.notary.signers import PoolLimits
from provisor.ports import Entry, Epoch, Ledger, Notary, NotRevoked, Outcome, PutCRL, PutMeta, RecordRevocation, Unspent
from provisor.storage.base import StoreFailed
from support.coroutines import finish
from support.entries import entry, revocation, spend
from support.notary_world import World, inline_client, open_store, opened_store, socket_client
from support.x509_lab import NOW, with_extension

Scenario = Callable[[World, Notary, Ledger], Awaitable[None]]
Run = Callable[..., None]

EACH = pytest.mark.parametrize("costly", [False, True], ids=["quick key", "costly key"])


@pytest.fixture(params=[f"{form}-{kind}" for form in ("inline", "socket") for kind in ("file", "memory", "postgresql")])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Run]:
    form, kind = request.param.split("-")

    def play(scenario: Scenario, *, costly: bool = False, limits: PoolLimits | None = None) -> None:
        async def on_stage() -> None:
            world = World(store, costly=costly, pool_limits=limits)
            async with (inline_client if form == "inline" else socket_client)(world, tmp_path) as (notary, ledger):
                async with asyncio.timeout(30):
                    await scenario(world, notary, ledger)

        asyncio.run(on_stage())

    with opened_store(kind, tmp_path) as store:
        yield play


async def submit(notary: Notary, *entries: Entry) -> list[str]:
    """The outcomes of entries that arrive together, as words."""
    return [word(outcome) for outcome in await asyncio.gather(*(notary.submit(e) for e in entries))]


def word(outcome: Outcome) -> str:
    return outcome.guard or outcome.status


def revoking(world: World, serial: int) -> Entry:
    return entry(revocation(serial, issuer=world.lab.issuer.id))


@EACH
def test_what_is_signed_is_genuine_recorded_and_answered(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        request = world.issue("t")
        outcome = await notary.submit(request)
        assert outcome.committed
        issued = x509.load_der_x509_certificate(outcome.certificate)
        issued.verify_directly_issued_by(x509.load_der_x509_certificate(world.lab.intermediate.certificate.der))
        assert request.sign is not None
        assert issued.tbs_certificate_bytes == request.sign.tbs
        record = await ledger.find_certificate(world.lab.issuer.id, issued.serial_number)
        assert record is not None
        assert record.der == outcome.certificate
        assert record.not_after == int(issued.not_valid_after_utc.timestamp())
        assert await ledger.is_spent("t")

    run(scenario, costly=costly)


@EACH
def test_a_token_works_once_whether_together_or_one_after_the_other(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        twins = [world.issue("t") for _ in range(10)]
        assert sorted(await submit(notary, *twins)) == ["committed"] + ["unspent"] * 9
        signatures = world.signer.count
        assert await submit(notary, world.issue("t")) == ["unspent"]
        assert world.signer.count == signatures, "a replay costs no signature"

    run(scenario, costly=costly)


@EACH
def test_a_repeated_entry_gets_the_same_certificate(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        request = world.issue("t")
        first, twin = await asyncio.gather(notary.submit(request), notary.submit(request))
        later = await notary.submit(request)
        assert first == twin == later
        assert first.committed
        assert world.signer.count == 1
        assert await ledger.find_outcome(request.id) == first
        impostor = replace(world.issue("u"), id=request.id)
        assert await submit(notary, impostor) == ["rejected"]

    run(scenario, costly=costly)


@EACH
def test_after_a_revocation_nothing_is_renewed(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        words = await submit(notary, revoking(world, 7), world.renew(7))
        assert words == ["committed", "not-revoked"]
        assert await submit(notary, world.renew(7), world.renew(8)) == ["not-revoked", "committed"]

    run(scenario, costly=costly)


def test_a_revocation_during_a_slow_signature_wins(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        world.signer.may_go_on.clear()
        renewal = asyncio.ensure_future(notary.submit(world.renew(7)))
        await world.signer.called()
        assert await submit(notary, revoking(world, 7)) == ["committed"], "others do not wait for the signature"
        world.signer.may_go_on.set()
        assert word(await renewal) == "not-revoked"

    run(scenario, costly=True)


@EACH
def test_nothing_is_issued_under_an_old_configuration(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        old = world.issue("t")
        assert world.install() == world.epoch == (await ledger.health()).epoch
        assert await submit(notary, old) == ["epoch"]
        assert not await ledger.is_spent("t")
        assert await submit(notary, world.issue("t")) == ["committed"]

    run(scenario, costly=costly)


def test_a_configuration_that_changes_during_a_slow_signature_refuses_it(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        world.signer.may_go_on.clear()
        request = asyncio.ensure_future(notary.submit(world.issue("t")))
        await world.signer.called()
        world.install()
        world.signer.may_go_on.set()
        assert word(await request) == "epoch"
        assert not await ledger.is_spent("t")

    run(scenario, costly=True)


def test_epochs_go_on_from_those_of_the_last_run(tmp_path: Path) -> None:
    epochs = []
    for _ in range(3):
        store = open_store("file", tmp_path)
        epochs.append(World(store).epoch)
        finish(store.close())
    assert epochs == [1, 2, 3]


@EACH
def test_a_poisoned_entry_fails_alone(run: Run, costly: bool) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        good = [world.issue(f"t{n}") for n in range(3)]
        poison = [
            entry(spend("p", 1 << 63)),
            entry(PutMeta("\ud800", "")),
            replace(world.issue("q"), id=b"short"),
            world.issue("r", sign=replace(world.to_sign(), tbs=b"\x30\x80garbage")),
            world.issue("s", spend("p", 1 << 63)),
        ]
        mixed = [good[0], *poison[:3], good[1], *poison[3:], good[2]]
        words = await submit(notary, *mixed)
        assert words == ["committed", *["rejected"] * 3, "committed", *["rejected"] * 2, "committed"]
        assert not await ledger.is_spent("p")

    run(scenario, costly=costly)


def test_an_entry_that_is_too_large_is_rejected(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        huge = entry(PutMeta("m", "x" * 5_000_000))
        if not isinstance(notary, type(world.inline)):
            assert await submit(notary, huge) == ["rejected"]
        assert await submit(notary, world.issue("t")) == ["committed"]

    run(scenario)


def ca(draft: Draft) -> Draft:
    return with_extension(draft, Extension(oids.BASIC_CONSTRAINTS, True, bytes.fromhex("30030101ff")))


def key_cert_sign(draft: Draft) -> Draft:
    return with_extension(draft, Extension(oids.KEY_USAGE, True, bytes.fromhex("03020204")))


HOSTILE: dict[str, Callable[[Draft], Draft]] = {
    "an authority": ca,
    "the key usage of an authority": key_cert_sign,
    "longer than the issuer": lambda d: replace(d, not_after=NOW + timedelta(days=9999)),
    "from long before the issuer": lambda d: replace(d, not_before=NOW - timedelta(days=9999)),
    "longer than the maximum": lambda d: replace(d, not_after=NOW + timedelta(hours=49)),
    "over already": lambda d: replace(d, not_before=NOW - timedelta(hours=2), not_after=NOW - timedelta(hours=1)),
    "another issuer name": lambda d: replace(d, issuer=d.subject),
    "another algorithm": lambda d: replace(d, signature_algorithm=bytes.fromhex("300d06092a864886f70d01010b0500")),
    "an extension twice": lambda d: replace(d, extensions=(*d.extensions, d.extensions[0])),
}


@pytest.mark.parametrize("hostile", HOSTILE.values(), ids=HOSTILE)
def test_the_gate_lets_no_worker_have(run: Run, hostile: Callable[[Draft], Draft]) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        world.install(GateRules(max_validity=Duration(48 * HOUR)))
        assert await submit(notary, world.issue("t", sign=world.to_sign(change=hostile))) == ["rejected"]
        assert world.signer.count == 0
        assert not await ledger.is_spent("t")

    run(scenario)


def test_the_gate_compares_the_entry_with_the_bytes(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        one = world.to_sign()
        no_event, no_epoch = replace(world.issue(), event=None), replace(world.issue(), guards=())
        foreign = replace(one, issuer=bytes(32))
        other_serial = replace(one, serial=one.serial + 1, lineage=one.serial + 1)
        other_line = replace(one, lineage=one.serial + 1)
        unasked = world.issue(sign=world.to_sign(predecessor=7))
        asked_elsewhere = world.issue(guards=(NotRevoked(world.lab.issuer.id, 8),), sign=world.to_sign(predecessor=7))
        signs = [world.issue(sign=sign) for sign in (foreign, other_serial, other_line)]
        words = await submit(notary, no_event, no_epoch, *signs, unasked, asked_elsewhere)
        assert words == ["rejected"] * 7
        assert world.signer.count == 0

    run(scenario)


@pytest.mark.parametrize("state", ["next", "retiring", "disabled"])
def test_an_issuer_that_is_not_active_signs_nothing(run: Run, state: str) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        world.install(state=state)
        assert await submit(notary, world.issue("t")) == ["rejected"]
        assert [record.state for record in await ledger.issuers()] == [state]

    run(scenario)


class TestBrokenKeys:
    @EACH
    def test_a_key_that_is_away_writes_nothing_and_comes_back(self, run: Run, costly: bool) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.signer.failing = True
            request = world.issue("t")
            assert await submit(notary, request) == ["unavailable"]
            assert not await ledger.is_spent("t")
            world.signer.failing = False
            assert await submit(notary, request) == ["committed"]

        run(scenario, costly=costly)

    def test_a_costly_key_is_not_believed(self, run: Run) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.signer.lying = True
            assert await submit(notary, world.issue("t")) == ["unavailable"]
            with pytest.raises(Unavailable):
                await notary.sign_crl(world.lab.issuer.id, crl(world))

        run(scenario, costly=True)

    def test_a_key_that_hangs_is_given_up_and_holds_nobody_up(self, run: Run) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.signer.may_go_on.clear()
            hanging = [asyncio.ensure_future(notary.submit(world.issue(f"t{n}"))) for n in range(3)]
            assert await submit(notary, entry(spend("u")), world.renew(1)) == ["committed", "unavailable"]
            assert [word(await request) for request in hanging] == ["unavailable"] * 3
            world.signer.may_go_on.set()

        run(scenario, costly=True, limits=PoolLimits(in_flight=3, deadline_seconds=0.1))


class TestBrokenStores:
    @EACH
    def test_a_store_that_fails_for_certain_is_unavailable_and_recovers(self, run: Run, costly: bool) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.store.before_commit = failing(StoreFailed("disk full", uncertain=False))
            request = world.issue("t")
            assert await submit(notary, request, entry(spend("u"))) == ["unavailable", "unavailable"]
            assert not await ledger.is_spent("t")
            world.store.before_commit = lambda: None
            assert await submit(notary, request) == ["committed"]

        run(scenario, costly=costly)

    @EACH
    def test_a_commit_that_failed_uncertainly_is_looked_up(self, run: Run, costly: bool) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.store.after_commit = failing(StoreFailed("fsync", uncertain=True))
            done = await notary.submit(world.issue("t"))
            assert done.committed
            assert parse_certificate(done.certificate).issuer == world.lab.intermediate.certificate.subject
            world.store.before_commit = failing(StoreFailed("fsync", uncertain=True))
            assert await submit(notary, world.issue("u")) == ["unavailable"]

        run(scenario, costly=costly)

    @EACH
    def test_what_nobody_can_look_up_is_unknown(self, run: Run, costly: bool) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            world.store.after_commit = failing(StoreFailed("fsync", uncertain=True))
            world.store.reopening_fails = True
            request = world.issue("t")
            with pytest.raises(OutcomeUnknown):
                await notary.submit(request)
            assert await submit(notary, world.issue("u")) == ["unavailable"]
            world.store.reopening_fails = False
            world.store.after_commit = lambda: None
            assert await submit(notary, request, world.issue("u")) == ["committed", "committed"]

        run(scenario, costly=costly)

    def test_health_tells_of_it_and_finds_out_by_itself_when_it_is_over(self, run: Run) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            asking = notary if isinstance(notary, type(world.inline)) else ledger
            health = await asking.health()
            assert (health.writable, health.epoch, health.high_water) == (True, 1, int(NOW.timestamp()))
            world.store.before_commit = failing(StoreFailed("disk full", uncertain=False))
            assert (await asking.health()).writable, "written a moment ago"
            world.now += timedelta(seconds=11)
            health = await asking.health()
            assert (health.writable, health.reason) == (False, "disk full")
            world.store.before_commit = lambda: None
            health = await asking.health()
            assert (health.writable, health.high_water) == (True, int(world.now.timestamp()))

        run(scenario)


def failing(failure: StoreFailed) -> Callable[[], None]:
    def fail() -> None:
        raise failure

    return fail


def test_requests_that_arrive_together_share_a_commit(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        await notary.submit(world.issue())
        before = len(world.store.batches)
        assert set(await submit(notary, *(world.issue(f"t{n}") for n in range(50)))) == {"committed"}
        assert len(world.store.batches) - before <= 5

    run(scenario)


def test_a_caller_who_gives_up_changes_nothing(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        await notary.submit(world.issue())
        task = asyncio.ensure_future(notary.submit(world.issue("t")))
        await asyncio.sleep(0)
        task.cancel()
        assert await submit(notary, world.issue("u")) == ["committed"]
        assert await ledger.is_spent("t")

    run(scenario)


def test_races_in_any_order_leave_one_winner(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        shuffled = random.Random(3)
        for _ in range(5):
            token = f"t{shuffled.random()}"
            entries = [world.issue(token) for _ in range(4)] + [entry(spend(token), guards=(Unspent(token),))] * 2
            shuffled.shuffle(entries)
            outcomes = await asyncio.gather(*(notary.submit(e) for e in entries))
            assert len({outcome.id for outcome in outcomes if outcome.committed}) == 1

    run(scenario)


def crl(world: World, **changes: object) -> bytes:
    day = timedelta(days=1)
    given = {"number": 1, "this_update": NOW, "next_update": NOW + day, "idp_url": "http://ca.test/crl", "entries": ()}
    entries = [encode_revoked(5, NOW, 1)]
    return encode_tbs_crl(world.lab.issuer, **{**given, "entries": entries, **changes})  # type: ignore[arg-type]


class TestCRL:
    @EACH
    def test_a_list_is_signed_and_recorded(self, run: Run, costly: bool) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            issuer = world.lab.issuer.id
            der = await notary.sign_crl(issuer, crl(world))
            key = x509.load_der_x509_certificate(world.lab.intermediate.certificate.der).public_key()
            parsed = x509.load_der_x509_crl(der)
            assert parsed.is_signature_valid(key)  # type: ignore[arg-type]
            assert [revoked.serial_number for revoked in parsed] == [5]
            at = int(NOW.timestamp())
            assert await submit(notary, entry(PutCRL(issuer, 1, at, at + 86400, der))) == ["committed"]
            record = await ledger.find_crl(issuer)
            assert record is not None
            assert record.der == der
            assert await ledger.find_crl_number(issuer) == 1
            assert await ledger.find_crl_number(bytes(32)) is None

        run(scenario, costly=costly)

    def test_a_long_list_passes(self, run: Run) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            entries = [encode_revoked((1 << 127) + n, NOW, 1) for n in range(150_000)]
            der = await notary.sign_crl(world.lab.issuer.id, crl(world, entries=entries))
            assert len(der) > 5_000_000
            issuer, at = world.lab.issuer.id, int(NOW.timestamp())
            assert await submit(notary, entry(PutCRL(issuer, 1, at, at + 86400, der))) == ["committed"]
            record = await ledger.find_crl(issuer)
            assert record is not None
            assert record.der == der

        run(scenario)

    def test_nothing_else_is_signed_as_a_list(self, run: Run) -> None:
        async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
            issuer = world.lab.issuer.id
            hostile: Sequence[bytes] = [
                b"",
                b"\x30\x00",
                world.to_sign().tbs,
                encode_tbs(world.lab.draft()),
                crl(world) + b"\x00",
                crl(world)[:-1],
                crl(world, this_update=NOW + timedelta(hours=1)),
                crl(world, next_update=NOW - timedelta(hours=1)),
                crl(world, next_update=NOW + timedelta(days=365)),
                crl(world).replace(b"Intermediate", b"intermediate"),
            ]
            for tbs in hostile:
                with pytest.raises(Forbidden):
                    await notary.sign_crl(issuer, tbs)
            with pytest.raises(Forbidden):
                await notary.sign_crl(bytes(32), crl(world))
            assert world.signer.count == 0

        run(scenario)


def test_every_question_is_answered_the_same_way(run: Run) -> None:
    async def scenario(world: World, notary: Notary, ledger: Ledger) -> None:
        issuer = world.lab.issuer.id
        big = RecordRevocation(issuer, -(1 << 200), 1, "", 1, None, "", "", mtls=True)
        assert await submit(notary, entry(big), entry(guards=(Epoch(1),))) == ["committed", "committed"]
        assert await ledger.is_revoked(issuer, -(1 << 200))
        assert [record.serial for record in await ledger.revocations(issuer, 0)] == [-(1 << 200)]
        assert await ledger.find_certificate(issuer, 1) is None
        assert await ledger.find_outcome(bytes(16)) is None
        assert list(await ledger.due_jobs(0)) == []
        assert not await ledger.is_spent("x")
        assert [record.id for record in await ledger.issuers()] == [issuer]

    run(scenario)
