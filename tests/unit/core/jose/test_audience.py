from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.jose.audience import audiences_match, fragment_of, without_port


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("https://ca/sign", "https://ca/sign"),
        ("https://ca:9000/sign", "https://ca/sign"),
        ("https://ca/sign", "https://ca:9000/sign"),
        ("https://ca:9000/sign", "https://ca:443/sign"),
        ("https://ca:/sign", "https://ca/sign"),
        ("HTTPS://ca/sign", "https://ca/sign"),
        ("https://[::1]:9000/sign", "https://[::1]/sign"),
        ("https://127.0.0.1:1/sign", "https://127.0.0.1/sign"),
        ("https://ca:9000/sign#x5c/my prov", "https://ca/sign#x5c/my%20prov"),
        ("https://ca/sign#x5c/J%C3%BCrgen", "https://ca:1/sign#x5c/Jürgen"),
        ("https://ca/a b", "https://ca/a%20b"),
        ("https://ca/sign#", "https://ca/sign"),
        ("step-certificate-authority", "step-certificate-authority"),
        ("not a url", "not a url"),
    ],
)
def test_a_port_and_the_spelling_of_an_escape_do_not_count(one: str, other: str) -> None:
    assert audiences_match([one], [other])
    assert audiences_match([other], [one])
    assert audiences_match(["x", one], ["y", other])


@pytest.mark.parametrize(
    "value",
    [
        "http://ca/1.0/sign",
        "https://CA/1.0/sign",
        "https://ca/1.0/sign/",
        "https://ca/1.0/Sign",
        "https://ca/1.0//sign",
        "https://ca/1.0/sign?",
        "https://ca/1.0/sign?x",
        "https://ca/1.0/sign#nokey",
        "https://ca/1.0/%73ign",
        "https://ca./1.0/sign",
        "https://ca.evil/1.0/sign",
        "https://evil@ca/1.0/sign",
        "https://ca@evil/1.0/sign",
        "https://ca:9000@evil/1.0/sign",
        "https://ca:x/1.0/sign",
        "https://ca:90 00/1.0/sign",
        "https://ca\t/1.0/sign",
        "https://ca/1.0/sign\n",
        " https://ca/1.0/sign",
        "https:/ca/1.0/sign",
        "https:ca/1.0/sign",
        "//ca/1.0/sign",
        "ca/1.0/sign",
        "https://[ca]/1.0/sign",
        "https://c%61/1.0/sign",
        "https://ca\\/1.0/sign",
        "",
    ],
)
def test_anything_else_counts(value: str) -> None:
    assert not audiences_match([value], ["https://ca/1.0/sign", "step-certificate-authority"])


def test_an_empty_list_matches_nothing() -> None:
    assert not audiences_match([], ["a"])
    assert not audiences_match(["a"], [])
    assert not audiences_match([], [])


def test_an_address_without_brackets_is_not_the_one_with_them() -> None:
    assert not audiences_match(["https://::1/sign"], ["https://[::1]/sign"])


@pytest.mark.parametrize(
    ("aud", "fragment"),
    [
        ([], ""),
        (["https://ca/sign"], ""),
        (["https://ca/sign#"], ""),
        (["https://ca/sign#x5c/p"], "x5c/p"),
        (["https://ca/sign", "https://other:1/x#sshpop/a b", "https://ca#z"], "sshpop/a b"),
        (["https://ca/sign#a%20b+c"], "a b+c"),
        (["https://ca/sign#a%2"], ""),
        (["https://ca/%zz#a"], ""),
        (["no url#a", "https://ca#b"], "b"),
        (["https://ca/sign#a#b"], "a#b"),
    ],
)
def test_the_fragment_names_a_provisioner(aud: list[str], fragment: str) -> None:
    assert fragment_of(aud) == fragment


@given(st.text() | st.from_regex(r"https?://[a-c.:\[\]0-9@%]{0,8}(/[ -~]{0,8})?([?#][ -~]{0,8})?", fullmatch=True))
def test_dropping_the_port_twice_is_dropping_it_once(value: str) -> None:
    once = without_port(value)
    assert without_port(once) == once
    assert audiences_match([value], [value])
