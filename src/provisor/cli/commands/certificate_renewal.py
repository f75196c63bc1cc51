"""`certificate needs-renewal`: the exit status says whether it is time."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

import click

from provisor.cli import exits, files, output
from provisor.cli.certificates import reading, remote
from provisor.cli.exits import CommandError, UsageError
from provisor.cli.grammar import Call, StepCommand, switch, text
from provisor.cli.inspection.source import fetch_peer_chain, is_url, trusted
from provisor.core.durations import DurationError, elapsed, format_rfc3339, parse_duration
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.errors import Malformed

_NOT_YET, _NO_FILE, _TROUBLE = 1, 2, 255
_DEFAULT_PERCENT = 66
_PERCENT = re.compile(r"[+-]?[0-9]+")

IsDue = Callable[[Certificate], bool]


class _StatusCommand(StepCommand):
    """Trouble must not look like an answer: it ends with 255."""

    def invoke(self, ctx: click.Context) -> None:
        try:
            super().invoke(ctx)
        except UsageError:
            raise
        except CommandError as error:
            status = error.status if error.status == _NO_FILE else _TROUBLE
            raise CommandError(error.message, status=status) from error


def _needs_renewal(call: Call) -> None:
    """check whether a certificate should be renewed

    The argument is a file (PEM or DER) or a URL such as https://ca.internal. Exit status 0: renew it; 1: not yet;
    2: there is no such file; 255: something went wrong. It is time when 66% of the lifetime have passed.
    """
    certificates = _certificates(call)
    now = datetime.now(UTC)
    is_due = _rule(call, now)
    checked = certificates if call.switch("bundle") else certificates[:1]
    due = [certificate for certificate in checked if is_due(certificate)]
    if call.switch("json"):
        output.data(json.dumps({"needsRenewal": bool(due), "certificates": [_facts(c, c in due) for c in checked]}))
    elif call.switch("verbose"):
        (output.data if due else output.note)(f"certificate {'needs' if due else 'does not need'} renewal")
    if not due:
        raise click.exceptions.Exit(_NOT_YET)


def _certificates(call: Call) -> Sequence[Certificate]:
    place = call.arguments[0]
    if not is_url(place):
        _check_exists(place)
        return reading.read_chain(place)
    ders = fetch_peer_chain(place, call.text("servername"), trusted(call.text("roots")))
    try:
        return [parse_certificate(der) for der in ders]
    except Malformed as error:
        raise CommandError(f"error parsing the certificate of {place}: {error.detail}") from error


def _check_exists(path: str) -> None:
    try:
        os.stat(path)
    except FileNotFoundError as error:
        raise CommandError(f"stat {path}: {files.system_text(error)}", status=_NO_FILE) from error
    except (OSError, ValueError) as error:
        reason = files.system_text(error) if isinstance(error, OSError) else str(error)
        raise CommandError(f"stat {path}: {reason}") from error


def _rule(call: Call, now: datetime) -> IsDue:
    """By `--expires-in`. Raises `CommandError`."""
    value = call.text("expires-in")
    if not value:
        return _after_percent(_DEFAULT_PERCENT, now)
    if value.endswith("%"):
        return _after_percent(_percent(value), now)
    try:
        left = parse_duration(value)
    except DurationError as error:
        raise exits.invalid_value(value, "expires-in") from error
    return lambda certificate: elapsed(now, certificate.not_after) <= left


def _percent(value: str) -> int:
    if not _PERCENT.fullmatch(value[:-1]):
        raise exits.invalid_value(value, "expires-in")
    if not 0 <= int(value[:-1]) <= 100:
        raise CommandError(f"{exits.invalid_value(value, 'expires-in').message}; value must be in range 0-100%")
    return int(value[:-1])


def _after_percent(percent: int, now: datetime) -> IsDue:
    """So much of the lifetime has passed."""

    def is_due(certificate: Certificate) -> bool:
        lifetime = certificate.not_after - certificate.not_before
        return (now - certificate.not_before) * 100 >= lifetime * percent

    return is_due


def _facts(certificate: Certificate, is_due: bool) -> dict[str, object]:
    return {
        "subject": certificate.common_name,
        "serialNumber": str(certificate.serial),
        "notBefore": format_rfc3339(certificate.not_before),
        "notAfter": format_rfc3339(certificate.not_after),
        "needsRenewal": is_due,
    }


needs_renewal = _StatusCommand(
    "certificate needs-renewal",
    _needs_renewal,
    usage="<cert-file or hostname>",
    flags=(
        text("expires-in", metavar="percent|duration", help="how much of the lifetime must be over, or what is left"),
        remote.ROOTS,
        remote.SERVER_NAME,
        switch("bundle", help="all certificates, not just the first"),
        switch("v", "verbose", help="say it in words too"),
        switch("json", help="say it as JSON"),
    ),
    least=1,
    most=1,
    reads_defaults=False,
    own=False,
)
