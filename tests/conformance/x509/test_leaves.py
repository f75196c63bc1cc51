"""Certificates built again from what was recorded of them: the bytes that were signed are the same."""

from __future__ import annotations

import base64
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from provisor.core.durations import HOUR, Duration
from provisor.core.keys import KeyInfo
from provisor.core.names import Name, NameKind, classify_sans
from provisor.core.pem import parse_certificates
from provisor.core.x509 import oids
from provisor.core.x509.build import build_leaf, build_renewed, build_server_leaf
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.check import check_draft, check_invariants
from provisor.core.x509.draft import encode_tbs
from provisor.core.x509.extensions import ProvisionerExtension, parse_provisioner
from provisor.core.x509.issuer import Issuer
from provisor.core.x509.name import Subject, encode_name
from provisor.core.x509.request import parse_csr_pem, verify_csr

DATA = Path(__file__).parent / "data"
JWK = 1


def load(name: str) -> Any:
    return json.loads((DATA / name).read_text("utf-8"))


def der(pem: str) -> bytes:
    return parse_certificates(pem.encode())[0]


def signed_part(certificate: bytes) -> bytes:
    return x509.load_der_x509_certificate(certificate).tbs_certificate_bytes


def named(case: dict[str, Any]) -> str:
    return str(case["name"])


def rebuild(case: dict[str, Any], issuer: Issuer, defaults: Subject | None = None) -> bytes:
    request = parse_csr_pem(case["csr"])
    verify_csr(request, allow_sha1=True)
    recorded = parse_certificate(der(case["crt"]))
    provisioner = case["provisioner"]
    draft = build_leaf(
        subject_cn=case["sub"],
        names=classify_sans(case["sans"] or [case["sub"]]),
        spki=request.spki,
        key=request.key,
        issuer=issuer,
        serial=recorded.serial,
        not_before=recorded.not_before,
        not_after=recorded.not_after,
        subject_defaults=defaults or Subject(),
        provisioner_extension=provisioner and ProvisionerExtension(JWK, provisioner[0], provisioner[1]),
    )
    checked = check_draft(draft, issuer=issuer, not_beyond_issuer=True)
    check_invariants(
        checked.tbs,
        issuer=issuer,
        max_validity=Duration(10_000 * HOUR),
        allow_ca=False,
        now=recorded.not_before,
    )
    return checked.tbs


@pytest.mark.parametrize("case", load("issued.json"), ids=named)
def test_an_issued_certificate_is_the_same_octet_by_octet(case: dict[str, Any], issuer: Issuer) -> None:
    assert rebuild(case, issuer).hex() == signed_part(der(case["crt"])).hex()


def test_subject_defaults_of_the_authority_are_filled_in(issuer: Issuer) -> None:
    case = load("subject-defaults.json")
    defaults = Subject(organization=case["template"]["organization"], country=case["template"]["country"])
    assert rebuild(case, issuer, defaults).hex() == signed_part(der(case["crt"])).hex()


def test_attributes_of_a_subject_have_the_recorded_order() -> None:
    (case,) = load("subject-order.json")
    given = case["template"]["subject"]
    subject = Subject(
        country=given["country"],
        organization=given["organization"],
        organizational_unit=given["organizationalUnit"],
        locality=given["locality"],
        province=given["province"],
        street_address=given["streetAddress"],
        postal_code=given["postalCode"],
        common_name=given["commonName"],
        serial_number=given["serialNumber"],
    )
    assert encode_name(subject.attributes()) in base64.b64decode(case["tbs"])


@pytest.mark.parametrize("case", load("renewed.json"), ids=named)
def test_a_renewed_certificate_is_the_same_octet_by_octet(case: dict[str, Any], issuer: Issuer) -> None:
    old, new = parse_certificate(der(case["old"])), parse_certificate(der(case["new"]))
    draft = build_renewed(
        old,
        issuer=issuer,
        serial=new.serial,
        not_before=new.not_before,
        not_after=new.not_after,
        new_spki=new.spki if case["kind"] == "rekey" else None,
    )
    assert encode_tbs(draft).hex() == signed_part(new.der).hex()


def test_the_server_leaf_has_the_recorded_subject_and_extensions(issuer: Issuer) -> None:
    recorded = load("server-leaf.json")
    other = parse_certificate(der(load("issued.json")[0]["crt"]))
    draft = build_server_leaf(
        common_name="Step Online CA",
        names=[
            Name(NameKind.DNS, "localhost"),
            Name(NameKind.DNS, "ca.example.test"),
            Name(NameKind.IP, "127.0.0.1"),
        ],
        spki=other.spki,
        key=KeyInfo("EC", 256, "P-256"),
        issuer=issuer,
        serial=int(recorded["serial"]),
        not_before=datetime(2026, 11, 23, 17, 28, 10, tzinfo=UTC),
        not_after=datetime(2026, 11, 24, 17, 29, 10, tzinfo=UTC),
    )
    made = [(e.oid, e.critical, e.value.hex()) for e in draft.extensions if e.oid != oids.SUBJECT_KEY_ID]
    assert made == [
        (e["oid"], e["critical"], e["valueHex"]) for e in recorded["extensions"] if e["oid"] != oids.SUBJECT_KEY_ID
    ]
    assert [e.oid for e in draft.extensions] == [e["oid"] for e in recorded["extensions"]]
    assert draft.subject == encode_name([(s["oid"], s["value"]) for s in recorded["subject"]])


def test_a_provisioner_extension_is_read_back() -> None:
    case = next(case for case in load("issued.json") if case["name"] == "provisioner unicode name")
    value = parse_certificate(der(case["crt"])).extension(oids.PROVISIONER)
    assert value is not None
    assert parse_provisioner(value) == ProvisionerExtension(JWK, *case["provisioner"])


@pytest.mark.parametrize("name", sorted(load("requests.json")))
def test_a_recorded_request_is_read_and_proven(name: str) -> None:
    verify_csr(parse_csr_pem(load("requests.json")[name]))


def test_names_of_a_request_are_read_in_their_order() -> None:
    request = parse_csr_pem(load("requests.json")["full"])
    assert request.common_name == "cn<x>"
    assert [(name.kind.value, name.value) for name in request.names] == [
        ("dns", "foo.com"),
        ("dns", "Bar.com"),
        ("email", "e@x.y"),
        ("ip", "1.2.3.4"),
        ("ip", "::1"),
        ("uri", "https://a.b/c?d=e"),
    ]


def test_a_recorded_root_is_read(root: Certificate) -> None:
    assert root.is_ca
    assert root.path_length == 1
    assert root.common_name == "Lab CA Root CA"
    assert root.akid == b""
