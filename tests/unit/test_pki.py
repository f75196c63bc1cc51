from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from msgspec.structs import replace

from provisor.checking import check_configuration
from provisor.core.jose.jwe import decrypt_pbes2
from provisor.core.jose.jwk import parse_jwk
from provisor.core.pem import parse_certificates, parse_private_key
from provisor.core.secret import Secret
from provisor.core.x509.certificate import parse_certificate
from provisor.errors import BadKey, Conflict
from provisor.pki import (
    Authority,
    assemble_pki,
    ca_url,
    check_address,
    create_pki,
    make_intermediate,
    make_root,
    parse_dns_names,
)
from support.command_line import tree

NOW = datetime(2026, 5, 4, 3, 2, 1, 987654, UTC)
PASSWORD = Secret("capassword")


def create(folder: Path, **options: object) -> None:
    wanted = {"name": "Lab", "dns": ["localhost"], "address": ":8443", "provisioner": "me", "password": PASSWORD}
    create_pki(str(folder), **(wanted | options))  # type: ignore[arg-type]  # a table of keyword arguments


def test_a_new_ca_would_start(tmp_path: Path) -> None:
    create(tmp_path / "step")
    report = check_configuration(
        str(tmp_path / "step" / "config" / "ca.json"), password=PASSWORD, now=datetime.now(UTC)
    )
    assert (report.faults, report.warnings) == ((), ())


def test_nothing_is_replaced_unasked(tmp_path: Path) -> None:
    create(tmp_path)
    before = tree(tmp_path)
    with pytest.raises(Conflict, match=r"root_ca\.crt exists already"):
        create(tmp_path, name="Other")
    assert tree(tmp_path) == before


@pytest.mark.parametrize("path", ["secrets/root_ca_key", "config/ca.json", "config/defaults.json"])
def test_one_file_of_another_ca_is_enough_to_stop(tmp_path: Path, path: str) -> None:
    (tmp_path / path).parent.mkdir()
    (tmp_path / path).write_text("precious")
    with pytest.raises(Conflict):
        create(tmp_path)
    assert [file for file in tmp_path.rglob("*") if file.is_file()] == [tmp_path / path]


def test_all_is_replaced_when_asked(tmp_path: Path) -> None:
    create(tmp_path)
    before = tree(tmp_path)
    create(tmp_path, replace=True)
    after = tree(tmp_path)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {path for path, content in after.items() if content is not None}


def test_root_and_intermediate_are_what_step_makes(tmp_path: Path) -> None:
    create(tmp_path, now=NOW)
    root, intermediate = (
        x509.load_pem_x509_certificate((tmp_path / "certs" / f"{name}.crt").read_bytes())
        for name in ("root_ca", "intermediate_ca")
    )
    intermediate.verify_directly_issued_by(root)
    for certificate, name, limit in ((root, "Lab Root CA", 1), (intermediate, "Lab Intermediate CA", 0)):
        assert certificate.subject.rfc4514_string() == f"CN={name},O=Lab"
        assert certificate.not_valid_before_utc == NOW.replace(microsecond=0)
        assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == timedelta(days=3650)
        found = [(extension.oid._name, extension.critical) for extension in certificate.extensions]
        assert found[:3] == [("keyUsage", True), ("basicConstraints", True), ("subjectKeyIdentifier", False)]
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints).value
        assert (constraints.ca, constraints.path_length) == (True, limit)
    assert len(root.extensions) == 3
    assert len(intermediate.extensions) == 4


def test_every_key_opens_with_its_password_and_no_other(tmp_path: Path) -> None:
    create(tmp_path, provisioner_password=Secret("other"))
    for name in ("root_ca", "intermediate_ca"):
        certificate = parse_certificate(parse_certificates((tmp_path / "certs" / f"{name}.crt").read_bytes())[0])
        key = parse_private_key((tmp_path / "secrets" / f"{name}_key").read_bytes(), PASSWORD)
        assert certificate.spki.endswith(parse_spki_point(key.public_key()))
        with pytest.raises(BadKey):
            parse_private_key((tmp_path / "secrets" / f"{name}_key").read_bytes(), Secret("other"))
    entry = json.loads((tmp_path / "config" / "ca.json").read_text())["authority"]["provisioners"][0]
    private = parse_jwk(decrypt_pbes2(entry["encryptedKey"], Secret("other")))
    assert private.thumbprint() == entry["key"]["kid"]
    with pytest.raises(BadKey):
        decrypt_pbes2(entry["encryptedKey"], PASSWORD)


def parse_spki_point(key: object) -> bytes:
    assert isinstance(key, ec.EllipticCurvePublicKey)
    point = key.public_numbers()
    return point.x.to_bytes(32, "big") + point.y.to_bytes(32, "big")


def test_keys_are_not_written_without_a_password() -> None:
    root = make_root("Lab", now=NOW)
    with pytest.raises(BadKey, match="without a password"):
        assemble_pki(root, make_intermediate("Lab", root, now=NOW), None, step_path="/x", password=Secret(""))


def test_an_existing_root_key_is_not_copied() -> None:
    root = replace(make_root("Lab", now=NOW), key_is_new=False)
    pki = assemble_pki(root, make_intermediate("Lab", root, now=NOW), None, step_path="/x", password=PASSWORD)
    assert [file.path for file in pki.files] == [
        *("certs/root_ca.crt", "certs/intermediate_ca.crt", "secrets/intermediate_ca_key"),
    ]


def roots_of_no_use() -> dict[str, tuple[Authority, datetime]]:
    root, other = make_root("Lab", now=NOW), make_root("Other", now=NOW)
    intermediate = make_intermediate("Lab", root, now=NOW)
    years = timedelta(days=3651)
    return {
        "doesn't match": (replace(root, key=other.key), NOW),
        "allows no intermediate": (intermediate, NOW),
        "not in date": (root, NOW + years),
        "is not in date": (root, NOW - timedelta(days=1)),
        "not that of a certificate authority": (
            replace(root, certificate=replace(root.certificate, basic_constraints=None)),
            NOW,
        ),
    }


@pytest.mark.parametrize("reason", roots_of_no_use())
def test_nothing_is_put_below_a_root_that_nobody_would_follow(reason: str) -> None:
    root, now = roots_of_no_use()[reason]
    with pytest.raises(BadKey, match=reason):
        make_intermediate("New", root, now=now)


@pytest.mark.parametrize(
    ("host", "address", "url"),
    [
        ("ca.internal", ":443", "https://ca.internal"),
        ("ca.internal", "10.0.0.1:8443", "https://ca.internal:8443"),
        ("::1", "[::1]:9443", "https://[::1]:9443"),
        ("::1", ":443", "https://[::1]"),
        ("10.0.0.1", ":4430", "https://10.0.0.1:4430"),
    ],
)
def test_clients_are_told_where_the_ca_is(host: str, address: str, url: str) -> None:
    assert ca_url(host, address) == url


@pytest.mark.parametrize(
    ("texts", "names"),
    [
        (["a"], ("a",)),
        (["a,b", "c d"], ("a", "b", "c", "d")),
        (["ca.internal, 10.0.0.1 [::1]"], ("ca.internal", "10.0.0.1", "::1")),
        (["not valid!"], ("not", "valid!")),
    ],
)
def test_names_are_taken_apart(texts: list[str], names: tuple[str, ...]) -> None:
    assert parse_dns_names(texts) == names


@pytest.mark.parametrize("text", ["localhost:8443", "[::1]:443", "https://x", "::g", "Ünicode", "[]", "fe80::1%eth0"])
def test_what_is_no_name_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not a valid DNS name or IP address"):
        parse_dns_names(["good", text])


@pytest.mark.parametrize("texts", [[], [""], [","], [" , "]])
def test_there_is_at_least_one_name(texts: list[str]) -> None:
    with pytest.raises(ValueError, match="dns must not be empty"):
        parse_dns_names(texts)


@pytest.mark.parametrize("address", [":443", "127.0.0.1:0", "[::1]:65535", "ca.internal:8443"])
def test_addresses_have_a_port(address: str) -> None:
    check_address(address)


@pytest.mark.parametrize("address", ["8443", ":", ":65536", ":-1", ":http", "::1:443", ":443 ", ":٤٤٣", "", "x:1:2"])
def test_what_is_no_address_is_refused(address: str) -> None:
    with pytest.raises(ValueError, match="is not an TCP address"):
        check_address(address)
