"""From the flags of `ca provisioner add` to the provisioner's entry in ca.json."""

from __future__ import annotations

import json
import os

from msgspec import Struct, structs

from provisor.cli import files, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, Flag, FlagKind, switch, text, texts
from provisor.config.syntax import find_syntax_error
from provisor.core.durations import format_duration, parse_duration
from provisor.core.jose.jwe import encrypt_pbes2, parse_jwe
from provisor.core.jose.jwk import JWK, default_algorithm, encode_jwk, jwk_members, make_jwk
from provisor.core.jose.keyfile import is_jwe, parse_key_file
from provisor.core.keys import PasswordNeeded, WrongPassword, parse_public_spki
from provisor.core.pem import parse_blocks
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, Malformed
from provisor.pki import new_jwk
from provisor.wire.gojson import decode_value

_DURATIONS = {
    "x509-min-dur": "minTLSCertDuration",
    "x509-max-dur": "maxTLSCertDuration",
    "x509-default-dur": "defaultTLSCertDuration",
    "ssh-user-min-dur": "minUserSSHCertDuration",
    "ssh-user-max-dur": "maxUserSSHCertDuration",
    "ssh-user-default-dur": "defaultUserSSHCertDuration",
    "ssh-host-min-dur": "minHostSSHCertDuration",
    "ssh-host-max-dur": "maxHostSSHCertDuration",
    "ssh-host-default-dur": "defaultHostSSHCertDuration",
}
_SWITCHES = {
    "ssh": "enableSSHCA",
    "disable-renewal": "disableRenewal",
    "allow-renewal-after-expiry": "allowRenewalAfterExpiry",
    "disable-smallstep-extensions": "disableSmallstepExtensions",
}
_NEW_PASSWORD = "Please enter a password to encrypt the provisioner private key? [leave empty and we'll generate one]"

FLAGS_OF_JWK = (
    switch("create", help="make a new key pair"),
    text("public-key", help="the public key: JWK or PEM", metavar="FILE"),
    text("private-key", help="the private key: JWK, encrypted JWK or PEM", metavar="FILE"),
    text("password-file", help="the file with the password that encrypts the private key", metavar="FILE"),
    text("x509-template", help="the template of X.509 certificates", metavar="FILE"),
    text("x509-template-data", help="JSON data for it", metavar="FILE"),
    text("ssh-template", help="the template of SSH certificates", metavar="FILE"),
    text("ssh-template-data", help="JSON data for it", metavar="FILE"),
    *(Flag((name,), help=claim, kind=FlagKind.DURATION, metavar="DURATION") for name, claim in _DURATIONS.items()),
    switch("ssh", help="SSH certificates may be asked for", default=True),
    switch("disable-renewal", help="its certificates cannot be renewed"),
    switch("allow-renewal-after-expiry", help="... or also after their end"),
    switch("disable-smallstep-extensions", help="its certificates do not name the provisioner"),
)

FLAGS_OF_OTHER_TYPES = (
    *(
        text(name, hidden=True)
        for name in (
            *("client-id", "client-secret", "configuration-endpoint", "listen-address", "tenant-id"),
            *("nebula-root", "pem-keys", "min-public-key-length", "encryption-algorithm-identifier"),
            *("scep-decrypter-certificate-file", "scep-decrypter-key-file", "scep-decrypter-key-uri"),
            *("scep-decrypter-key-password-file", "instance-age", "gcp-organization", "azure-tenant"),
            "azure-audience",
        )
    ),
    text("x5c-roots", "x5c-root", hidden=True),
    *(
        structs.replace(texts(name), hidden=True)
        for name in (
            *("admin", "domain", "group", "challenge", "attestation-format", "attestation-roots", "capabilities"),
            *("aws-account", "gcp-service-account", "gcp-project", "azure-resource-group"),
            *("azure-subscription-id", "azure-object-id"),
        )
    ),
    *(
        switch(name, hidden=True)
        for name in (
            *("force-cn", "require-eab", "include-root", "exclude-intermediate", "disable-custom-sans"),
            *("disable-ssh-ca-user", "disable-ssh-ca-host"),
        )
    ),
    switch("disable-trust-on-first-use", "disable-tofu", hidden=True),
)
"""As in the reference a JWK provisioner takes no notice of them."""


class JWKEntry(Struct, frozen=True):
    """What a JWK provisioner is made of. `templates` holds the content of the files by flag, only of those given."""

    name: str
    keys: dict[str, object]
    claims: dict[str, object]
    templates: dict[str, str]

    def members(self) -> dict[str, object]:
        """The JSON object for ca.json. Raises `CommandError` for template data that is not JSON."""
        options = {"x509": self._options("x509"), "ssh": self._options("ssh")}
        return {"type": "JWK", "name": self.name, **self.keys, "claims": self.claims, "options": options}

    def _options(self, kind: str) -> dict[str, object]:
        options: dict[str, object] = {}
        if template := self.templates.get(f"{kind}-template"):
            options["template"] = template
        if data := self.templates.get(f"{kind}-template-data"):
            options["templateData"] = _parse_json(data)
        return options


def read_jwk_entry(call: Call, name: str) -> JWKEntry:
    """Reads the files that the flags name, makes or encrypts keys. Raises `CommandError`."""
    keys = _new_keys(call) if call.switch("create") else _given_keys(call)
    templates = {
        flag: files.read_file(path).decode(errors="replace")
        for flag in ("x509-template", "x509-template-data", "ssh-template", "ssh-template-data")
        if (path := call.text(flag))
    }
    return JWKEntry(name, keys, _claims(call), templates)


def _new_keys(call: Call) -> dict[str, object]:
    for flag in ("public-key", "private-key"):
        if call.is_set(flag):
            # step-ca: without dashes before the second name.
            raise CommandError(f"flag '--create' is incompatible with '{flag}'")
    return new_jwk(_new_password(call))


def _given_keys(call: Call) -> dict[str, object]:
    if not call.text("public-key"):
        raise CommandError("'--create false' requires the '--public-key' flag")
    keys: dict[str, object] = {"key": jwk_members(_read_public(call))}
    if call.text("private-key"):
        keys["encryptedKey"] = _read_private(call)
    return keys


def _read_public(call: Call) -> JWK:
    """The public half of a JWK (plain or encrypted), of a PEM key or of a certificate, with a key id."""
    path = call.text("public-key")
    content = files.read_file(path)
    jwk = _from_certificate(content) or _parse_key(content, path)
    if jwk.public_key is None:
        raise CommandError("invalid JWK: a symmetric key cannot be used as a provisioner")
    # step-ca: would store a private half given here, and show it to everybody.
    return JWK(
        kty=jwk.kty,
        public_key=jwk.public_key,
        kid=jwk.kid or jwk.thumbprint(),
        alg=jwk.alg or default_algorithm(jwk.public_key),
        use="" if b"-----BEGIN " in content else jwk.use,
    )


def _from_certificate(content: bytes) -> JWK | None:
    blocks = parse_blocks(content)
    if not blocks or blocks[0].label != "CERTIFICATE":
        return None
    try:
        return make_jwk(parse_public_spki(parse_certificate(blocks[0].der).spki))
    except Malformed as error:
        raise CommandError(error.detail) from error


def _read_private(call: Call) -> str:
    """The compact JWE: the file's own if it is one, else its key encrypted under a new password."""
    path = call.text("private-key")
    content = files.read_file(path)
    try:
        if is_jwe(content):
            return parse_jwe(content.decode()).compact()
        jwk = _parse_key(content, path)
        if jwk.private_key is None:
            raise CommandError(f"error reading {path}: it holds no private key")
        use = "" if b"-----BEGIN " in content else jwk.use
        jwk = structs.replace(jwk, kid=jwk.kid or jwk.thumbprint(), use=use)
        return encrypt_pbes2(encode_jwk(jwk, private=True), _new_password(call), os.urandom)
    except BadKey as error:
        raise CommandError(error.detail) from error


def _parse_key(content: bytes, path: str) -> JWK:
    try:
        try:
            return parse_key_file(content, None, where=path)
        except PasswordNeeded:
            asked = prompt.ask_password(f"Please enter the password to decrypt {path}")
            return parse_key_file(content, asked.encode(), where=path)
    except WrongPassword as error:
        raise CommandError(f"error decrypting {path}: x509: decryption password incorrect") from error
    except BadKey as error:
        if content.strip()[:1] not in (b"{", b"-"):
            raise CommandError(f"unexpected error on {path}: : unsupported format") from error
        raise CommandError(f"error reading {path}: {error.detail}") from error


def _new_password(call: Call) -> Secret:
    path = call.text("password-file")
    given = files.read_password(path) if path else b""
    return Secret(given or prompt.ask_password_or_generate(_NEW_PASSWORD, flag="password-file"))


def _claims(call: Call) -> dict[str, object]:
    """Durations as far as given, switches always."""
    durations: dict[str, object] = {
        claim: format_duration(parse_duration(call.text(flag)))
        for flag, claim in _DURATIONS.items()
        if call.is_set(flag)
    }
    return durations | {claim: call.switch(flag) for flag, claim in _SWITCHES.items()}


def _parse_json(text_of_file: str) -> object:
    content = text_of_file.encode()
    try:
        json.loads(content)
        return decode_value(content)
    except (ValueError, Malformed) as error:
        behind = content[error.pos : error.pos + 1].decode() if isinstance(error, json.JSONDecodeError) else ""
        problem = find_syntax_error(content) or f"invalid character '{behind}' after top-level value"
        where = "error encoding configuration: json: error calling MarshalJSON for type json.RawMessage"
        raise CommandError(f"{where}: {problem}") from error
