"""What the real `step` gets from Provisor, before a third judge: openssl verifies every chain, request and list."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import pytest
from cryptography import x509
from cryptography.x509.oid import ExtendedKeyUsageOID

from support.peers import PASSWORD, require_peer
from support.provisor_process import CAFolder, CAProcess, provisor_ca
from support.step_lab import Workplace, configure

pytestmark = pytest.mark.peer

OURS: Final = "--provisioner you@smallstep.com --provisioner-password-file pw"


class World:
    """A running Provisor that keeps a list of revoked certificates, and a workplace that knows it."""

    def __init__(self, folder: CAFolder, server: CAProcess, workplace: Workplace) -> None:
        self.folder = folder
        self.server = server
        self.workplace = workplace
        self.root = folder.pki.root_file

    def issue(self, name: str, options: str = "") -> Path:
        self.workplace.do(f"step ca certificate {name} {name}.crt {name}.key {OURS} {options} --force")
        return self.workplace.cwd / f"{name}.crt"

    def verify(self, file: Path, options: str = "") -> str:
        """What openssl says to the leaf in `file` with the rest of it as intermediates."""
        return self.workplace.run(
            f"openssl verify -x509_strict -CAfile {self.root} -untrusted {file} {options} {file}"
        ).stdout.strip()

    def serial(self, file: Path) -> int:
        return leaf_of(file).serial_number


def leaf_of(file: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificates(file.read_bytes())[0]


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    require_peer("step")
    base = tmp_path_factory.mktemp("openssl")
    folder = CAFolder(base / "ca", settings={"crl": {"enabled": True, "generateOnRevoke": True}})
    workplace = Workplace(base / "work", base / "step")
    configure(workplace.step_path, folder.url, folder.fingerprint, folder.pki.root_file)
    (workplace.cwd / "pw").write_text(PASSWORD)
    with folder.serve(provisor_ca()) as server:
        yield World(folder, server, workplace)


KEYS: Final = {
    "p256": "",
    "p384": "--kty EC --curve P-384",
    "p521": "--kty EC --curve P-521",
    "rsa": "--kty RSA --size 2048",
    "okp": "--kty OKP --curve Ed25519",
}


@pytest.mark.parametrize("kind", KEYS)
def test_a_certificate_and_its_renewals_verify_for_servers_and_clients(kind: str, world: World) -> None:
    name = f"{kind}.internal"
    file = world.issue(name, KEYS[kind])
    crt = f"{name}.crt {name}.key"
    for command in (
        "true",
        f"step ca renew {crt} --force",
        f"step ca renew {crt} --force --mtls=false",
        f"step ca rekey {crt} --force",
    ):
        before = world.serial(file)
        world.workplace.do(command)
        assert (world.serial(file) == before) == (command == "true")
        for purpose in ("sslserver", "sslclient"):
            assert world.verify(file, f"-purpose {purpose} -verify_hostname {name}") == f"{file}: OK"


def test_names_of_every_kind_are_checked_by_openssl(world: World) -> None:
    names = ("a.internal", "*.b.internal", "10.1.2.3", "fd00::1", "max@a.internal", "https://a.internal/x?y=z")
    file = world.issue("names", " ".join(f"--san '{name}'" for name in names))
    for option in (
        "-verify_hostname a.internal",
        "-verify_hostname x.b.internal",
        "-verify_ip 10.1.2.3",
        "-verify_ip fd00::1",
        "-verify_email max@a.internal",
    ):
        assert world.verify(file, option) == f"{file}: OK"
    for option in ("-verify_hostname c.internal", "-verify_ip 10.1.2.4", "-verify_email eve@a.internal"):
        assert (
            "mismatch"
            in world.workplace.run(f"openssl verify -CAfile {world.root} -untrusted {file} {option} {file}").stderr
        )
    sans = leaf_of(file).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert sans.get_values_for_type(x509.UniformResourceIdentifier) == ["https://a.internal/x?y=z"]


def test_a_certificate_is_for_servers_and_clients_and_signs_nothing(world: World) -> None:
    extensions = leaf_of(world.issue("purposes")).extensions
    purposes = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(purposes) == [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
    usage = extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical
    assert usage.value.digital_signature
    assert not usage.value.key_cert_sign
    with pytest.raises(x509.ExtensionNotFound):
        extensions.get_extension_for_class(x509.BasicConstraints)


def test_the_servers_own_chain_verifies(world: World) -> None:
    seen = world.workplace.run(
        f"openssl s_client -connect 127.0.0.1:{world.folder.port} -servername localhost -verify_hostname localhost"
        f" -verify_return_error -CAfile {world.root} </dev/null"
    )
    assert "Verification: OK" in seen.stdout
    assert seen.status == 0


# -- lists of revoked certificates ----------------------------------------------------------------


def revoke(world: World, name: str, options: str) -> Path:
    file = world.issue(name)
    serial = world.serial(file)
    token = world.workplace.do(f"step ca token {serial} --revoke {OURS}").strip()
    world.workplace.do(f"step ca revoke {serial} --token {token} {options}")
    return file


def test_a_revoked_certificate_is_on_the_list_that_openssl_believes(world: World) -> None:
    kept = world.issue("kept.internal")
    gone = revoke(world, "gone.internal", "--reasonCode keyCompromise --reason lost")
    mine = world.issue("mine.internal")
    world.workplace.do("step ca revoke --cert mine.internal.crt --key mine.internal.key")
    run, root = world.workplace.do, world.root
    run(f"curl -sf --cacert {root} {world.folder.url}/1.0/crl -o crl.der")
    run(f"curl -sf --cacert {root} '{world.folder.url}/crl?pem=true' -o crl.pem")
    run(f"cat {world.folder.pki.intermediate_file} {root} > chain.pem")
    for source in ("-inform DER -in crl.der", "-in crl.pem"):
        text = world.workplace.run(f"openssl crl {source} -CAfile chain.pem -noout -text")
        assert text.stderr.strip() == "verify OK"
        assert re.search(rf"Serial Number: 0*{world.serial(gone):X}", text.stdout)
        assert re.search(rf"Serial Number: 0*{world.serial(mine):X}", text.stdout)
        assert f"{world.serial(kept):X}" not in text.stdout
        assert text.stdout.count("Key Compromise") == 1


def test_step_reads_the_list(world: World) -> None:
    gone = revoke(world, "read.internal", "--reasonCode superseded")
    shown = world.workplace.do(
        f"step crl inspect {world.folder.url}/1.0/crl --roots {world.root} --ca {world.folder.pki.intermediate_file}"
    )
    assert "Valid: true" in shown
    assert f"Serial Number: {world.serial(gone)} " in shown
    assert "CRL Reason Code:" in shown
    assert "Superseded" in shown


def test_what_is_revoked_is_neither_renewed_nor_revoked_again(world: World) -> None:
    revoke(world, "dead.internal", "")
    for option in ("", "--mtls=false"):
        done = world.workplace.run(f"step ca renew dead.internal.crt dead.internal.key --force {option}")
        assert done.status == 1
        assert done.stderr.startswith("The request lacked necessary authorization to be completed.")
    done = world.workplace.run("step ca revoke --cert dead.internal.crt --key dead.internal.key")
    assert done.status == 1
    assert "is already revoked" in done.stderr
