"""A new CA: its root, its intermediate, its keys and its configuration, as files that `step-ca` serves too.

Everything is made in memory first; `pki_files` then puts all of it into the folder or nothing.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from msgspec import Struct

from provisor.config import defaults
from provisor.core.jose.jwe import encrypt_pbes2
from provisor.core.jose.jwk import encode_jwk, jwk_members, make_jwk
from provisor.core.keys import PrivateKey, spki_der
from provisor.core.names import parse_ip, split_host_port
from provisor.core.pem import encode_pem, encode_private_key
from provisor.core.secret import Password
from provisor.core.x509.build import build_ca
from provisor.core.x509.certificate import Certificate, parse_certificate
from provisor.core.x509.draft import assemble, encode_tbs
from provisor.core.x509.issuer import signature_algorithm_for
from provisor.errors import BadKey, Conflict
from provisor.kms.soft import SoftSigner
from provisor.pki_files import NewFile, install, present
from provisor.wire.gojson import encode_config

LIFETIME = timedelta(days=3650)
"""Of root and intermediate, counted from the moment they are made."""

FOLDERS = ("certs", "config", "secrets", "templates")

ROOT_CERTIFICATE = "certs/root_ca.crt"
ROOT_KEY = "secrets/root_ca_key"
INTERMEDIATE_CERTIFICATE = "certs/intermediate_ca.crt"
INTERMEDIATE_KEY = "secrets/intermediate_ca_key"
CONFIGURATION = "config/ca.json"
DEFAULTS = "config/defaults.json"
DATABASE = "db"

Random = Callable[[int], bytes]


class Authority(Struct, frozen=True):
    """A certificate that signs others, with its key. `key_is_new`: it has to be written down."""

    certificate: Certificate
    key: PrivateKey
    key_is_new: bool = True


class CASettings(Struct, frozen=True):
    """What the configuration of a new CA says.

    `dns_names` are names and addresses, the first one the host of `ca-url` unless `url` is given; `address` is
    `host:port`. `acme` adds an ACME provisioner, `database` false leaves out `db`.
    """

    dns_names: tuple[str, ...]
    address: str
    provisioner: str
    acme: bool = False
    database: bool = True
    url: str = ""


class PKI(Struct, frozen=True):
    """A CA as files, not yet written. `files` are in the order in which one asks before replacing them."""

    root: Authority
    intermediate: Authority
    files: tuple[NewFile, ...]
    folders: tuple[str, ...]


def create_pki(
    step_path: str,
    *,
    name: str,
    dns: Sequence[str],
    address: str,
    provisioner: str,
    password: Password,
    provisioner_password: Password | None = None,
    acme: bool = False,
    database: bool = True,
    url: str = "",
    replace: bool = False,
    now: datetime | None = None,
    random: Random = os.urandom,
) -> PKI:
    """Make a CA with new keys in the folder `step_path` (created if need be), as `ca init` does.

    All or nothing. Without `replace` nothing that is there is touched: raises `Conflict`. Raises `OSError`.
    """
    at = now or datetime.now(UTC)
    folder = Path(step_path).absolute()
    root = make_root(name, now=at, random=random)
    intermediate = make_intermediate(name, root, now=at, random=random)
    settings = CASettings(tuple(dns), address, provisioner, acme=acme, database=database, url=url)
    pki = assemble_pki(
        root,
        intermediate,
        settings,
        step_path=str(folder),
        password=password,
        provisioner_password=provisioner_password,
        random=random,
    )
    if not replace and (there := present(folder, pki.files)):
        raise Conflict(f"{there[0]} exists already")
    with install(folder, pki.files, pki.folders) as installation:
        installation.commit()
    return pki


def make_root(name: str, *, now: datetime, random: Random = os.urandom) -> Authority:
    """A self-signed root called `<name> Root CA`, with a new P-256 key."""
    return _make(name, "Root CA", parent=None, path_length=1, now=now, random=random)


def make_intermediate(name: str, root: Authority, *, now: datetime, random: Random = os.urandom) -> Authority:
    """An intermediate called `<name> Intermediate CA` below `root`, with a new P-256 key.

    Raises `BadKey` when the root's key is not that of its certificate, or nothing below it would be trusted.
    """
    check_root(root, now=now)
    return _make(name, "Intermediate CA", parent=root, path_length=0, now=now, random=random)


def check_root(root: Authority, *, now: datetime) -> None:
    """Raises `BadKey` when no chain through an intermediate can lead to this root."""
    certificate = root.certificate
    if spki_der(root.key.public_key()) != certificate.spki:
        raise BadKey("x509: provided PrivateKey doesn't match parent's PublicKey")
    # step-ca: takes any certificate here; everything the new CA signs would then be refused by everybody.
    if not certificate.is_ca:
        raise BadKey("the given root certificate is not that of a certificate authority")
    if certificate.path_length == 0:
        raise BadKey("the given root certificate allows no intermediate below it (its path length is 0)")
    if not certificate.not_before <= now <= certificate.not_after:
        raise BadKey("the given root certificate is not in date")


def _make(
    name: str, suffix: str, *, parent: Authority | None, path_length: int, now: datetime, random: Random
) -> Authority:
    key = ec.generate_private_key(ec.SECP256R1())
    signing = SoftSigner(key if parent is None else parent.key)
    algorithm = signing.signature_algorithms[0] if parent is None else signature_algorithm_for(parent.certificate)
    start = now.replace(microsecond=0)
    draft = build_ca(
        organization=name,
        common_name=f"{name} {suffix}",
        path_length=path_length,
        spki=spki_der(key.public_key()),
        serial=int.from_bytes(random(16), "big") or 1,
        not_before=start,
        not_after=start + LIFETIME,
        signature_algorithm=algorithm,
        parent=None if parent is None else parent.certificate,
    )
    tbs = encode_tbs(draft)
    return Authority(parse_certificate(assemble(tbs, algorithm, signing.sign(tbs, algorithm))), key)


def assemble_pki(
    root: Authority,
    intermediate: Authority,
    settings: CASettings | None,
    *,
    step_path: str,
    password: Password,
    provisioner_password: Password | None = None,
    random: Random = os.urandom,
) -> PKI:
    """The files of a CA below the absolute folder `step_path`; without `settings` only certificates and keys.

    Raises `BadKey` for an empty password.
    """
    if not password:
        raise BadKey("the keys of a CA are not written without a password")
    files = _certificate_files(root, password, ROOT_CERTIFICATE, ROOT_KEY, random)
    files += _certificate_files(intermediate, password, INTERMEDIATE_CERTIFICATE, INTERMEDIATE_KEY, random)
    folders: tuple[str, ...] = FOLDERS
    if settings is not None:
        entries = provisioner_entries(settings, provisioner_password or password, random)
        configuration = ca_json(settings, step_path, entries)
        files.append(NewFile(CONFIGURATION, encode_config(configuration), 0o644))
        defaults_json = encode_config(client_defaults(settings, step_path, root.certificate.fingerprint))
        files.append(NewFile(DEFAULTS, defaults_json, 0o644))
        folders += (DATABASE,) if settings.database else ()
    return PKI(root, intermediate, tuple(files), folders)


def _certificate_files(
    authority: Authority, password: Password, certificate: str, key: str, random: Random
) -> list[NewFile]:
    files = [NewFile(certificate, encode_pem("CERTIFICATE", authority.certificate.der).encode(), 0o600)]
    if authority.key_is_new:
        files.append(NewFile(key, encode_private_key(authority.key, password=password, random=random), 0o600))
    return files


def provisioner_entries(settings: CASettings, password: Password, random: Random) -> list[dict[str, object]]:
    """The provisioners of a new ca.json: a JWK with a new key under `password`, and ACME if wanted."""
    entries = [{"type": "JWK", "name": settings.provisioner, **new_jwk(password, random)}]
    if settings.acme:
        # Names are unique: the reference counts on when the first one is called the same.
        entries.append({"type": "ACME", "name": "acme" if settings.provisioner != "acme" else "acme-1"})
    return entries


def new_jwk(password: Password, random: Random = os.urandom) -> dict[str, object]:
    """`key` and `encryptedKey` of a JWK provisioner with a new P-256 key. Raises `BadKey` for an empty password."""
    jwk = make_jwk(ec.generate_private_key(ec.SECP256R1()))
    return {
        "key": jwk_members(jwk),
        "encryptedKey": encrypt_pbes2(encode_jwk(jwk, private=True), password, random),
    }


def ca_json(settings: CASettings, step_path: str, provisioners: Sequence[object]) -> dict[str, object]:
    """The document of ca.json in the order of its members. `step_path` is absolute."""
    database = {"type": "badgerv2", "dataSource": os.path.join(step_path, DATABASE), "badgerFileLoadingMode": ""}
    return {
        "root": os.path.join(step_path, ROOT_CERTIFICATE),
        "federatedRoots": None,
        "crt": os.path.join(step_path, INTERMEDIATE_CERTIFICATE),
        "key": os.path.join(step_path, INTERMEDIATE_KEY),
        "address": settings.address,
        "insecureAddress": "",
        "dnsNames": list(settings.dns_names),
        "logger": {"format": "text"},
        **({"db": database} if settings.database else {}),
        "authority": {"provisioners": list(provisioners)},
        "tls": {
            "cipherSuites": list(defaults.CIPHER_SUITES),
            "minVersion": defaults.MIN_VERSION,
            "maxVersion": defaults.MAX_VERSION,
            "renegotiation": False,
        },
    }


def client_defaults(settings: CASettings, step_path: str, fingerprint: str) -> dict[str, object]:
    """The document of defaults.json: what a client on this machine needs to know."""
    return {
        "ca-url": settings.url or ca_url(settings.dns_names[0], settings.address),
        "ca-config": os.path.join(step_path, CONFIGURATION),
        "fingerprint": fingerprint,
        "root": os.path.join(step_path, ROOT_CERTIFICATE),
    }


def ca_url(host: str, address: str) -> str:
    """Where clients reach a CA called `host` that listens on `address`; port 443 goes without saying."""
    port = split_host_port(address)[1]
    # step-ca: leaves the brackets out when the port is 443, which no client can read.
    shown = f"[{host}]" if ":" in host else host
    return f"https://{shown}" if port == "443" else f"https://{shown}:{port}"


def parse_dns_names(texts: Sequence[str]) -> tuple[str, ...]:
    """The names in `--dns` values, which may be lists with commas or blanks; `[::1]` loses its brackets.

    Raises `ValueError` with the recorded text.
    """
    names = []
    for word in (word for text in texts for word in text.replace(",", " ").split()):
        name = word[1:-1] if word.startswith("[") and word.endswith("]") else word
        if not name or not word.isascii() or (":" in name and not parse_ip(name)):
            raise ValueError(f"{word} is not a valid DNS name or IP address")
        names.append(name)
    if not names:
        raise ValueError("dns must not be empty")
    return tuple(names)


def check_address(address: str) -> None:
    """Raises `ValueError` with the recorded text unless `address` is `host:port` with a number for a port."""
    try:
        port = split_host_port(address)[1]
    except ValueError:
        port = ""
    # step-ca: takes any text for a port, and then does not start.
    if not port.isdecimal() or not port.isascii() or int(port) > 0xFFFF:
        raise ValueError(f"{address} is not an TCP address")
