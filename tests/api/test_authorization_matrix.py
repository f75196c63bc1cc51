"""Every protected operation, every way a credential can be wrong. Generated from the table of routes.

For each: the status; no certificate and no revocation; the token is spent only if it was genuine, so
that no stranger can burn one; exactly one audit event if the caller was proven, and none if not; and no
token, signature or key in any event.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pytest

from provisor.core.identity import Operation
from provisor.server.handlers.explain import explain
from provisor.server.routes import ROUTES, Credential, Route
from support.authority import Answer
from support.doors import DOORS, TOKEN_ID, BearerDoor, CertificateDoor, Door, TokenDoor, World
from support.wrong_certificates import WRONG_CERTIFICATES
from support.wrong_tokens import WRONG_BEARERS, WRONG_TOKENS

PROTECTED = [route for route in ROUTES if route.access.credentials]


@pytest.fixture
def world() -> Iterator[World]:
    made = World()
    with made.ca:
        yield made


REHEARSALS: Final = tuple(path for route in PROTECTED if route.handler is explain for path in route.paths)
"""What spends nothing and changes nothing, so that its token is as good afterwards."""


def _doors(credential: Credential) -> list[str]:
    """Every path that takes this credential and acts by it."""
    return [
        path
        for route in PROTECTED
        if credential in route.access.credentials
        for path in route.paths
        if path not in REHEARSALS
    ]


def _product(credential: Credential, wrongs: object) -> list[object]:
    assert isinstance(wrongs, dict)
    return [pytest.param(path, name, id=f"{path} {name}") for path in _doors(credential) for name in wrongs]


# -- the table itself -------------------------------------------------------------------------------


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: route.paths[0])
def test_a_route_says_who_may_call_it(route: Route) -> None:
    access = route.access
    by_token = {Credential.TOKEN, Credential.BEARER} & set(access.credentials)
    assert (access.operation is not None) == bool(access.credentials)
    assert (access.audience is not None) == bool(by_token), "a token is bound to an operation by its audience"
    assert access.spends == (bool(by_token) and route.paths[0] not in REHEARSALS), "a token is good once"
    assert access.credentials or route.method == "GET", "whoever changes something proves himself"
    assert not (route.plain and access.credentials), "no credential over a listener without TLS"


def test_every_operation_has_a_route() -> None:
    assert {route.access.operation for route in PROTECTED} == set(Operation)


def test_every_kind_of_credential_is_tried() -> None:
    assert set(DOORS) == set(Credential)
    assert all(_doors(credential) for credential in Credential)


@pytest.mark.parametrize("route", [r for r in ROUTES if not r.access.credentials], ids=lambda route: route.paths[0])
def test_what_anybody_may_call_changes_nothing(world: World, route: Route) -> None:
    before = world.ca.books()
    for path in route.paths:
        concrete = path.replace("{sha}", "0" * 64).replace("{kid}", "x")
        assert world.ca.call(route.method, concrete).status < 500
    assert world.ca.books().since(before).nothing


# -- what is right ------------------------------------------------------------------------------------


def _good(door: Door) -> Answer:
    if isinstance(door, CertificateDoor):
        return door.send(door.world.leaf)
    return door.send(door.good())


@pytest.mark.parametrize("prefix", ["", "/1.0"])
@pytest.mark.parametrize(
    ("path", "credential"),
    [(path, credential) for credential in Credential for path in _doors(credential)],
)
def test_a_good_credential_is_granted_with_one_event(
    world: World, path: str, credential: Credential, prefix: str
) -> None:
    door = DOORS[credential](world, path)
    door.path = prefix + path
    before = world.ca.books()
    answer = _good(door)
    assert answer.status == door.success, answer.body
    changed = world.ca.books().since(before)
    (event,) = changed.events
    assert event.outcome == "granted"
    assert event.provisioner == "ci"
    assert event.method == {"token": "token", "bearer": "renew-token", "certificate": "mtls"}[credential.value]
    assert len(changed.certificates) == (1 if answer.status == 201 else 0)
    assert len(changed.revocations) == (1 if answer.status == 200 else 0)
    assert [row.outcome for row in changed.tokens] == ([] if credential is Credential.CERTIFICATE else ["granted"])


# -- what is wrong --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("path", "name"), _product(Credential.TOKEN, WRONG_TOKENS))
def test_a_wrong_token_gets_nothing(world: World, path: str, name: str) -> None:
    wrong, door = WRONG_TOKENS[name], TokenDoor(world, path)
    token = wrong.make(door)
    _refused(world, lambda: door.send(token), token, wrong.status, proven=wrong.proven)
    _is_spent_only_if(door, proven=wrong.proven)


@pytest.mark.parametrize("path", REHEARSALS)
@pytest.mark.parametrize("name", WRONG_TOKENS)
def test_a_rehearsal_with_a_wrong_token_tells_a_stranger_nothing_and_changes_nothing(
    world: World, path: str, name: str
) -> None:
    wrong, door = WRONG_TOKENS[name], TokenDoor(world, path)
    token = wrong.make(door)
    before = world.ca.books()
    answer = door.send(token)
    assert world.ca.books().since(before).nothing
    if answer.status == 200:
        assert wrong.proven
        assert (answer.json["allowed"], answer.json["status"]) == (False, wrong.status)
    else:
        assert answer.status == 401
        assert "Please see the certificate authority logs" in answer.message
    _holds_no_credential(world.ca.log, token)
    assert door.send(door.good()).json["allowed"]


@pytest.mark.parametrize(("path", "name"), _product(Credential.BEARER, WRONG_BEARERS))
def test_a_wrong_bearer_token_gets_nothing(world: World, path: str, name: str) -> None:
    wrong, door = WRONG_BEARERS[name], BearerDoor(world, path)
    token = wrong.make(door)
    _refused(world, lambda: door.send(token), token, wrong.status, proven=wrong.proven)
    if name != "certificate revoked":
        _is_spent_only_if(door, proven=wrong.proven)


@pytest.mark.parametrize(("path", "name"), _product(Credential.CERTIFICATE, WRONG_CERTIFICATES))
def test_a_wrong_client_certificate_gets_nothing(world: World, path: str, name: str) -> None:
    wrong, door = WRONG_CERTIFICATES[name], CertificateDoor(world, path)
    client = wrong.make(door)
    if path == "/revoke" and wrong.revoking is None:
        assert door.send(client).status == 200
        return
    status = wrong.revoking if path == "/revoke" else wrong.status
    assert status is not None
    _refused(world, lambda: door.send(client), "", status, proven=wrong.proven)


def _refused(world: World, send: object, token: str, status: int, *, proven: bool) -> None:
    assert callable(send)
    before = world.ca.books()
    answer = send()
    assert isinstance(answer, Answer)
    assert answer.status == status, answer.body
    changed = world.ca.books().since(before)
    assert not changed.certificates
    assert not changed.revocations
    assert [event.outcome for event in changed.events] == (["refused"] if proven else [])
    assert len(changed.tokens) == (1 if proven and token else 0)
    _holds_no_credential([*changed.event_bodies, *world.ca.log], token)


def _is_spent_only_if(door: TokenDoor | BearerDoor, *, proven: bool) -> None:
    """The genuine token of the same id: refused if the wrong one was genuine too, else as good as ever."""
    assert door.world.ca.books().is_spent(TOKEN_ID) == proven
    answer = door.send(door.good())
    assert answer.status == (401 if proven else door.success), answer.body


def _holds_no_credential(lines: list[bytes], token: str) -> None:
    """No part of a token that says or proves anything, and no key, is in an event or in the log."""
    assert lines
    for line in lines:
        assert b"BEGIN" not in line
        for part in (token, *token.split(".")):
            assert len(part) < 12 or part.encode("latin-1") not in line
