"""Data sources of ca.json, and what never comes out of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from provisor.errors import ConfigError
from provisor.storage.postgresql.dsn import parse_target, without_password

SECRET = "s3cret/@:%x"
QUOTED = "s3cret%2F%40%3A%25x"


@pytest.mark.parametrize(
    ("source", "database", "shown"),
    [
        ("postgresql://ca@db.internal:5433/", "stepca", "postgresql://ca@db.internal:5433/stepca"),
        ("postgres://ca@db.internal/own?sslmode=require", "", "postgresql://ca@db.internal/own"),
        ("postgresql://ca@db.internal/own", "other", "postgresql://ca@db.internal/other"),
        ("postgresql://ca@a:1,b:2,[::1]:3/x", "", "postgresql://ca@a:1,b:2,[::1]:3/x"),
        ("postgresql:///x?host=/run/postgresql", "", "postgresql:///run/postgresql/x"),
        ("postgresql://a,b/x?port=6000&user=ca", "", "postgresql://ca@a:6000,b:6000/x"),
        ("postgresql://", "x", "postgresql:///x"),
    ],
)
def test_a_data_source_says_where_the_database_is(source: str, database: str, shown: str) -> None:
    assert parse_target(source, database).shown == shown


@pytest.mark.parametrize(
    "source",
    [
        f"postgresql://ca:{QUOTED}@db/x",
        f"postgresql://ca@db/x?password={QUOTED}",
        f"postgresql://ca:{QUOTED}@a,b/x?sslmode=require",
    ],
)
def test_a_password_is_used_and_never_shown(source: str) -> None:
    target = parse_target(source)
    assert target.arguments()["password"] == SECRET
    for shown in (target.shown, repr(target), without_password(source), str(target.arguments()["dsn"])):
        assert "s3cret" not in shown
    assert parse_target(without_password(source)).shown == target.shown
    assert not parse_target(without_password(source)).password


@pytest.mark.parametrize(
    "source",
    [
        "",
        f"host=db password={SECRET}",
        f"mysql://ca:{QUOTED}@db/",
        f"postgresql://ca:{SECRET}@db/x",
        f"postgresql://ca:{QUOTED}@db:port/x",
        f"postgresql://ca:{QUOTED}@db:70000/x",
        f"postgresql://ca:{QUOTED}@db/x?sslmode=maybe",
        f"postgresql://ca:{QUOTED}@db/x?channel_binding=require",
        f"postgresql://ca:{QUOTED}@[::1/x",
        f"postgresql://ca:{QUOTED}@a,b,c/x?port=1,2",
        f"postgresql://ca:{QUOTED}@db/x?nothing",
        f"postgresql://ca:{QUOTED}@db/x#y",
    ],
)
def test_what_is_wrong_with_it_is_said_without_the_password(source: str) -> None:
    with pytest.raises(ConfigError) as error:
        parse_target(source)
    assert "s3cret" not in str(error.value)
    assert QUOTED not in error.value.reason
    assert QUOTED not in without_password(source)


def test_the_password_may_be_in_a_file_that_changes(tmp_path: Path) -> None:
    file = tmp_path / "password"
    target = parse_target("postgresql://ca@db/x", password_file=str(file))
    with pytest.raises(ConfigError, match="No such file"):
        target.arguments()
    for password in ("one", "two"):
        file.write_text(f"{password}\nnot this\n")
        assert target.arguments()["password"] == password


def test_what_is_for_other_drivers_is_left_out_and_the_rest_is_handed_on() -> None:
    target = parse_target(
        "postgresql://db/x?pool_max_conns=9&sslmode=verify-full&sslrootcert=/ca.pem&connect_timeout=9"
    )
    assert target.arguments()["dsn"] == (
        "postgresql://?sslmode=verify-full&sslrootcert=%2Fca.pem&target_session_attrs=read-write"
    )
    assert "target_session_attrs=any" in parse_target("postgresql://db/x?target_session_attrs=any").arguments()["dsn"]
