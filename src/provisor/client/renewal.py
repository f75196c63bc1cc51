"""When to renew a certificate, and whether an answer is the renewal that was asked for.

Pure: the clock and the random delay come from the caller. Renewing a little before time is random so that many
machines with one birthday do not come at one moment; so is trying again after a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Final

from provisor.client.errors import BadAnswer
from provisor.core.durations import Duration, elapsed, format_go_time
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.chain import is_issued_by
from provisor.errors import Malformed

Jitter = Callable[[Duration], Duration]
"""A random duration from zero up to, not including, the given one."""

_SECOND: Final = 1_000_000_000
_LATEST_PART: Final = 3  # renew when a third of the validity is left
_JITTER_PART: Final = 20

_FIRST_RETRY: Final = Duration(60 * _SECOND)
_LONGEST_RETRY: Final = Duration(900 * _SECOND)
_SHORTEST_RETRY: Final = Duration(2 * _SECOND)
_RETRY_JITTER_PART: Final = 5
_TRIES_LEFT: Final = 10  # a failure leaves room for that many tries before the certificate ends


def is_due(not_after: datetime, now: datetime, expires_in: Duration, jitter: Jitter) -> bool:
    """No more than `expires_in` and a random twentieth of it is left."""
    return elapsed(now, not_after) <= expires_in + jitter(Duration(expires_in // _JITTER_PART))


def renewal_time(not_before: datetime, not_after: datetime, *, expires_in: Duration | None, jitter: Jitter) -> datetime:
    """When to renew: `expires_in` before the end, else when a third of the validity is left.

    Less a random twentieth of `expires_in` or of the validity.
    """
    validity = elapsed(not_before, not_after)
    before_end = expires_in if expires_in is not None else Duration(validity // _LATEST_PART)
    spread = expires_in if expires_in is not None else validity
    ahead = before_end + jitter(Duration(max(spread, 0) // _JITTER_PART))
    return not_after - timedelta(microseconds=ahead // 1000)


def next_delay(
    not_before: datetime,
    not_after: datetime,
    now: datetime,
    *,
    expires_in: Duration | None,
    period: Duration | None,
    jitter: Jitter,
) -> Duration:
    """How long to wait before the next renewal, zero if it is due: a fixed `period`, else until `renewal_time`."""
    if period is not None:
        return max(period, Duration(0))
    due = renewal_time(not_before, not_after, expires_in=expires_in, jitter=jitter)
    return Duration(max(elapsed(now, due), 0))


def retry_delay(failures: int, left: Duration, jitter: Jitter) -> Duration:
    """How long to wait after the `failures`-th failure in a row, of a certificate that ends in `left`.

    A minute, then twice as long each time up to a quarter of an hour, but soon enough for ten more tries before the
    end; a random fifth less, so that those who failed together do not come back together.
    """
    delay = Duration(min(_FIRST_RETRY << min(max(failures - 1, 0), 16), _LONGEST_RETRY))
    if left > 0:
        delay = Duration(min(delay, max(left // _TRIES_LEFT, _SHORTEST_RETRY)))
    return Duration(delay - jitter(Duration(delay // _RETRY_JITTER_PART)))


def least_wait(validity: Duration) -> Duration:
    """How long a certificate that is due as soon as it is there is used all the same.

    A CA that gives shorter certificates than `--expires-in` is not to be asked without end.
    """
    return Duration(min(max(validity // _JITTER_PART, _SHORTEST_RETRY), _FIRST_RETRY))


def check_renewed(chain: Sequence[bytes], old: Certificate, spki: bytes, now: datetime) -> Certificate:
    """The leaf of `chain` (DER), if it may take the place of `old`. Raises `BadAnswer`.

    It is for the key `spki` and the names of `old`, signed by the certificate that follows it, another one than
    `old`, and not over yet.
    """
    try:
        certificates = [parse_certificate(der) for der in chain]
    except Malformed as error:
        raise BadAnswer(f"the CA answered with a certificate that cannot be read: {error.detail}") from error
    leaf = certificates[0]
    if leaf.spki != spki:
        raise BadAnswer("the CA answered with a certificate for another key")
    if leaf.der == old.der:
        raise BadAnswer("the CA answered with the same certificate again")
    if (leaf.common_name, sorted(leaf.names)) != (old.common_name, sorted(old.names)):
        raise BadAnswer(f"the CA answered with a certificate for {_named(leaf)} instead of {_named(old)}")
    if leaf.not_after <= now:
        raise BadAnswer(f"the CA answered with a certificate that expired on {format_go_time(leaf.not_after)}")
    if len(certificates) > 1 and not is_issued_by(leaf, certificates[1]):
        raise BadAnswer(f"the CA answered with a broken chain: {_named(certificates[1])} did not issue {_named(leaf)}")
    return leaf


def _named(certificate: Certificate) -> str:
    names = ", ".join(name.value for name in certificate.names)
    return f'"{certificate.common_name or names}"' if not names else f'"{certificate.common_name}" ({names})'
