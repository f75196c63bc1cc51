"""`ca token`: a one-time token, made with a key of a JWK provisioner or of a certificate to renew."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, datetime

import msgspec

from provisor.cli import choose, connect, exits, files, keys, output, tokens, userdata
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, FlagKind, command, switch, text, texts, unbuilt
from provisor.cli.times import time_flag
from provisor.cli.tokens import Wish
from provisor.client.csr import csr_fingerprint
from provisor.client.tokens import audience, make_renew_token, make_token, offline_audience, token_window
from provisor.core.jose.jwk import make_jwk
from provisor.core.pem import parse_blocks, parse_certificates
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.request import parse_csr
from provisor.errors import Malformed
from provisor.wire.gojson import decode_json

_FLAGS = (
    text("kid", metavar="kid", help="key id of the provisioner"),
    texts("san", metavar="dns|ip|email|uri", help="a name for the certificate; may be repeated"),
    unbuilt("principal", "n"),
    unbuilt("host", kind=FlagKind.BOOL),
    common.CA_CONFIG,
    common.FORCE,
    text("not-before", metavar="time|duration", help="start of the token's validity"),
    text("not-after", metavar="time|duration", help="end of the token's validity (default: five minutes)"),
    # step-ca: of SSH certificates only; without --ssh they mean nothing and are let pass
    text("cert-not-before", metavar="time|duration", hidden=True),
    text("cert-not-after", metavar="time|duration", hidden=True),
    common.PROVISIONER,
    common.PASSWORD,
    common.PROVISIONER_PASSWORD,
    common.KMS,
    text("x5c-cert", metavar="chain", help="with --renew: the certificate to renew"),
    text("x5c-key", metavar="file", help="with --renew: its key"),
    unbuilt("x5c-insecure", kind=FlagKind.BOOL),
    unbuilt("sshpop-cert"),
    unbuilt("sshpop-key"),
    *common.NEBULA,
    text("cnf", metavar="fingerprint", help="bind the token to the request with this fingerprint"),
    text("cnf-file", metavar="file", help="bind the token to the request in this file"),
    text("key", metavar="file", help="private key of the provisioner: JWK, encrypted JWK or PEM"),
    text("output-file", metavar="file", help="write the token to this file"),
    switch("revoke", help="a token to revoke the certificate with this serial number"),
    switch("renew", help="a token to renew a certificate"),
    switch("rekey", help="a token to rekey a certificate"),
    unbuilt("ssh", kind=FlagKind.BOOL),
    common.K8SSA,
    common.OFFLINE,
    common.CA_URL,
    common.ROOT,
    common.CONTEXT,
    common.SET,
    common.SET_FILE,
)


@command("ca token", usage="<subject>", flags=_FLAGS, least=1, most=1)
def token(call: Call) -> None:
    """generate a one-time token

    The token lets whoever has it request one certificate for the subject, or revoke one, or renew one.
    """
    _check_flags(call)
    if call.switch("renew") and not call.switch("revoke"):
        made = _renew_token(call)
    elif call.switch("offline"):
        made = _offline_token(call)
    else:
        made = tokens.new_token(call, _wish(call))
    if path := call.text("output-file"):
        files.write_file(path, made.encode(), 0o600, force=call.switch("force"))
    else:
        output.data(made)


def _check_flags(call: Call) -> None:
    if call.switch("offline"):
        for flag in ("set", "set-file"):
            if call.is_set(flag):
                raise exits.incompatible_flags("offline", flag)
    if call.switch("revoke") and call.is_set("san"):
        raise exits.incompatible_flags("san", "revoke")
    if call.is_set("cnf") and call.is_set("cnf-file"):
        raise exits.incompatible_flags("cnf-file", "cnf")
    if not call.switch("renew"):
        for flag in ("x5c-cert", "x5c-key"):
            if call.is_set(flag):
                raise exits.not_built(flag)


def _wish(call: Call) -> Wish:
    """What the flags ask for. Raises `CommandError`."""
    subject = call.arguments[0]
    not_before, not_after = time_flag(call, "not-before"), time_flag(call, "not-after")
    # step-ca: a revocation token says the serial number as it was typed
    if call.switch("revoke"):
        return Wish(purpose="revoke", subject=subject, not_before=not_before, not_after=not_after)
    return Wish(
        purpose="sign",
        subject=subject,
        names=call.texts("san") or (subject,),
        csr_fingerprint=_confirmation(call),
        user=None if call.switch("offline") else userdata.user_data(call),
        not_before=not_before,
        not_after=not_after,
    )


def _confirmation(call: Call) -> str:
    path = call.text("cnf-file")
    if not path:
        return call.text("cnf")
    content = files.read_file(path)
    blocks = parse_blocks(content)
    der = blocks[0].der if blocks else content
    try:
        parse_csr(der)
    except Malformed as error:
        raise CommandError(f"error parsing certificate request: {error.detail}") from error
    return csr_fingerprint(der)


def _renew_token(call: Call) -> str:
    """The bearer token of `POST /renew`, signed by the certificate's own key."""
    chain_file, key_file = call.required("x5c-cert"), call.required("x5c-key")
    try:
        chain = parse_certificates(files.read_pem_file(chain_file))
        leaf = parse_certificate(chain[0])
    except Malformed as error:
        raise CommandError(f"error reading {chain_file}: {error.detail}") from error
    if leaf.common_name != call.arguments[0]:
        raise CommandError("positional argument <subject> must match the certificate common name")
    password, flag = keys.password_from(call, "password-file")
    now = datetime.now(UTC)
    return make_renew_token(
        chain,
        keys.load_key(key_file, password, flag=flag),
        subject=leaf.common_name,
        audience=audience(connect.ca_address(call), "renew"),
        window=token_window(now, time_flag(call, "not-before"), time_flag(call, "not-after")),
        issued_at=now,
    )


class _Authority(msgspec.Struct):
    provisioners: list[dict[str, object]] | None = None


class _CAFile(msgspec.Struct, rename="camel"):
    """What an offline token needs of ca.json."""

    authority: _Authority = msgspec.field(default_factory=_Authority)
    dns_names: list[str] | None = None


def _offline_token(call: Call) -> str:
    """A token made from ca.json, without asking the CA; without ca.json from `--provisioner` and `--key`."""
    path = call.text("ca-config") or call.paths.ca_config
    if not os.path.exists(path):
        return _bare_token(call)
    config = _read_config(path)
    raws = config.authority.provisioners or []
    if not raws:
        raise CommandError(f"error parsing {path}: no provisioners found")
    choice, wish = tokens.choose_for(call, _wish(call), choose.read_choices(raws))
    aud = offline_audience((config.dns_names or [""])[0], wish.purpose)
    request = tokens.token_request(choice.name, choice.key_id, aud, wish)
    root = connect.root_fingerprint(connect.load_roots(call))
    if call.text("key"):
        password, flag = keys.password_from(call, "password-file", "provisioner-password-file")
        key = keys.load_signing_key(call.text("key"), password, flag=flag)
    else:
        password, flag = keys.password_from(call, "provisioner-password-file", "password-file")
        key = keys.open_encrypted_key(_encrypted_key(choice.raw, choice.name), password, flag=flag)
    return make_token(msgspec.structs.replace(request, root_fingerprint=root), key)


def _encrypted_key(raw: Mapping[str, object], name: str) -> str:
    value = raw.get("encryptedKey")
    if isinstance(value, str) and value:
        return value
    raise CommandError(f"provisioner '{name}' has no encrypted key: use the flag '--key'")


def _read_config(path: str) -> _CAFile:
    try:
        return decode_json(files.read_file(path), _CAFile)
    except Malformed as error:
        raise CommandError(f"error parsing {path}: {error.detail}") from error


def _bare_token(call: Call) -> str:
    for flag in ("key", "provisioner"):
        if not call.text(flag):
            raise exits.requires_flag("offline", flag)
    password, flag = keys.password_from(call, "password-file", "provisioner-password-file")
    key = keys.load_signing_key(call.text("key"), password, flag=flag)
    wish = _wish(call)
    request = tokens.token_request(
        call.text("provisioner"),
        call.text("kid") or make_jwk(key).kid,
        audience(connect.ca_address(call), wish.purpose),
        wish,
    )
    root = connect.root_fingerprint(connect.load_roots(call))
    return make_token(msgspec.structs.replace(request, root_fingerprint=root), key)
