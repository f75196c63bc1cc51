"""Paths as clients write them, and the methods they have."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.server.routes import API, PLAIN, ROUTES

GET_PATHS = ["/health", "/version", "/roots", "/roots.pem", "/intermediates", "/federation", "/crl", "/provisioners"]
POST_PATHS = ["/sign", "/renew", "/re-sign", "/rekey", "/revoke"]


@pytest.mark.parametrize("path", [*GET_PATHS, *POST_PATHS])
@pytest.mark.parametrize("prefix", ["", "/1.0"])
def test_a_path_stands_with_and_without_the_version(prefix: str, path: str) -> None:
    method = "GET" if path in GET_PATHS else "POST"
    found = API.find(method, prefix + path).route
    assert found is not None
    assert path in found.paths


@pytest.mark.parametrize(
    ("path", "params"),
    [
        ("/root/abc", {"sha": "abc"}),
        ("/1.0/root/a%2fb", {"sha": "a%2fb"}),
        ("/provisioners/x/encrypted-key", {"kid": "x"}),
        ("/provisioners/a.b-c_d/encrypted-key", {"kid": "a.b-c_d"}),
        ("/provisioners/encrypted-key/encrypted-key", {"kid": "encrypted-key"}),
        ("/provisioners//encrypted-key", {"kid": ""}),
    ],
)
def test_a_part_of_a_path_is_a_parameter_as_it_was_written(path: str, params: dict[str, str]) -> None:
    match = API.find("GET", path)
    assert match.route is not None
    assert match.params == params


@pytest.mark.parametrize(
    "path",
    [
        "",
        "/",
        "/1.0",
        "/1.0/",
        "/health/",
        "//health",
        "/Health",
        "/x/../health",
        "/%68ealth",
        "/health%2f",
        "/health;x",
        "/health?x",
        "/2.0/health",
        "/1.0/1.0/health",
        "/1.0/ready",
        "health",
        "*",
        "/root",
        "/root/",
        "/root/a/b",
        "/root/a/",
        "/provisioners/encrypted-key",
        "/provisioners/x/y/encrypted-key",
        "/provisioners/x",
        "/provisioners/x/encrypted-key/",
        "/roots.pem.bak",
        "/acme/acme/directory",
        "/ssh/sign",
        "/admin/provisioners",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_anything_else_is_nothing(method: str, path: str) -> None:
    match = API.find(method, path)
    assert (match.route, match.allowed) == (None, ())


@given(path=st.text("/.%abcehlnoprstv10", max_size=30))
def test_no_path_is_two(path: str) -> None:
    """Whatever matches is, but for its parameter, one of the table's paths."""
    match = API.find("GET", path)
    if match.route is not None:
        value = next(iter(match.params.values()), "")
        assert any(
            path.removeprefix("/1.0") == written.partition("{")[0] + value + written.partition("}")[2]
            for written in match.route.paths
        )


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "FOO", "get", ""])
def test_a_wrong_method_is_told_the_right_one(method: str) -> None:
    match = API.find(method, "/health")
    assert (match.route, match.allowed) == (None, ("GET",))


@pytest.mark.parametrize("path", POST_PATHS)
def test_what_changes_something_takes_one_method(path: str) -> None:
    for method in ("GET", "HEAD", "PUT", "PATCH"):
        match = API.find(method, path)
        assert (match.route, match.allowed) == (None, ("POST",))


@pytest.mark.parametrize("path", GET_PATHS)
def test_whatever_can_be_read_has_a_head(path: str) -> None:
    assert API.find("HEAD", path).route == API.find("GET", path).route is not None


def test_without_tls_there_is_the_list_of_revoked_certificates_and_nothing_else() -> None:
    assert PLAIN.find("GET", "/crl").route is not None
    assert PLAIN.find("GET", "/1.0/crl").route is not None
    for route in ROUTES:
        for path in route.paths:
            if path != "/crl":
                concrete = path.replace("{sha}", "x").replace("{kid}", "x")
                assert PLAIN.find(route.method, concrete).route is None


def test_no_path_is_in_the_table_twice() -> None:
    paths = [path for route in ROUTES for path in route.paths]
    assert len(paths) == len(set(paths))
