"""`ca revoke`: by a token for a serial number, or by the certificate itself."""

from __future__ import annotations

import re
from collections.abc import Mapping

from provisor.cli import connect, exits, files, keys, offline, output, tokens
from provisor.cli.admin import ADMIN_SOCKET, open_admin
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, command, text
from provisor.cli.offline import OfflineCA
from provisor.cli.pair import Pair, make_pair
from provisor.cli.tokens import Credential, Wish
from provisor.client.ca import CAClient
from provisor.core.pem import parse_certificates
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, Malformed
from provisor.wire.api import RevokeRequest

_FLAGS = (
    text("cert", metavar="file", help="the certificate to revoke, which is its own credential"),
    text("key", metavar="file", help="its key"),
    text("reason", metavar="string", help="why, in words"),
    text("reasonCode", metavar="code", help="why: 0 to 10, or a name such as keyCompromise"),
    Flag(
        names=("lineage",),
        metavar="serial",
        help="all of a line, by the server on this machine",
        ignores_environment=True,
    ),
    ADMIN_SOCKET,
    common.TOKEN,
    common.CA_CONFIG,
    common.OFFLINE,
    common.CA_URL,
    common.ROOT,
    common.CONTEXT,
)

_LAST_CODE = 10
# RFC 5280 section 5.3.1; 7 has no name
REASONS: Mapping[str, int] = {
    "unspecified": 0,
    "keycompromise": 1,
    "cacompromise": 2,
    "affiliationchanged": 3,
    "superseded": 4,
    "cessationofoperation": 5,
    "certificatehold": 6,
    "removefromcrl": 8,
    "privilegewithdrawn": 9,
    "aacompromise": 10,
}
_OCTAL = re.compile(r"0_?[0-7][0-7_]*")


@command("ca revoke", usage="<serial-number>", flags=_FLAGS, most=1)
def revoke(call: Call) -> None:
    """revoke a certificate

    With a serial number a token is the credential: the one of --token, or one made with a provisioner's key.
    With --cert and --key it is the certificate. What was issued stays valid for those who do not look into the
    revocation list; it cannot be renewed any more.

    With --lineage everything is revoked that can still be renewed of the line that the serial number belongs to:
    what it renewed and what renewed it. The credential is the user who asks the server on this machine.
    """
    if call.text("lineage"):
        _revoke_line(call)
        return
    serial = _serial(call)
    request = RevokeRequest(
        serial=serial, reason_code=_reason_code(call.text("reasonCode")), reason=call.text("reason"), passive=True
    )
    if call.switch("offline") and call.text("token"):
        raise exits.incompatible_flags("offline", "token")
    with offline.open_offline(call) as ca:
        if call.text("token") or not call.text("cert"):
            _revoke_by_token(call, request, ca)
        else:
            _revoke_by_certificate(call, request, ca)
    output.note(f"Certificate with Serial Number {serial} has been revoked.")


def _revoke_line(call: Call) -> None:
    for flag in ("cert", "key", "token", "offline"):
        if call.switch(flag) if flag == "offline" else call.text(flag):
            raise exits.incompatible_flags("lineage", flag)
    if call.arguments:
        raise CommandError(f"'{call.command} --lineage <serial>' expects no additional positional arguments")
    code = _reason_code(call.text("reasonCode"))
    with open_admin(call, call.paths) as admin:
        done = admin.revoke_lineage(call.text("lineage"), code, call.text("reason"))
    for serial in done.revoked:
        output.note(f"Certificate with Serial Number {serial} has been revoked.")
    count = len(done.revoked)
    output.note(
        f"Line of {done.lineage}: {count} {'certificate' if count == 1 else 'certificates'} revoked, "
        f"{done.already} revoked before."
    )


def _serial(call: Call) -> str:
    """In decimal, of the argument or of `--cert`. Raises `CommandError`."""
    if not call.text("cert"):
        if call.text("key"):
            raise exits.requires_flag("key", "cert")
        if not call.arguments:
            raise CommandError(f"not enough positional arguments were provided in '{call.command} <serial-number>'")
        return str(parse_serial(call.arguments[0]))
    if not call.text("key"):
        raise exits.requires_flag("cert", "key")
    if call.arguments:
        raise CommandError(
            f"'{call.command} --cert <certificate> --key <key>' expects no additional positional arguments"
        )
    path = call.text("cert")
    try:
        return str(parse_certificate(parse_certificates(files.read_pem_file(path))[0]).serial)
    except Malformed as error:
        raise CommandError(f"error reading {path}: {error.detail}") from error


def parse_serial(text: str) -> int:
    """Base 10, or the base of a prefix: 0x, 0b, 0o, 0. Raises `CommandError`."""
    try:
        number = int(text, 8) if _OCTAL.fullmatch(text) else int(text, 0)
    except ValueError:
        number = -1
    if number < 0:
        raise CommandError(
            f"'{text}' is not a valid serial number - use a base 10 representation or add a prefix indicating the base"
        )
    return number


def _reason_code(text: str) -> int:
    """A number from 0 to 10, or a name: letter case and spaces do not matter. Raises `CommandError`."""
    if not text:
        return 0
    if re.fullmatch(r"[+-]?[0-9]{1,9}", text):
        if not 0 <= int(text) <= _LAST_CODE:
            raise CommandError(f"reasonCode out of bounds. Got {int(text)}, but want value between 0 and {_LAST_CODE}")
        return int(text)
    code = REASONS.get(text.replace(" ", "").lower())
    if code is None:
        raise CommandError(f"unrecognized revocation reason code '{text}'")
    return code


def _revoke_by_token(call: Call, request: RevokeRequest, ca: OfflineCA | None) -> None:
    credential = _credential(call, request.serial, ca)
    if credential.claims.sub.lower() != request.serial:
        raise CommandError(f"token subject '{credential.claims.sub}' and serial number '{request.serial}' do not match")
    with tokens.client_for(call, credential, ca) as client:
        client.revoke(
            RevokeRequest(
                serial=request.serial,
                ott=credential.text,
                reason_code=request.reason_code,
                reason=request.reason,
                passive=True,
            )
        )


def _credential(call: Call, serial: str, ca: OfflineCA | None) -> Credential:
    if call.text("token"):
        return tokens.read_credential(call.text("token"), where="error parsing flag '--token': ")
    return tokens.read_credential(tokens.new_token(call, Wish(purpose="revoke", subject=serial), ca))


def _revoke_by_certificate(call: Call, request: RevokeRequest, ca: OfflineCA | None) -> None:
    if ca is not None:
        ca.client(_load_pair(call).leaf.der).revoke(request)
        return
    address, roots = connect.ca_address(call), connect.load_roots(call)
    output.done("CA", address.url)
    with CAClient(address, roots, _load_pair(call).identity()) as client:
        client.revoke(request)


def _load_pair(call: Call) -> Pair:
    chain = parse_certificates(files.read_pem_file(call.text("cert")))
    try:
        return make_pair(chain, keys.load_key(call.text("key"), Secret(b"")))
    except (CommandError, BadKey) as error:
        text = error.message if isinstance(error, CommandError) else error.detail
        raise CommandError(text if text.startswith("error loading") else f"error parsing key: {text}") from error
