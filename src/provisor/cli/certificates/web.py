"""Fetching small things that certificates point to, over HTTP."""

from __future__ import annotations

import http.client
import urllib.error
import urllib.request
from typing import Final

_TIMEOUT_SECONDS: Final = 15.0
_MOST_OCTETS: Final = 64 * 1024 * 1024


class Unreachable(Exception):
    """Nothing could be fetched; the text says why."""


class BadStatus(Unreachable):
    """Something is there, and does not want to."""


def fetch(url: str, content: bytes | None = None, *, kind: str = "application/octet-stream") -> bytes:
    """The body at `url`; with `content` it is posted. `http` and `https` only. Raises `Unreachable`."""
    if url.partition(":")[0].lower() not in ("http", "https"):
        raise Unreachable(f"{url} is no http address")
    headers = {} if content is None else {"Content-Type": kind}
    try:
        request = urllib.request.Request(url, data=content, headers=headers)
        with _opener().open(request, timeout=_TIMEOUT_SECONDS) as answer:
            body: bytes = answer.read(_MOST_OCTETS + 1)
    except urllib.error.HTTPError as error:
        error.close()
        raise BadStatus(f"status code {error.code}") from error
    except (OSError, ValueError, http.client.HTTPException) as error:
        raise Unreachable(str(getattr(error, "reason", error)) or type(error).__name__) from error
    if len(body) > _MOST_OCTETS:
        raise Unreachable(f"more than {_MOST_OCTETS} octets")
    return body


def _opener() -> urllib.request.OpenerDirector:
    """Without the handlers for files and FTP, where a redirection could lead."""
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler(),
        urllib.request.HTTPHandler(),
        urllib.request.HTTPSHandler(),
        urllib.request.HTTPDefaultErrorHandler(),
        urllib.request.HTTPRedirectHandler(),
        urllib.request.HTTPErrorProcessor(),
        urllib.request.UnknownHandler(),
    ):
        opener.add_handler(handler)
    return opener
