"""`crypto hash digest` and `compare`."""

from __future__ import annotations

import hmac

from cryptography.hazmat.primitives.hashes import HashAlgorithm

from provisor.cli import exits, output
from provisor.cli.crypto import hashing
from provisor.cli.crypto.encoding import decode_hex
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch, text

_FLAGS = (
    text("alg", metavar="algorithm", default="sha256", help=f"{hashing.WORDS} (default: sha256)"),
    switch("insecure", help="allow MD5"),
)


@command("crypto hash digest", usage="<file-or-directory>...", flags=_FLAGS, least=1, most=None)
def digest(call: Call) -> None:
    """print the digest of files and folders

    That of a folder is made of the modes and contents of all that is in it.
    """
    algorithm = _algorithm(call)
    for path in call.arguments:
        output.data(f"{hashing.digest_path(path, algorithm).hex()}  {path}")


@command("crypto hash compare", usage="<hash> <file-or-directory>", flags=_FLAGS, least=2, most=2)
def compare(call: Call) -> None:
    """check the digest of a file or folder

    Prints ok, or fail on stderr with exit status 1.
    """
    algorithm = _algorithm(call)
    wanted, path = call.arguments
    try:
        octets = decode_hex(wanted)
    except ValueError as error:
        # step-ca: leaves out what it did
        reason = str(error).removeprefix("encoding/hex: ").removeprefix("invalid byte: ")
        raise CommandError(f"error decoding {wanted}: : {reason}") from error
    if not hmac.compare_digest(hashing.digest_path(path, algorithm), octets):
        raise CommandError("fail")
    output.data("ok")


def _algorithm(call: Call) -> HashAlgorithm:
    name = call.text("alg")
    if not name:
        raise CommandError("missing value for flag '--alg'")
    algorithm = hashing.find_algorithm(name)
    if algorithm is None:
        raise exits.invalid_value(name, "alg")
    if algorithm.name == "md5" and not call.switch("insecure"):
        raise CommandError(f"flag '--alg {name}' requires the '--insecure' flag")
    return algorithm
