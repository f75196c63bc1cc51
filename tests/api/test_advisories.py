"""Holes that certificate authorities of this kind have had, each closed by a test."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import pytest

from provisor.errors import Unavailable
from provisor.ports import Ledger
from support.authority import make_config
from support.credentials import b64url, compact, make_csr, make_jws, make_key
from support.doors import TokenDoor, World


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.ca:
        yield made


# -- a token whose id cannot be read must not pass the check for reuse -----------------------------------

IDS: Final[Mapping[str, Mapping[str, Any]]] = {
    "absent": {"jti": ...},
    "empty": {"jti": ""},
    "null": {"jti": None},
    "a number": {"jti": 7},
    "a boolean": {"jti": True},
    "an object": {"jti": {}},
    "a list": {"jti": ["x"]},
    "very long": {"jti": "x" * 30_000},
    "with a null octet": {"jti": "x\0y"},
    "outside ASCII": {"jti": "\u00fc\U0001f511"},
    "half a character": {"jti": "\ud800"},
    "in another case": {"jti": ..., "JTI": "x"},
}


@pytest.mark.parametrize("name", IDS)
@pytest.mark.parametrize("path", ["/sign", "/revoke"])
def test_a_token_is_good_once_whatever_its_id_is(world: World, path: str, name: str) -> None:
    door, before = TokenDoor(world, path), world.ca.books()
    claims = {member: value for member, value in door.claims(**IDS[name]).items() if value is not ...}
    # In ASCII: the only way to write half a character.
    payload = json.dumps(claims, separators=(",", ":")).encode()
    token = make_jws({"alg": "ES256", "kid": world.ci.kid}, payload, world.ci.key)
    statuses = [door.send(token).status for _ in range(3)]
    assert statuses in ([door.success, 401, 401], [401, 401, 401])
    granted = [event for event in world.ca.books().since(before).events if event.outcome == "granted"]
    assert len(granted) == statuses.count(door.success)


class LedgerBut:
    """A ledger that answers one question otherwise."""

    def __init__(self, ledger: Ledger, is_spent: Callable[[], bool]) -> None:
        self._ledger = ledger
        self._is_spent = is_spent

    def __getattr__(self, name: str) -> object:
        return getattr(self._ledger, name)

    async def is_spent(self, key: str) -> bool:
        return self._is_spent()


@contextmanager
def _answering(world: World, is_spent: Callable[[], bool]) -> Iterator[None]:
    ledger = world.ca.snapshot.ledger
    world.ca.snapshot.ledger = LedgerBut(ledger, is_spent)  # type: ignore[assignment]  # the rest by __getattr__
    yield
    world.ca.snapshot.ledger = ledger


@pytest.mark.parametrize("path", ["/sign", "/revoke"])
def test_a_ledger_that_cannot_say_whether_a_token_was_used_grants_nothing(world: World, path: str) -> None:
    def away() -> bool:
        raise Unavailable("database cannot be read")

    door, before = TokenDoor(world, path), world.ca.books()
    token = door.good()
    with _answering(world, away):
        assert door.send(token).status == 503
    assert world.ca.books().since(before).nothing
    assert door.send(token).status == door.success


def test_a_ledger_that_forgot_a_token_does_not_make_it_good_again(world: World) -> None:
    """The look-up saves work; what decides is the guard of the commit."""
    door, before = TokenDoor(world, "/sign"), world.ca.books()
    token = door.good()
    with _answering(world, lambda: False):
        assert [door.send(token).status for _ in range(3)] == [201, 401, 401]
    assert len(world.ca.books().since(before).certificates) == 1


# -- a revocation token must be bound to its serial --------------------------------------------------------

OTHER_SERIALS: Final[Mapping[str, Callable[[int], str]]] = {
    "the next": lambda serial: str(serial + 1),
    "the negative": lambda serial: str(-serial),
    "a part": lambda serial: str(serial)[:-1],
    "one digit more": lambda serial: f"{serial}0",
    "zero": lambda serial: "0",
    "the next in hexadecimal": lambda serial: hex(serial + 1),
    "the digits read as hexadecimal": lambda serial: f"0x{serial}",
}


@pytest.mark.parametrize("name", OTHER_SERIALS)
def test_a_revocation_token_revokes_no_other_serial(world: World, name: str) -> None:
    door, before = TokenDoor(world, "/revoke"), world.ca.books()
    answer = door.send(door.good(), serial=OTHER_SERIALS[name](world.leaf.serial))
    assert answer.status == 403
    assert not world.ca.books().since(before).revocations


@pytest.mark.parametrize(
    "subject",
    ["", "*", "0", "null", "a.test", ..., None],
    ids=["empty", "star", "zero", "null as text", "name", "absent", "null"],
)
def test_a_token_that_names_no_serial_revokes_nothing(world: World, subject: object) -> None:
    door, before = TokenDoor(world, "/revoke"), world.ca.books()
    assert door.send(door.good(sub=subject)).status in (401, 403)
    assert not world.ca.books().since(before).revocations


def test_a_signing_token_for_a_name_that_is_a_serial_revokes_nothing(world: World) -> None:
    sign, revoke = TokenDoor(world, "/sign"), TokenDoor(world, "/revoke")
    token = sign.good(sub=str(world.leaf.serial), sans=[])
    assert revoke.send(token).status == 401
    assert not world.ca.books().revocations


def test_a_token_in_the_body_is_not_forgotten_for_a_certificate(world: World) -> None:
    """A wrong token beside a good client certificate: the token is what counts."""
    body = {"serial": str(world.leaf.serial), "passive": True, "ott": "x"}
    assert world.ca.call("POST", "/revoke", body, client_certificate=world.leaf).status == 401
    assert not world.ca.books().revocations


# -- provisioners of protocols with proofs of their own take no tokens --------------------------------------


@pytest.mark.parametrize("kind", ["ACME", "SCEP"])
@pytest.mark.parametrize("path", ["/sign", "/revoke"])
def test_a_token_for_a_provisioner_without_token_flow_gets_nothing(path: str, kind: str) -> None:
    world = World()
    with world.ca:
        world.ca.reconfigure(make_config(world.ci.entry(), {"type": kind, "name": "auto"}))
        door, before = TokenDoor(world, path), world.ca.books()
        audience = f"https://ca.test/1.0/{door.operation}#{kind.lower()}/auto"
        for token in (
            door.good(aud=audience),
            make_jws({"alg": "ES256"}, door.claims(aud=audience, iss="auto"), make_key()),
            f"{b64url(b'{}')}.{b64url(compact({'aud': audience}))}.",
        ):
            assert door.send(token).status in (400, 401)
        assert world.ca.books().since(before).nothing


def test_a_rule_that_cannot_be_enforced_disables_its_provisioner(world: World) -> None:
    """Rules of a kind that this version does not know must not be passed over."""
    rules: list[Mapping[str, object]] = [
        {"options": {"wire": {"oidc": {}}}},
        {"OPTIONS": {"Wire": {"dpop": {}}}},
        {"provisor": {"quota": 3}},
    ]
    for rule in rules:
        world.ca.reconfigure(make_config(world.ci.entry(**rule)))
        answer = world.ca.call("POST", "/sign", {"csr": make_csr(make_key()), "ott": world.ca.token(world.ci)})
        assert (answer.status, "disabled" in answer.message) == (401, True), rule
