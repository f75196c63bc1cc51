"""Header members that show a certificate: `x5c` (RFC 7515 section 4.1.6) and `x5t` (section 4.1.7)."""

from __future__ import annotations

import base64
import hashlib

from provisor.cli import exits, files, keys
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, switch, text
from provisor.cli.jose import choosing
from provisor.cli.jose.choosing import Chosen
from provisor.core.jose.encoding import encode_base64url
from provisor.core.jose.jwk import make_jwk
from provisor.core.keys import spki_der
from provisor.core.pem import parse_certificates
from provisor.core.x509.certificate import parse_certificate
from provisor.core.x509.extensions import KeyUsage
from provisor.errors import Malformed

FLAGS: tuple[Flag, ...] = (
    text("x5c-cert", metavar="file", help="certificate chain to show in the header x5c; --key is its key"),
    text("x5c-key", metavar="file", help="key of --x5c-cert"),
    switch("x5c-insecure", help="use a chain that no purpose was checked of"),
    text("x5t-cert", metavar="file", help="certificate to name in the header x5t; --key is its key"),
    text("x5t-key", metavar="file", help="key of --x5t-cert"),
)


def choose_by_certificate(call: Call, alg: str) -> Chosen | None:
    """The key that belongs to `--x5c-cert` or `--x5t-cert`; None without either. Raises `CommandError`."""
    kind = next((kind for kind in ("x5c", "x5t") if call.text(f"{kind}-cert") or call.text(f"{kind}-key")), None)
    if kind is None:
        return None
    other = "x5t" if kind == "x5c" else "x5c"
    if call.text(f"{other}-cert"):
        raise exits.exclusive_flags("x5c-cert", "x5t-cert")
    certificate_file, key_file = call.text(f"{kind}-cert"), call.text(f"{kind}-key") or call.text("key")
    if not key_file:
        raise CommandError(f"one of flag --key or --{kind}-key is required with flag --{kind}-cert")
    key = keys.load_signing_key(key_file, choosing.password_of(call), flag="password-file")
    jwk = make_jwk(key, alg=alg or None)
    if not certificate_file:
        return Chosen(jwk, key_file)
    try:
        chain = parse_certificates(files.read_pem_file(certificate_file))
        leaf = parse_certificate(chain[0])
    except Malformed as error:
        raise CommandError(f"error reading {certificate_file}: {error.detail}") from error
    checking = f"error validating {kind} certificate chain and key for use in {kind} header: Validate{kind.upper()}: "
    if spki_der(key.public_key()) != leaf.spki:
        reason = "error verifying certificate and key: private key does not match public key"
        raise CommandError(checking + reason)
    signs = leaf.key_usage is None or KeyUsage.DIGITAL_SIGNATURE in leaf.key_usage
    if kind == "x5c" and not signs and not call.switch("x5c-insecure"):
        raise CommandError(
            checking + "certificate/private-key pair used to sign token is not approved for digital signature"
        )
    header: dict[str, object]
    if kind == "x5c":
        header = {"x5c": [base64.b64encode(der).decode() for der in chain]}
    else:
        digest = hashlib.sha1(chain[0], usedforsecurity=False).digest()
        header = {"x5t": encode_base64url(digest).decode()}
    return Chosen(jwk, key_file, header)
