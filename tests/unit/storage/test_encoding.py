from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.storage.encoding import decode_serial, encode_serial, hash_token_key

EDGES = [0, 1, 127, 128, 255, 256, 65535, 65536, 1 << 127, (1 << 504) - 1, 1 << 504, 1 << 2040, 1 << 70000]


@given(st.integers(), st.integers())
def test_the_order_of_keys_is_the_order_of_serials(a: int, b: int) -> None:
    assert (encode_serial(a) < encode_serial(b)) == (a < b)


def test_the_order_holds_where_lengths_change() -> None:
    serials = sorted({sign * (edge + step) for sign in (-1, 1) for edge in EDGES for step in (-1, 0, 1)})
    keys = [encode_serial(serial) for serial in serials]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys)
    assert [decode_serial(key) for key in keys] == serials


def test_a_serial_of_ours_takes_17_octets() -> None:
    assert len(encode_serial((1 << 121) - 1)) == 17


@pytest.mark.parametrize(
    "key", [b"", b"\x81", b"\x81\x00", b"\x82\x01", b"\x80\x00", b"\x82\x00\x01", b"\xc0", b"\x7f\x00"]
)
def test_what_is_not_a_key_is_not_read(key: bytes) -> None:
    with pytest.raises(ValueError, match="not the key"):
        decode_serial(key)


def test_token_keys_are_short_whatever_they_are_called() -> None:
    keys = {hash_token_key(key) for key in ("", "a", "A", "a" * 99999, "\ud800", "�")}
    assert len(keys) == 6
    assert {len(key) for key in keys} == {32}
