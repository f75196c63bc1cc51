"""What a template for an SSH certificate sees (templates 3.2)."""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from typing import Final

from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_ssh_public_key

from provisor.core.ssh.wire import split_string
from provisor.core.template.values import INTERFACE, Bytes, Field, Map, Method, Slice, Struct, Value
from provisor.core.x509.template_data import ECKey, RSAKey, key_value

EXTENSIONS: Final[Mapping[str, str]] = {
    "permit-X11-forwarding": "",
    "permit-agent-forwarding": "",
    "permit-port-forwarding": "",
    "permit-pty": "",
    "permit-user-rc": "",
}
"""Of a user's certificate, unless a template says otherwise."""


class SSHTemplateData(Map):
    """The data of a template. Its Go type has methods, so these names are no keys."""

    def __init__(self, items: Mapping[str, Value] = {}) -> None:
        super().__init__(items, INTERFACE, "sshutil.TemplateData")


def _setter(name: str, *parameters: str) -> Method:
    return Method(parameters, None, f"function {name} has 0 return values; should be 1 or 2")


SSHTemplateData.methods = {
    name: _setter(name, *parameters)
    for name, parameters in {
        "Set": ("string", INTERFACE),
        "SetInsecure": ("string", INTERFACE),
        "SetType": ("sshutil.CertType",),
        "SetKeyID": ("string",),
        "SetPrincipals": ("[]string",),
        "SetExtensions": ("map[string]interface {}",),
        "AddExtension": ("string", "string"),
        "SetCriticalOptions": ("map[string]interface {}",),
        "AddCriticalOption": ("string", "string"),
        "SetToken": (INTERFACE,),
        "SetUserData": (INTERFACE,),
        "SetAuthorizationCertificate": (INTERFACE,),
        "SetAuthorizationCertificateChain": (INTERFACE,),
        "SetCertificateRequest": ("sshutil.CertificateRequest",),
        "SetWebhook": ("string", INTERFACE),
    }.items()
}


class _Octets(Bytes):
    go = "ssh.ed25519PublicKey"


class _RSA(RSAKey):
    go = "ssh.rsaPublicKey"


class _EC(ECKey):
    go = "ssh.ecdsaPublicKey"


def _key_methods(blob: bytes) -> Mapping[str, Method]:
    kind = split_string(blob)[0].decode("latin-1")
    return {
        "Type": Method((), lambda _key: kind),
        "Marshal": Method((), lambda _key: Bytes(blob)),
    }


def public_key(blob: bytes) -> Value:
    """A public key in SSH's form, as Go's library has it. Raises `ValueError` for one it cannot read."""
    kind = split_string(blob)[0]
    if kind == b"ssh-ed25519":
        found: Value = _Octets(split_string(split_string(blob)[1])[0])
    else:
        key = load_ssh_public_key(kind + b" " + base64.b64encode(blob))
        plain, _ = key_value(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))
        assert isinstance(plain, Struct)
        found = (_RSA if kind == b"ssh-rsa" else _EC)(plain.values)
    found.methods = _key_methods(blob)
    return found


class SSHRequestData(Struct):
    """The request as `.Insecure.CR`."""

    go = "sshutil.CertificateRequest"
    members = (
        Field("Key", "Key", static="ssh.PublicKey"),
        Field("Type", "Type"),
        Field("KeyID", "KeyID"),
        Field("Principals", "Principals"),
    )

    def __init__(self, blob: bytes, type: str, key_id: str, principals: Sequence[str]) -> None:
        values = {"Key": public_key(blob), "Type": type, "KeyID": key_id, "Principals": strings(principals)}
        super().__init__(values)


def strings(items: Sequence[str] | None) -> Slice:
    return Slice(items or (), "string", nil=items is None)


def ssh_template_data(type: str, key_id: str, principals: Sequence[str] | None) -> SSHTemplateData:
    """What every provisioner gives. A host has no extensions."""
    extensions: Value = dict(EXTENSIONS) if type == "user" else Map(nil=True)
    return SSHTemplateData({"Type": type, "KeyID": key_id, "Principals": strings(principals), "Extensions": extensions})
