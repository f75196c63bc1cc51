"""A blocking client of the local administrator's socket.

::

    with AdminClient("/etc/provisor/admin.sock") as admin:
        for page in admin.certificates({"name": "*.example.com"}):
            ...

Every method raises `CAError` when the server refuses, `Unreachable` when there is no answer, `BadAnswer` when it
cannot be read.
"""

from __future__ import annotations

import http.client
import os
import pwd
import socket
from collections.abc import Iterator, Mapping
from http import HTTPStatus
from types import TracebackType
from typing import Final, Self, TypeVar
from urllib.parse import quote, urlencode

import msgspec

from provisor.client.ca import error_of
from provisor.client.errors import BadAnswer, Unreachable
from provisor.client.transport import USER_AGENT, Answer
from provisor.config.admin_socket import LONGEST_PATH, SETTING
from provisor.wire import admin, api, audit, gojson

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 60.0
_MAX_ANSWER_BYTES: Final = 64 * 1024 * 1024
_FLAG: Final = "--admin-socket"


class UnixConnection(http.client.HTTPConnection):
    """HTTP over a Unix socket."""

    def __init__(self, path: str, timeout_seconds: float) -> None:
        super().__init__("localhost", timeout=timeout_seconds)
        self._path = path
        self._seconds = timeout_seconds

    def connect(self) -> None:
        """Raises `OSError`."""
        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            sock.settimeout(self._seconds)
            sock.connect(self._path)
        except BaseException:
            sock.close()
            raise
        self.sock = sock


class AdminClient:
    """`path` is the socket's. A connection is made for each request: the server drops idle ones."""

    def __init__(self, path: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self.path = path
        self._timeout = timeout_seconds

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Nothing is held between requests."""

    def certificates(
        self, conditions: Mapping[str, str], *, cursor: str = "", limit: int = 0
    ) -> Iterator[admin.CertificatePage]:
        """The pages of a search, each asked for when the one before was taken; `limit` 0: to the end.

        A page may be empty. The cursor of the last one given leads to what the limit left.
        """
        left = limit
        while True:
            size = min(left, admin.LARGEST_PAGE) if limit else admin.LARGEST_PAGE
            query = urlencode({**conditions, "limit": str(size), **({"cursor": cursor} if cursor else {})})
            page = self._decode(self._send("GET", f"/certificates?{query}"), admin.CertificatePage)
            yield page
            left -= len(page.certificates)
            if not page.cursor or (limit and left <= 0):
                return
            if page.cursor == cursor:
                raise BadAnswer("the list of certificates does not go on")
            cursor = page.cursor

    def certificate(self, reference: str) -> admin.CertificateBody | admin.DroppedBody:
        """Everything about one, by serial or fingerprint."""
        answer = self._send("GET", f"/certificates/{quote(reference, safe=':')}")
        if answer.status == HTTPStatus.OK and b'"certificate":' not in answer.body:
            return self._decode(answer, admin.DroppedBody)
        return self._decode(answer, admin.CertificateBody)

    def revoke_lineage(self, serial: str, reason_code: int, reason: str) -> admin.RevokeLineageResponse:
        body = msgspec.json.encode(admin.RevokeLineageRequest(reason_code, reason))
        answer = self._send("POST", f"/lineages/{quote(serial, safe=':')}/revoke", body)
        return self._decode(answer, admin.RevokeLineageResponse)

    def audit_events(
        self, conditions: Mapping[str, str], *, cursor: str = "", limit: int = 0
    ) -> Iterator[audit.EventPage]:
        """The pages of the audit log, newest first; `limit` 0: to its beginning. A page may be empty."""
        left = limit
        while True:
            size = min(left, admin.LARGEST_PAGE) if limit else admin.LARGEST_PAGE
            query = urlencode({**conditions, "limit": str(size), **({"cursor": cursor} if cursor else {})})
            page = self._decode(self._send("GET", f"/audit/events?{query}"), audit.EventPage)
            yield page
            left -= len(page.events)
            if not page.cursor or (limit and left <= 0):
                return
            if page.cursor == cursor:
                raise BadAnswer("the audit log does not go on")
            cursor = page.cursor

    def status(self) -> admin.StatusBody:
        return self._decode(self._send("GET", "/status"), admin.StatusBody)

    def explain(self, request: api.SignRequest) -> api.ExplainResponse:
        """What the server would answer to this request for a certificate, whoever's it is."""
        return self._decode(self._send("POST", "/explain", gojson.encode_json(request)), api.ExplainResponse)

    def _send(self, method: str, path: str, body: bytes | None = None) -> Answer:
        connection = UnixConnection(self.path, self._timeout)
        try:
            connection.request(method, path, body=body, headers={"User-Agent": USER_AGENT})
            answer = connection.getresponse()
            content = answer.read(_MAX_ANSWER_BYTES + 1)
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(self._reason(error)) from error
        finally:
            connection.close()
        if len(content) > _MAX_ANSWER_BYTES:
            raise BadAnswer(f"the answer on {self.path} is larger than {_MAX_ANSWER_BYTES} bytes")
        return Answer(answer.status, answer.headers.get_content_type(), content)

    def _decode(self, answer: Answer, wanted: type[T]) -> T:
        if answer.status != HTTPStatus.OK:
            raise error_of(answer)
        try:
            return msgspec.json.decode(answer.body, type=wanted)
        except msgspec.MsgspecError as error:
            raise BadAnswer(f"error reading the answer on {self.path}: {error}") from error

    def _reason(self, error: Exception) -> str:
        """Why there was no answer, and what to do."""
        path = self.path
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            return (
                f"there is no admin socket at {path}: the server is not running, or its socket is elsewhere "
                f"({_FLAG}, or {SETTING} in ca.json)"
            )
        if isinstance(error, ConnectionRefusedError):
            return f"nobody answers on the admin socket {path}: the server is not running"
        if isinstance(error, PermissionError):
            return f"permission denied on the admin socket {path}: only {_owner(path)} may use it"
        if isinstance(error, TimeoutError):
            return f"no answer on the admin socket {path} within {self._timeout:g} seconds"
        if isinstance(error, ConnectionError | http.client.HTTPException):
            return f"the admin socket {path} was closed before an answer: this user may not use it, or the server ended"
        if len(os.fsencode(path)) > LONGEST_PATH:
            return f"the path of the admin socket is longer than {LONGEST_PATH} octets: {path} ({SETTING} in ca.json)"
        text = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return f"admin socket {path}: {text[:1].lower()}{text[1:]}"


def _owner(path: str) -> str:
    """Who the socket, or the nearest folder above it that can be looked at, belongs to."""
    while True:
        try:
            user = os.stat(path).st_uid
            break
        except OSError:
            above = os.path.dirname(path)
            if above == path:
                return "its owner and root"
            path = above
    try:
        name = pwd.getpwuid(user).pw_name
    except KeyError:
        name = f"uid {user}"
    return "root" if user == 0 else f"the user {name} and root"
