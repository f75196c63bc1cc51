"""`ca renew` and `ca rekey`: a certificate again, with its key or with a new one, once or as a daemon."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from typing import final

from provisor.cli import afterwards, connect, daemon, exits, files, keys, newkey, output, prompt
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.files import Output
from provisor.cli.grammar import Call, command, switch, text
from provisor.cli.keeper import Keeper, Task
from provisor.cli.offline import OfflineKey
from provisor.cli.pair import Pair, load_pair
from provisor.cli.times import duration_flag
from provisor.client.ca import CAClient, chain_of
from provisor.client.csr import csr_pem, make_csr
from provisor.client.errors import BadAnswer, ClientError, Unreachable
from provisor.client.renewal import check_renewed, is_due
from provisor.client.tokens import make_renew_token, token_window
from provisor.core.durations import elapsed, format_duration
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.pem import encode_private_key, parse_certificates
from provisor.errors import Malformed
from provisor.wire.api import SignResponse

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
    pair, way = _prepare(call, crt_file, key_file, period_flag="renew-period")
    out_file = call.text("out") or crt_file

    def act(current: Pair) -> Pair:
        fresh = _checked(way.renew(current), current, current.key, "error renewing certificate")
        files.write_file(out_file, fresh.pem(), 0o600, force=True)
        return fresh

    if call.switch("daemon"):
        Keeper(call, pair, _task(call, act, "renewed", "renew-period")).run()
        return
    if not _is_due(call, pair):
        output.note(f"certificate not renewed: expires in {_left(pair)}")
        return
    _check_output(call, out_file)
    act(pair)
    output.note(f"Your certificate has been saved in {out_file}.")
    afterwards.run(call)


@command("ca rekey", usage="<crt-file> <key-file>", flags=_REKEY_FLAGS, least=2, most=2)
def rekey(call: Call) -> None:
    """renew a certificate with a new key"""
    crt_file, key_file = call.arguments
    if call.switch("daemon") and call.text("private-key"):
        raise exits.incompatible_flags("daemon", "private-key")
    pair, way = _prepare(call, crt_file, key_file, period_flag="rekey-period")
    out_crt = call.text("out-cert") or crt_file
    out_key = call.text("out-key") or ("" if call.text("private-key") else key_file)

    def act(current: Pair) -> Pair:
        if current.is_expired(datetime.now(UTC)):
            raise CommandError("cannot rekey an expired certificate")
        key = _new_key(call)
        fresh = _checked(way.rekey(current, csr_pem(make_csr(key, ""))), current, key, "error rekeying certificate")
        _write_pair(fresh, out_crt, out_key)
        return fresh

    if call.switch("daemon"):
        Keeper(call, pair, _task(call, act, "rekeyed", "rekey-period")).run()
        return
    if not _is_due(call, pair):
        output.note(f"certificate not rekeyed: expires in {_left(pair)}")
        return
    for path in filter(None, (out_crt, out_key)):
        _check_output(call, path)
    act(pair)
    output.done("Certificate", out_crt)
    if out_key:
        output.done("Private Key", out_key)
    afterwards.run(call)


def _prepare(call: Call, crt_file: str, key_file: str, *, period_flag: str) -> tuple[Pair, Way]:
    """Check the flags, read the files. Raises `CommandError`."""
    expires_in, period = duration_flag(call, "expires-in"), duration_flag(call, period_flag)
    if expires_in is not None and period is not None:
        raise exits.incompatible_flags("expires-in", period_flag)
    if period is not None and not call.switch("daemon"):
        raise exits.requires_flag(period_flag, "daemon")
    afterwards.check_flags(call)
    if not call.switch("offline"):
        connect.ca_address(call)
    pair = load_pair(call, crt_file, key_file)
    validity = elapsed(pair.leaf.not_before, pair.leaf.not_after)
    for flag, value in (("expires-in", expires_in), (period_flag, period)):
        if value is not None and value >= validity:
            raise CommandError(
                f"flag '--{flag}' must be within (lower than) the certificate validity period; "
                f"{flag}={format_duration(value)}, cert-validity-period={format_duration(validity)}"
            )
    return pair, Way(call)


def _task(call: Call, act: Callable[[Pair], Pair], done: str, period_flag: str) -> Task:
    crt_file, key_file = call.arguments
    return Task(
        crt_file=crt_file,
        key_file=key_file,
        act=act,
        done=done,
        expires_in=duration_flag(call, "expires-in"),
        period=duration_flag(call, period_flag),
    )


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


@final
class Way:
    """To the CA of the command line: a running one, or with `--offline` that of ca.json, opened for each renewal.

    Roots are read anew each time: a daemon may outlive them.
    """

    def __init__(self, call: Call) -> None:
        self._call = call
        self._offline = OfflineKey(call) if call.switch("offline") else None

    def renew(self, pair: Pair) -> SignResponse:
        """By the certificate, or by token when that is switched off or the certificate can no longer do it."""
        try:
            if not self._call.switch("mtls") or pair.is_expired(datetime.now(UTC)):
                return self._renew_by_token(pair)
            try:
                return self._renew_by_certificate(pair)
            except Unreachable as error:
                # The clock of the CA may be ahead of ours.
                if "certificate expired" not in error.detail:
                    raise
                return self._renew_by_token(pair)
        except ClientError as error:
            raise _failure(error, "error renewing certificate") from error

    def rekey(self, pair: Pair, csr: str) -> SignResponse:
        try:
            if self._offline is not None:
                with self._offline.open() as ca:
                    return ca.client(pair.leaf.der).rekey(csr)
            with self._connect(pair) as client:
                return client.rekey(csr)
        except ClientError as error:
            raise _failure(error, "error rekeying certificate") from error

    def _renew_by_certificate(self, pair: Pair) -> SignResponse:
        if self._offline is not None:
            with self._offline.open() as ca:
                return ca.client(pair.leaf.der).renew()
        with self._connect(pair) as client:
            return client.renew()

    def _renew_by_token(self, pair: Pair) -> SignResponse:
        if self._offline is not None:
            with self._offline.open() as ca:
                return ca.client().renew(_renew_token(pair, ca.audience("renew")))
        with self._connect(None) as client:
            return client.renew(_renew_token(pair, f"{client.url}/renew"))

    def _connect(self, pair: Pair | None) -> CAClient:
        address, roots = connect.ca_address(self._call), connect.load_roots(self._call)
        return CAClient(address, roots, pair.identity() if pair else None)


def _renew_token(pair: Pair, audience: str) -> str:
    now = datetime.now(UTC)
    return make_renew_token(
        pair.chain,
        pair.key,
        subject=pair.leaf.common_name,
        audience=audience,
        window=token_window(now),
        issued_at=now,
    )


def _new_key(call: Call) -> PrivateKey:
    path = call.text("private-key")
    if not path:
        return newkey.generate_for(call)
    password, flag = keys.password_from(call, "password-file")
    return keys.load_key(path, password, flag=flag)


def _checked(response: SignResponse, old: Pair, key: PrivateKey, doing: str) -> Pair:
    """What may take the place of `old`. Raises `CommandError`: then nothing is written."""
    try:
        chain = parse_certificates("".join(chain_of(response)).encode())
        leaf = check_renewed(chain, old.leaf, spki_der(key.public_key()), datetime.now(UTC))
    except BadAnswer as error:
        raise CommandError(f"{doing}: {error.detail}") from error
    except Malformed as error:
        raise CommandError(f"{doing}: the CA answered with something that is no certificate") from error
    return Pair(chain, leaf, key)


def _write_pair(fresh: Pair, out_crt: str, out_key: str) -> None:
    """The certificate first: `load_pair` looks for a key that was left behind."""
    outputs = [Output(out_crt, fresh.pem())]
    if out_key:
        outputs.append(Output(out_key, encode_private_key(fresh.key, random=secrets.token_bytes)))
    files.write_together(outputs)


def _failure(error: ClientError, doing: str) -> CommandError:
    """The CA's own words when it answered; else what we were doing comes first."""
    translated = exits.translate(error, own=False)
    return translated if exits.is_answer(error) else CommandError(f"{doing}: {translated.message}")
