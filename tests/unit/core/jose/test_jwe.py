from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.pbkdf2 import PBKDF2HMAC
from cryptography.hazmat.primitives.keywrap import aes_key_wrap
from hypothesis import given
from hypothesis import strategies as st
from joserfc import jwe
from joserfc.jwk import OctKey

from provisor.core.jose.encoding import decode_base64url, encode_base64url
from provisor.core.jose.jwe import MAX_ITERATIONS, decrypt_pbes2, encrypt_pbes2, parse_jwe
from provisor.core.keys import PasswordNeeded, WrongPassword
from provisor.core.secret import Secret
from provisor.errors import BadKey

PASSWORD = Secret("password")
COMPACT = encrypt_pbes2(b'{"kty":"x"}', PASSWORD, os.urandom, iterations=10)
PARTS = COMPACT.split(".")
NAMES = ("protected", "encrypted_key", "iv", "ciphertext", "tag")
FLAT = dict(zip(NAMES, PARTS, strict=True))


def header_of(compact: str) -> bytes:
    return decode_base64url(compact.split(".")[0].encode())


def with_header(**change: object) -> str:
    header = json.loads(header_of(COMPACT))
    header.update(change)
    kept = {name: value for name, value in header.items() if value is not None}
    return ".".join([encode_base64url(json.dumps(kept).encode()).decode(), *PARTS[1:]])


def test_the_default_is_what_the_client_writes() -> None:
    sizes: list[int] = []

    def random(size: int) -> bytes:
        sizes.append(size)
        return bytes(range(size))

    text = encrypt_pbes2(b"x", PASSWORD, random)
    assert header_of(text) == (
        b'{"alg":"PBES2-HS256+A128KW","cty":"jwk+json","enc":"A256GCM","p2c":600000,"p2s":"AAECAwQFBgcICQoLDA0ODw"}'
    )
    assert sizes == [16, 32, 12]
    assert decrypt_pbes2(text, PASSWORD) == b"x"
    assert decrypt_pbes2(text, b"password") == b"x"


def test_without_a_content_type_there_is_none() -> None:
    assert b"cty" not in header_of(encrypt_pbes2(b"x", PASSWORD, os.urandom, content_type="", iterations=1))


@given(st.binary(max_size=200), st.binary(min_size=1, max_size=30))
def test_what_went_in_comes_out(plaintext: bytes, password: bytes) -> None:
    text = encrypt_pbes2(plaintext, password, os.urandom, iterations=1)
    assert decrypt_pbes2(text, password) == plaintext
    with pytest.raises(WrongPassword):
        decrypt_pbes2(text, password + b"!")


@pytest.mark.filterwarnings("ignore:Key size should be", "ignore:A minimum iteration count")
@pytest.mark.parametrize("algorithm", ["PBES2-HS256+A128KW", "PBES2-HS384+A192KW", "PBES2-HS512+A256KW"])
@pytest.mark.parametrize("encryption", ["A128GCM", "A192GCM", "A256GCM"])
def test_another_library_s_messages_open_and_ours_do_there(algorithm: str, encryption: str) -> None:
    registry = jwe.JWERegistry(algorithms=[algorithm, encryption])
    key = OctKey.import_key(b"password")
    theirs = jwe.encrypt_compact({"alg": algorithm, "enc": encryption, "p2c": 1000}, b"plain", key, registry=registry)
    assert decrypt_pbes2(theirs, PASSWORD) == b"plain"
    allowed = jwe.JWERegistry(algorithms=["PBES2-HS256+A128KW", "A256GCM"])
    assert jwe.decrypt_compact(COMPACT, key, registry=allowed).plaintext == b'{"kty":"x"}'


@pytest.mark.parametrize(
    "spell",
    [
        lambda: f" {COMPACT[:30]}\n{COMPACT[30:]} ",
        lambda: json.dumps(FLAT),
        lambda: json.dumps(FLAT, indent=3),
        lambda: json.dumps({**FLAT, "header": None, "unprotected": {}, "aad": None}),
        lambda: json.dumps(
            {**{n: v for n, v in FLAT.items() if n != "encrypted_key"}, "recipients": [{"encrypted_key": PARTS[1]}]}
        ),
    ],
)
def test_every_spelling_is_the_same_message(spell: Callable[[], str]) -> None:
    assert decrypt_pbes2(spell(), PASSWORD) == b'{"kty":"x"}'
    assert parse_jwe(spell()).compact() == COMPACT


def test_headers_outside_of_the_protected_one_and_aad_count_too() -> None:
    salt, iv, key = b"s" * 8, bytes(12), bytes(16)
    wrapping = PBKDF2HMAC(hashes.SHA256(), 16, b"PBES2-HS256+A128KW\x00" + salt, 5).derive(b"password")
    protected = encode_base64url(b'{"enc":"A128GCM"}')
    aad = encode_base64url(b"more")
    sealed = AESGCM(key).encrypt(iv, b"plain", protected + b"." + aad)
    message: dict[str, object] = {
        "protected": protected.decode(),
        "unprotected": {"p2c": 5},
        "recipients": [
            {
                "header": {"alg": "PBES2-HS256+A128KW", "p2s": encode_base64url(salt).decode()},
                "encrypted_key": encode_base64url(aes_key_wrap(wrapping, key)).decode(),
            }
        ],
        "aad": aad.decode(),
        "iv": encode_base64url(iv).decode(),
        "ciphertext": encode_base64url(sealed[:-16]).decode(),
        "tag": encode_base64url(sealed[-16:]).decode(),
    }
    assert decrypt_pbes2(json.dumps(message), PASSWORD) == b"plain"
    with pytest.raises(BadKey, match="no compact"):
        parse_jwe(json.dumps(message)).compact()
    with pytest.raises(BadKey, match="disjoint"):
        decrypt_pbes2(json.dumps({**message, "unprotected": {"p2c": 5, "enc": "A256GCM"}}), PASSWORD)
    with pytest.raises(BadKey, match="altered"):
        decrypt_pbes2(json.dumps({**message, "aad": "AAAA"}), PASSWORD)


def test_a_wrong_password_says_so_in_the_words_of_the_client() -> None:
    for wrong in (b"Password", b"password ", b"x" * 100):
        with pytest.raises(WrongPassword) as refusal:
            decrypt_pbes2(COMPACT, wrong)
        assert refusal.value.detail == "failed to decrypt JWE: invalid password"
    with pytest.raises(PasswordNeeded):
        decrypt_pbes2(COMPACT, b"")
    with pytest.raises(BadKey):
        encrypt_pbes2(b"x", Secret(""), os.urandom)


@pytest.mark.parametrize("part", [0, 2, 3, 4])
def test_an_altered_part_is_noticed(part: int) -> None:
    parts = list(PARTS)
    if part == 0:
        header = json.loads(header_of(COMPACT))
        parts[0] = encode_base64url(json.dumps({**header, "cty": "other"}).encode()).decode()
    else:
        raw = bytearray(decode_base64url(parts[part].encode()))
        raw[0] ^= 1
        parts[part] = encode_base64url(bytes(raw)).decode()
    with pytest.raises(BadKey, match="altered") as refusal:
        decrypt_pbes2(".".join(parts), PASSWORD)
    assert not isinstance(refusal.value, WrongPassword)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "a.b.c.d",
        "x.x.x.x.x",
        "....",
        COMPACT + ".",
        COMPACT.rsplit(".", 1)[0],
        COMPACT[:-1] + "é",
        "{}",
        "{" * 100,
        "[]",
        "null",
        json.dumps({**FLAT, "recipients": []}),
        json.dumps({**FLAT, "recipients": [{}, {}]}),
        json.dumps({**FLAT, "recipients": ["x"]}),
        json.dumps({**FLAT, "header": "x"}),
        json.dumps({**FLAT, "header": {"alg": "PBES2-HS256+A128KW"}}),
        json.dumps({**FLAT, "iv": 1}),
        json.dumps({**FLAT, "tag": "AAAA"}),
        json.dumps({**FLAT, "iv": ""}),
        with_header(alg="dir"),
        with_header(alg="RSA-OAEP"),
        with_header(alg="PBES2-HS256+A128KW "),
        with_header(alg=None),
        with_header(alg=["PBES2-HS256+A128KW"]),
        with_header(enc="A128CBC-HS256"),
        with_header(enc="A128GCM"),
        with_header(enc={}),
        with_header(p2c=0),
        with_header(p2c=-1),
        with_header(p2c=1.5),
        with_header(p2c=10.0),
        with_header(p2c=True),
        with_header(p2c="10"),
        with_header(p2c=None),
        with_header(p2c=MAX_ITERATIONS + 1),
        with_header(p2c=10**18),
        with_header(p2s=None),
        with_header(p2s=""),
        with_header(p2s="!"),
        with_header(p2s=5),
        with_header(zip="DEF"),
        with_header(crit=["exp"]),
        "A" * 70_000,
    ],
)
def test_what_a_password_does_not_open_is_refused(text: str) -> None:
    with pytest.raises(BadKey):
        decrypt_pbes2(text, PASSWORD)


@given(st.text())
def test_any_text_is_refused_as_a_bad_key_and_nothing_else(text: str) -> None:
    with pytest.raises(BadKey):
        decrypt_pbes2(text, PASSWORD)
