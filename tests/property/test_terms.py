"""Patterns against the plain meaning of them."""

from __future__ import annotations

import ipaddress

from hypothesis import given
from hypothesis import strategies as st

from provisor.core.names import NameKind, classify_san
from provisor.core.terms import expiring, expiry_term, name_term, one, parse_name_pattern

labels = st.text("abx-9*é", min_size=1, max_size=4)
domains = st.lists(labels, min_size=1, max_size=4).map(".".join)
plain_domains = st.lists(st.text("abx-9", min_size=1, max_size=3), min_size=1, max_size=3).map(".".join)


def is_dns(text: str) -> bool:
    name = classify_san(text)
    return name is not None and name.kind is NameKind.DNS


@given(domains, plain_domains)
def test_below_a_domain_is_what_ends_in_it_behind_a_dot(name: str, domain: str) -> None:
    wanted = parse_name_pattern(f"*.{domain}")
    assert wanted is not None
    assert wanted.holds(name_term(name)) == (is_dns(name) and name.lower().endswith(f".{domain}"))


@given(plain_domains, plain_domains)
def test_what_is_put_before_a_domain_is_below_it(host: str, domain: str) -> None:
    wanted = parse_name_pattern(f"*.{domain}")
    assert wanted is not None
    if is_dns(f"{host}.{domain}"):
        assert wanted.holds(name_term(f"{host}.{domain}"))
    assert not wanted.holds(name_term(domain))
    assert not wanted.holds(name_term(f"{host}{domain}")) or f"{host}{domain}".endswith(f".{domain}")


@given(st.text(max_size=300), st.text(max_size=300))
def test_two_names_have_the_same_term_only_if_they_are_the_same_name(a: str, b: str) -> None:
    first, second = classify_san(a), classify_san(b)
    if first is None or second is None:
        return
    same = name_term(a) == name_term(b)
    if (first.kind, first.value.lower()) == (second.kind, second.value.lower()):
        assert same
    elif same:
        # One dot at the end of a domain does not count.
        assert first.kind is second.kind
        assert first.value.lower().removesuffix(".") == second.value.lower().removesuffix(".")


@given(st.ip_addresses(), st.ip_addresses(), st.integers(0, 32))
def test_a_network_holds_its_addresses_and_no_others(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address,
    other: ipaddress.IPv4Address | ipaddress.IPv6Address,
    bits: int,
) -> None:
    network = ipaddress.ip_network(f"{address}/{bits}", strict=False)
    wanted = parse_name_pattern(f"{address}/{bits}")
    assert wanted is not None
    for each in (address, other, network.network_address, network.broadcast_address):
        written = classify_san(str(each))
        assert written is not None
        canonical = ipaddress.ip_address(written.value)
        if canonical.version == network.version:
            assert wanted.holds(name_term(str(each))) == (canonical in network)
        else:
            assert not wanted.holds(name_term(str(each)))


@given(st.integers(0, 2**62), st.integers(0, 2**62), st.integers(0, 2**62))
def test_spans_are_half_open(since: int, before: int, at: int) -> None:
    assert expiring(since, before).holds(expiry_term(at)) == (since <= at < before)


@given(st.binary(min_size=1, max_size=20), st.binary(min_size=1, max_size=20))
def test_one_holds_itself_alone(a: bytes, b: bytes) -> None:
    assert one(a).holds(b) == (a == b)
