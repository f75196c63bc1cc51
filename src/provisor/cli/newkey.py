"""The new key of a certificate, by `--kty`, `--curve` and `--size`."""

from __future__ import annotations

from provisor.cli import exits
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.client.csr import CURVES, KEY_TYPES, MIN_RSA_BITS, generate_key
from provisor.core.keys import PrivateKey

_MAX_RSA_BITS = 16384


def generate_for(call: Call) -> PrivateKey:
    """EC P-256 without flags. Raises `CommandError` for a combination that makes no key."""
    kind, curve, bits = call.text("kty"), call.text("crv"), call.number("size")
    if not kind:
        for flag, value in (("curve", curve), ("size", call.text("size"))):
            if value:
                raise exits.requires_flag(flag, "kty")
        return generate_key()
    match kind:
        case "RSA":
            if curve:
                raise CommandError("flag '--curve' is incompatible with flag '--kty RSA'")
            return generate_key("RSA", bits=_checked_size(bits) if call.is_set("size") else MIN_RSA_BITS)
        case "EC" | "OKP":
            if call.is_set("size"):
                raise CommandError(f"flag '--size' is incompatible with flag '--kty {kind}'")
            options = CURVES if kind == "EC" else ("Ed25519",)
            if curve and curve not in options:
                raise CommandError(
                    f"flag '--kty {kind}' is incompatible with flag '--curve {curve}'\n\n"
                    f"  Option(s): --curve {', '.join(options)}"
                )
            return generate_key(kind, curve=curve or CURVES[0])
        case _:
            raise exits.invalid_value(kind, "kty", KEY_TYPES)


def _checked_size(bits: int) -> int:
    if bits < MIN_RSA_BITS:
        raise CommandError(f"flag '--size' requires at least {MIN_RSA_BITS} unless '--insecure' flag is provided")
    if bits > _MAX_RSA_BITS:
        raise CommandError(f"flag '--size' allows at most {_MAX_RSA_BITS}")
    return bits
