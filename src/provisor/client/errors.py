"""What can go wrong between a client and its CA.

::

    ClientError(ProvisorError)
    ├── CAError(status, message)   the CA answered, and refused
    │   ├── Unauthorized           401: the token or the certificate proves nothing
    │   ├── Denied                 403: proven, and not allowed
    │   └── NotFound               404: no such root, provisioner or key
    ├── Unreachable                no answer: network, TLS, time
    └── BadAnswer                  an answer that cannot be read or is not what was asked for
"""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus

from provisor.errors import ProvisorError


class ClientError(ProvisorError):
    """A call to a CA failed."""


class CAError(ClientError):
    """The CA refused. `status` is the HTTP status, `message` the text of its JSON body, else the status phrase."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, public=message)
        self.status = status
        self.message = message


class Unauthorized(CAError):
    """401: the token, or the certificate of the connection, was not accepted."""


class Denied(CAError):
    """403: who asked is known, and may not have this."""


class NotFound(CAError):
    """404: the CA has no such root, provisioner or key."""


_KINDS: Mapping[int, type[CAError]] = {
    HTTPStatus.UNAUTHORIZED: Unauthorized,
    HTTPStatus.FORBIDDEN: Denied,
    HTTPStatus.NOT_FOUND: NotFound,
}


def refusal(status: int, message: str) -> CAError:
    """The error of an HTTP status."""
    return _KINDS.get(status, CAError)(status, message)


class Unreachable(ClientError):
    """There was no answer. The text names the request and the reason."""


class BadAnswer(ClientError):
    """The answer is too large, not JSON, or not the thing that was asked for."""
