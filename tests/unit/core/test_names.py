"""Telling names apart: first match wins, nothing is validated."""

from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.names import (
    Name,
    NameKind,
    canonical_uri,
    classify_san,
    classify_sans,
    parse_ip,
    split_host_port,
    split_kinds,
)

DNS, IP, EMAIL, URI = NameKind.DNS, NameKind.IP, NameKind.EMAIL, NameKind.URI


@pytest.mark.parametrize(
    ("text", "kind", "value"),
    [
        ("1.2.3.4", IP, "1.2.3.4"),
        ("::1", IP, "::1"),
        ("2001:0db8:0:0:0:0:0:1", IP, "2001:db8::1"),
        ("::ffff:10.1.2.3", IP, "10.1.2.3"),
        ("::ffff:0a01:0203", IP, "10.1.2.3"),
        ("::1.2.3.4", IP, "::102:304"),
        ("[::1]", DNS, "[::1]"),
        ("010.1.2.3", DNS, "010.1.2.3"),
        ("1.2.3", DNS, "1.2.3"),
        ("1.2.3.4.", DNS, "1.2.3.4."),
        ("١.٢.٣.٤", DNS, "١.٢.٣.٤"),
        ("10.0.0.0/8", DNS, "10.0.0.0/8"),
        ("fe80::1%eth0", URI, "fe80::1%eth0"),
        ("max@x.com", EMAIL, "max@x.com"),
        ("mailto:max@x.com", URI, "mailto:max@x.com"),
        ("https://a/b", URI, "https://a/b"),
        ("*.x.com", DNS, "*.x.com"),
        ("localhost", DNS, "localhost"),
        ("localhost:8443", URI, "localhost:8443"),
        ("a.b:80", URI, "a.b:80"),
        ("1a:80", DNS, "1a:80"),
        ("foo:", URI, "foo:"),
        (":x@y", EMAIL, ":x@y"),
        ("a b:c@d", EMAIL, "a b:c@d"),
        ("a/b:c", DNS, "a/b:c"),
        ("Max Mustermann", DNS, "Max Mustermann"),
        ("urn:uuid:ddfe62ba-7e99-4bc1-83b3-8f57fe3e9959", URI, "urn:uuid:ddfe62ba-7e99-4bc1-83b3-8f57fe3e9959"),
        ("jürgen@example.test", EMAIL, "jürgen@example.test"),
    ],
)
def test_a_string_is_the_first_kind_it_fits(text: str, kind: NameKind, value: str) -> None:
    assert classify_san(text) == Name(kind, value)


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("https://example.test/a b", "https://example.test/a%20b"),
        ("https://example.test/ü", "https://example.test/%C3%BC"),
        ("HTTPS://Example.test/%41", "https://Example.test/%41"),
        ("https://example.test/%zz", ""),
        ("https://", "https:"),
        ("https://?", "https:?"),
        ("https://x?a b#c d", "https://x?a b#c%20d"),
        ("https://x#", "https://x"),
        ("https://x#%", ""),
        ("spiffe:///x", "spiffe:///x"),
        ("spiffe://a/b", "spiffe://a/b"),
        ("file:/x", "file:/x"),
        ("https://u:p@h:80/", "https://u:p@h:80/"),
        ("https://u!:p@h", "https://u%21:p@h"),
        ("https://u[@h", ""),
        ("https://a b", ""),
        ("https://h:x", ""),
        ("https://h:1:2", ""),
        ("https://[::1]:80/x", "https://[::1]:80/x"),
        ("https://[::1", ""),
        ("https://[1.2.3.4]", ""),
        ("https://[x]", ""),
        ("https://[fe80::1%25en0]/", "https://[fe80::1%25en0]/"),
        ("https://[fe80::1%en0]/", ""),
        ("https://h%41/", ""),
        ("https://h%C3%BC/", "https://h%C3%BC/"),
        ("https://hü/", "https://h%C3%BC/"),
        ("a:b\x00", ""),
        ("a:b\x7fc", ""),
        ("no-scheme", ""),
    ],
)
def test_a_uri_is_serialised_afresh(text: str, written: str) -> None:
    assert canonical_uri(text) == written


def test_the_empty_string_is_no_name() -> None:
    assert classify_san("") is None
    assert classify_sans(["", ""]) == ()


def test_kinds_come_in_order_and_duplicates_stay() -> None:
    names = classify_sans(["u:x", "b.test", "e@x", "10.0.0.1", "a.test", "", "a.test"])
    assert [name.value for name in names] == ["b.test", "a.test", "a.test", "10.0.0.1", "e@x", "u:x"]
    assert split_kinds(names) == {DNS: ["b.test", "a.test", "a.test"], IP: ["10.0.0.1"], EMAIL: ["e@x"], URI: ["u:x"]}


@given(st.text())
def test_any_string_has_a_kind_and_a_uri_serialises_to_itself(text: str) -> None:
    name = classify_san(text)
    assert (name is None) == (text == "")
    if name is not None and name.kind is URI:
        assert classify_san(name.value) == name


@given(st.ip_addresses())
def test_addresses_are_canonical(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    assert parse_ip(address.exploded) == str(mapped or address)


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [(":443", "", "443"), ("h:1", "h", "1"), ("[::1]:9", "::1", "9"), ("h:", "h", ""), ("[]:1", "", "1")],
)
def test_a_listening_address_is_host_and_port(text: str, host: str, port: str) -> None:
    assert split_host_port(text) == (host, port)


@pytest.mark.parametrize(
    "text", ["", "localhost", "::1", "::1:80", "[::1]", "[::1:80", "a]:80", "[a:80", "[a]b:80", "a:[1]"]
)
def test_other_addresses_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="address"):
        split_host_port(text)
