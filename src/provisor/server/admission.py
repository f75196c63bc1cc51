"""How much a worker takes on at once, and what it turns away because it could not be done in time.

Turned away is what is still cheap to turn away: a request that can write before its token is looked
at, a new connection before its handshake, which costs about as much as a request.

The number of places for work follows the machine. It grows whenever it was the limit and answers were
quick, and shrinks when half of the answers were slow: so requests wait about as long as the target,
however fast the processors, the disk and the signer are. An answer is slow when it took longer than
the target, or the process came back to its clock much later than it meant to: what waits in sockets
is not seen otherwise.

A no costs a tenth of an answer, and a crowd that is told no at once asks again at once. So a process
says no only so many times a second; a client that has to wait for it asks nothing meanwhile.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final, final

__all__ = ["BEAT_SECONDS", "Admission", "Newcomer"]

BEAT_SECONDS: Final = 0.02
"""How often `beat` wants to be called while there is a connection."""

LEAST: Final = 64
"""Places, whatever happens: with fewer, a slow signer would leave the processors idle."""
MOST: Final = 1024
_FIRST: Final = 256
_TARGET_SECONDS: Final = 0.2
_LAG_SECONDS: Final = 0.05
_WINDOW_SECONDS: Final = 0.1
_ENOUGH_ANSWERS: Final = 16
"""Answers that a window needs before it says anything about the machine."""
_SHRINK: Final = 0.8
_GROW: Final = 1.1

LEAST_HANDSHAKES: Final = 8
"""So that kept connections never shut out new ones."""
REFUSALS_PER_SECOND: Final = 1000
LONGEST_REFUSAL_SECONDS: Final = 1.0

_FRESH_SECONDS: Final = 0.5
"""Older handshakes wait for their client, not for us, and are not counted: who is silent keeps nobody out."""


@final
class Newcomer:
    """A connection in its handshake. It is `done` once; being done again does nothing."""

    __slots__ = ("_admission", "since")

    def __init__(self, admission: Admission, since: float) -> None:
        self._admission: Admission | None = admission
        self.since = since

    @property
    def is_done(self) -> bool:
        return self._admission is None

    def done(self) -> None:
        """The handshake is over, well or not, or is no longer waited for."""
        if self._admission is not None:
            self._admission.handshakes -= 1
            self._admission = None


@final
class Admission:
    """What one worker has in work. `now` gives seconds that only go forward."""

    def __init__(self, now: Callable[[], float]) -> None:
        self.places = _FIRST
        """How much may be in work: requests, and handshakes beside them."""
        self.requests = 0
        self.handshakes = 0
        """Those begun in the last half second."""
        self.is_late = False
        self._next_refusal = 0.0
        self._now = now
        self._newcomers: deque[Newcomer] = deque()
        self._next_beat = 0.0
        self._window_end = 0.0
        self._answers = 0
        self._slow = 0
        self._was_full = False

    # -- requests -------------------------------------------------------------------------------

    def begin(self) -> float | None:
        """Take a place; the time, to be given back to `end`. None if there is no place."""
        if self.requests >= self.places:
            self._was_full = True
            return None
        self.requests += 1
        return self._now()

    def refusal_delay(self) -> float:
        """Seconds until a request that found no place is to be told; each call is one refusal."""
        now = self._now()
        at = max(now, min(self._next_refusal, now + LONGEST_REFUSAL_SECONDS))
        self._next_refusal = at + 1 / REFUSALS_PER_SECOND
        return at - now

    def end(self, began: float) -> None:
        """The answer is made, or nobody waits for it any more."""
        self.requests -= 1
        now = self._now()
        self._answers += 1
        self._slow += self.is_late or now - began > _TARGET_SECONDS
        if now >= self._window_end and self._answers >= _ENOUGH_ANSWERS:
            self._adapt(now)

    def _adapt(self, now: float) -> None:
        if self._slow * 2 > self._answers:
            self.places = max(LEAST, int(self.places * _SHRINK))
        elif self._was_full:
            self.places = min(MOST, int(self.places * _GROW))
        self._window_end = now + _WINDOW_SECONDS
        self._answers = self._slow = 0
        self._was_full = False

    # -- connections ----------------------------------------------------------------------------

    def welcome(self) -> Newcomer | None:
        """A connection that may begin its handshake; None if it had better come back later."""
        now = self._now()
        newcomers = self._newcomers
        while newcomers and (newcomers[0].is_done or newcomers[0].since <= now - _FRESH_SECONDS):
            newcomers.popleft().done()
        # A handshake counts beside the requests, for its own request follows and should find a place.
        work = self.requests + self.handshakes
        is_full = work >= self.places or (self.is_late and work >= LEAST)
        if is_full and self.handshakes >= LEAST_HANDSHAKES:
            self._was_full = True
            return None
        newcomer = Newcomer(self, now)
        newcomers.append(newcomer)
        self.handshakes += 1
        return newcomer

    def beat(self) -> None:
        """The clock of the loop; called every `BEAT_SECONDS`, or as late as the loop is."""
        now = self._now()
        self.is_late = now - self._next_beat > _LAG_SECONDS
        self._next_beat = now + BEAT_SECONDS

    def wake(self) -> None:
        """The clock goes again, after a time in which nobody was connected."""
        self.is_late = False
        self._next_beat = self._now() + BEAT_SECONDS
