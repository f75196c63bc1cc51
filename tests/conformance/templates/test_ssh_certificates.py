"""From a template to a signed SSH certificate: every recorded case, to the octet."""

from __future__ import annotations

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
)

from conformance.templates.tables import Document, RealWorld, cases, table
from provisor.core.ssh.defaults import DEFAULTS
from provisor.core.ssh.schema import SSHShape, read_ssh_certificate
from provisor.core.ssh.template_data import SSHRequestData, SSHTemplateData, ssh_template_data
from provisor.core.ssh.wire import SSHDraft, encode_to_be_signed, string
from provisor.core.template.errors import ExecutionError, ParseError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import SSH_FUNCTIONS
from provisor.core.template.values import from_plain
from provisor.core.x509.schema import OutputError
from support.cases import grouped

NONCE = b"0123456789abcdefghijklmnopqrstuv"
SERIAL = 0x1122334455667788


def key_of(case: Document) -> bytes:
    return base64.b64decode(table("ssh-certificates")["keys"][case["key"]].split()[1])


def data_of(case: Document) -> SSHTemplateData:
    recorded = table("ssh-certificates")["data"][case["data"]]
    data = ssh_template_data(recorded["Type"], recorded["KeyID"], recorded["Principals"])
    for name in ("Token", "CriticalOptions"):
        if name in recorded:
            data[name] = from_plain(recorded[name])
    if recorded["Extensions"] is not None:
        data["Extensions"] = from_plain(recorded["Extensions"])
    kind = "host" if case["data"] == "host" else "user"
    request = SSHRequestData(key_of(case), kind, "cr-key-id", ["cr-one", "cr-two"])
    data["Insecure"] = SSHTemplateData({"User": from_plain({"x": 1}), "CR": request})
    return data


def read(case: Document) -> SSHShape | tuple[str, str]:
    template = case["template"]
    if template.startswith("default:"):
        template = DEFAULTS[template.removeprefix("default:")]
    try:
        rendered = Template(template, SSH_FUNCTIONS).render(data_of(case), RealWorld())
        assert rendered == case.get("rendered", rendered)
        return read_ssh_certificate(rendered)
    except TemplateFailed as error:
        return "certificate", str(error)
    except ParseError as error:
        return "certificate", f"error parsing template: {error}"
    except ExecutionError as error:
        return "certificate", f"error executing template: {error}"
    except OutputError as error:
        return "certificate", str(error)


def fields(shape: SSHShape) -> Document:
    def octets(value: bytes | None) -> str | None:
        return None if value is None else base64.b64encode(value).decode()

    return {
        "criticalOptions": shape.critical_options,
        "extensions": shape.extensions,
        "keyId": shape.key_id,
        "nonce": octets(shape.nonce),
        "principals": None if shape.principals is None else list(shape.principals),
        "reserved": octets(shape.reserved),
        "serial": str(shape.serial),
        "type": shape.type,
        "validAfter": shape.valid_after,
        "validBefore": shape.valid_before,
    }


def signed(case: Document, shape: SSHShape, ca: Ed25519PrivateKey) -> str:
    public = ca.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
    tbs = encode_to_be_signed(
        SSHDraft(
            key=key_of(case),
            nonce=shape.nonce or NONCE,
            serial=shape.serial or SERIAL,
            type=shape.type,
            key_id=shape.key_id,
            principals=shape.principals or (),
            valid_after=shape.valid_after,
            valid_before=shape.valid_before,
            critical_options=shape.critical_options or {},
            extensions=shape.extensions or {},
            reserved=shape.reserved or b"",
            signature_key=string(b"ssh-ed25519") + string(public),
        )
    )
    signature = string(b"ssh-ed25519") + string(ca.sign(tbs))
    return base64.b64encode(tbs + string(signature)).decode()


def test_every_certificate_is_the_recorded_one_to_the_octet() -> None:
    ca = Ed25519PrivateKey.from_private_bytes(base64.b64decode(table("ssh-certificates")["caSeed"]))
    different: list[tuple[object, ...]] = []
    for case in cases("ssh-certificates"):
        found = read(case)
        if isinstance(found, tuple):
            wanted: object = (case.get("stage") and "certificate", case.get("error"))
            if found != wanted:
                different.append((case["id"], case["template"], wanted, found))
        elif "error" in case:
            different.append((case["id"], case["template"], case["error"], found))
        elif (fields(found), signed(case, found, ca)) != (case["certificate"], case["wire"]):
            different.append((case["id"], case["template"], case["certificate"], fields(found)))
    assert not different, grouped(different)
    assert len(cases("ssh-certificates")) == 122


def test_what_has_no_certificates_is_refused() -> None:
    key = string(b"ssh-dss") + string(b"x")
    draft = SSHDraft(key, NONCE, 1, 1, "id", (), 0, 0, {}, {}, b"", b"")
    with pytest.raises(ValueError, match="unknown key type"):
        encode_to_be_signed(draft)
