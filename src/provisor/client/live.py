"""A certificate that renews itself, and the TLS contexts that show it."""

from __future__ import annotations

import logging
import os
import ssl
import threading
import weakref
from collections.abc import Callable
from datetime import datetime
from types import TracebackType
from typing import Final, Protocol, Self, TypeVar, final

from provisor.client.certificate import Certificate
from provisor.client.files import FileName
from provisor.client.live_context import LiveContext, live_context
from provisor.client.timetable import Timetable
from provisor.errors import BadKey, Malformed

T = TypeVar("T")

_LONGEST_WAIT_SECONDS: Final = 60.0  # a machine that was asleep, or whose clock was set, notices soon
_FAREWELL_SECONDS: Final = 2.0
_log = logging.getLogger("provisor.live")

Renewed = Callable[[Certificate], object]
Failed = Callable[[Exception], object]


class Source(Protocol):
    """Where the next certificate comes from."""

    def next(self, current: Certificate) -> Certificate:
        """Raises `ProvisorError`."""


class Files:
    """Where a certificate is kept; nowhere without a name. One name for both: they are in one file."""

    def __init__(self, cert_file: FileName | None, key_file: FileName | None) -> None:
        """Raises `ValueError` for a key file without a certificate file."""
        if cert_file is None and key_file is not None:
            raise ValueError("key_file is given and cert_file is not")
        self.cert_file = cert_file
        self.key_file = key_file if key_file is not None else cert_file

    def load(self) -> Certificate | None:
        """What is there, None if that is no certificate with its key. Raises `OSError` where it cannot be read."""
        if self.cert_file is None:
            return None
        try:
            return Certificate.load(self.cert_file, self.key_file)
        except (FileNotFoundError, Malformed, BadKey):
            return None

    def save(self, certificate: Certificate) -> None:
        """Raises `OSError`."""
        if self.cert_file is not None:
            certificate.save(self.cert_file, self.key_file)


@final
class LiveCertificate:
    """Made by `Client.keep`. A thread renews the certificate in time, puts it into all contexts and into the files.

    What goes wrong is logged (`provisor.live`), told to `on_error`, and tried again: after a minute, then less often,
    but ten times at least before the certificate ends. The thread stops with `close`, at the end of a `with` block,
    and when neither this object nor any of its contexts is used any more. After a fork the child has a thread of its
    own as soon as it uses a context.
    """

    def __init__(
        self,
        certificate: Certificate,
        source: Source,
        *,
        roots: str,
        timetable: Timetable,
        files: Files,
        on_renew: Renewed | None = None,
        on_error: Failed | None = None,
    ) -> None:
        """The thread does not run before `start`."""
        self._certificate = certificate
        self._source = source
        self._roots = roots
        self._timetable = timetable
        self._files = files
        self._on_renew = on_renew
        self._on_error = on_error
        self._contexts: weakref.WeakSet[LiveContext] = weakref.WeakSet()
        self._is_installed = True
        self._closed = False
        self._error: Exception | None = None
        self._process = 0
        timetable.begin(certificate.leaf, again=False)
        self._reset()

    def _reset(self) -> None:
        self._process = os.getpid()
        self._working = threading.RLock()
        self._listing = threading.Lock()
        self._wake = threading.Event()
        self._thread: threading.Thread | None = None

    # -- what it is used for --------------------------------------------------------------------

    @property
    def current(self) -> Certificate:
        """The certificate of now."""
        return self._certificate

    @property
    def renews_at(self) -> datetime:
        """When it is to be renewed, if nothing fails."""
        return self._timetable.due

    @property
    def error(self) -> Exception | None:
        """Why the last attempt failed; None if it did not."""
        return self._error

    def server_context(self, *, verify_clients: bool = False) -> ssl.SSLContext:
        """For a server. New connections show the certificate of the moment; nothing needs to be restarted.

        With `verify_clients` only clients with a certificate of this CA are let in.
        """
        context = self._context(server=True)
        if verify_clients:
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client_context(self) -> ssl.SSLContext:
        """For a client that shows the certificate to servers, and trusts those of this CA."""
        return self._context(server=False)

    def _context(self, *, server: bool) -> ssl.SSLContext:
        self.attend()
        shown = self._certificate
        context = live_context(self, shown, self._roots, server=server)
        with self._listing:
            self._contexts.add(context)
        if shown is not self._certificate:
            # A renewal came between, and did not find this one.
            context.swap(self._certificate)
        return context

    def renew_now(self) -> Certificate:
        """Renew at once, whether it is time or not. Raises `ProvisorError`, `OSError`."""
        self.attend()
        with self._working:
            self._renew(anew=True)
            return self._certificate

    # -- its life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to watch the time."""
        with self._working:
            if self._thread is None and not self._closed:
                weakref.finalize(self, self._wake.set)
                self._thread = threading.Thread(
                    target=_watch, args=(weakref.ref(self), self._wake), name="provisor-live", daemon=True
                )
                self._thread.start()

    def close(self) -> None:
        """Renew no more. Contexts go on with the certificate that they have; a renewal under way may still finish."""
        self._closed = True
        self._wake.set()
        thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(_FAREWELL_SECONDS)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def attend(self) -> None:
        """Threads do not live through a fork: in a new process this one begins anew."""
        if self._process != os.getpid():
            had_thread = self._thread is not None
            self._reset()
            if had_thread:
                self.start()

    @property
    def is_closed(self) -> bool:
        return self._closed

    def turn(self) -> float:
        """Do what is due; how many seconds to wait before the next look. This is the thread's work."""
        with self._working:
            if not self._closed and self._timetable.left() <= 0:
                self._attempt()
            return min(max(self._timetable.left(), 0.0), _LONGEST_WAIT_SECONDS)

    def _attempt(self) -> None:
        try:
            self._renew(anew=self._timetable.is_due)
        except Exception as error:  # noqa: BLE001 - whatever it was: nobody else would begin this thread again
            seconds = self._timetable.failed(self._certificate.leaf)
            self._error = error
            _log.warning("%r: renewal failed, next try in %.0f seconds: %s", self._certificate, seconds, error)
            self._tell(self._on_error, error)

    def _renew(self, *, anew: bool) -> None:
        """The next certificate; else what is left to be done with the last one, which could not be written."""
        if anew or self._is_installed:
            self._certificate, self._is_installed = self._source.next(self._certificate), False
            self._timetable.begin(self._certificate.leaf, again=True)
        with self._listing:
            contexts = list(self._contexts)
        for context in contexts:
            context.swap(self._certificate)
        self._files.save(self._certificate)
        self._is_installed, self._error = True, None
        self._timetable.recovered()
        _log.info("%r: renewed", self._certificate)
        self._tell(self._on_renew, self._certificate)

    def _tell(self, told: Callable[[T], object] | None, what: T) -> None:
        """A function of the user's, on this thread."""
        try:
            if told is not None:
                told(what)
        except Exception:  # noqa: BLE001 - the certificate is worth more than who wants to hear of it
            _log.exception("%r: on_renew or on_error failed", self._certificate)


def _watch(kept: weakref.ref[LiveCertificate], wake: threading.Event) -> None:
    """Until `wake` is set, as it is when there is no more to be watched."""
    while True:
        live = kept()
        if live is None:
            return
        seconds = live.turn()
        del live
        if wake.wait(seconds):
            return
