"""Getting a token: the one of `--token`, or one made with a provisioner's key (cli-admin 6)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import msgspec

from provisor.cli import choose, connect, keys, output, prompt
from provisor.cli.choose import Choice
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.offline import OfflineCA
from provisor.client.address import CAAddress, parse_ca_url
from provisor.client.ca import CAClient, fetch_root
from provisor.client.tokens import TokenRequest, audience, make_token, token_window
from provisor.core.durations import UNSET_TIME, TimeDuration
from provisor.core.jose.jws import UnverifiedToken, parse_token
from provisor.core.jose.jwt import TokenClaims, parse_claims
from provisor.core.keys import PrivateKey
from provisor.errors import BadRequest, BadToken

_SUBJECT = "What DNS names or IP addresses would you like to use? (e.g. internal.smallstep.com)"


class Wish(msgspec.Struct, frozen=True):
    """What a token should be for. `names` is None for tokens that sign no X.509 certificate."""

    purpose: str
    """`sign`, `revoke`, `ssh/sign`: the path of its audience."""
    subject: str
    names: Sequence[str] | None = None
    csr_fingerprint: str = ""
    user: Mapping[str, object] | None = None
    not_before: TimeDuration = UNSET_TIME
    not_after: TimeDuration = UNSET_TIME


class Credential(msgspec.Struct, frozen=True):
    """A token and what it says; nothing of it is proven to us, the CA will judge."""

    text: str
    token: UnverifiedToken
    claims: TokenClaims


def read_credential(text: str, *, where: str = "error parsing token: ") -> Credential:
    """A token, unproven. `where` begins the complaint. Raises `CommandError`."""
    try:
        token = parse_token(text)
        return Credential(text, token, parse_claims(token))
    except BadToken as error:
        raise CommandError(f"{where}{error.detail.removeprefix('error parsing token: ')}") from error


def check_key_holder(claims: TokenClaims) -> None:
    """A token of the JWK family (cli-admin 6.5). Raises `CommandError` for other kinds, by name."""
    for claim, kind in (("google", "GCP"), ("amazon", "AWS"), ("xms_mirid", "Azure")):
        if claim in claims.raw:
            raise CommandError(f"tokens of {kind} are not supported by this version of provisor")
    if claims.iss == "kubernetes/serviceaccount":
        raise CommandError("tokens of K8sSA are not supported by this version of provisor")
    if claims.sha or claims.sans:
        return
    if claims.aud and claims.iss and claims.sub and claims.exp is not None and claims.iat is not None:
        raise CommandError("tokens of OIDC are not supported by this version of provisor")
    raise CommandError("token is not supported")


def new_token(call: Call, wish: Wish, offline: OfflineCA | None = None) -> str:
    """A token made with the key of one of the CA's provisioners; `offline` is asked instead of `--ca-url`.

    Raises `CommandError`.
    """
    if offline is not None:
        return _make_with(call, wish, offline.client(), offline.audience(wish.purpose), offline.root_fingerprint)
    address = connect.ca_address(call)
    roots = connect.load_roots(call)
    with CAClient(address, roots, connect.own_identity(call)) as client:
        return _make_with(call, wish, client, audience(address, wish.purpose), connect.root_fingerprint(roots))


def _make_with(call: Call, wish: Wish, client: CAClient, aud: str, root_fingerprint: str) -> str:
    choice, wish = choose_for(call, wish, choose.read_choices(client.provisioners()))
    key = provisioner_key(call, client, choice)
    request = token_request(choice.name, choice.key_id, aud, wish)
    return make_token(msgspec.structs.replace(request, root_fingerprint=root_fingerprint), key)


def choose_for(call: Call, wish: Wish, choices: Sequence[Choice]) -> tuple[Choice, Wish]:
    """The provisioner, and the wish with its subject asked for when there was none. Raises `CommandError`."""
    choice = choose.choose(call, choices)
    if not wish.subject:
        subject = ask_subject()
        names = [subject] if wish.names is not None and not any(wish.names) else wish.names
        wish = msgspec.structs.replace(wish, subject=subject, names=names)
    if choice.kind == "ACME" and call.has("acme") and call.switch("offline"):
        raise CommandError("offline mode and ACME are mutually exclusive")
    if choice.kind in ("ACME", "SCEP") and not call.has("acme"):
        raise CommandError(f"provisor {choice.kind} provisioners do not support token auth flows")
    if choice.kind != "JWK":
        raise CommandError(f"provisioners of type {choice.kind} are not supported by this version of provisor")
    return choice, wish


def ask_subject() -> str:
    """The name that a token or certificate is for. Raises `CommandError` without a terminal."""
    return prompt.ask_text(_SUBJECT, check=lambda text: None if text else "value is empty")


def provisioner_key(call: Call, client: CAClient, choice: Choice) -> PrivateKey:
    """The key of `--key`, else the one the CA keeps encrypted."""
    if call.has("key") and (path := call.text("key")):
        password, flag = keys.password_from(call, "password-file", "provisioner-password-file")
        return keys.load_signing_key(path, password, flag=flag)
    encrypted_key = client.encrypted_key(choice.key_id)
    password, flag = keys.password_from(call, "provisioner-password-file", "password-file")
    return keys.open_encrypted_key(encrypted_key, password, flag=flag)


def token_request(issuer: str, key_id: str, aud: str, wish: Wish) -> TokenRequest:
    """The claims of `wish`, now. Raises `BadRequest` for a validity that no CA should accept."""
    now = datetime.now(UTC)
    return TokenRequest(
        issuer=issuer,
        subject=wish.subject,
        audience=aud,
        key_id=key_id,
        window=token_window(now, wish.not_before, wish.not_after),
        issued_at=now,
        names=wish.names,
        csr_fingerprint=wish.csr_fingerprint,
        user=wish.user,
    )


def client_for(call: Call, credential: Credential, offline: OfflineCA | None = None) -> CAClient:
    """The client to use a token with, shown as `✔ CA: URL`; without a word the one of `offline`.

    A token that names its CA (`aud`) and the CA's root (`sha`) needs neither `--ca-url` nor `--root`: the root comes
    from the CA and is what the token says (cli-admin 6.5).
    """
    if offline is not None:
        return offline.client()
    aud = credential.claims.aud[0] if credential.claims.aud else ""
    if not credential.claims.sha or not aud.lower().startswith("http"):
        client = connect.open_client(call)
        output.done("CA", client.url)
        return client
    shown, address = _address(call, aud)
    root = fetch_root(address, credential.claims.sha)
    output.done("CA", shown)
    return CAClient(address, root.encode(), connect.own_identity(call))


def _address(call: Call, aud: str) -> tuple[str, CAAddress]:
    if call.text("ca-url"):
        address = connect.ca_address(call)
        return address.url, address
    try:
        # step-ca: the line shows the whole audience
        return aud, parse_ca_url(aud)
    except BadRequest as error:
        raise CommandError(f"the audience '{aud}' of the token is not the address of a CA: {error.detail}") from error
