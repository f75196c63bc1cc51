"""Key and certificate files: the operator's own, and still no octet in one may crash or stall a process."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core import key_encryption
from provisor.core.jose import jwe
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import jwk_members, make_jwk
from provisor.core.jose.keyfile import parse_key_file
from provisor.core.pem import (
    PEMBlock,
    encode_pem,
    parse_blocks,
    parse_certificates,
    parse_private_key,
    parse_public_key,
)
from provisor.errors import BadKey, Malformed
from support.credentials import make_key
from support.fuzzing import brief, fuzz, mutated

FILES = [
    path.read_bytes()
    for path in sorted((Path(__file__).parents[1] / "unit" / "core" / "data" / "keys").iterdir())
    if path.suffix in (".pem", ".pub") and "DSA" not in path.name
]
BLOCKS = [block for file in FILES for block in parse_blocks(file)]
PASSWORD = b"sesame"
JWK = json.dumps({**jwk_members(make_jwk(make_key())), "d": "AAAA"}).encode()
JWE = encrypt_pbes2(JWK, PASSWORD, os.urandom, iterations=1000).encode()


@pytest.fixture(autouse=True, scope="module")
def _cheap() -> Iterator[None]:
    """What costs time by its very purpose is bounded by numbers in the files; here they are small."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(key_encryption, "MAX_PBKDF2_ITERATIONS", 5000)
        patch.setattr(key_encryption, "MAX_SCRYPT_OCTETS", 1 << 21)
        patch.setattr(key_encryption, "MAX_BCRYPT_ROUNDS", 4)
        patch.setattr(jwe, "MAX_ITERATIONS", 5000)
        yield


def examine(data: bytes) -> None:
    with brief(0.5):
        for read in (parse_private_key, parse_key_file):
            with suppress(BadKey):
                read(data, PASSWORD, where="f")
        with suppress(BadKey):
            parse_public_key(data)
        with suppress(Malformed):
            assert parse_certificates(data)


@fuzz(500)
@given(mutated([*FILES, JWK, JWE]))
def test_a_changed_key_file_is_read_or_bad(data: bytes) -> None:
    examine(data)


@fuzz(500)
@given(
    st.sampled_from(BLOCKS).flatmap(lambda block: st.tuples(st.just(block), mutated([block.der]))),
    mutated([b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00112233445566778899AABBCCDDEEFF\n\n", b""]),
)
def test_changed_octets_in_a_good_block_are_a_key_or_bad(case: tuple[PEMBlock, bytes], headers: bytes) -> None:
    block, der = case
    text = encode_pem(block.label, der).encode()
    if block.headers:
        headers = b"".join(f"{name}: {value}\n".encode("latin-1") for name, value in block.headers.items()) + b"\n"
    head, _, rest = text.partition(b"\n")
    examine(head + b"\n" + headers + rest)


@pytest.mark.parametrize(
    "piece", [b"-----BEGIN A-----\n", b"-----", b"a: b\n", b"-----BEGIN A-----\na:b\n", b"-----END "]
)
def test_the_longest_file_takes_no_time(piece: bytes) -> None:
    with brief(1):
        parse_blocks(piece * (1_000_000 // len(piece)))
