"""Error kinds to HTTP, in one place (core-api 0.5). Internal text never reaches a client."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisor import errors
from provisor.errors import ProvisorError
from provisor.server.request import Response
from provisor.wire.gojson import encode_json

STATUS: Final[Mapping[type[ProvisorError], int]] = {
    errors.Malformed: 400,
    errors.BadToken: 401,
    errors.TooLarge: 413,
    errors.Unauthenticated: 401,
    errors.Forbidden: 403,
    errors.NotFound: 404,
    errors.Conflict: 400,
    errors.NotSupported: 501,
    errors.Unencodable: 500,
    errors.TemplateBroken: 500,
    errors.PolicyUndecided: 500,
    errors.CallFailed: 500,
    errors.RenewTokenRejected: 500,
    errors.ConfigError: 500,
    errors.Unavailable: 503,
}
"""The nearest ancestor wins."""

_SEE_LOGS: Final = "Please see the certificate authority logs for more info."

_SENTENCES: Final[Mapping[int, tuple[str, str, str]]] = {
    # explicit text before and after it; the sentence for errors that tell the caller nothing
    400: (
        "The request could not be completed: ",
        ".",
        f"The request could not be completed; malformed or missing data. {_SEE_LOGS}",
    ),
    401: (
        "The request lacked necessary authorization to be completed: ",
        "",
        f"The request lacked necessary authorization to be completed. {_SEE_LOGS}",
    ),
    403: (
        "The request was forbidden by the certificate authority: ",
        ".",
        f"The request was forbidden by the certificate authority. {_SEE_LOGS}",
    ),
    404: ("", "", f"The requested resource could not be found. {_SEE_LOGS}"),
    413: ("The request could not be completed: ", ".", "The request could not be completed: it is too large."),
    500: ("", "", f"The certificate authority encountered an Internal Server Error. {_SEE_LOGS}"),
    501: ("", "", f"The requested method is not implemented by the certificate authority. {_SEE_LOGS}"),
    503: ("", "", f"The certificate authority is temporarily unavailable; nothing was issued. {_SEE_LOGS}"),
}

_OUTCOME_UNKNOWN: Final = (
    "The certificate authority is temporarily unavailable; outcome unknown: a certificate may have been recorded. "
    f"{_SEE_LOGS}"
)


def status_of(error: ProvisorError) -> int:
    for kind in type(error).__mro__:
        if kind in STATUS:
            return STATUS[kind]
    return 500


def message_of(error: ProvisorError) -> str:
    """The sentence for the caller."""
    status = status_of(error)
    before, after, generic = _SENTENCES[status]
    if isinstance(error, errors.OutcomeUnknown):
        return _OUTCOME_UNKNOWN
    public = error.public
    if public is None and isinstance(error, errors.BadCSR):
        # step-ca: a request that does not parse fails while the body is decoded.
        public = "error decoding json"
    if public is None or status == 501:
        return generic
    return public if error.verbatim else f"{before}{public}{after}"


def answer(error: ProvisorError) -> Response:
    """The recorded JSON body; the one recorded exception is a renew token's foreign issuer."""
    status = status_of(error)
    if isinstance(error, errors.RenewIssuerInvalid):
        # step-ca: this one error leaks the admin API's body.
        body = encode_json({"type": "unauthorized", "detail": "unauthorized", "message": message_of(error)})
        return Response(status, body)
    response = Response(status, encode_json({"status": status, "message": message_of(error)}))
    if isinstance(error, errors.Unavailable):
        response.headers += ((b"retry-after", str(error.retry_after).encode()),)
    return response
