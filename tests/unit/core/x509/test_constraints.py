from __future__ import annotations

import ipaddress

import pytest
from cryptography import x509
from msgspec.structs import replace

from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.constraints import AddressRange, NameConstraints, join_constraints
from provisor.core.x509.extensions import Extension
from provisor.core.x509.matching import Mailbox, domain_matches, parse_mailbox, uri_matches
from provisor.errors import Malformed, NameConstrained
from support.x509_lab import Lab


def constrained(certificate: Certificate, value: bytes) -> Certificate:
    return replace(certificate, extensions=(Extension(oids.NAME_CONSTRAINTS, critical=True, value=value),))


def test_constraints_of_several_certificates_are_joined(lab: Lab) -> None:
    first = x509.NameConstraints(
        [x509.DNSName("a.test"), x509.IPAddress(ipaddress.ip_network("10.0.0.0/8"))],
        [x509.RFC822Name("bad@a.test")],
    )
    second = x509.NameConstraints(
        [x509.DNSName(".b.test"), x509.UniformResourceIdentifier("u.test")],
        [x509.IPAddress(ipaddress.ip_network("2001:db8::/32")), x509.RegisteredID(x509.ObjectIdentifier("1.2.3"))],
    )
    root = lab.root.certificate
    joined = join_constraints([constrained(root, first.public_bytes()), root, constrained(root, second.public_bytes())])
    assert joined == NameConstraints(
        permitted_dns=("a.test", ".b.test"),
        permitted_ip=(AddressRange(bytes((10, 0, 0, 0)), 8),),
        excluded_email=("bad@a.test",),
        permitted_uri=("u.test",),
        excluded_ip=(AddressRange(ipaddress.ip_address("2001:db8::").packed, 32),),
        others=True,
    )
    assert str(joined.excluded_ip[0]) == "2001:db8::/32"


def test_no_constraints_are_free(lab: Lab) -> None:
    assert join_constraints([lab.root.certificate]).is_free


@pytest.mark.parametrize(
    "value",
    [
        "",
        "3001",
        "3005a003300187",
        # 10.0.0.0 with a mask that has a hole
        "3010a00e300c87080a000000ff00ff00",
        # three octets of address
        "300ea00c300a87060a0000ffffff",
        # a maximum, and a minimum other than 0
        "300da00b30098204746573748101ff"[:-2] + "01",
        "300da00b3009820474657374800101",
        # not ASCII
        "3006a00430028201ff"[:-2],
    ],
)
def test_constraints_that_cannot_be_read_are_malformed(lab: Lab, value: str) -> None:
    with pytest.raises(Malformed):
        join_constraints([constrained(lab.root.certificate, bytes.fromhex(value))])


def test_a_range_of_mapped_addresses_is_one_of_ipv4(lab: Lab) -> None:
    mapped = ipaddress.ip_network("::ffff:10.0.0.0/104")
    value = x509.NameConstraints(None, [x509.IPAddress(mapped)]).public_bytes()
    constraints = join_constraints([constrained(lab.root.certificate, value)])
    with pytest.raises(NameConstrained):
        constraints.check_names([Name(NameKind.IP, "10.9.9.9")])


def test_an_address_of_the_other_family_is_never_in_a_range() -> None:
    everything = AddressRange(bytes(4), 0)
    assert everything.holds(bytes((1, 2, 3, 4)))
    assert not everything.holds(bytes(16))


@pytest.mark.parametrize(
    ("domain", "constraint", "matches"),
    [
        ("example.com", "", True),
        ("example.com", "example.com", True),
        ("EXAMPLE.com", "Example.COM", True),
        ("a.b.example.com", "example.com", True),
        ("wwwexample.com", "example.com", False),
        ("example.com", "www.example.com", False),
        ("example.com", ".example.com", False),
        ("a.example.com", ".example.com", True),
        ("a.b.example.com", ".example.com", True),
        ("com", "example.com", False),
        ("", "com", False),
    ],
)
def test_domains_match_by_whole_labels(domain: str, constraint: str, matches: bool) -> None:
    assert domain_matches(domain, constraint) is matches


@pytest.mark.parametrize("domain", ["a.", "a..b", "a b", "é", ".", "..a", "a\tb"])
def test_a_domain_that_is_none_is_an_error_under_any_constraint(domain: str) -> None:
    with pytest.raises(NameConstrained, match="internal error: cannot parse domain"):
        domain_matches(domain, "test")


@pytest.mark.parametrize(
    ("text", "mailbox"),
    [
        ("a@b.c", Mailbox("a", "b.c")),
        ("a@", Mailbox("a", "")),
        ('"a b"@c', Mailbox("a b", "c")),
        ('"a\\"b"@c', Mailbox('a"b', "c")),
        ("a\\ b@c", Mailbox("a b", "c")),
        ("a.b+c@d", Mailbox("a.b+c", "d")),
        ("", None),
        ("a", None),
        ("@b", None),
        (".a@b", None),
        ("a.@b", None),
        ("a..b@c", None),
        ("a b@c", None),
        ("(a)@b", None),
        ('"a@b', None),
        ('"a"b@c', None),
        ("a@b@c.", None),
        ("a@b c", None),
    ],
)
def test_mailboxes_are_told_from_other_texts(text: str, mailbox: Mailbox | None) -> None:
    assert parse_mailbox(text) == mailbox


@pytest.mark.parametrize(
    ("uri", "error"),
    [
        ("urn:uuid:1", "URI with empty host"),
        ("https:///x", "URI with empty host"),
        ("https://user@/x", "URI with empty host"),
        ("https://1.2.3.4:443/", "URI with IP"),
        ("https://[::1]:443/", "URI with IP"),
        ("https://[fe80::1%25eth0]/", "URI with IP"),
        ("https://a.test./", "internal error"),
    ],
)
def test_a_uri_without_a_name_for_a_host_cannot_be_compared(uri: str, error: str) -> None:
    with pytest.raises(NameConstrained, match=error):
        uri_matches(uri, "a.test")


@pytest.mark.parametrize(
    ("uri", "matches"),
    [
        ("https://a.test", True),
        ("https://x.a.test:8443/p?q#f", True),
        ("https://user:b.test@a.test/", True),
        ("https://a.test@b.test/", False),
        ("https://b.test/a.test", False),
        ("https://b.test?a.test", False),
        ("spiffe://a.test/x@b.test", True),
    ],
)
def test_a_uri_matches_by_its_host(uri: str, matches: bool) -> None:
    assert uri_matches(uri, "a.test") is matches


def test_quotes_in_a_message_are_escaped() -> None:
    with pytest.raises(NameConstrained) as caught:
        NameConstraints(excluded_dns=("",)).check_names([Name(NameKind.DNS, 'a"\n')])
    assert caught.value.public == 'DNS name "a\\"\\n" is excluded by constraint ""'


def test_a_mailbox_constraint_that_is_none_matches_nothing() -> None:
    with pytest.raises(NameConstrained, match="cannot parse constraint"):
        NameConstraints(permitted_email=("@",)).check_names([Name(NameKind.EMAIL, "a@b")])
