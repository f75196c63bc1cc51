from __future__ import annotations

from datetime import timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from msgspec.structs import replace

from provisor.core.keys import KeyInfo, spki_der, subject_key_id
from provisor.core.names import Name, NameKind
from provisor.core.x509 import oids
from provisor.core.x509.build import build_ca, build_leaf, build_renewed, build_server_leaf
from provisor.core.x509.draft import Draft, encode_tbs
from provisor.core.x509.extensions import Extension, ProvisionerExtension
from provisor.core.x509.name import EMPTY_NAME, Subject, encode_common_name, encode_name, parse_name
from provisor.errors import Unencodable
from support.x509_lab import BORN, END, NOW, P256, Lab, dns, with_extension, without

SPKI = spki_der(ec.generate_private_key(ec.SECP256R1()).public_key())
NEW_SPKI = spki_der(rsa.generate_private_key(65537, 2048).public_key())


def leaf(
    lab: Lab,
    *,
    cn: str = "a.test",
    names: tuple[Name, ...] = dns("a.test"),
    key: KeyInfo = P256,
    defaults: Subject | None = None,
    provisioner: ProvisionerExtension | None = None,
) -> Draft:
    return build_leaf(
        subject_cn=cn,
        names=names,
        spki=SPKI,
        key=key,
        issuer=lab.issuer,
        serial=7,
        not_before=NOW,
        not_after=NOW + timedelta(hours=1),
        subject_defaults=defaults or Subject(),
        provisioner_extension=provisioner,
    )


def kinds(draft: Draft) -> list[str]:
    return [extension.oid for extension in draft.extensions]


def extension(draft: Draft, oid: str) -> Extension:
    return next(extension for extension in draft.extensions if extension.oid == oid)


def test_the_provisioner_comes_last(lab: Lab) -> None:
    draft = leaf(lab, provisioner=ProvisionerExtension(1, "jwk", "kid"))
    assert kinds(draft) == [
        oids.KEY_USAGE,
        oids.EXT_KEY_USAGE,
        oids.SUBJECT_KEY_ID,
        oids.AUTHORITY_KEY_ID,
        oids.SUBJECT_ALT_NAME,
        oids.PROVISIONER,
    ]
    assert [e.oid for e in draft.extensions if e.critical] == [oids.KEY_USAGE]


def test_an_rsa_key_may_also_encipher(lab: Lab) -> None:
    assert extension(leaf(lab), oids.KEY_USAGE).value.hex() == "03020780"
    assert extension(leaf(lab, key=KeyInfo("RSA", 2048)), oids.KEY_USAGE).value.hex() == "030205a0"


def test_names_are_critical_only_without_a_subject(lab: Lab) -> None:
    assert not extension(leaf(lab), oids.SUBJECT_ALT_NAME).critical
    draft = leaf(lab, cn="")
    assert draft.subject == EMPTY_NAME
    assert extension(draft, oids.SUBJECT_ALT_NAME).critical
    assert not extension(leaf(lab, cn="", defaults=Subject(country="DE")), oids.SUBJECT_ALT_NAME).critical


def test_no_names_no_extension(lab: Lab) -> None:
    assert oids.SUBJECT_ALT_NAME not in kinds(leaf(lab, names=()))


def test_defaults_fill_only_what_is_empty(lab: Lab) -> None:
    defaults = Subject(country="DE", common_name="default")
    assert parse_name(leaf(lab, defaults=defaults).subject) == [(oids.COUNTRY, "DE"), (oids.COMMON_NAME, "a.test")]
    assert parse_name(leaf(lab, cn="", defaults=defaults).subject)[-1] == (oids.COMMON_NAME, "default")


@pytest.mark.parametrize("name", [Name(NameKind.DNS, "jürgen.test"), Name(NameKind.EMAIL, "jürgen@a.test")])
def test_a_name_outside_ascii_is_unencodable(lab: Lab, name: Name) -> None:
    with pytest.raises(Unencodable, match="cannot be encoded as an IA5String"):
        leaf(lab, names=(name,))


def test_an_issuer_without_key_identifier_gives_none(lab: Lab) -> None:
    issuer = replace(lab.issuer, authority_key_id=None)
    draft = build_server_leaf(
        common_name="CA",
        names=dns("localhost"),
        spki=SPKI,
        key=P256,
        issuer=issuer,
        serial=1,
        not_before=NOW,
        not_after=END,
    )
    assert oids.AUTHORITY_KEY_ID not in kinds(draft)
    assert oids.PROVISIONER not in kinds(draft)


def renew(lab: Lab, draft: Draft, new_spki: bytes | None = None) -> Draft:
    return build_renewed(
        lab.leaf(draft),
        issuer=lab.issuer,
        serial=8,
        not_before=NOW,
        not_after=NOW + timedelta(hours=2),
        new_spki=new_spki,
    )


def test_a_renewal_copies_everything_but_the_authority(lab: Lab) -> None:
    strange = Extension("1.2.3", critical=True, value=b"\x05\x00")
    old = with_extension(leaf(lab, provisioner=ProvisionerExtension(1, "jwk")), strange)
    old = with_extension(old, Extension(oids.AUTHORITY_KEY_ID, critical=False, value=bytes.fromhex("300380016f")))
    draft = renew(lab, old)
    assert draft.subject == old.subject
    assert draft.spki == old.spki
    assert draft.names == old.names
    assert draft.extensions == (
        lab.issuer.authority_key_id,
        *(e for e in old.extensions if e.oid != oids.AUTHORITY_KEY_ID),
    )
    assert (draft.serial, draft.not_before, draft.not_after) == (8, NOW, NOW + timedelta(hours=2))


def test_a_new_key_gets_its_own_identifier(lab: Lab) -> None:
    old = leaf(lab)
    draft = renew(lab, old, NEW_SPKI)
    assert draft.spki == NEW_SPKI
    assert kinds(draft) == [
        oids.SUBJECT_KEY_ID,
        oids.AUTHORITY_KEY_ID,
        oids.KEY_USAGE,
        oids.EXT_KEY_USAGE,
        oids.SUBJECT_ALT_NAME,
    ]
    assert extension(draft, oids.SUBJECT_KEY_ID).value == b"\x04\x14" + subject_key_id(NEW_SPKI)


def test_a_certificate_without_key_identifier_gets_one(lab: Lab) -> None:
    draft = renew(lab, without(leaf(lab), oids.SUBJECT_KEY_ID))
    assert kinds(draft)[:2] == [oids.SUBJECT_KEY_ID, oids.AUTHORITY_KEY_ID]
    assert extension(draft, oids.SUBJECT_KEY_ID).value == b"\x04\x14" + subject_key_id(SPKI)


def test_a_renewal_is_by_the_issuer_of_today(lab: Lab) -> None:
    other = replace(lab.issuer, certificate=lab.root.certificate)
    draft = build_renewed(lab.leaf(leaf(lab)), issuer=other, serial=9, not_before=NOW, not_after=END)
    assert draft.issuer == lab.root.certificate.subject


def test_an_odd_subject_is_copied_octet_by_octet(lab: Lab) -> None:
    odd = encode_name([("1.2.3.4", "x"), (oids.COMMON_NAME, "b"), (oids.COUNTRY, "DE")])
    assert renew(lab, replace(leaf(lab), subject=odd)).subject == odd


def test_authorities_are_as_documented(lab: Lab) -> None:
    root, middle = (x509.load_der_x509_certificate(party.certificate.der) for party in (lab.root, lab.intermediate))
    assert [e.oid.dotted_string for e in root.extensions] == [
        oids.KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.SUBJECT_KEY_ID,
    ]
    assert [e.oid.dotted_string for e in middle.extensions] == [
        oids.KEY_USAGE,
        oids.BASIC_CONSTRAINTS,
        oids.SUBJECT_KEY_ID,
        oids.AUTHORITY_KEY_ID,
    ]
    assert root.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 1)
    assert middle.extensions.get_extension_for_class(x509.BasicConstraints).value == x509.BasicConstraints(True, 0)
    assert [a.rfc4514_string() for a in middle.subject] == ["O=Lab", "CN=Intermediate"]
    root.verify_directly_issued_by(root)
    middle.verify_directly_issued_by(root)


def test_an_authority_of_a_root_without_key_identifier_has_no_authority_key_identifier(lab: Lab) -> None:
    draft = build_ca(
        organization="O",
        common_name="CN",
        path_length=0,
        spki=SPKI,
        serial=1,
        not_before=BORN,
        not_after=END,
        signature_algorithm=lab.issuer.signature_algorithm,
        parent=replace(lab.root.certificate, skid=b""),
    )
    assert oids.AUTHORITY_KEY_ID not in kinds(draft)


def test_times_before_2050_are_short(lab: Lab) -> None:
    early = encode_tbs(replace(leaf(lab), not_before=NOW.replace(year=2049), not_after=NOW.replace(year=2050)))
    assert b"\x17\x0d490601120000Z\x18\x0f20500601120000Z" in early


def test_a_fraction_of_a_second_cannot_be_encoded(lab: Lab) -> None:
    with pytest.raises(Unencodable):
        encode_tbs(replace(leaf(lab), not_before=NOW.replace(microsecond=1)))


def test_a_serial_of_seventeen_octets_is_positive(lab: Lab) -> None:
    tbs = encode_tbs(replace(leaf(lab), serial=(1 << 128) - 1))
    assert b"\x02\x11\x00" + b"\xff" * 16 in tbs


def test_a_common_name_alone_is_the_subject(lab: Lab) -> None:
    assert leaf(lab, cn="x").subject == encode_common_name("x")
