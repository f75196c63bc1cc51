"""Only CA certificates of Nebula are kept."""

from __future__ import annotations

from base64 import b64decode, b64encode
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.cli.exits import CommandError
from provisor.cli.provisioning.nebula import check_roots, nebula_roots
from provisor.core.pem import parse_blocks

RECORDED = Path(__file__).parents[3] / "cli" / "provisioner" / "nebula"


def stored(path: Path) -> bytes:
    return b64decode(nebula_roots(str(path)))


def block(content: bytes, label: str = "NEBULA CERTIFICATE") -> bytes:
    return f"-----BEGIN {label}-----\n{b64encode(content).decode()}\n-----END {label}-----\n".encode()


@pytest.mark.parametrize("version", [1, 2])
def test_a_ca_is_stored_as_it_is(version: int) -> None:
    path = RECORDED / f"ca{version}.crt"
    assert stored(path) == path.read_bytes()


@pytest.mark.parametrize("version", [1, 2])
def test_a_host_is_left_out(version: int, tmp_path: Path) -> None:
    host, ca = (RECORDED / f"{name}{version}.crt" for name in ("host", "ca"))
    with pytest.raises(CommandError, match=r"^error reading .*host.*: no CA certificates found$"):
        nebula_roots(str(host))
    both = tmp_path / "both.crt"
    both.write_bytes(host.read_bytes() + ca.read_bytes() + host.read_bytes())
    assert stored(both) == ca.read_bytes()


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"", "no CA certificates found"),
        (b"junk\n", "input did not contain a valid PEM encoded block"),
        ((RECORDED / "ca1.crt").read_bytes() + b"behind\n", "input did not contain a valid PEM encoded block"),
        (block(b"\x0a\x02\x40\x01", "CERTIFICATE"), "bytes did not contain a proper certificate banner"),
        (block(b""), "the Nebula certificate cannot be decoded"),
        (block(b"\x0a\x09\x40\x01"), "the Nebula certificate cannot be decoded"),
        (block(b"\x0a"), "the Nebula certificate cannot be decoded"),
        (block(b"\xff" * 20), "the Nebula certificate cannot be decoded"),
        (block(b"\x0b\x00"), "the Nebula certificate cannot be decoded"),
        (block(b"\x08\x01"), "the Nebula certificate cannot be decoded"),
        (block(b"\x30\x00", "NEBULA CERTIFICATE V2"), "the Nebula certificate cannot be decoded"),
        (block(b"\x30\x80\x00\x00", "NEBULA CERTIFICATE V2"), "the Nebula certificate cannot be decoded"),
        (block(b"\x30\x04\xa0\x02\x84\x05", "NEBULA CERTIFICATE V2"), "the Nebula certificate cannot be decoded"),
        (block(b"\x30\x05\xa0\x03\x84\x01\x00", "NEBULA CERTIFICATE V2"), "no CA certificates found"),
        (block(b"\x0a\x02\x40\x00"), "no CA certificates found"),
    ],
)
def test_what_is_no_ca_is_refused(content: bytes, text: str, tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(content)
    with pytest.raises(CommandError) as raised:
        nebula_roots(str(path))
    assert raised.value.message == f"error reading {path}: {text}"


@pytest.mark.parametrize("version", [1, 2])
def test_a_root_signed_itself(version: int) -> None:
    path = RECORDED / f"ca{version}.crt"
    check_roots(nebula_roots(str(path)))
    label, der = parse_blocks(path.read_bytes())[0].label, bytearray(parse_blocks(path.read_bytes())[0].der)
    der[-5] ^= 1
    with pytest.raises(CommandError, match=r"^failed to create CA pool: Lab n\d: certificate is not self-signed$"):
        check_roots(b64encode(block(bytes(der), label)).decode())


def test_roots_of_p256_and_what_cannot_be_a_root() -> None:
    check_roots(nebula_roots(str(RECORDED / "ca-p256.crt")))
    host = b64encode((RECORDED / "host1.crt").read_bytes()).decode()
    with pytest.raises(CommandError, match=r"^failed to create CA pool: .*: certificate is not a CA$"):
        check_roots(host)
    for nothing in ("", b64encode(b"junk").decode()):
        with pytest.raises(CommandError, match=r"^provisioner root\(s\) cannot be empty$"):
            check_roots(nothing)


@given(content=st.binary(max_size=64), label=st.sampled_from(["NEBULA CERTIFICATE", "NEBULA CERTIFICATE V2"]))
def test_any_octets_are_answered_with_words(
    content: bytes, label: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.crt"
    path.write_bytes(block(content, label))
    with suppress(CommandError):
        assert block(content, label) == stored(path)
