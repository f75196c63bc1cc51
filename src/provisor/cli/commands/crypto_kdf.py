"""`crypto kdf hash` and `compare`: hashes of passwords."""

from __future__ import annotations

from provisor.cli import exits, output
from provisor.cli.crypto import phc
from provisor.cli.crypto.message import read_message
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text

_INSECURE = switch("insecure", help="allow the password as an argument, where others can see it")


@command(
    "crypto kdf hash",
    usage="[<input>]",
    flags=(
        text("alg", metavar="algorithm", default="scrypt", help="scrypt, bcrypt, argon2i or argon2id"),
        _INSECURE,
    ),
    most=1,
)
def hash_password(call: Call) -> None:
    """hash a password so that it can be kept

    The password comes from stdin, every octet of it, or is asked for.
    """
    algorithm = call.text("alg")
    if not algorithm:
        raise CommandError("missing value for flag '--alg'")
    if algorithm not in phc.ALGORITHMS:
        raise exits.invalid_value(algorithm, "alg")
    secret = _secret(call, call.arguments, "Please enter the password to hash")
    output.data(phc.hash_secret(secret, algorithm))


@command("crypto kdf compare", usage="<phc-hash> [<input>]", flags=(_INSECURE,), most=2)
def compare(call: Call) -> None:
    """check a password against its hash

    Prints ok, or fail on stderr with exit status 1.
    """
    if not call.arguments:
        raise CommandError(f"missing positional argument <PHC_HASH> in '{call.command} <phc-hash> [<input>]'")
    secret = _secret(call, call.arguments[1:], "Please enter the password to compare")
    if not phc.is_hash_of(call.arguments[0], secret):
        raise CommandError("fail")
    output.data("ok")


def _secret(call: Call, given: tuple[str, ...], question: str) -> bytes:
    if not given:
        return read_message(question)
    if not call.switch("insecure"):
        raise CommandError("positional argument <INPUT> requires the '--insecure' flag")
    return given[0].encode(errors="surrogateescape")
