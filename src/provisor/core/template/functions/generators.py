"""Passwords, keys and certificates a template makes. All of it is costly, and counted."""

from __future__ import annotations

import base64
import hashlib
import hmac
import ipaddress
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Final

from provisor.core.template.errors import FunctionError
from provisor.core.template.function import Function, spends, takes
from provisor.core.template.functions.encoding import decode_base64
from provisor.core.template.limits import Budget
from provisor.core.template.values import Field, Struct, Value, go_string, kind_name, octets

_ANY_LIST: Final = "[]interface {}"
_CERTIFICATE: Final = "sprig.certificate"


class Certificate(Struct):
    """A certificate and its key, both PEM."""

    go = _CERTIFICATE
    members = (Field("Cert"), Field("Key"))
    comparable = True

    def __init__(self, certificate: str, key: str) -> None:
        super().__init__({"Cert": certificate, "Key": key})

    def same(self, other: object) -> bool:
        return isinstance(other, Certificate) and self.values == other.values


# -- passwords -----------------------------------------------------------------------------------

_STANDARD: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
_BCRYPT: Final = b"./ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_TO_BCRYPT: Final = bytes.maketrans(_STANDARD, _BCRYPT)


def _bcrypt(budget: Budget, password: str) -> str:
    import bcrypt  # heavy, and templates seldom use it

    data = octets(password)
    if len(data) > 72:
        return "failed to encrypt string with bcrypt: bcrypt: password length exceeds 72 bytes"
    budget.spend_costly("bcrypt")
    salt = base64.b64encode(budget.world.random(16)).rstrip(b"=").translate(_TO_BCRYPT)
    return bcrypt.hashpw(data, b"$2a$10$" + salt).decode()


def _htpasswd(budget: Budget, user: str, password: str) -> str:
    return f"invalid username: {user}" if ":" in user else f"{user}:{_bcrypt(budget, password)}"


_LONG: Final = (
    *("CvcvnoCvcvCvcv", "CvcvCvcvnoCvcv", "CvcvCvcvCvcvno", "CvccnoCvcvCvcv", "CvccCvcvnoCvcv", "CvccCvcvCvcvno"),
    *("CvcvnoCvccCvcv", "CvcvCvccnoCvcv", "CvcvCvccCvcvno", "CvcvnoCvcvCvcc", "CvcvCvcvnoCvcc", "CvcvCvcvCvccno"),
    *("CvccnoCvccCvcv", "CvccCvccnoCvcv", "CvccCvccCvcvno", "CvcvnoCvccCvcc", "CvcvCvccnoCvcc", "CvcvCvccCvccno"),
    *("CvccnoCvcvCvcc", "CvccCvcvnoCvcc", "CvccCvcvCvccno"),
)
_SHAPES: Final = {
    "maximum": ("anoxxxxxxxxxxxxxxxxx", "axxxxxxxxxxxxxxxxxno"),
    "long": _LONG,
    "medium": ("CvcnoCvc", "CvcCvcno"),
    "short": ("Cvcn",),
    "basic": ("aaanaaan", "aannaaan", "aaannaaa"),
    "pin": ("nnnn",),
}
_VOWELS: Final = "AEIOU"
_CONSONANTS: Final = "BCDFGHJKLMNPQRSTVWXYZ"
_CLASSES: Final = {
    "V": _VOWELS,
    "C": _CONSONANTS,
    "v": _VOWELS.lower(),
    "c": _CONSONANTS.lower(),
    "A": _VOWELS + _CONSONANTS,
    "a": _VOWELS + _VOWELS.lower() + _CONSONANTS + _CONSONANTS.lower(),
    "n": "0123456789",
    "o": "@&%?,=[]_:-+*$#!'^~;()/.",
    "x": _VOWELS + _VOWELS.lower() + _CONSONANTS + _CONSONANTS.lower() + "0123456789!@#$%^&*()",
}
_SCOPE: Final = b"com.lyndir.masterpassword"


def _derive_password(budget: Budget, counter: int, kind: str, password: str, user: str, site: str) -> str:
    """A password for a site from a master password (the Master Password algorithm, version 1)."""
    shapes = _SHAPES.get(kind)
    if shapes is None:
        return f"cannot find password template {kind}"
    budget.spend_costly("derivePassword")
    name, place = octets(user), octets(site)
    salt = _SCOPE + len(name).to_bytes(4) + name
    key = hashlib.scrypt(octets(password), salt=salt, n=32768, r=8, p=2, dklen=64, maxmem=96 << 20)
    seed = hmac.digest(key, _SCOPE + len(place).to_bytes(4) + place + int(counter).to_bytes(4), "sha256")
    shape = shapes[seed[0] % len(shapes)]
    return "".join(_CLASSES[c][seed[at + 1] % len(_CLASSES[c])] for at, c in enumerate(shape))


def _aes(password: str, vector: bytes) -> object:
    from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes  # seldom used

    return Cipher(algorithms.AES(octets(password)[:32].ljust(32, b"\0")), modes.CBC(vector))


def _encrypt_aes(budget: Budget, password: str, text: str) -> str:
    data = octets(text)
    missing = 16 - len(data) % 16
    vector = budget.world.random(16)
    encryptor = _aes(password, vector).encryptor()  # type: ignore[attr-defined]
    return base64.b64encode(
        vector + encryptor.update(data + bytes((missing,)) * missing) + encryptor.finalize()
    ).decode()


def _decrypt_aes(password: str, text: str) -> str:
    data = decode_base64(text)
    if len(data) < 16:
        capacity = len(octets(text)) // 4 * 3
        raise FunctionError(f"runtime error: slice bounds out of range [:16] with capacity {capacity}")
    if len(data) % 16:
        raise FunctionError("crypto/cipher: input not full blocks")
    decryptor = _aes(password, data[:16]).decryptor()  # type: ignore[attr-defined]
    plain: bytes = decryptor.update(data[16:]) + decryptor.finalize()
    if not plain:
        raise FunctionError("runtime error: index out of range [-1]")
    if plain[-1] > len(plain):
        raise FunctionError(f"runtime error: slice bounds out of range [:{len(plain) - plain[-1]}]")
    return go_string(plain[: len(plain) - plain[-1]])


# -- keys and certificates -----------------------------------------------------------------------


def _make_key(budget: Budget, kind: str) -> str:
    if kind not in ("", "rsa", "dsa", "ecdsa", "ed25519"):
        return f"Unknown type {kind}"
    budget.spend_costly("genPrivateKey")
    return _key_pem(budget.world.make_key(kind or "rsa"))


def _key_pem(key: object) -> str:
    from cryptography.hazmat.primitives import serialization as forms  # seldom used
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    form = forms.PrivateFormat.PKCS8 if isinstance(key, Ed25519PrivateKey) else forms.PrivateFormat.TraditionalOpenSSL
    octets_: bytes = key.private_bytes(forms.Encoding.PEM, form, forms.NoEncryption())  # type: ignore[attr-defined]
    return octets_.decode()


def _read_key(pem: str) -> object:
    from cryptography.exceptions import UnsupportedAlgorithm  # seldom used
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    if "-----BEGIN" not in pem:
        raise FunctionError("parsing private key: no PEM data in input")
    try:
        return load_pem_private_key(octets(pem), None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise FunctionError("parsing private key: not a private key") from None


def _addresses(ips: Sequence[Value] | None) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    found = []
    for ip in ips or ():
        if not isinstance(ip, str):
            raise FunctionError(f"error parsing ip: {ip} is not a string")
        try:
            found.append(ipaddress.ip_address(ip))
        except ValueError:
            raise FunctionError(f"error parsing ip: {ip}") from None
    return found


def _names(names: Sequence[Value] | None) -> list[str]:
    for name in names or ():
        if not isinstance(name, str):
            shown = f"{name}" if kind_name(name) != "invalid" else "<nil>"
            raise FunctionError(f"error processing alternate dns name: {shown} is not a string")
    return list(names or ())


def _certified(
    budget: Budget,
    name: str,
    days: int,
    key: object,
    ips: Sequence[Value] | None = None,
    dns: Sequence[Value] | None = None,
    *,
    is_ca: bool = False,
    issuer: Certificate | None = None,
) -> Certificate:
    """A certificate over `key`, signed by itself or by `issuer`."""
    from cryptography import x509  # seldom used
    from cryptography.x509.oid import ExtendedKeyUsageOID

    addresses, names = _addresses(ips), _names(dns)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]) if name else x509.Name([])
    signer, signer_name = key, subject
    if issuer is not None:
        signer = _read_key(issuer.values["Key"])
        signer_name = _read_certificate(issuer.values["Cert"]).subject  # type: ignore[attr-defined]
    now = budget.world.now
    if abs(days) > 100_000:
        raise FunctionError("a certificate for so many days")
    builder = (
        x509.CertificateBuilder(signer_name, subject, key.public_key())  # type: ignore[attr-defined]
        .serial_number(int.from_bytes(budget.world.random(16)) >> 1 or 1)
        .not_valid_before(now)
        .not_valid_after(max(now + timedelta(days=days), now + timedelta(seconds=1)))
        .add_extension(x509.KeyUsage(True, False, True, False, False, is_ca, False, False, False), critical=True)
        .add_extension(
            x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
            critical=False,
        )
        .add_extension(x509.BasicConstraints(is_ca, None), critical=True)
    )
    if names or addresses:
        alternative = [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]
        builder = builder.add_extension(x509.SubjectAlternativeName(alternative), critical=False)
    from cryptography.hazmat.primitives.hashes import SHA256  # seldom used
    from cryptography.hazmat.primitives.serialization import Encoding

    algorithm = None if type(signer).__name__.startswith("Ed25519") or "Ed25519" in type(signer).__name__ else SHA256()
    try:
        made = builder.sign(signer, algorithm)  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise FunctionError(f"error creating certificate: {error}") from None
    return Certificate(made.public_bytes(Encoding.PEM).decode(), _key_pem(key))


def _read_certificate(pem: str) -> object:
    from cryptography import x509  # seldom used

    try:
        return x509.load_pem_x509_certificate(octets(pem))
    except ValueError:
        raise FunctionError("unable to decode certificate") from None


def _with_new_key(make: Callable[..., Certificate]) -> Callable[..., Certificate]:
    """The form that makes an RSA key of 2048 bits itself."""

    def call(budget: Budget, *arguments: Value) -> Certificate:
        budget.spend_costly("a key generator")
        return make(budget, *arguments, _key_pem(budget.world.make_key("rsa2048")))

    return call


def _gen_ca(budget: Budget, name: str, days: int, key: str) -> Certificate:
    budget.spend_costly("genCA")
    return _certified(budget, name, days, _read_key(key), is_ca=True)


def _gen_self_signed(budget: Budget, name: str, ips: Value, dns: Value, days: int, key: str) -> Certificate:
    budget.spend_costly("genSelfSignedCert")
    return _certified(budget, name, days, _read_key(key), ips, dns)


def _gen_signed(
    budget: Budget, name: str, ips: Value, dns: Value, days: int, issuer: Certificate, key: str
) -> Certificate:
    budget.spend_costly("genSignedCert")
    return _certified(budget, name, days, _read_key(key), ips, dns, issuer=issuer)


def _build_custom(certificate: str, key: str) -> Certificate:
    texts = []
    for name, text in (("certificate", certificate), ("private key", key)):
        try:
            texts.append(go_string(decode_base64(text)))
        except FunctionError:
            raise FunctionError(f"unable to decode base64 {name}") from None
    _read_certificate(texts[0])
    try:
        _read_key(texts[1])
    except FunctionError as error:
        raise FunctionError(f"error parsing private key: {error}") from None
    return Certificate(*texts)


def _refuse_lookup(_name: str) -> str:
    raise FunctionError("looking up a host name is not allowed here")


SECRETS: Final[Mapping[str, Function]] = {
    "bcrypt": spends("string")(_bcrypt),
    "buildCustomCert": takes("string", "string")(_build_custom),
    "decryptAES": takes("string", "string")(_decrypt_aes),
    "derivePassword": spends("uint32", "string", "string", "string", "string")(_derive_password),
    "encryptAES": spends("string", "string")(_encrypt_aes),
    "genCA": spends("string", "int")(_with_new_key(_gen_ca)),
    "genCAWithKey": spends("string", "int", "string")(_gen_ca),
    "genPrivateKey": spends("string")(_make_key),
    "genSelfSignedCert": spends("string", _ANY_LIST, _ANY_LIST, "int")(_with_new_key(_gen_self_signed)),
    "genSelfSignedCertWithKey": spends("string", _ANY_LIST, _ANY_LIST, "int", "string")(_gen_self_signed),
    "genSignedCert": spends("string", _ANY_LIST, _ANY_LIST, "int", _CERTIFICATE)(_with_new_key(_gen_signed)),
    "genSignedCertWithKey": spends("string", _ANY_LIST, _ANY_LIST, "int", _CERTIFICATE, "string")(_gen_signed),
    "getHostByName": takes("string")(_refuse_lookup),
    "htpasswd": spends("string", "string")(_htpasswd),
    "randBytes": spends("int")(lambda budget, count: base64.b64encode(_random(budget, count)).decode()),
    "uuidv4": spends()(lambda budget: _uuid(budget.world.random(16))),
}


def _random(budget: Budget, count: int) -> bytes:
    if count < 0:
        raise FunctionError("runtime error: makeslice: len out of range")
    budget.allocate(count * 2)
    return budget.world.random(count)


def _uuid(drawn: bytes) -> str:
    digits = (drawn[:6] + bytes((drawn[6] & 0x0F | 0x40, drawn[7], drawn[8] & 0x3F | 0x80)) + drawn[9:]).hex()
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
