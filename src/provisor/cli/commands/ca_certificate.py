"""`ca certificate` and `ca sign`: a certificate for a new key, and for a request that exists."""

from __future__ import annotations

import secrets
from collections.abc import Sequence

from msgspec import UNSET

from provisor.cli import exits, files, newkey, offline, output, tokens, userdata
from provisor.cli.commands import common
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, texts, unbuilt
from provisor.cli.offline import OfflineCA
from provisor.cli.times import time_flag
from provisor.cli.tokens import Credential, Wish
from provisor.client.ca import CAClient, chain_of
from provisor.client.csr import csr_fingerprint, csr_pem, make_csr
from provisor.client.errors import BadAnswer
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.names import classify_sans
from provisor.core.pem import encode_pem, encode_private_key, parse_blocks, parse_certificates
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.request import CertificateRequest, parse_csr, verify_csr
from provisor.errors import BadCSR, Malformed, Unencodable
from provisor.wire.api import SignRequest

_CERTIFICATE_FLAGS = (
    texts("san", metavar="dns|ip|email|uri", help="a name for the certificate; may be repeated"),
    *common.ATTESTATION,
    common.SET,
    common.SET_FILE,
    common.CA_CONFIG,
    common.CA_URL,
    common.ROOT,
    common.TOKEN,
    common.CONTEXT,
    common.PROVISIONER,
    common.PROVISIONER_PASSWORD,
    common.KTY,
    common.CURVE,
    common.SIZE,
    common.NOT_AFTER,
    common.NOT_BEFORE,
    common.FORCE,
    common.OFFLINE,
    common.PASSWORD,
    common.CONSOLE,
    common.KMS,
    *common.X5C,
    unbuilt("x5c-chain"),
    *common.NEBULA,
    *common.ACME,
    common.K8SSA,
)

_SIGN_FLAGS = (
    common.TOKEN,
    common.PROVISIONER,
    common.PROVISIONER_PASSWORD,
    common.NOT_BEFORE,
    common.NOT_AFTER,
    common.SET,
    common.SET_FILE,
    common.FORCE,
    common.OFFLINE,
    common.PASSWORD,
    common.CONSOLE,
    common.KMS,
    *common.X5C,
    unbuilt("x5c-chain"),
    *common.NEBULA,
    *common.ACME,
    common.K8SSA,
    common.CA_CONFIG,
    common.CA_URL,
    common.ROOT,
    common.CONTEXT,
)


@command("ca certificate", usage="<subject> <crt-file> <key-file>", flags=_CERTIFICATE_FLAGS, least=3, most=3)
def certificate(call: Call) -> None:
    """generate a new private key and certificate

    The certificate file gets the certificate and its intermediates, the key file the unencrypted key.
    """
    if _same_file(*call.arguments[1:]):
        raise CommandError(f"the certificate and the key cannot both be written to {call.arguments[1]}")
    _check_offline(call)
    with offline.open_offline(call) as ca:
        _certify(call, ca)


def _certify(call: Call, ca: OfflineCA | None) -> None:
    subject, crt_file, key_file = call.arguments
    names = call.texts("san")
    if call.text("token"):
        credential = tokens.read_credential(call.text("token"))
    else:
        subject = subject or tokens.ask_subject()
        wish = Wish(purpose="sign", subject=subject, names=names or (subject,))
        credential = tokens.read_credential(tokens.new_token(call, wish, ca))
    tokens.check_key_holder(credential.claims)
    if call.text("token") and names:
        raise exits.exclusive_flags("token", "san")
    if credential.claims.sub.lower() != subject.lower():
        raise CommandError(f"token subject '{credential.claims.sub}' and argument '{subject}' do not match")
    key = newkey.generate_for(call)
    csr = _make_csr(key, credential, names)
    with tokens.client_for(call, credential, ca) as client:
        for path in (crt_file, key_file):
            files.check_writable(path, force=call.switch("force"))
        chain = _issue(call, client, csr_pem(csr), credential, spki_der(key.public_key()))
    content = encode_private_key(key, random=secrets.token_bytes)
    files.write_together([files.Output(crt_file, chain), files.Output(key_file, content)])
    output.done("Certificate", crt_file)
    output.done("Private Key", key_file)


def _same_file(one: str, other: str) -> bool:
    """One name twice; a device may well be given twice."""
    return one == other and not one.startswith("/dev/")


def _check_offline(call: Call) -> None:
    if call.switch("offline") and call.text("token"):
        raise exits.incompatible_flags("offline", "token")


def _make_csr(key: PrivateKey, credential: Credential, names: Sequence[str]) -> bytes:
    """Common name: the token's subject; names: those of the flags and those of the token."""
    claims = credential.claims
    wanted = [*names, *(name for name in claims.sans or () if name not in names)]
    try:
        return make_csr(key, claims.sub, classify_sans(wanted))
    except Unencodable as error:
        raise CommandError(f"error creating certificate request: {error.detail}") from error


def _issue(call: Call, client: CAClient, csr: str, credential: Credential, spki: bytes) -> bytes:
    """Request the certificate; the PEM of it and its intermediates. Raises `BadAnswer` for another key's."""
    not_after, not_before = time_flag(call, "not-after"), time_flag(call, "not-before")
    data = userdata.encode_user_data(call)
    request = SignRequest(
        csr=csr,
        ott=credential.text,
        not_after=not_after,
        not_before=not_before,
        template_data=UNSET if data is None else data,
    )
    answered = "".join(chain_of(client.sign(request))).encode()
    try:
        chain = parse_certificates(answered)
        leaf = parse_certificate(chain[0])
    except Malformed as error:
        raise BadAnswer(f"the CA answered with a certificate that cannot be read: {error.detail}") from error
    if leaf.spki != spki:
        raise BadAnswer("the CA answered with a certificate for another key")
    return "".join(encode_pem("CERTIFICATE", der) for der in chain).encode()


@command("ca sign", usage="<csr-file> <crt-file>", flags=_SIGN_FLAGS, least=2, most=2)
def sign(call: Call) -> None:
    """sign a certificate signing request"""
    _check_offline(call)
    with offline.open_offline(call) as ca:
        _sign(call, ca)


def _sign(call: Call, ca: OfflineCA | None) -> None:
    csr_file, crt_file = call.arguments
    request = read_csr(csr_file)
    if call.text("token"):
        credential = tokens.read_credential(
            call.text("token"), where="error parsing flag '--token': error parsing token: "
        )
    else:
        subject = request.common_name or tokens.ask_subject()
        wish = Wish(
            purpose="sign",
            subject=subject,
            names=[name.value for name in request.names] or (subject,),
            csr_fingerprint=csr_fingerprint(request.der),
        )
        credential = tokens.read_credential(tokens.new_token(call, wish, ca))
    tokens.check_key_holder(credential.claims)
    subject = credential.claims.sub
    if request.common_name.lower() != subject.lower():
        raise CommandError(f"token subject '{subject}' and CSR CommonName '{request.common_name}' do not match")
    with tokens.client_for(call, credential, ca) as client:
        files.check_writable(crt_file, force=call.switch("force"))
        chain = _issue(call, client, csr_pem(request.der), credential, request.spki)
    files.write_file(crt_file, chain, 0o600, force=True)
    output.done("Certificate", crt_file)


def read_csr(path: str) -> CertificateRequest:
    """One request, in PEM or DER, signed by its own key. Raises `CommandError`."""
    content = files.read_pem_file(path)
    if b"-----BEGIN " in content:
        blocks = parse_blocks(content)
        if len(blocks) != 1:
            many = "more than one PEM encoded block" if blocks else "no PEM encoded block"
            raise CommandError(f"error decoding {path}: contains {many}")
        if blocks[0].label not in ("CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"):
            raise CommandError(f"error parsing {path}: file is not a certificate request")
        content = blocks[0].der
    try:
        request = parse_csr(content)
        verify_csr(request)
    except BadCSR as error:
        raise CommandError(f"error parsing {path}: {error.detail}") from error
    return request
