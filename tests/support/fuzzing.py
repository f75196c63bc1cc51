"""Hostile input for parsers: mutations of good seeds, JSON that nobody would write, and a watch on time.

`HYPOTHESIS_PROFILE=long` runs fifteen times as many examples, different ones every time; without it
every run has the same ones.
"""

from __future__ import annotations

import gc
import itertools
import json
import os
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import FrameType
from typing import Final

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

LONG: Final = os.environ.get("HYPOTHESIS_PROFILE") == "long"
_LONG_FACTOR: Final = 15


def fuzz(examples: int) -> settings:
    """Settings for a test: this many examples, fifteen times as many in the long profile.

    Time is watched by `brief`, in CPU seconds: the wall clock of a busy machine proves nothing.
    """
    return settings(
        max_examples=examples * _LONG_FACTOR if LONG else examples,
        deadline=None,
        derandomize=not LONG,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.filter_too_much],
    )


class TooSlowError(AssertionError):
    """A parser was kept busy by a few octets."""


@contextmanager
def brief(seconds: float = 0.2) -> Iterator[None]:
    """Fails when the block uses more CPU time than this, and breaks off what would never end.

    No garbage is collected meanwhile: the heap is mostly that of the test run, and so is its cost.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise TooSlowError(f"more than {seconds} s of CPU time")

    before = signal.signal(signal.SIGVTALRM, stop)
    gc.disable()
    signal.setitimer(signal.ITIMER_VIRTUAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        gc.enable()
        signal.signal(signal.SIGVTALRM, before)


# -- octets ----------------------------------------------------------------------------------------

_Step = Callable[[bytes, int, int, Sequence[bytes]], bytes]

_LENGTHS: Final = (b"\x00", b"\x01", b"\x7f", b"\x80", b"\x81\xff", b"\x82\xff\xff", b"\x84\xff\xff\xff\xff", b"\xff")
_NUMBERS: Final = (b"0", b"-1", b"1e999", b"9" * 30, b"9" * 5000, b"18446744073709551616", b"0.1", b"-0", b"1E-400")
_SCRAPS: Final = (
    *(b"\x00", b"\r", b"\n", b"\r\n", b" ", b"\t", b'"', b"\\", b"\\u0000", b"\\ud800", b"=", b".", b"..", b"-----"),
    *(
        b"[" * 70,
        b'{"a":' * 70,
        b"[]",
        b"{}",
        b"null",
        b"true",
        b",",
        b":",
        b"//",
        b"%",
        b"%00",
        b"\xff\xfe",
        b"\xc0\x80",
    ),
    *("é".encode(), "\u202e".encode(), "\ufeff".encode(), "\u2028".encode(), "ſK".encode(), "٣".encode()),
)


def _flip(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    at = where % len(data)
    return data[:at] + bytes((data[at] ^ (1 << what % 8),)) + data[at + 1 :]


def _replace(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    at = where % len(data)
    return data[:at] + bytes((what % 256,)) + data[at + 1 :]


def _delete(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    at = where % len(data)
    return data[:at] + data[at + 1 + what % 40 :]


def _cut(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    return data[: where % len(data)]


def _repeat(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    """A slice again, once or many times."""
    at = where % len(data)
    piece = data[at : at + 1 + what % 64]
    return data[:at] + piece * (2 if what % 3 else 200) + data[at:]


def _insert(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    at = where % (len(data) + 1)
    return data[:at] + _SCRAPS[what % len(_SCRAPS)] + data[at:]


def _lengthen(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    """Another length octet, for formats that have them."""
    at = where % len(data)
    return data[:at] + _LENGTHS[what % len(_LENGTHS)] + data[at + 1 :]


def _number(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    """Another number in the place of one."""
    starts = [at for at in range(len(data)) if data[at : at + 1].isdigit() and not data[at - 1 : at].isdigit()]
    if not starts:
        return data
    at = end = starts[where % len(starts)]
    while data[end : end + 1].isdigit():
        end += 1
    return data[:at] + _NUMBERS[what % len(_NUMBERS)] + data[end:]


def _splice(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    """The beginning of one seed and the end of another."""
    other = seeds[what % len(seeds)]
    return data[: where % len(data)] + other[where % (len(other) + 1) :]


def _swap_case(data: bytes, where: int, what: int, seeds: Sequence[bytes]) -> bytes:
    at = where % len(data)
    return data[:at] + data[at : at + 1 + what % 16].swapcase() + data[at + 1 + what % 16 :]


_STEPS: Final[Sequence[_Step]] = (
    *(_flip, _replace, _delete, _cut, _repeat, _insert, _lengthen, _number, _splice, _swap_case),
)
_CHANGE: Final = st.tuples(st.sampled_from(_STEPS), st.integers(0, 1 << 16), st.integers(0, 1 << 16))


def mutated(seeds: Sequence[bytes], most: int = 6) -> st.SearchStrategy[bytes]:
    """One of the seeds after at most so many changes; the seeds themselves are among what comes."""

    def change(seed: bytes, plan: Sequence[tuple[_Step, int, int]]) -> bytes:
        for step, where, what in plan:
            if seed:
                seed = step(seed, where, what, seeds)[: 1 << 17]
        return seed

    return st.builds(change, st.sampled_from(seeds), st.lists(_CHANGE, max_size=most))


def mutated_text(seeds: Sequence[str], most: int = 6) -> st.SearchStrategy[str]:
    """The same for text; octets that are not UTF-8 become characters of Latin-1."""

    def decode(data: bytes) -> str:
        try:
            return data.decode()
        except UnicodeDecodeError:
            return data.decode("latin-1")

    return mutated([seed.encode() for seed in seeds], most).map(decode)


def pieces(data: bytes, cuts: Sequence[int]) -> list[bytes]:
    """`data` in the slices between these places."""
    places = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [data[start:end] for start, end in itertools.pairwise(places)] or [b""]


# -- JSON ------------------------------------------------------------------------------------------

HOSTILE_JSON: Final = (
    *("null", "true", "false", "0", "-1", "-0.0", "1.5", "1e999", "-1e400", "1e-400", "9" * 30, "9" * 5000),
    *("9007199254740993", "18446744073709551616", "253402300800", "1e18", "-62135596801"),
    *('""', '"\\u0000"', '"\\ud800"', '"\\udc00\\ud800"', '"\\ud83d\\ude00"', '"é"', '"\u202e"', '"ſ"', '"\x7f"'),
    *('"a.test"', '"*.test"', '"10.0.0.1"', '"::ffff:1.2.3.4"', '"a@b"', '"@"', '"https://x/%zz"', '"//"', '":"'),
    *('"xn--"', '"a\\nb"', '" "', '"."', '"a..b"', '"bücher.test"', '"' + "a" * 300 + '"', '"' + "x." * 40000 + '"'),
    *('"1h"', '"-1ns"', '"2562048h"', '"2026-01-01T00:00:00Z"', '"0001-01-01T00:00:00Z"', '"9999-12-31T23:59:60Z"'),
    *(
        "[]",
        "[null]",
        "[[]]",
        '["a","a"]',
        "[1]",
        '[""]',
        '["é"]',
        "[" + ",".join(['"a"'] * 2000) + "]",
        "[" * 70 + "]" * 70,
    ),
    *("{}", '{"":""}', '{"a":1,"a":2}', '{"a":{"b":null}}', '{"a":' * 70 + "1" + "}" * 70),
    *("NaN", "Infinity", "nul", '"', "[", "{", "", "'a'", "0x10", "01", "+1", ".5", "1.", "\\u0022", '"\\x"', '"\t"'),
)
"""Values that a member may have, some of them not JSON at all."""


def _is_json(text: str) -> bool:
    try:
        json.loads(text, parse_constant=lambda name: 1 / 0)
    except (ValueError, ZeroDivisionError, RecursionError):
        return False
    return True


WELL_FORMED_JSON: Final = tuple(text for text in HOSTILE_JSON if _is_json(text))


def hostile_object(
    valid: Mapping[str, object], *, strange_names: Sequence[str] = (), well_formed: bool = False, most: int = 4
) -> st.SearchStrategy[bytes]:
    """The object with a few of its members left out, said twice, spelt otherwise or given another value."""
    names = (*valid, *strange_names)
    values = st.sampled_from(WELL_FORMED_JSON if well_formed else HOSTILE_JSON)
    changes = st.lists(
        st.tuples(st.sampled_from(names), st.sampled_from(("set", "omit", "add", "case")), values), max_size=most
    )

    def write(plan: Sequence[tuple[str, str, str]]) -> bytes:
        members = [(name, json.dumps(value)) for name, value in valid.items()]
        for name, kind, value in plan:
            if kind in ("set", "omit"):
                members = [member for member in members if member[0] != name]
            if kind in ("set", "add"):
                members.append((name, value))
            if kind == "case":
                members.append((name.swapcase(), value))
        text = ",".join(f"{json.dumps(name)}:{value}" for name, value in members)
        return f"{{{text}}}".encode("utf-8", "surrogatepass")

    return changes.map(write)
