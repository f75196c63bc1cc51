from __future__ import annotations

import copy
import pickle

import pytest

from provisor.core.secret import Secret, password_bytes


def test_a_secret_is_never_printed() -> None:
    secret = Secret("hunter2")
    for text in (repr(secret), str(secret), f"{secret}", f"{secret!r}", repr([secret]), "%s" % secret):  # noqa: UP031
        assert "hunter2" not in text


def test_a_secret_reveals_its_octets_on_request_only() -> None:
    assert Secret("pässword").reveal() == "pässword".encode()
    assert password_bytes(Secret(b"x")) == password_bytes(b"x") == b"x"
    assert password_bytes(None) == b""


def test_an_empty_secret_is_false() -> None:
    assert not Secret("")
    assert Secret(" ")


def test_secrets_are_equal_by_content_and_only_to_secrets() -> None:
    assert Secret("a") == Secret(b"a")
    assert Secret("a") != Secret("b")
    assert Secret("a") != b"a"
    assert len({Secret("a"), Secret("a")}) == 1


def test_a_secret_does_not_change_and_is_not_pickled() -> None:
    secret = Secret("a")
    with pytest.raises(AttributeError):
        secret._value = b"b"
    with pytest.raises(TypeError):
        pickle.dumps(secret)
    assert copy.deepcopy(secret) is secret
