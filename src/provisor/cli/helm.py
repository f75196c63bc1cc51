"""`ca init --helm`: a new CA as values for the Helm chart of step-certificates, printed instead of written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from provisor import pki
from provisor.wire import gojson

_HOME: Final = "/home/step"
_PLAIN: Final = re.compile(r"[A-Za-z0-9:/][A-Za-z0-9.:_/@-]*")


def values(built: pki.PKI, settings: pki.CASettings) -> str:
    """The YAML. `built` was assembled for the folder that the chart's container has its files in.

    It holds the certificates, the encrypted keys and the configuration; the passwords are left to be filled in.
    """
    contents = {file.path: file.content.decode() for file in built.files}
    configuration = json.loads(contents[pki.CONFIGURATION])
    return "\n".join(_lines(contents, configuration, settings)) + "\n"


def home() -> str:
    """Where the container keeps its files."""
    return _HOME


def _lines(contents: Mapping[str, str], configuration: Mapping[str, object], settings: pki.CASettings) -> Iterator[str]:
    yield "# Values for the Helm chart step-certificates"
    yield "inject:"
    yield "  enabled: true"
    yield "  config:"
    yield "    files:"
    yield "      ca.json:"
    yield from _indented(8, _configuration(configuration))
    yield ""
    yield "      defaults.json:"
    yield from _indented(8, _defaults(json.loads(contents[pki.DEFAULTS]), settings))
    yield ""
    yield "  # public"
    yield "  certificates:"
    for name, path in (("intermediate_ca", pki.INTERMEDIATE_CERTIFICATE), ("root_ca", pki.ROOT_CERTIFICATE)):
        yield f"    {name}: |"
        yield from _indented(6, contents[path].splitlines())
    yield ""
    yield "  # secret: both passwords are yours to add, in base64"
    yield "  secrets:"
    yield "    ca_password: "
    yield "    provisioner_password: "
    yield ""
    yield "    x509:"
    for name, path in (("intermediate_ca_key", pki.INTERMEDIATE_KEY), ("root_ca_key", pki.ROOT_KEY)):
        # The key of an existing root is not among the files: the CA does without it.
        yield f"      {name}: |"
        yield from _indented(8, contents.get(path, "").splitlines())


def _configuration(document: Mapping[str, object]) -> Iterator[str]:
    """ca.json as the chart has it: with another logger, and each provisioner on a line of its own."""
    for name in ("root", "crt", "key", "address"):
        if name == "crt":
            yield "federateRoots: []"
        yield f"{name}: {_scalar(str(document[name]))}"
    yield "dnsNames:"
    dns_names, authority, tls = document["dnsNames"], document["authority"], document["tls"]
    assert isinstance(dns_names, Sequence)
    assert isinstance(authority, Mapping)
    assert isinstance(tls, Mapping)
    yield from (f"  - {_scalar(str(name))}" for name in dns_names)
    yield "logger:"
    yield "  format: json"
    database = document.get("db")
    if isinstance(database, Mapping):
        yield "db:"
        yield f"  type: {database['type']}"
        yield f"  dataSource: {_scalar(str(database['dataSource']))}"
    yield "authority:"
    yield "  enableAdmin: false"
    yield "  provisioners:"
    yield from (f"    - {_provisioner(one)}" for one in authority["provisioners"])
    yield "tls:"
    yield "  cipherSuites:"
    yield from (f"    - {name}" for name in tls["cipherSuites"])
    yield f"  minVersion: {tls['minVersion']}"
    yield f"  maxVersion: {tls['maxVersion']}"
    yield "  renegotiation: false"


def _provisioner(entry: Mapping[str, object]) -> str:
    # step-ca: a JWK provisioner has empty options here, and only here
    more: dict[str, object] = {"options": {"x509": {}, "ssh": {}}} if entry["type"] == "JWK" else {}
    return gojson.encode_json({**entry, **more}).decode().rstrip("\n")


def _defaults(document: Mapping[str, str], settings: pki.CASettings) -> Iterator[str]:
    host = settings.dns_names[0]
    # step-ca: without the port, since the chart's service has one of its own
    url = settings.url or f"https://{f'[{host}]' if ':' in host else host}"
    for name, value in {**document, "ca-url": url}.items():
        yield f"{name}: {_scalar(value)}"


def _scalar(text: str) -> str:
    """As it is where YAML reads that as text, else in quotes."""
    plain = _PLAIN.fullmatch(text) and not text.endswith(":")
    return text if plain and not re.fullmatch(r"[0-9]+([.:][0-9]*)?", text) else json.dumps(text)


def _indented(by: int, lines: Iterator[str] | Sequence[str]) -> Iterator[str]:
    return (" " * by + line if line else "" for line in lines)
