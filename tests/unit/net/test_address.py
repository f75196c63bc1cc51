"""Which addresses the CA may connect to, in every form that leads to them."""

from __future__ import annotations

import contextlib
from ipaddress import ip_address

import pytest
from hypothesis import given
from hypothesis import strategies as st

from provisor.core.addresses import embedded, parse_allowed
from provisor.net.address import AddressRefused, AddressRule, is_of_this_machine

REFUSED = {
    "127.0.0.1": "loopback",
    "127.255.255.254": "loopback",
    "0.0.0.0": "unspecified",
    "0.1.2.3": "unspecified",
    "169.254.169.254": "link-local",
    "169.254.0.1": "link-local",
    "100.100.100.200": "metadata",
    "168.63.129.16": "metadata",
    "192.0.0.192": "IETF",
    "224.0.0.1": "multicast",
    "255.255.255.255": "reserved",
    "::": "unspecified",
    "::1": "loopback",
    "fe80::1": "link-local",
    "fe80::1%eth0": "link-local",
    "febf::1": "link-local",
    "fec0::1": "site-local",
    "ff02::1": "multicast",
    "fd00:ec2::254": "metadata",
    "fd20:ce::254": "metadata",
    "::ffff:127.0.0.1": "leads to 127.0.0.1, which is a loopback",
    "::ffff:a9fe:a9fe": "leads to 169.254.169.254, which is a link-local",
    "::127.0.0.1": "leads to 127.0.0.1",
    "64:ff9b::169.254.169.254": "leads to 169.254.169.254",
    "64:ff9b::7f00:1": "leads to 127.0.0.1",
    "64:ff9b:1::127.0.0.1": "local translator",
    "2002:7f00:1::": "leads to 127.0.0.1",
    "2002:a9fe:a9fe::1": "leads to 169.254.169.254",
    "2001:0:7f00:1::": "leads to 127.0.0.1",
    "2001:0:808:808::80ff:fffe": "leads to 127.0.0.1",
    "2001:db8::5efe:127.0.0.1": "leads to 127.0.0.1",
    "2001:db8::200:5efe:7f00:1": "leads to 127.0.0.1",
    "localhost": "is not an address",
    "": "is not an address",
    "0177.0.0.1": "is not an address",
    "2130706433": "is not an address",
}
ALLOWED = (
    *("8.8.8.8", "10.0.0.1", "172.16.3.4", "192.168.1.1", "100.64.0.1", "126.255.255.255", "128.0.0.1"),
    *("169.253.255.255", "169.255.0.0", "192.0.1.1", "223.255.255.255"),
    *(
        "2001:4860:4860::8888",
        "fd12:3456::1",
        "fd00:ec3::254",
        "::ffff:10.0.0.1",
        "64:ff9b::8.8.8.8",
        "2002:808:808::1",
    ),
)


def never(_address: object) -> bool:
    return False


@pytest.mark.parametrize(("host", "reason"), REFUSED.items())
def test_what_leads_into_the_machine_or_its_cloud_is_refused(host: str, reason: str) -> None:
    with pytest.raises(AddressRefused, match=reason):
        AddressRule(is_own=never).check(host, 443)


@pytest.mark.parametrize("host", ALLOWED)
def test_public_and_private_networks_are_allowed(host: str) -> None:
    AddressRule(is_own=never).check(host, 443)


def test_a_refusal_names_address_reason_and_remedy() -> None:
    with pytest.raises(AddressRefused) as caught:
        AddressRule().check("::1", 8443)
    assert str(caught.value) == (
        "[::1]:8443 is a loopback address: list it in provisor.network.allowedAddresses if that is meant"
    )


@pytest.mark.parametrize(
    ("entry", "host", "port", "allowed"),
    [
        ("127.0.0.1", "127.0.0.1", 1, True),
        ("127.0.0.1", "::ffff:127.0.0.1", 1, True),
        ("127.0.0.1", "127.0.0.2", 1, False),
        ("127.0.0.0/8", "127.9.9.9", 1, True),
        ("127.0.0.1:8443", "127.0.0.1", 8443, True),
        ("127.0.0.1:8443", "127.0.0.1", 8444, False),
        ("::1", "::1", 8443, True),
        ("[::1]:8443", "::1", 8443, True),
        ("[::1]:8443", "::1", 443, False),
        ("[fe80::/10]:443", "fe80::1%eth0", 443, True),
        ("169.254.169.254", "64:ff9b::a9fe:a9fe", 80, True),
        ("10.0.0.0/8", "127.0.0.1", 80, False),
    ],
)
def test_what_is_listed_is_allowed_and_nothing_beside_it(entry: str, host: str, port: int, allowed: bool) -> None:
    rule = AddressRule([parse_allowed(entry)], is_own=never)
    if allowed:
        rule.check(host, port)
    else:
        with pytest.raises(AddressRefused):
            rule.check(host, port)


@pytest.mark.parametrize(
    "text",
    [
        *("", "localhost", "10.0.0.1/8", "10.0.0.0/33", "127.0.0.1:", "127.0.0.1:0", "127.0.0.1:65536"),
        *("127.0.0.1:+1", "[::1]", "[::1", "[::1]443", "::1:x", "1.2.3", "127.0.0.1:\N{ARABIC-INDIC DIGIT FOUR}"),
    ],
)
def test_an_entry_that_is_no_address_is_a_fault(text: str) -> None:
    with pytest.raises(ValueError, match="is not a"):
        parse_allowed(text)


def test_the_listeners_of_the_ca_are_refused_on_every_address_of_the_machine() -> None:
    own = {"10.1.2.3", "2001:db8::7"}
    rule = AddressRule(listeners=(443, 9000), is_own=lambda address: str(address) in own)
    for host in own | {"::ffff:10.1.2.3"}:
        with pytest.raises(AddressRefused, match="is a listener of this CA"):
            rule.check(host, 9000)
        rule.check(host, 8443)
    rule.check("10.1.2.4", 9000)


def test_a_listener_that_is_listed_is_allowed() -> None:
    AddressRule([parse_allowed("10.1.2.3:9000")], [9000], lambda _: True).check("10.1.2.3", 9000)


def test_addresses_of_this_machine_are_known() -> None:
    assert is_of_this_machine(ip_address("127.0.0.1"))
    assert not is_of_this_machine(ip_address("192.0.2.1"))


@given(st.ip_addresses(v=4), st.integers(1, 65535))
def test_a_mapped_address_is_judged_like_the_one_it_stands_for(address: object, port: int) -> None:
    rule = AddressRule(is_own=never)

    def verdict(host: str) -> bool:
        try:
            rule.check(host, port)
        except AddressRefused:
            return False
        return True

    assert verdict(str(address)) == verdict(f"::ffff:{address}") == verdict(f"64:ff9b::{address}")


@given(st.ip_addresses(v=6))
def test_every_address_gets_a_verdict(address: object) -> None:
    list(embedded(ip_address(str(address))))
    with contextlib.suppress(AddressRefused):
        AddressRule(is_own=never).check(str(address), 443)
