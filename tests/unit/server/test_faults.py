"""From error kinds to answers: every kind has a status and a sentence, and none tells what it should not."""

from __future__ import annotations

import importlib
import json
import pkgutil
from collections.abc import Iterator
from typing import Final

import pytest

import provisor
from provisor import errors
from provisor.errors import ProvisorError
from provisor.server import faults

SECRET: Final = "at /var/lib/provisor/key.pem line 7"
LOGS: Final = "Please see the certificate authority logs for more info."


def _kinds(root: type[ProvisorError]) -> Iterator[type[ProvisorError]]:
    yield root
    for kind in root.__subclasses__():
        yield from _kinds(kind)


for _module in pkgutil.walk_packages(provisor.__path__, "provisor."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

KINDS: Final = sorted(
    {kind for kind in _kinds(ProvisorError) if not kind.__module__.startswith(("provisor.client", "provisor.cli"))},
    key=lambda kind: kind.__name__,
)
"""Those of `errors`, and whatever any module makes of them; what commands meet is no answer of a server."""

OWN: Final = [kind for kind in KINDS if kind.__module__ == errors.__name__]


def _make(kind: type[ProvisorError]) -> ProvisorError:
    """One whose detail is a secret, without the fields a kind may have of its own: the mapping reads none of them."""
    error = kind.__new__(kind)
    base = errors.Unavailable if isinstance(error, errors.Unavailable) else ProvisorError
    base.__init__(error, SECRET)
    return error


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_has_a_status_of_its_own_or_its_nearest_ancestors(kind: type[ProvisorError]) -> None:
    if kind is ProvisorError:
        return
    assert any(ancestor in faults.STATUS for ancestor in kind.__mro__)
    error = _make(kind)
    assert faults.status_of(error) == next(faults.STATUS[each] for each in kind.__mro__ if each in faults.STATUS)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_every_kind_is_answered_with_the_recorded_json_and_no_detail(kind: type[ProvisorError]) -> None:
    error = _make(kind)
    answer = faults.answer(error)
    body = json.loads(answer.body)
    assert SECRET not in body["message"]
    assert body["message"]
    assert dict(answer.headers)[b"content-type"] == b"application/json"
    if kind is not errors.RenewIssuerInvalid:
        assert list(body) == ["status", "message"]
        assert body["status"] == answer.status


@pytest.mark.parametrize(
    ("error", "status", "message"),
    [
        (errors.BadRequest("missing csr"), 400, "The request could not be completed: missing csr."),
        (errors.BadCSR("x"), 400, "The request could not be completed: error decoding json."),
        (errors.BadCSR("x", public="invalid csr"), 400, "The request could not be completed: invalid csr."),
        (errors.Malformed("x"), 400, f"The request could not be completed; malformed or missing data. {LOGS}"),
        (errors.BadToken("x"), 401, f"The request lacked necessary authorization to be completed. {LOGS}"),
        (errors.TokenReused("x"), 401, f"The request lacked necessary authorization to be completed. {LOGS}"),
        (
            errors.CertificateExpired("x", public="certificate expired on 2026"),
            401,
            "The request lacked necessary authorization to be completed: certificate expired on 2026",
        ),
        (
            errors.ProvisionerDisabled("ci", "a secret reason"),
            401,
            'provisioner "ci" is disabled due to an initialization error',
        ),
        (
            errors.RenewTokenInvalid("x", public="error validating renew token"),
            401,
            "error validating renew token",
        ),
        (errors.RenewTokenRejected("x", public="error validating renew token"), 500, "error validating renew token"),
        (
            errors.NameNotAllowed("x", public="no"),
            403,
            "The request was forbidden by the certificate authority: no.",
        ),
        (errors.NameConstrained("x", public="bare text"), 403, "bare text"),
        (errors.Forbidden("x"), 403, f"The request was forbidden by the certificate authority. {LOGS}"),
        (errors.NotFound("x", public="was not found"), 404, "was not found"),
        (errors.NotFound("x"), 404, f"The requested resource could not be found. {LOGS}"),
        (errors.AlreadyRevoked("x", public="twice"), 400, "The request could not be completed: twice."),
        (
            errors.NotSupported("x", public="y"),
            501,
            f"The requested method is not implemented by the certificate authority. {LOGS}",
        ),
        (
            errors.Unencodable("x"),
            500,
            f"The certificate authority encountered an Internal Server Error. {LOGS}",
        ),
        (
            errors.Unavailable("x"),
            503,
            f"The certificate authority is temporarily unavailable; nothing was issued. {LOGS}",
        ),
        (errors.Unavailable("x", public="clock: it stands"), 503, "clock: it stands"),
        (
            errors.OutcomeUnknown("x"),
            503,
            "The certificate authority is temporarily unavailable; outcome unknown: a certificate may have been "
            f"recorded. {LOGS}",
        ),
        (errors.TooLarge("limits.bodyBytes"), 413, "The request could not be completed: it is too large."),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, ProvisorError) else None,
)
def test_the_sentences_are_the_recorded_ones(error: ProvisorError, status: int, message: str) -> None:
    answer = faults.answer(error)
    assert answer.status == status
    assert json.loads(answer.body)["message"] == message


def test_a_foreign_issuer_of_a_renewal_token_is_answered_in_the_words_of_another_api() -> None:
    answer = faults.answer(
        errors.RenewIssuerInvalid("x", public="error validating renew token: invalid issuer claim (iss)")
    )
    assert (answer.status, json.loads(answer.body)) == (
        401,
        {
            "type": "unauthorized",
            "detail": "unauthorized",
            "message": "error validating renew token: invalid issuer claim (iss)",
        },
    )


@pytest.mark.parametrize("kind", [errors.Unavailable, errors.StaleEpoch, errors.OutcomeUnknown])
def test_what_is_away_says_when_to_come_again(kind: type[errors.Unavailable]) -> None:
    headers = dict(faults.answer(kind("x", retry_after=7)).headers)
    assert headers[b"retry-after"] == b"7"


@pytest.mark.parametrize("kind", OWN, ids=lambda kind: kind.__name__)
def test_a_code_is_the_name_of_its_kind(kind: type[ProvisorError]) -> None:
    """Logs, metrics and audit count on it: renaming a class is a change of a format."""
    assert _make(kind).code == kind.__name__
