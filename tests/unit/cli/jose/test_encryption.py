"""Messages of the RFC, and what is not opened. Vectors: RFC 7516 appendix A.1 and A.3, RFC 7517 appendix C."""

from __future__ import annotations

import pytest

from provisor.cli.exits import CommandError
from provisor.cli.jose import encryption
from provisor.client.csr import generate_key
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import JWK, make_jwk, parse_jwk
from provisor.core.secret import Secret

WRAPPED = (
    "eyJhbGciOiJBMTI4S1ciLCJlbmMiOiJBMTI4Q0JDLUhTMjU2In0."
    "6KB707dM9YTIgHtLvtgWQ8mKwboJW3of9locizkDTHzBC2IlrT1oOQ.AxY8DCtDaGlsbGljb3RoZQ."
    "KDlTtXchhZTGufMYmOYGS4HffxPSUrfmqCHXaI9wOGY.U0m_YmjN04DJvceFICbCVQ"
)
WRAPPING = parse_jwk({"kty": "oct", "k": "GawgguFyGrWKav7AX4VKUg"})


def opened(text: str, key: JWK) -> bytes:
    message, compact = encryption.read_message(text.encode())
    return encryption.decrypt_with(message, compact, key)


def test_a_message_of_the_rfc_is_opened() -> None:
    assert opened(WRAPPED, WRAPPING) == b"Live long and prosper."


@pytest.mark.parametrize("part", range(5))
def test_an_altered_message_is_not(part: int) -> None:
    parts = WRAPPED.split(".")
    parts[part] = ("B" if parts[part][0] == "A" else "A") + parts[part][1:]
    with pytest.raises(CommandError):
        opened(".".join(parts), WRAPPING)


@pytest.mark.parametrize("kind", ["EC", "RSA"])
def test_every_algorithm_of_a_kind_is_read_back_by_the_private_half_alone(kind: str) -> None:
    key = make_jwk(generate_key(kind), alg="", use="enc")
    other = make_jwk(generate_key(kind), alg="", use="enc")
    for algorithm in encryption.KEY_ALGORITHMS[kind]:
        for content in encryption.CONTENT:
            text = encryption.encrypt_for(b"plain", {"alg": algorithm, "enc": content}, key)
            assert opened(text, key) == b"plain"
            if not (algorithm == "RSA1_5" and content != "A128GCM"):
                with pytest.raises(CommandError, match="error in cryptographic primitive"):
                    opened(text, other)
    with pytest.raises(CommandError, match="cannot use a public key for decryption"):
        opened(text, JWK(kty=key.kty, public_key=key.public_key))


def test_a_key_of_another_kind_decides_what_may_be_tried() -> None:
    text = encryption.encrypt_for(b"plain", {"alg": "RSA-OAEP", "enc": "A256GCM"}, make_jwk(generate_key("RSA")))
    with pytest.raises(CommandError, match="error in cryptographic primitive"):
        opened(text, WRAPPING)


@pytest.mark.parametrize("algorithm", encryption.PASSWORD_ALGORITHMS)
@pytest.mark.parametrize("content", ["A128GCM", "A192GCM", "A256GCM"])
def test_a_password_opens_what_it_closed(algorithm: str, content: str) -> None:
    header: dict[str, object] = {"alg": algorithm, "enc": content, "cty": "c", "typ": "t"}
    text = encryption.encrypt_under(b"plain", header, Secret("password"))
    message, compact = encryption.read_message(text.encode())
    assert list(message.header) == sorted(message.header)
    assert encryption.decrypt_under(compact, Secret("password")) == b"plain"
    with pytest.raises(CommandError, match="error in cryptographic primitive"):
        encryption.decrypt_under(compact, Secret("passwort"))


def test_content_encryption_that_a_password_does_not_do_is_refused_by_name() -> None:
    with pytest.raises(CommandError, match="A128CBC-HS256"):
        encryption.encrypt_under(b"", {"alg": "PBES2-HS256+A128KW", "enc": "A128CBC-HS256"}, Secret("password"))


def test_a_count_that_would_keep_us_busy_is_refused() -> None:
    text = encrypt_pbes2(b"", b"password", lambda size: bytes(size), iterations=2_000_001)
    with pytest.raises(CommandError, match="p2c"):
        encryption.decrypt_under(text, Secret("password"))
