"""The flags of a SCEP provisioner, and whether its decrypter can decrypt."""

from __future__ import annotations

from base64 import b64decode
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import rsa

from provisor.cli import files, prompt
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.cli.provisioning import bundles
from provisor.cli.provisioning.entry import SCEP_KEY_LENGTH, Entry
from provisor.core.keys import PasswordNeeded, PrivateKey, WrongPassword, spki_der
from provisor.core.pem import parse_certificates, parse_private_key
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, ConfigError, Malformed
from provisor.kms.uri import KMSKind, file_path, find_kind, parse_uri

_SWITCHES = {
    "force-cn": "forceCN",
    "include-root": "includeRoot",
    "exclude-intermediate": "excludeIntermediate",
}
_NUMBERS = {
    "min-public-key-length": "minimumPublicKeyLength",
    "encryption-algorithm-identifier": "encryptionAlgorithmIdentifier",
}


def apply_scep(call: Call, entry: Entry) -> None:
    """What the flags say. Raises `CommandError`."""
    challenges = given(call, "challenge")
    if len(challenges) > 1:
        raise CommandError("provisioner type 'SCEP' does not support multiple '--challenge' flags")
    if challenges:
        entry.put("challenge", challenges[0])
    if call.is_set("capabilities"):
        entry.put("capabilities", given(call, "capabilities"))
    for flag, member in _SWITCHES.items():
        if call.is_set(flag):
            entry.put(member, call.switch(flag))
    for flag, member in _NUMBERS.items():
        if call.is_set(flag):
            entry.put(member, call.number(flag))
    _apply_decrypter(call, entry)


def given(call: Call, flag: str) -> list[str]:
    """The values of a flag. Of several the empty ones do not count."""
    values = list(call.texts(flag)) if call.is_set(flag) else []
    return [value for value in values if value] or values[:1]


def _apply_decrypter(call: Call, entry: Entry) -> None:
    if call.is_set("scep-decrypter-certificate-file"):
        path = call.text("scep-decrypter-certificate-file")
        entry.put("decrypterCertificate", bundles.decrypter_certificate(path))
    if path := call.text("scep-decrypter-key-file"):
        entry.put("decrypterKeyPEM", bundles.decrypter_key(path))
    if call.is_set("scep-decrypter-key-uri"):
        entry.put("decrypterKey", call.text("scep-decrypter-key-uri"))
    if path := call.text("scep-decrypter-key-password-file"):
        try:
            password = files.read_password(path)
        except CommandError as error:
            raise CommandError(f'failed reading decrypter key password from "{path}": {error.message}') from error
        entry.put("decrypterKeyPassword", password.decode(errors="replace"))


def check_scep(entry: Entry) -> None:
    """Raises `CommandError` for numbers out of range, and for a decrypter whose parts do not fit."""
    length = entry.number("minimumPublicKeyLength") or SCEP_KEY_LENGTH
    if length % 8:
        raise CommandError(f"{length} bits is not exactly divisible by 8")
    if not 0 <= entry.number("encryptionAlgorithmIdentifier") <= 4:
        raise CommandError("only encryption algorithm identifiers from 0 to 4 are valid")
    password = Secret(entry.text("decrypterKeyPassword"))
    key = None
    if pem := entry.text("decrypterKeyPEM"):
        key = _open(b64decode(pem), password, "decrypterKeyPEM", "PEM")
        if not isinstance(key, rsa.RSAPrivateKey):
            raise CommandError("failed creating decrypter: decryptorKeyPEM is not a crypto.Decrypter")
    if reference := entry.text("decrypterKey"):
        key = _open_reference(reference, password)
        if not isinstance(key, rsa.RSAPrivateKey):
            raise CommandError("failed creating decrypter: decryptionKey is not a crypto.Decrypter")
    if key is not None:
        _check_pair(entry, key)


def _open_reference(reference: str, password: Secret) -> PrivateKey | None:
    try:
        scheme = parse_uri(reference).scheme
    except ConfigError as error:
        raise CommandError(f"failed parsing decrypter key: error parsing {reference}: scheme is missing") from error
    kind = find_kind(scheme)
    if kind is None:
        raise CommandError(f"failed parsing decrypter key: unsupported kms type {scheme}")
    if kind is not KMSKind.SOFT:
        raise CommandError(f"failed initializing kms: unsupported kms type '{scheme}'")
    path = file_path(reference)
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise CommandError("failed creating decrypter: key not found") from error
    return _open(content, password, path, path)


def _open(content: bytes, password: Secret, label: str, where: str) -> PrivateKey | None:
    """The key; None for a block that holds no private key. A missing password is asked for."""
    try:
        try:
            return parse_private_key(content, password or None)
        except PasswordNeeded:
            asked = Secret(prompt.ask_password(f"Please enter the password to decrypt {label}"))
            return parse_private_key(content, asked)
    except WrongPassword as error:
        reason = f"error decrypting {where}: x509: decryption password incorrect"
        raise CommandError(f"failed creating decrypter: {reason}") from error
    except CommandError as error:
        raise CommandError(f"failed creating decrypter: {error.message}") from error
    except BadKey:
        return None


def _check_pair(entry: Entry, key: PrivateKey) -> None:
    certificate = entry.text("decrypterCertificate")
    if not certificate:
        raise CommandError(f'provisioner "{entry.name}" does not have a decrypter certificate set')
    try:
        leaf = parse_certificate(parse_certificates(b64decode(certificate))[0])
    except Malformed as error:
        raise CommandError(f"failed parsing decrypter certificate: {error.detail}") from error
    if leaf.spki != spki_der(key.public_key()):
        raise CommandError("mismatch between decrypter certificate and decrypter public keys")
