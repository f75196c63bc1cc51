"""`ca renew` and `ca rekey`: a certificate again, with its key or with a new one, once or as a daemon."""

from __future__ import annotations

import secrets
import signal
import time
from collections.abc import Callable
from datetime import UTC, datetime

from provisor.cli import afterwards, connect, daemon, exits, files, keys, newkey, output, prompt
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.pair import Pair, load_pair, make_pair
from provisor.cli.times import duration_flag
from provisor.client.ca import CAClient, chain_of
from provisor.client.csr import csr_pem, make_csr
from provisor.client.errors import ClientError
from provisor.client.renewal import is_due, next_delay
from provisor.client.tokens import make_renew_token, token_window
from provisor.core.durations import Duration, elapsed, format_duration
from provisor.core.keys import PrivateKey
from provisor.core.pem import encode_private_key, parse_certificates
from provisor.errors import ProvisorError
from provisor.wire.api import SignResponse

_RETRY_SECONDS = 60
_NANOSECONDS = 1_000_000_000

_RENEW_FLAGS = (
    switch("mtls", help="show the certificate to the CA; without, a token signed by its key", default=True),
    common.CA_CONFIG,
    common.FORCE,
    common.OFFLINE,
    common.PASSWORD,
    common.KMS,
    text("out", "output-file", metavar="file", help="where to write the new certificate (default: over the old one)"),
    common.EXPIRES_IN,
    *common.AFTERWARDS,
    common.DAEMON,
    text("renew-period", metavar="duration", help="with --daemon: renew that often"),
    common.CA_URL,
    common.ROOT,
    common.CONTEXT,
)

_REKEY_FLAGS = (
    text("out-cert", metavar="file", help="where to write the new certificate (default: over the old one)"),
    text("out-key", metavar="file", help="where to write the new key (default: over the old one)"),
    text("private-key", metavar="file", help="the new key, instead of one that is generated"),
    common.EXPIRES_IN,
    *common.AFTERWARDS,
    common.DAEMON,
    text("rekey-period", metavar="duration", help="with --daemon: rekey that often"),
    common.KMS,
    common.KTY,
    common.CURVE,
    common.SIZE,
    common.FORCE,
    common.OFFLINE,
    common.PASSWORD,
    common.ROOT,
    common.CA_URL,
    common.CA_CONFIG,
    common.CONTEXT,
)


@command("ca renew", usage="<crt-file> <key-file>", flags=_RENEW_FLAGS, least=2, most=2)
def renew(call: Call) -> None:
    """renew a certificate

    Before it expires the certificate itself is the credential; afterwards, where the CA allows that, a token signed
    by its key.
    """
    crt_file, key_file = call.arguments
    pair = _prepare(call, crt_file, key_file, period_flag="renew-period")
    out_file = call.text("out") or crt_file
    if call.switch("daemon"):
        _run_daemon(call, pair, "renew-period", "renewed", lambda current: _renew_to(call, current, out_file))
        return
    _check_output(call, out_file)
    if not _is_due(call, pair):
        output.note(f"certificate not renewed: expires in {_left(pair)}")
        return
    _renew_to(call, pair, out_file)
    output.note(f"Your certificate has been saved in {out_file}.")
    afterwards.run(call)


@command("ca rekey", usage="<crt-file> <key-file>", flags=_REKEY_FLAGS, least=2, most=2)
def rekey(call: Call) -> None:
    """renew a certificate with a new key"""
    crt_file, key_file = call.arguments
    if call.switch("daemon") and call.text("private-key"):
        raise exits.incompatible_flags("daemon", "private-key")
    pair = _prepare(call, crt_file, key_file, period_flag="rekey-period")
    out_crt = call.text("out-cert") or crt_file
    out_key = call.text("out-key") or ("" if call.text("private-key") else key_file)
    if call.switch("daemon"):
        _run_daemon(call, pair, "rekey-period", "rekeyed", lambda current: _rekey_to(call, current, out_crt, out_key))
        return
    for path in filter(None, (out_crt, out_key)):
        _check_output(call, path)
    if not _is_due(call, pair):
        output.note(f"certificate not rekeyed: expires in {_left(pair)}")
        return
    _rekey_to(call, pair, out_crt, out_key)
    output.done("Certificate", out_crt)
    if out_key:
        output.done("Private Key", out_key)
    afterwards.run(call)


def _prepare(call: Call, crt_file: str, key_file: str, *, period_flag: str) -> Pair:
    """Check the flags, read the files. Raises `CommandError`."""
    if call.switch("offline"):
        raise exits.not_built("offline")
    expires_in, period = duration_flag(call, "expires-in"), duration_flag(call, period_flag)
    if expires_in is not None and period is not None:
        raise exits.incompatible_flags("expires-in", period_flag)
    if period is not None and not call.switch("daemon"):
        raise exits.requires_flag(period_flag, "daemon")
    afterwards.check_flags(call)
    connect.ca_address(call)
    pair = load_pair(call, crt_file, key_file)
    validity = elapsed(pair.leaf.not_before, pair.leaf.not_after)
    for flag, value in (("expires-in", expires_in), (period_flag, period)):
        if value is not None and value >= validity:
            raise CommandError(
                f"flag '--{flag}' must be within (lower than) the certificate validity period; "
                f"{flag}={format_duration(value)}, cert-validity-period={format_duration(validity)}"
            )
    return pair


def _check_output(call: Call, path: str) -> None:
    """Ask before, not after, the certificate was renewed."""
    try:
        files.check_writable(path, force=call.switch("force"))
    except prompt.NoTerminal as error:
        # step-ca: another text here than everywhere else
        text = error.message.replace("error allocating terminal: open /dev/tty:", "open /dev/tty failed:")
        raise CommandError(text) from error


def _is_due(call: Call, pair: Pair) -> bool:
    expires_in = duration_flag(call, "expires-in")
    return expires_in is None or is_due(pair.leaf.not_after, datetime.now(UTC), expires_in, daemon.jitter)


def _left(pair: Pair) -> str:
    return daemon.rounded(elapsed(datetime.now(UTC), pair.leaf.not_after))


def _renew_to(call: Call, pair: Pair, out_file: str) -> Pair:
    """Renew, write; the certificate that renews itself the next time."""
    return _save(_renewed(call, pair), pair.key, out_file)


def _renewed(call: Call, pair: Pair) -> SignResponse:
    """By mutual TLS, or by token when that is switched off or the certificate can no longer do it."""
    address, roots = connect.ca_address(call), connect.load_roots(call)
    now = datetime.now(UTC)
    try:
        if call.switch("mtls") and not pair.is_expired(now):
            with CAClient(address, roots, pair.identity()) as client:
                return client.renew()
        token = make_renew_token(
            pair.chain,
            pair.key,
            subject=pair.leaf.common_name,
            audience=f"{address.url}/renew",
            window=token_window(now),
            issued_at=now,
        )
        with CAClient(address, roots) as client:
            return client.renew(token)
    except ClientError as error:
        raise _failure(error, "error renewing certificate") from error


def _rekey_to(call: Call, pair: Pair, out_crt: str, out_key: str) -> Pair:
    """Rekey by mutual TLS, write the certificate, and the key if there is a file for it."""
    if pair.is_expired(datetime.now(UTC)):
        raise CommandError("cannot rekey an expired certificate")
    key = _new_key(call)
    address, roots = connect.ca_address(call), connect.load_roots(call)
    try:
        with CAClient(address, roots, pair.identity()) as client:
            response = client.rekey(csr_pem(make_csr(key, "")))
    except ClientError as error:
        raise _failure(error, "error rekeying certificate") from error
    fresh = _save(response, key, out_crt)
    if out_key:
        files.write_file(out_key, encode_private_key(key, random=secrets.token_bytes), 0o600, force=True)
    return fresh


def _new_key(call: Call) -> PrivateKey:
    path = call.text("private-key")
    if not path:
        return newkey.generate_for(call)
    password, flag = keys.password_from(call, "password-file")
    return keys.load_key(path, password, flag=flag)


def _save(response: SignResponse, key: PrivateKey, out_file: str) -> Pair:
    bundle = "".join(chain_of(response)).encode()
    fresh = make_pair(parse_certificates(bundle), key)
    files.write_file(out_file, bundle, 0o600, force=True)
    return fresh


def _failure(error: ClientError, doing: str) -> CommandError:
    """The CA's own words when it answered; else what we were doing comes first."""
    translated = exits.translate(error, own=False)
    return translated if exits.is_answer(error) else CommandError(f"{doing}: {translated.message}")


def _run_daemon(call: Call, pair: Pair, period_flag: str, done: str, act: Callable[[Pair], Pair]) -> None:
    """Until SIGINT or SIGTERM; SIGHUP acts at once. A failure is tried again after a minute."""
    delay = _delay(call, pair, period_flag)
    with daemon.Signals() as signals:
        daemon.say(f"first renewal in {daemon.rounded(delay)}")
        while signals.wait_until(time.time() + delay / _NANOSECONDS) in (None, signal.SIGHUP):
            try:
                pair = act(pair)
                afterwards.run(call)
            except (CommandError, ProvisorError) as error:
                daemon.complain(str(error))
                delay = Duration(_RETRY_SECONDS * _NANOSECONDS)
                continue
            delay = _delay(call, pair, period_flag)
            daemon.say(f"{pair.leaf.common_name} certificate {done}, next in {daemon.rounded(delay)}")


def _delay(call: Call, pair: Pair, period_flag: str) -> Duration:
    return next_delay(
        pair.leaf.not_before,
        pair.leaf.not_after,
        datetime.now(UTC),
        expires_in=duration_flag(call, "expires-in"),
        period=duration_flag(call, period_flag),
        jitter=daemon.jitter,
    )
