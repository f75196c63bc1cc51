from __future__ import annotations

import pytest

from provisor.core.secret import Secret
from provisor.errors import Malformed
from provisor.storage.sealed import open_sealed, seal

KEY, NONCE = Secret(bytes(range(32))), bytes(12)
PLACE = {"table": "webhooks", "row": "w1", "column": "secret"}


def sealed(text: str = "hunter2") -> bytes:
    return seal(KEY, Secret(text), nonce=NONCE, **PLACE)


@pytest.mark.parametrize("text", ["", "hunter2", "\x00" * 1000])
def test_what_was_sealed_opens_in_its_place(text: str) -> None:
    assert open_sealed(KEY, sealed(text), **PLACE) == Secret(text)


@pytest.mark.parametrize(
    "place",
    [
        {**PLACE, "table": "eab_keys"},
        {**PLACE, "row": "w2"},
        {**PLACE, "column": "bearer"},
        {"table": "webhook", "row": "sw1", "column": "secret"},
        {"table": "webhooks", "row": "w1s", "column": "ecret"},
    ],
)
def test_it_does_not_open_elsewhere(place: dict[str, str]) -> None:
    with pytest.raises(Malformed):
        open_sealed(KEY, sealed(), **place)


def test_it_does_not_open_by_another_key() -> None:
    with pytest.raises(Malformed):
        open_sealed(Secret(bytes(32)), sealed(), **PLACE)


@pytest.mark.parametrize("position", range(len(sealed())))
def test_it_does_not_open_when_an_octet_is_altered(position: int) -> None:
    value = bytearray(sealed())
    value[position] ^= 1
    with pytest.raises(Malformed):
        open_sealed(KEY, bytes(value), **PLACE)


@pytest.mark.parametrize("value", [b"", b"\x01", b"\x02" + sealed()[1:], sealed()[:-1], sealed()[:12]])
def test_what_is_no_sealed_value_does_not_open(value: bytes) -> None:
    with pytest.raises(Malformed):
        open_sealed(KEY, value, **PLACE)


@pytest.mark.parametrize(
    ("key", "nonce"), [(Secret(bytes(16)), NONCE), (Secret(b""), NONCE), (KEY, b""), (KEY, bytes(16))]
)
def test_keys_and_nonces_of_another_length_are_refused(key: Secret, nonce: bytes) -> None:
    with pytest.raises(ValueError, match="octets"):
        seal(key, Secret("x"), nonce=nonce, **PLACE)


def test_the_secret_is_not_in_the_value() -> None:
    assert b"hunter2" not in sealed()
