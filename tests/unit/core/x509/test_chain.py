"""Chains that nearly lead to a root."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from provisor.core.x509 import oids
from provisor.core.x509.certificate import Certificate
from provisor.core.x509.chain import MAX_CHAIN, check_client_leaf, find_issuer, is_issued_by, verify_chain
from provisor.core.x509.constraints import NameConstraints
from provisor.core.x509.draft import Draft
from provisor.core.x509.extensions import (
    BasicConstraints,
    Extension,
    KeyUsage,
    encode_basic_constraints,
    encode_ext_key_usage,
    encode_key_usage,
)
from provisor.core.x509.issuer import make_issuer
from provisor.errors import CertificateExpired, Unauthenticated
from support.x509_lab import BORN, END, NOW, Lab, Party, with_extension, without


def ders(*certificates: Certificate) -> list[bytes]:
    return [certificate.der for certificate in certificates]


def test_a_leaf_leads_over_its_intermediate_to_the_root(lab: Lab) -> None:
    leaf = lab.leaf(lab.draft())
    middle, root = lab.intermediate.certificate, lab.root.certificate
    assert verify_chain(ders(leaf, middle), [root]) == leaf
    assert verify_chain(ders(leaf, middle, root), [root]) == leaf
    assert verify_chain(ders(leaf, root, middle), [root]) == leaf


def test_a_leaf_of_the_root_itself_needs_no_intermediate(lab: Lab) -> None:
    leaf = lab.leaf(replace(lab.draft(), issuer=lab.root.certificate.subject), by=lab.root)
    assert verify_chain([leaf.der], [lab.root.certificate]) == leaf


def test_an_expired_leaf_is_judged_before_its_end(lab: Lab) -> None:
    leaf = lab.leaf(replace(lab.draft(), not_before=BORN, not_after=BORN + timedelta(hours=1)))
    chain = ders(leaf, lab.intermediate.certificate)
    assert verify_chain(chain, [lab.root.certificate]) == leaf
    with pytest.raises(Unauthenticated):
        verify_chain(chain, [lab.root.certificate], at=NOW)


@pytest.mark.parametrize(
    "pick",
    [
        lambda leaf, middle, root: [],
        lambda leaf, middle, root: [leaf],
        lambda leaf, middle, root: [leaf, root],
        lambda leaf, middle, root: [middle, leaf],
        lambda leaf, middle, root: [middle],
        lambda leaf, middle, root: [root],
        lambda leaf, middle, root: [leaf, middle] + [root] * (MAX_CHAIN - 1),
    ],
    ids=["none", "alone", "without intermediate", "reversed", "intermediate", "root", "too long"],
)
def test_an_incomplete_chain_is_refused(
    lab: Lab, pick: Callable[[Certificate, Certificate, Certificate], list[Certificate]]
) -> None:
    leaf = lab.leaf(lab.draft())
    with pytest.raises(Unauthenticated):
        verify_chain(ders(*pick(leaf, lab.intermediate.certificate, lab.root.certificate)), [lab.root.certificate])


def test_no_root_no_belief(lab: Lab) -> None:
    with pytest.raises(Unauthenticated):
        verify_chain(ders(lab.leaf(lab.draft()), lab.intermediate.certificate), [])


def test_octets_that_are_no_certificate_are_refused(lab: Lab) -> None:
    with pytest.raises(Unauthenticated):
        verify_chain([b"\x30\x00"], [lab.root.certificate])


def test_a_root_of_the_same_name_with_another_key_is_not_enough(lab: Lab) -> None:
    other = lab.authority("Root", path_length=1)
    leaf = lab.leaf(lab.draft())
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, lab.intermediate.certificate), [other.certificate])
    assert verify_chain(ders(leaf, lab.intermediate.certificate), [other.certificate, lab.root.certificate]) == leaf


CLIENT_ONLY = encode_ext_key_usage((oids.CLIENT_AUTH,))
SERVER_ONLY = encode_ext_key_usage((oids.SERVER_AUTH,))
ANY = encode_ext_key_usage((oids.ANY_PURPOSE,))
STRANGE = Extension("1.2.3", critical=True, value=b"\x05\x00")
OTHER_NAME = Extension(oids.SUBJECT_ALT_NAME, critical=True, value=bytes.fromhex("3004880201ff"))


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: with_extension(draft, CLIENT_ONLY),
        lambda draft: with_extension(draft, ANY),
        lambda draft: without(draft, oids.EXT_KEY_USAGE),
        lambda draft: without(draft, oids.SUBJECT_ALT_NAME),
        lambda draft: with_extension(draft, encode_basic_constraints(BasicConstraints(is_ca=False))),
        lambda draft: with_extension(draft, replace(STRANGE, critical=False)),
    ],
    ids=["client", "any purpose", "no purposes", "no names", "no authority", "strange"],
)
def test_a_leaf_of_another_profile_is_believed(lab: Lab, change: Callable[[Draft], Draft]) -> None:
    leaf = lab.leaf(change(lab.draft()))
    assert verify_chain(ders(leaf, lab.intermediate.certificate), [lab.root.certificate]) == leaf
    check_client_leaf(leaf, lab.issuer, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: with_extension(draft, SERVER_ONLY),
        lambda draft: with_extension(draft, STRANGE),
        lambda draft: with_extension(draft, OTHER_NAME),
        lambda draft: with_extension(draft, encode_basic_constraints(BasicConstraints(is_ca=True))),
    ],
    ids=["server only", "strange", "names nobody reads", "authority"],
)
def test_a_leaf_for_something_else_is_refused_both_ways(lab: Lab, change: Callable[[Draft], Draft]) -> None:
    leaf = lab.leaf(change(lab.draft()))
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, lab.intermediate.certificate), [lab.root.certificate])
    with pytest.raises(Unauthenticated):
        check_client_leaf(leaf, lab.issuer, NOW)


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: without(draft, oids.KEY_USAGE),
        lambda draft: with_extension(draft, encode_key_usage(KeyUsage.KEY_ENCIPHERMENT)),
    ],
    ids=["none", "other"],
)
def test_a_leaf_that_may_not_sign_serves_in_a_handshake_but_not_in_a_token(
    lab: Lab, change: Callable[[Draft], Draft]
) -> None:
    leaf = lab.leaf(change(lab.draft()))
    check_client_leaf(leaf, lab.issuer, NOW)
    with pytest.raises(Unauthenticated, match="digitalSignature"):
        verify_chain(ders(leaf, lab.intermediate.certificate), [lab.root.certificate])


def constraints(permitted: x509.GeneralName) -> Extension:
    value = x509.NameConstraints([permitted], None).public_bytes()
    return Extension(oids.NAME_CONSTRAINTS, critical=True, value=value)


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: without(draft, oids.BASIC_CONSTRAINTS),
        lambda draft: with_extension(draft, encode_basic_constraints(BasicConstraints(is_ca=False))),
        lambda draft: with_extension(draft, encode_key_usage(KeyUsage.DIGITAL_SIGNATURE | KeyUsage.CRL_SIGN)),
        lambda draft: replace(draft, not_after=NOW - timedelta(days=1)),
        lambda draft: replace(draft, not_before=NOW + timedelta(days=2)),
        lambda draft: with_extension(draft, SERVER_ONLY),
        lambda draft: with_extension(draft, STRANGE),
        lambda draft: with_extension(draft, constraints(x509.DNSName("b.test"))),
        lambda draft: with_extension(draft, constraints(x509.DirectoryName(x509.Name([])))),
        lambda draft: with_extension(draft, Extension(oids.NAME_CONSTRAINTS, critical=True, value=b"\x30\x01")),
    ],
    ids=[
        "no constraints",
        "no authority",
        "may not sign",
        "over",
        "not yet",
        "servers only",
        "strange",
        "names",
        "directory names",
        "broken constraints",
    ],
)
def test_an_intermediate_that_may_not_issue_this_is_refused(lab: Lab, change: Callable[[Draft], Draft]) -> None:
    middle = lab.authority("Middle", parent=lab.root, path_length=0, change=change)
    leaf = lab.leaf(replace(lab.draft(), issuer=middle.certificate.subject), by=middle)
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, middle.certificate), [lab.root.certificate])


@pytest.mark.parametrize(
    "change",
    [
        lambda draft: draft,
        lambda draft: without(draft, oids.KEY_USAGE),
        lambda draft: with_extension(draft, CLIENT_ONLY),
        lambda draft: with_extension(draft, constraints(x509.DNSName("test"))),
        lambda draft: with_extension(draft, encode_basic_constraints(BasicConstraints(is_ca=True))),
    ],
    ids=["plain", "no key usage", "clients only", "names", "no path length"],
)
def test_an_intermediate_that_may_issue_this_is_believed(lab: Lab, change: Callable[[Draft], Draft]) -> None:
    middle = lab.authority("Middle", parent=lab.root, path_length=0, change=change)
    leaf = lab.leaf(replace(lab.draft(), issuer=middle.certificate.subject), by=middle)
    assert verify_chain(ders(leaf, middle.certificate), [lab.root.certificate]) == leaf


def test_a_path_length_counts_the_authorities_below(lab: Lab) -> None:
    upper = lab.authority("Upper", parent=lab.root, path_length=0)
    lower = lab.authority("Lower", parent=upper, path_length=0)
    leaf = lab.leaf(replace(lab.draft(), issuer=lower.certificate.subject), by=lower)
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, lower.certificate, upper.certificate), [lab.root.certificate])


def test_a_leaf_cannot_issue(lab: Lab) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    boss = lab.leaf(replace(lab.draft(), spki=Party(key, lab.root.certificate).spki))
    leaf = lab.leaf(replace(lab.draft(), issuer=boss.subject), by=Party(key, boss))
    assert is_issued_by(leaf, boss)
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, boss, lab.intermediate.certificate), [lab.root.certificate])


def test_many_candidates_of_one_name_cost_a_bounded_number_of_signatures(lab: Lab) -> None:
    twins = [lab.authority("Twin") for _ in range(MAX_CHAIN - 1)]
    leaf = lab.leaf(replace(lab.draft(), issuer=twins[0].certificate.subject), by=lab.intermediate)
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, *(twin.certificate for twin in twins)), [lab.root.certificate])
    roots = [lab.authority("Twin").certificate for _ in range(40)]
    with pytest.raises(Unauthenticated, match="too many"):
        verify_chain(ders(leaf), roots)


def test_authorities_that_issued_each_other_are_no_loop(lab: Lab) -> None:
    first = lab.authority("First")
    second = lab.authority("Second", parent=first)
    again = lab.authority("First", parent=second, change=lambda draft: replace(draft, spki=first.spki))
    leaf = lab.leaf(replace(lab.draft(), issuer=first.certificate.subject), by=first)
    with pytest.raises(Unauthenticated):
        verify_chain(ders(leaf, first.certificate, second.certificate, again.certificate), [lab.root.certificate])


# -- the handshake ------------------------------------------------------------------------------------


def test_the_issuer_is_found_by_its_signature_not_by_its_name(lab: Lab) -> None:
    twin = lab.authority("Intermediate", parent=lab.root, path_length=0)
    impostor = make_issuer([twin.certificate.der])
    leaf = lab.leaf(lab.draft())
    assert find_issuer(leaf, [impostor, lab.issuer]) is lab.issuer
    assert find_issuer(leaf, [impostor]) is None
    assert find_issuer(leaf, []) is None


def test_a_changed_leaf_has_no_issuer(lab: Lab) -> None:
    leaf = lab.leaf(lab.draft())
    changed = replace(leaf, der=leaf.der.replace(b"a.test", b"b.test"))
    assert find_issuer(changed, [lab.issuer]) is None


@pytest.mark.parametrize("seconds", [-1, 24 * 3600 + 1])
def test_a_leaf_outside_its_window_is_expired(lab: Lab, seconds: int) -> None:
    with pytest.raises(CertificateExpired):
        check_client_leaf(lab.leaf(lab.draft()), lab.issuer, NOW + timedelta(seconds=seconds))


def test_the_last_second_of_a_leaf_counts(lab: Lab) -> None:
    leaf = lab.leaf(lab.draft())
    check_client_leaf(leaf, lab.issuer, leaf.not_before)
    check_client_leaf(leaf, lab.issuer, leaf.not_after)


def test_a_leaf_outlives_its_issuer_in_vain(lab: Lab) -> None:
    leaf = lab.leaf(replace(lab.draft(), not_after=END + timedelta(days=9)))
    with pytest.raises(CertificateExpired):
        check_client_leaf(leaf, lab.issuer, END + timedelta(days=1))


def test_a_name_the_issuer_may_not_give_is_refused(lab: Lab) -> None:
    issuer = replace(lab.issuer, constraints=NameConstraints(excluded_dns=("a.test",)))
    with pytest.raises(Unauthenticated, match="excluded"):
        check_client_leaf(lab.leaf(lab.draft()), issuer, NOW)
