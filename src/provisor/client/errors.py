"""What can go wrong between a client and its CA.

::

    ClientError(ProvisorError)
    ├── CAError(status, message)   the CA answered, and refused
    ├── Unreachable                no answer: network, TLS, time
    └── BadAnswer                  an answer that cannot be read or is not what was asked for
"""

from __future__ import annotations

from provisor.errors import ProvisorError


class ClientError(ProvisorError):
    """A call to a CA failed."""


class CAError(ClientError):
    """The CA refused. `status` is the HTTP status, `message` the text of its JSON body, else the status phrase."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message, public=message)
        self.status = status
        self.message = message


class Unreachable(ClientError):
    """There was no answer. The text names the request and the reason."""


class BadAnswer(ClientError):
    """The answer is too large, not JSON, or not the thing that was asked for."""
