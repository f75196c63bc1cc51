"""The default certificate has the names that its token grants, all of them and no other."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator
from typing import Any

import pytest
from cryptography import x509
from hypothesis import given
from hypothesis import strategies as st

from support.authority import MemoryCA
from support.credentials import make_csr, make_key
from support.fuzzing import fuzz

KEY = make_key()

label = st.from_regex(r"[a-z]([a-z0-9-]{0,10}[a-z0-9])?", fullmatch=True)
dns = st.lists(label, min_size=1, max_size=3).map(".".join)
addresses = st.ip_addresses().map(str)
mail = st.tuples(label, dns).map("@".join)
uris = st.tuples(st.sampled_from(["https", "spiffe"]), dns, label).map(lambda p: f"{p[0]}://{p[1]}/{p[2]}")
names = st.one_of(dns, addresses, mail, uris)


@pytest.fixture(scope="module")
def ca() -> Iterator[MemoryCA]:
    with MemoryCA() as each:
        yield each


def plain(name: str) -> str:
    """One spelling of an address; IPv4 within IPv6 is IPv4."""
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return name
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


def issued(ca: MemoryCA, csr: str, **claims: Any) -> tuple[str, set[str]]:
    answer = ca.call("POST", "/sign", {"csr": csr, "ott": ca.token(**claims)})
    certificate = x509.load_der_x509_certificate(answer.certificate.der)
    held = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    return answer.certificate.common_name, {str(name.value) for name in held}


@fuzz(100)
@given(subject=names, sans=st.lists(names, min_size=1, max_size=6))
def test_a_token_with_names(ca: MemoryCA, subject: str, sans: list[str]) -> None:
    common_name, held = issued(ca, make_csr(KEY), sub=subject, sans=sans)
    assert common_name == subject
    assert held == set(map(plain, sans))


@fuzz(100)
@given(subject=names)
def test_a_token_without_names(ca: MemoryCA, subject: str) -> None:
    common_name, held = issued(ca, make_csr(KEY, subject), sub=subject, sans=...)
    assert (common_name, held) == (subject, {plain(subject)})


@fuzz(100)
@given(granted=st.lists(dns, min_size=1, max_size=4, unique=True), asked=st.lists(dns, min_size=1, max_size=4))
def test_a_request_adds_nothing(ca: MemoryCA, granted: list[str], asked: list[str]) -> None:
    ask = {"csr": make_csr(KEY, "", asked), "ott": ca.token(sub=granted[0], sans=granted)}
    answer = ca.call("POST", "/sign", ask)
    if set(asked) == set(granted):
        assert answer.status == 201
        return
    assert answer.status == 403
