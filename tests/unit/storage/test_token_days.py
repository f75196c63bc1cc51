"""A table a day: where a token is kept, what is shown, what is dropped."""

from __future__ import annotations

import hashlib
import sqlite3

import pytest

from provisor.storage.judging import Row
from provisor.storage.migrate import migrate
from provisor.storage.token_days import (
    ALL,
    DAY,
    day_end,
    day_tables,
    drop_tokens,
    has_token,
    has_tokens_over,
    insert_tokens,
    table_for,
)

NOW = 1_780_000_000
MIDNIGHT = NOW // DAY * DAY


@pytest.fixture
def connection() -> sqlite3.Connection:
    opened = sqlite3.connect(":memory:", isolation_level=None)
    migrate(opened, where="db")
    return opened


def row(name: str, expires: int | None) -> tuple[bytes, Row]:
    key = hashlib.sha256(name.encode()).digest()
    return key, (key, expires, "granted", b"")


def insert(connection: sqlite3.Connection, *tokens: tuple[str, int | None], now: int = NOW) -> None:
    insert_tokens(connection, dict(row(*token) for token in tokens), now)


@pytest.mark.parametrize(
    ("expires", "table"),
    [
        (MIDNIGHT, "tokens_20260528"),
        (MIDNIGHT + DAY - 1, "tokens_20260528"),
        (MIDNIGHT + DAY, "tokens_20260529"),
        (NOW - 2 * DAY, "tokens_20260526"),
        (NOW - 2 * DAY - 1, "tokens"),
        (NOW + 40 * DAY, "tokens_20260707"),
        (NOW + 40 * DAY + 1, "tokens"),
        (None, "tokens"),
        (-1, "tokens"),
        (2**70, "tokens"),
    ],
)
def test_a_token_is_kept_with_those_of_its_day(expires: int | None, table: str) -> None:
    assert table_for(expires, NOW) == table


def test_the_end_of_a_day_is_the_midnight_behind_it() -> None:
    assert day_end("tokens_20260528") == MIDNIGHT + DAY


def test_the_view_shows_the_tokens_of_all_tables(connection: sqlite3.Connection) -> None:
    insert(connection, ("a", None), ("b", NOW), ("c", NOW + DAY))
    insert(connection, ("d", NOW + 2 * DAY))
    assert len(day_tables(connection)) == 3
    assert connection.execute(f"SELECT count(*) FROM {ALL}").fetchone() == (4,)
    assert all(has_token(connection, row(name, None)[0]) for name in "abcd")


def test_what_is_rolled_back_leaves_no_table_and_a_view_that_works(connection: sqlite3.Connection) -> None:
    connection.execute("BEGIN")
    insert(connection, ("a", NOW))
    connection.execute("ROLLBACK")
    assert day_tables(connection) == []
    assert not has_token(connection, row("a", NOW)[0])
    insert(connection, ("a", NOW))
    assert has_token(connection, row("a", NOW)[0])


@pytest.mark.parametrize("again", [NOW, NOW + DAY, NOW + 5 * DAY, None])
def test_a_key_that_is_in_any_table_is_refused(connection: sqlite3.Connection, again: int | None) -> None:
    insert(connection, ("a", NOW))
    with pytest.raises(sqlite3.IntegrityError):
        insert(connection, ("b", NOW), ("a", again))


def test_a_look_up_is_by_key_in_every_table(connection: sqlite3.Connection) -> None:
    insert(connection, ("a", None), ("b", NOW), ("c", NOW + DAY))
    plan = connection.execute(f"EXPLAIN QUERY PLAN SELECT 1 FROM {ALL} WHERE key = ?", (b"",)).fetchall()
    steps = [text for *_, text in plan]
    assert sum("USING PRIMARY KEY (key=?)" in step for step in steps) == 3
    assert not any(step.startswith("SCAN") for step in steps)


def test_a_day_is_dropped_when_it_is_over_and_empty(connection: sqlite3.Connection) -> None:
    insert(connection, *((f"t{n}", MIDNIGHT - 1) for n in range(10)), ("late", MIDNIGHT))
    assert not has_tokens_over(connection, MIDNIGHT - 1)
    assert has_tokens_over(connection, MIDNIGHT)
    sizes = []
    while has_tokens_over(connection, MIDNIGHT):
        drop_tokens(connection, MIDNIGHT, 4)
        sizes.append(connection.execute(f"SELECT count(*) FROM {ALL}").fetchone()[0])
    assert sizes == [7, 3, 1]
    assert day_tables(connection) == ["tokens_20260528"]


def test_the_oldest_of_those_without_a_day_go_first(connection: sqlite3.Connection) -> None:
    insert(connection, ("a", NOW - 100 * DAY), ("b", NOW - 99 * DAY), ("c", None))
    drop_tokens(connection, NOW, 1)
    assert [has_token(connection, row(name, None)[0]) for name in "abc"] == [False, True, True]
