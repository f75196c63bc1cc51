from __future__ import annotations

import pytest

from provisor import errors
from provisor.cli import exits
from provisor.client.errors import BadAnswer, CAError, Unreachable


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.BadRequest("x"), 2),
        (errors.ConfigError("ca.json", "x"), 2),
        (errors.TokenExpired("x"), 4),
        (errors.NameNotAllowed("x"), 4),
        (errors.NotFound("x"), 5),
        (errors.AlreadyRevoked("x"), 6),
        (errors.NotSupported("x"), 7),
        (errors.StaleEpoch("x"), 8),
        (errors.ProvisorError("x"), 1),
    ],
)
def test_commands_of_our_own_end_with_the_status_of_the_kind(error: errors.ProvisorError, status: int) -> None:
    assert exits.translate(error, own=True).status == status
    assert exits.translate(error, own=False).status == 1


def test_every_kind_of_error_has_a_status() -> None:
    kinds = {errors.ProvisorError}
    while True:
        more = kinds | {child for kind in kinds for child in kind.__subclasses__()}
        if more == kinds:
            break
        kinds = more
    for kind in kinds:
        assert any(ancestor in exits.STATUS for ancestor in kind.__mro__), kind


def test_only_the_words_of_the_ca_are_shown() -> None:
    translated = exits.translate(CAError(403, "The request was forbidden."), own=False)
    assert translated.message == "The request was forbidden.\nRe-run with STEPDEBUG=1 for more info."
    assert exits.is_answer(CAError(400, "x"))
    assert not exits.is_answer(Unreachable("x"))
    assert exits.translate(BadAnswer("odd"), own=False).message == "odd"


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (exits.missing_flag("provisor ca x", "root"), "'provisor ca x' requires the '--root' flag"),
        (exits.requires_flag("a", "b"), "flag '--a' requires the '--b' flag"),
        (exits.incompatible_flags("a", "b"), "flag '--a' is incompatible with '--b'"),
        (exits.exclusive_flags("a", "b"), "flag '--a' and flag '--b' are mutually exclusive"),
        (exits.invalid_value("v", "f"), "invalid value 'v' for flag '--f'"),
        (exits.invalid_value("v", "f", ("X", "Y")), "invalid value 'v' for flag '--f'; options are X, Y"),
        (exits.invalid_value("v", "f", "x or y"), "invalid value 'v' for flag '--f'; options are x or y"),
        (exits.UnknownCommand("x"), "No help topic for 'x'"),
    ],
)
def test_complaints_have_the_recorded_words(error: exits.CommandError, message: str) -> None:
    assert error.message == message
