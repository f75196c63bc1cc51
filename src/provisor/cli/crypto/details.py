"""The numbers a key is made of, for `crypto key inspect`."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from provisor.cli.crypto.reading import Key, public_half
from provisor.core.keys import PublicKey, describe_key

_OCTETS_A_LINE = 16


class Part(msgspec.Struct, frozen=True):
    """One number or string of octets under its name; a small number stands on the line of its name."""

    name: str
    octets: bytes = b""
    number: int | None = None
    word: str = ""


class Details(msgspec.Struct, frozen=True):
    """`title` is the first line; `bits` and `curve` as `KeyInfo` has them."""

    title: str
    kind: str
    private: bool
    bits: int
    curve: str
    parts: Sequence[Part]


def describe(key: Key) -> Details:
    """What a key is made of; of a private one all of it."""
    info = describe_key(public_half(key))
    title, parts = _describe(key, info.bits)
    private = public_half(key) is not key
    return Details(title, info.kind, private, info.bits, info.curve, parts)


def _describe(key: Key, bits: int) -> tuple[str, list[Part]]:
    if isinstance(key, ec.EllipticCurvePrivateKey):
        # step-ca: calls it that
        return f"EC PrivateKey-Key: ({bits} bit)", _curve_parts(key.public_key(), key)
    if isinstance(key, ec.EllipticCurvePublicKey):
        return f"EC Public-Key: ({bits} bit)", _curve_parts(key)
    if isinstance(key, rsa.RSAPrivateKey):
        return f"RSA Private-Key: ({bits} bit)", _rsa_private_parts(key)
    if isinstance(key, rsa.RSAPublicKey):
        numbers = key.public_numbers()
        return f"RSA Public-Key: ({bits} bit)", [_octets("Modulus", numbers.n), Part("Exponent", number=numbers.e)]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        # step-ca: counts both halves
        parts = [Part("Public", key.public_key().public_bytes_raw()), Part("Private", key.private_bytes_raw())]
        return "Ed25519 Private-Key: (512 bit)", parts
    return "Ed25519 Public-Key: (256 bit)", [Part("Public", key.public_bytes_raw())]


def _curve_parts(public: ec.EllipticCurvePublicKey, private: ec.EllipticCurvePrivateKey | None = None) -> list[Part]:
    point, size = public.public_numbers(), (public.curve.key_size + 7) // 8
    parts = [Part("X", point.x.to_bytes(size, "big")), Part("Y", point.y.to_bytes(size, "big"))]
    if private is not None:
        parts.append(Part("D", private.private_numbers().private_value.to_bytes(size, "big")))
    return [*parts, Part("Curve", word=describe_key(public).curve)]


def _rsa_private_parts(key: rsa.RSAPrivateKey) -> list[Part]:
    numbers = key.private_numbers()
    return [
        _octets("Modulus", numbers.public_numbers.n),
        Part("Public Exponent", number=numbers.public_numbers.e),
        _octets("Private Exponent", numbers.d),
        _octets("Prime #1", numbers.p),
        _octets("Prime #2", numbers.q),
        _octets("Exponent #1", numbers.dmp1),
        _octets("Exponent #2", numbers.dmq1),
        _octets("Coefficient", numbers.iqmp),
    ]


def _octets(name: str, number: int) -> Part:
    return Part(name, number.to_bytes((number.bit_length() + 7) // 8, "big"))


def as_text(details: Details) -> str:
    """The lines as OpenSSL sets them."""
    lines = [details.title]
    for part in details.parts:
        if part.number is not None:
            lines.append(f"{part.name}: {part.number} (0x{part.number:x})")
        elif part.word:
            lines.append(f"{part.name}: {part.word}")
        else:
            lines.append(f"{part.name}:")
            lines += _rows(part.octets)
    return "\n".join(lines)


def _rows(octets: bytes) -> list[str]:
    rows = [octets[at : at + _OCTETS_A_LINE] for at in range(0, len(octets), _OCTETS_A_LINE)]
    last = len(rows) - 1
    return ["    " + row.hex(":") + ("" if n == last else ":") for n, row in enumerate(rows)]


def as_members(details: Details) -> dict[str, object]:
    """The same for JSON: names in snake case, octets in hex."""
    members: dict[str, object] = {"type": details.kind, "private": details.private, "bits": details.bits}
    for part in details.parts:
        name = part.name.lower().replace(" #", "_").replace(" ", "_")
        members[name] = part.number if part.number is not None else part.word or part.octets.hex()
    return members


def public_octets(key: PublicKey) -> bytes:
    """The bits of subjectPublicKey (RFC 5280 section 4.1.2.7)."""
    if isinstance(key, ec.EllipticCurvePublicKey):
        return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    if isinstance(key, rsa.RSAPublicKey):
        return key.public_bytes(Encoding.DER, PublicFormat.PKCS1)
    return key.public_bytes_raw()
