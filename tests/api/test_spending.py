"""When a token is spent: by every answer once it was verified, and by nothing else."""

from __future__ import annotations

import asyncio
import base64
import ipaddress
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final, final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from provisor.core.x509.certificate import parse_certificate
from provisor.ports import Entry, EntryID, IssuerRecord, Ledger, Outcome, StoreHealth
from provisor.storage.base import Sign, Store, StoreFailed
from support.authority import Answer, MemoryCA, make_config
from support.credentials import b64url, csr_digest, make_csr, make_key, make_signer, rsa_key
from support.doors import TOKEN_ID, BearerDoor, CertificateDoor, TokenDoor, World
from support.wrong_tokens import as_json, rewritten_signature

IP: Final = x509.IPAddress(ipaddress.ip_address("10.0.0.1"))
EMAIL: Final = x509.RFC822Name("max@a.test")
URI: Final = x509.UniformResourceIdentifier("spiffe://a.test/x")


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.ca:
        yield made


@pytest.fixture
def sign(world: World) -> TokenDoor:
    return TokenDoor(world, "/sign")


# -- a genuine token for something else ---------------------------------------------------------------


class Ask(Struct, frozen=True):
    """A body that the token does not cover, and the error it is refused with. `claims` are the token's."""

    body: Callable[[], Mapping[str, object]]
    code: str = "NameNotAllowed"
    status: int = 403
    claims: Mapping[str, Any] = {}


def _csr(*names: x509.GeneralName | str, common_name: str = "") -> Callable[[], Mapping[str, object]]:
    return lambda: {"csr": make_csr(make_key(), common_name, names)}


def _window(**over: str) -> Callable[[], Mapping[str, object]]:
    return lambda: {"csr": make_csr(make_key()), **over}


ASKS: Final[Mapping[str, Ask]] = {
    "a name more": Ask(_csr("a.test", "evil.test")),
    "a name less": Ask(_csr("a.test"), claims={"sans": ["a.test", "b.test"]}),
    "another name": Ask(_csr("evil.test")),
    "a name in another case": Ask(_csr("A.test")),
    "a name with a trailing dot": Ask(_csr("a.test.")),
    "a name below": Ask(_csr("x.a.test")),
    "a wildcard": Ask(_csr("*.a.test")),
    "an address": Ask(_csr("a.test", IP)),
    "an email address": Ask(_csr("a.test", EMAIL)),
    "a URI": Ask(_csr("a.test", URI)),
    "another common name": Ask(_csr(common_name="evil.test")),
    "a common name in another case": Ask(_csr(common_name="A.test")),
    "another request than the bound one": Ask(
        _csr(), "KeyNotAllowed", claims={"cnf": {"x5rt#S256": b64url(bytes(32))}}
    ),
    "a binding that cannot be read": Ask(_csr(), "KeyNotAllowed", claims={"cnf": {"x5rt#S256": "***"}}),
    "an RSA key that is too short": Ask(lambda: {"csr": make_csr(rsa_key(1024))}, "KeyNotAllowed"),
    "more time than the maximum": Ask(_window(notAfter="25h"), "ValidityNotAllowed"),
    "less time than the minimum": Ask(_window(notAfter="1m"), "ValidityNotAllowed"),
    "an end in the past": Ask(_window(notAfter="2020-01-01T00:00:00Z"), "BadRequest", 400),
    "an end before the beginning": Ask(_window(notBefore="2h", notAfter="-1h"), "BadRequest", 400),
    "an end after the issuer's": Ask(
        _window(notBefore="2036-05-29T08:00:00Z", notAfter="2036-05-29T12:00:01Z"), "ValidityNotAllowed"
    ),
    "a name that no certificate can hold": Ask(_csr(), "Unencodable", 500, {"sans": ["jürgen.test"]}),
}


@pytest.mark.parametrize("name", ASKS)
def test_a_refused_request_spends_its_token_and_is_on_record(sign: TokenDoor, name: str) -> None:
    ask = ASKS[name]
    before = sign.world.ca.books()
    answer = sign.send(sign.good(**ask.claims), **ask.body())
    assert answer.status == ask.status, answer.body
    changed = sign.world.ca.books().since(before)
    (event,) = changed.events
    assert (event.outcome, event.token, event.subject) == ("refused", TOKEN_ID, "a.test")
    assert event.step in (3, 5, 6)
    assert event.code == changed.tokens[0].outcome == ask.code
    assert not changed.certificates
    assert sign.send(sign.good(**ask.claims)).status == 401


def test_a_token_bound_to_its_request_is_good_for_it(sign: TokenDoor) -> None:
    csr = make_csr(sign.key)
    assert sign.send(sign.good(cnf={"x5rt#S256": b64url(csr_digest(csr))}), csr=csr).status == 201


# -- a request that does not get as far as the token -------------------------------------------------------

_KEY: Final = ec.generate_private_key(ec.SECP256R1())

BODIES: Final[Mapping[str, tuple[Mapping[str, object], int]]] = {
    "request missing": ({"csr": None}, 400),
    "request that is none": ({"csr": "x"}, 400),
    "request with a foreign signature": ({"csr": make_csr(_KEY, broken=True)}, 400),
    "request that is a number": ({"csr": 7}, 400),
    "end that is no time": ({"notAfter": "tomorrow"}, 400),
    "names beyond the limit": ({"csr": make_csr(_KEY, names=[f"{n}.test" for n in range(1001)])}, 400),
    "body beyond the limit": ({"templateData": "x" * (1 << 20)}, 413),
}


@pytest.mark.parametrize("name", BODIES)
def test_a_body_that_cannot_be_read_leaves_the_token_unspent(sign: TokenDoor, name: str) -> None:
    over, status = BODIES[name]
    before = sign.world.ca.books()
    token = sign.good()
    assert sign.send(token, **over).status == status
    assert sign.world.ca.books().since(before).nothing
    assert sign.send(token).status == 201


def test_a_token_at_the_wrong_endpoint_is_unspent(world: World, sign: TokenDoor) -> None:
    revoke = TokenDoor(world, "/revoke")
    token = sign.good()
    assert revoke.send(token).status == 401
    assert BearerDoor(world, "/renew").send(token).status == 401
    assert sign.send(token).status == 201


# -- once -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", ["/sign", "/revoke"])
def test_a_token_works_once(world: World, path: str) -> None:
    door = TokenDoor(world, path)
    token = door.good()
    assert door.send(token).status == door.success
    _is_refused_as_reused(world, lambda: door.send(token))


def test_a_bearer_token_works_once(world: World) -> None:
    door = BearerDoor(world, "/renew")
    token = door.good()
    assert door.send(token).status == 201
    _is_refused_as_reused(world, lambda: door.send(token))


@pytest.mark.parametrize("disguise", [rewritten_signature, as_json], ids=["other signature", "as JSON"])
@pytest.mark.parametrize("identified", [True, False], ids=["with jti", "without jti"])
def test_a_token_in_disguise_is_the_same_token(
    sign: TokenDoor, disguise: Callable[[str], str], identified: bool
) -> None:
    token = sign.good() if identified else sign.good(jti=...)
    assert sign.send(token).status == 201
    _is_refused_as_reused(sign.world, lambda: sign.send(disguise(token)))


@pytest.mark.parametrize("disguise", [rewritten_signature, as_json], ids=["other signature", "as JSON"])
def test_the_disguise_alone_is_as_good_as_the_token(sign: TokenDoor, disguise: Callable[[str], str]) -> None:
    """Otherwise the test above would show nothing."""
    assert sign.send(disguise(sign.good(jti=...))).status == 201


def test_two_provisioners_share_the_ids_of_their_tokens(world: World, sign: TokenDoor) -> None:
    """As the reference has it: the id is kept as it is written."""
    assert sign.send(sign.good()).status == 201
    assert sign.send(sign.good(world.other)).status == 401


def _is_refused_as_reused(world: World, send: Callable[[], Answer]) -> None:
    before = world.ca.books()
    assert send().status == 401
    changed = world.ca.books().since(before)
    (event,) = changed.events
    assert (event.outcome, event.code) == ("refused", "TokenReused")
    assert not changed.tokens
    assert not changed.certificates
    assert not changed.revocations


# -- twins ------------------------------------------------------------------------------------------------


def _statuses(answers: Sequence[Answer]) -> list[int]:
    return sorted(answer.status for answer in answers)


@pytest.mark.parametrize("count", [2, 8])
def test_of_twins_at_once_one_is_granted(world: World, sign: TokenDoor, count: int) -> None:
    before = world.ca.books()
    body = sign.body(sign.good())
    answers = world.ca.together(*(world.ca.send("POST", "/sign", body) for _ in range(count)))
    assert _statuses(answers) == [201, *[401] * (count - 1)]
    changed = world.ca.books().since(before)
    assert sorted(event.outcome for event in changed.events) == ["granted", *["refused"] * (count - 1)]
    assert (len(changed.certificates), len(changed.tokens)) == (1, 1)


def test_of_twins_one_of_which_is_refused_for_its_request_one_spends_the_token(world: World, sign: TokenDoor) -> None:
    token = sign.good()
    good, bad = sign.body(token), sign.body(token, csr=make_csr(make_key(), names=["evil.test"]))
    answers = world.ca.together(world.ca.send("POST", "/sign", bad), world.ca.send("POST", "/sign", good))
    assert _statuses(answers) in ([401, 403], [201, 401])
    assert len([event for event in world.ca.books().events if event.token == TOKEN_ID]) == 2


def test_of_twin_renewals_by_one_bearer_token_one_is_granted(world: World) -> None:
    headers = [("Authorization", f"Bearer {BearerDoor(world, '/renew').good()}")]
    answers = world.ca.together(*(world.ca.send("POST", "/renew", headers=headers) for _ in range(4)))
    assert _statuses(answers) == [201, 401, 401, 401]


def test_of_twin_revocations_one_is_recorded(world: World) -> None:
    door = TokenDoor(world, "/revoke")
    bodies = [door.body(door.good(jti=name)) for name in ("one", "two")]
    before = world.ca.books()
    answers = world.ca.together(*(world.ca.send("POST", "/revoke", body) for body in bodies))
    assert _statuses(answers) == [200, 400]
    changed = world.ca.books().since(before)
    assert len(changed.revocations) == 1
    assert len(changed.tokens) == 2, "the slower one's token is spent by its refusal"
    assert sorted(event.outcome for event in changed.events) == ["granted", "refused"]


def test_a_revocation_that_is_faster_stops_a_renewal_under_way(world: World) -> None:
    revoke = TokenDoor(world, "/revoke")
    answers = world.ca.together(
        world.ca.send("POST", "/revoke", revoke.body(revoke.good())),
        world.ca.send("POST", "/renew", client_certificate=world.leaf),
    )
    assert [answer.status for answer in answers] == [200, 401]
    renewal = world.ca.books().events[-1]
    assert (renewal.outcome, renewal.code) == ("refused", "CertificateRevoked")


# -- serials ----------------------------------------------------------------------------------------------


def test_a_revocation_token_is_good_for_its_serial_alone(world: World) -> None:
    door = TokenDoor(world, "/revoke")
    before = world.ca.books()
    answer = door.send(door.good(), serial=str(world.leaf.serial + 1))
    assert answer.status == 403
    assert "do not match" in answer.message
    changed = world.ca.books().since(before)
    assert [event.code for event in changed.events] == ["SubjectMismatch"]
    assert not changed.revocations
    assert door.send(door.good()).status == 401, "it was spent by the refusal"


@pytest.mark.parametrize(
    "subject", [lambda serial: hex(serial), lambda serial: f"0{serial}", lambda serial: f" {serial}"]
)
def test_a_revocation_token_names_its_serial_in_decimal(world: World, subject: Callable[[int], str]) -> None:
    door = TokenDoor(world, "/revoke")
    assert door.send(door.good(sub=subject(world.leaf.serial))).status == 403


def test_a_certificate_revokes_itself_and_nothing_else(world: World) -> None:
    door = CertificateDoor(world, "/revoke")
    before = world.ca.books()
    assert door.send(world.leaf, serial=str(world.leaf.serial + 1)).status == 403
    changed = world.ca.books().since(before)
    assert [event.code for event in changed.events] == ["SubjectMismatch"]
    assert not changed.revocations
    assert door.send(world.leaf).status == 200


@pytest.mark.parametrize("path", ["/renew", "/rekey"])
def test_a_revoked_certificate_proves_nothing_any_more(world: World, path: str) -> None:
    door = CertificateDoor(world, path)
    assert door.send(world.leaf).status == 201
    world.revoke(world.leaf)
    before = world.ca.books()
    assert door.send(world.leaf).status == 401
    assert [event.code for event in world.ca.books().since(before).events] == ["CertificateRevoked"]


def test_without_a_database_a_revocation_is_refused_and_its_token_spent() -> None:
    world = World(db=None)
    with world.ca:
        door = TokenDoor(world, "/revoke")
        assert door.send(door.good()).status == 501
        assert world.ca.books().is_spent(TOKEN_ID)


# -- rekey ------------------------------------------------------------------------------------------------


def test_a_rekey_to_a_weak_key_is_refused_on_record(world: World) -> None:
    door = CertificateDoor(world, "/rekey")
    before = world.ca.books()
    for key in (rsa_key(1024), ec.generate_private_key(ec.SECP224R1())):
        assert door.send(world.leaf, csr=make_csr(key)).status == 403
    assert [event.code for event in world.ca.books().since(before).events] == ["KeyNotAllowed"] * 2


def test_a_rekey_request_with_a_foreign_signature_is_nobodys(world: World) -> None:
    door = CertificateDoor(world, "/rekey")
    before = world.ca.books()
    assert door.send(world.leaf, csr=make_csr(make_key(), broken=True)).status == 400
    assert world.ca.books().since(before).nothing


# -- when the store is away ---------------------------------------------------------------------------------


@final
class FlakyStore:
    """A store whose next commits fail: before anything is written, or after all of it was (`lost`)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self.failures: list[StoreFailed] = []
        self.lost: list[StoreFailed] = []

    async def commit(self, entries: Sequence[Entry], sign: Sign, *, now: int) -> list[Outcome]:
        if self.failures:
            raise self.failures.pop(0)
        outcomes = await self._store.commit(entries, sign, now=now)
        if self.lost:
            raise self.lost.pop(0)
        return outcomes

    async def precheck(self, entries: Sequence[Entry], *, now: int) -> list[Outcome | None]:
        return await self._store.precheck(entries, now=now)

    async def find_outcome(self, entry: EntryID) -> Outcome | None:
        return await self._store.find_outcome(entry)

    async def issuers(self) -> list[IssuerRecord]:
        return await self._store.issuers()

    async def health(self) -> StoreHealth:
        return await self._store.health()

    async def touch(self, *, now: int) -> None:
        await self._store.touch(now=now)

    async def reopen(self) -> None:
        await self._store.reopen()

    async def close(self) -> None:
        await self._store.close()

    @property
    def ledger(self) -> Ledger:
        return self._store.ledger


@pytest.mark.parametrize("uncertain", [False, True], ids=["not written", "uncertain, and not written"])
@pytest.mark.parametrize("refusal", [False, True], ids=["a grant", "a refusal"])
def test_a_commit_that_did_not_happen_is_503_and_spends_nothing(
    sign: TokenDoor, uncertain: bool, refusal: bool
) -> None:
    store = FlakyStore(sign.world.ca.store)
    sign.world.ca.core.store = store
    token, before = sign.good(), sign.world.ca.books()
    store.failures = [StoreFailed("disk full", uncertain=uncertain)]
    over = {"csr": make_csr(make_key(), names=["evil.test"])} if refusal else {}
    answer = sign.send(token, **over)
    assert answer.status == 503
    assert answer.header("retry-after") == "1"
    assert "disk" not in answer.message
    assert sign.world.ca.books().since(before).nothing
    assert sign.send(token).status == 201


def test_a_commit_whose_answer_was_lost_is_looked_up(sign: TokenDoor) -> None:
    """The store wrote it and then failed: the client gets the certificate that is on record."""

    store = FlakyStore(sign.world.ca.store)
    sign.world.ca.core.store = store
    store.lost = [StoreFailed("fsync failed", uncertain=True)]
    answer = sign.send(sign.good())
    assert answer.status == 201
    assert sign.world.ca.books().certificates[-1] == answer.certificate.serial


# -- another configuration meanwhile --------------------------------------------------------------------------


def test_a_request_overtaken_by_a_reload_runs_once_more_on_the_new_configuration(world: World, sign: TokenDoor) -> None:
    """The notary has the new epoch, the worker not yet: its commit is refused, and nothing was spent by it."""
    world.ca.reconfigure(world.ca.document, tell_workers=False)

    async def overtaken() -> list[Answer]:
        request = asyncio.ensure_future(world.ca.send("POST", "/sign", sign.body(sign.good())))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not request.done(), "it waits for the configuration that overtook it"
        world.ca.reconfigure(world.ca.document)
        return [await request]

    (answer,) = world.ca.run(overtaken())
    assert answer.status == 201
    assert len([event for event in world.ca.books().events if event.token == TOKEN_ID]) == 1


def test_a_provisioner_removed_meanwhile_issues_nothing(world: World, sign: TokenDoor) -> None:
    without = make_config(world.other.entry())
    token = sign.good()

    async def overtaken() -> Answer:
        world.ca.reconfigure(without, tell_workers=False)
        request = asyncio.ensure_future(world.ca.send("POST", "/sign", sign.body(token)))
        for _ in range(20):
            await asyncio.sleep(0)
        world.ca.reconfigure(without)
        return await request

    before = world.ca.books()
    assert world.ca.run(overtaken()).status == 401
    assert world.ca.books().since(before).nothing


def test_what_a_client_holds_is_what_the_ledger_holds(sign: TokenDoor) -> None:
    answer = sign.send(sign.good())
    serial = answer.certificate.serial
    connection = sign.world.ca._connection()
    (der,) = connection.execute("SELECT der FROM certificates ORDER BY rowid DESC LIMIT 1").fetchone()
    assert parse_certificate(der).serial == serial
    pem = answer.json["crt"]
    assert base64.b64decode("".join(pem.splitlines()[1:-1])) == der


def test_a_token_over_the_configured_size_is_not_looked_at() -> None:
    signer = make_signer("ci")
    with MemoryCA(make_config(signer.entry(), provisor={"limits": {"tokenBytes": 200}}), signers=[signer]) as ca:
        before = ca.books()
        assert ca.call("POST", "/sign", {"csr": make_csr(_KEY, "a.test"), "ott": ca.token(signer)}).status == 401
        assert ca.books().since(before).nothing
