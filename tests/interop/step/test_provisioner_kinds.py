"""Provisioners of every type, written by `step` and by `provisor` side by side: the same octets, and step-ca starts.

Keys come from files, so that nothing in a ca.json is random.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import pytest

from support.identity_providers import fake_cloud, identity_provider
from support.peers import PASSWORD, free_port, jwk_provisioner, require_peer
from support.provisioner_files import write_provisioner_files
from support.provisor_process import CAFolder, CAProcess, provisor_ca, step_ca
from support.step_lab import Workplace, configure
from support.terminal import plain, run_on_terminal

pytestmark = pytest.mark.peer

NEBULA: Final = Path(__file__).resolve().parents[2] / "cli" / "provisioner" / "nebula"
LIMITS: Final = (
    "--x509-min-dur 20m --x509-max-dur 72h --x509-default-dur 36h --ssh-user-min-dur=-1h --ssh-user-max-dur 17h "
    "--ssh-user-default-dur 16h --ssh-host-min-dur 1ms --ssh-host-max-dur 90m --ssh-host-default-dur 1.5h"
)
CLAIMS: Final = "--disable-renewal --allow-renewal-after-expiry --disable-smallstep-extensions"
TEMPLATES: Final = (
    "--x509-template x.tpl --x509-template-data data.json --ssh-template s.tpl --ssh-template-data data.json"
)
OIDC: Final = "--client-id cid --configuration-endpoint $PROVIDER"

COMMANDS: Final = (
    "add jwk --public-key jwk.pub --private-key jwk.priv",
    f"add jwk-all --public-key plain.pub {LIMITS} {CLAIMS} {TEMPLATES}",
    "add jwk-no-ssh --public-key plain.pub --ssh=false",
    "add jwk-pem --public-key ec.pub.pem",
    "add jwk-rsa --public-key rsa.pub.pem",
    "add jwk-ed --public-key ed.pub",
    f"add oidc --type OIDC {OIDC} --client-secret s --admin a@x --admin b@x --domain x --group g --group h",
    "update oidc --remove-admin a@x --admin c@x --remove-domain x --scope openid --scope mail --auth-param a=b",
    "update oidc --remove-scope openid --tenant-id t --listen-address :10000 --client-secret ''",
    "add x5c --type X5C --x5c-roots x5cboth.crt",
    "update x5c --x5c-root x5c2.crt --disable-renewal",
    "add nebula --type Nebula --nebula-root nebula.crt",
    "update nebula --nebula-root nebula2.crt",
    "add kube --type K8sSA --public-key two.pub.pem",
    "update kube --public-key leaf.crt",
    "add sshpop --type SSHPOP --x509-template x.tpl",
    "update sshpop --ssh=false --x509-max-dur 48h",
    "add acme --type ACME",
    "add acme-all --type ACME --force-cn --require-eab --challenge HTTP-01 --challenge device-attest-01 "
    "--attestation-format step --attestation-format apple --attestation-roots x5c.crt --attestation-roots x5c2.crt",
    "update acme-all --remove-challenge http-01 --challenge dns-01 --challenge dns-01 --remove-attestation-format step",
    "update acme-all --force-cn=false --require-eab=false --remove-attestation-format apple "
    "--attestation-roots x5c2.crt",
    "update acme --x509-min-dur=20m --x509-max-dur=72h --x509-default-dur=36h --x509-template x.tpl",
    "update acme --x509-template ''",
    "add scep --type SCEP --challenge secret --encryption-algorithm-identifier 2 --capabilities POSTPKIOperation",
    "add scep-key --type SCEP --scep-decrypter-certificate-file scepe.crt --scep-decrypter-key-file scepe.key "
    "--scep-decrypter-key-password-file pw --include-root --exclude-intermediate --force-cn",
    "update scep --challenge other --capabilities Renewal --min-public-key-length 3072 "
    "--encryption-algorithm-identifier 0 --scep-decrypter-certificate-file scep.crt --scep-decrypter-key-file scep.key",
    "update scep-key --include-root=false --challenge ''",
    "add aws --type AWS",
    "add aws-all --type AWS --aws-account 1 --aws-account 2 --aws-account 3 --instance-age 1h --disable-custom-sans",
    "update aws-all --remove-aws-account 1 --aws-account 4 --disable-tofu --disable-custom-sans=false",
    "add gcp --type GCP --gcp-project p --gcp-service-account a --gcp-service-account b --instance-age 90s",
    "update gcp --remove-gcp-service-account a --gcp-project q --disable-ssh-ca-user=false --disable-ssh-ca-host",
    "add azure --type Azure --azure-tenant t1",
    "add azure-all --type azure --azure-tenant t2 --azure-resource-group g --azure-audience aud "
    "--azure-subscription-id s --azure-object-id o --disable-custom-sans --disable-tofu",
    "update azure-all --remove-azure-object-id o --azure-resource-group h --azure-audience '' --disable-tofu=false",
    "update jwk-all --disable-renewal=false --x509-template '' --ssh-template-data '' --ssh-user-min-dur 5m",
    "update jwk --private-key ''",
    "update jwk --private-key jwk.priv",
    "remove jwk-rsa",
)
"""In this order, each on what the ones before made."""

HAND_WRITTEN: Final[tuple[Mapping[str, object], ...]] = (
    {"type": "acme", "name": "by-hand", "termsOfService": "https://t", "website": "https://w", "caaIdentities": ["c"]},
    {"type": "aws", "name": "aws-by-hand", "instanceAge": "60m"},
    {"type": "gcp", "name": "gcp-by-hand"},
    {"type": "azure", "name": "azure-by-hand", "tenantID": "t3"},
    {"type": "scep", "name": "scep-by-hand", "claims": {"maxTLSCertDuration": "48h"}},
    {"type": "sshpop", "name": "sshpop-by-hand"},
)
"""With as little as they can have; an update spells the rest out."""


class Worlds:
    """Two ca.json of one CA that is not running, one for each program."""

    def __init__(self, base: Path, provider: str) -> None:
        self.provider = provider
        self.folders = {name: CAFolder(base / name, list(HAND_WRITTEN)) for name in ("step", "provisor")}
        first = self.folders["step"]
        self.folders["provisor"] = CAFolder(base / "provisor", list(HAND_WRITTEN), pki=first.pki)
        for folder in self.both():
            folder.config_file.write_text(json.dumps(complete(folder), indent="\t"))
        self.workplace = Workplace(base / "work", base / "steppath")
        configure(self.workplace.step_path, f"https://localhost:{free_port()}", first.fingerprint, first.pki.root_file)
        write_files(self.workplace.cwd)

    def edit(self, command: str) -> None:
        """By both; they say the same."""
        said = []
        for name, folder in self.folders.items():
            line = f"{name} ca provisioner {command} --ca-config {folder.config_file}"
            done = self.workplace.run(line.replace("$PROVIDER", self.provider))
            said.append((done.status, done.stdout, done.stderr.replace(str(folder.config_file), "FILE")))
        assert said[0] == said[1], command
        assert said[0][0] == 0, said

    def texts(self) -> list[str]:
        """Both files, the provisioners in one order: step may move what it updates."""
        return [json.dumps(by_name(json.loads(folder.config_file.read_text())), indent=1) for folder in self.both()]

    def both(self) -> list[CAFolder]:
        return list(self.folders.values())


def complete(folder: CAFolder) -> dict[str, Any]:
    """Its ca.json with everything that step writes in any case, in its order."""
    written = json.loads(folder.config_file.read_text())
    ciphers = ["TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256", "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256"]
    return {
        "root": written["root"],
        "federatedRoots": None,
        "crt": written["crt"],
        "key": written["key"],
        "address": written["address"],
        "insecureAddress": "",
        "dnsNames": written["dnsNames"],
        "logger": written["logger"],
        "db": {**written["db"], "badgerFileLoadingMode": ""},
        "authority": written["authority"],
        "tls": {"cipherSuites": ciphers, "minVersion": 1.2, "maxVersion": 1.3, "renegotiation": False},
    }


def by_name(document: dict[str, Any]) -> dict[str, Any]:
    document["authority"]["provisioners"].sort(key=lambda entry: entry["name"])
    for member in ("address", "db"):
        document.pop(member)
    return document


def write_files(folder: Path) -> None:
    def write(name: str, content: str | bytes) -> None:
        (folder / name).write_bytes(content.encode() if isinstance(content, str) else content)

    write_provisioner_files(write)
    write("pw", PASSWORD)
    write("nebula.crt", b"".join((NEBULA / f"{name}.crt").read_bytes() for name in ("ca1", "host1", "ca2", "host2")))
    shutil.copy(NEBULA / "ca2.crt", folder / "nebula2.crt")


@pytest.fixture(scope="module")
def worlds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Worlds]:
    require_peer("step")
    base = tmp_path_factory.mktemp("kinds")
    with ExitStack() as stack:
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        for name, value in stack.enter_context(fake_cloud(base)).items():
            patch.setenv(name, value)
        worlds = Worlds(base, stack.enter_context(identity_provider()))
        for entry in HAND_WRITTEN:
            worlds.edit(f"update {entry['name']}")
        for command in COMMANDS:
            worlds.edit(command)
            theirs, ours = worlds.texts()
            assert ours == theirs, command
        yield worlds


def test_both_programs_write_the_same_members_in_the_same_order(worlds: Worlds) -> None:
    theirs, ours = worlds.texts()
    assert ours == theirs
    entries = json.loads(ours)["authority"]["provisioners"]
    assert {entry["type"] for entry in entries} == {
        *("JWK", "OIDC", "X5C", "NEBULA", "K8SSA", "SSHPOP", "ACME", "SCEP", "AWS", "GCP", "AZURE")
    }


def test_both_programs_write_the_same_octets(worlds: Worlds) -> None:
    """Where nothing was moved: a file of its own, to which only is added."""
    outputs = []
    for program, folder in worlds.folders.items():
        file = folder.folder / "only-added.json"
        fresh = CAFolder(folder.folder / "fresh", [], pki=folder.pki)
        document = complete(fresh) | {"address": "127.0.0.1:1", "db": {"type": "badgerv2", "dataSource": "/db"}}
        document["db"]["badgerFileLoadingMode"] = ""
        file.write_text(json.dumps(document, indent="\t"))
        for command in COMMANDS:
            if command.startswith("add"):
                line = f"{program} ca provisioner {command} --ca-config {file}"
                done = worlds.workplace.run(line.replace("$PROVIDER", worlds.provider))
                assert done.status == 0, done
        outputs.append(file.read_bytes())
    assert outputs[0] == outputs[1]


@pytest.mark.parametrize("server", [step_ca, provisor_ca])
def test_a_ca_starts_with_what_provisor_wrote_and_lists_what_it_lists_of_step(worlds: Worlds, server: Any) -> None:
    lists = []
    for folder in worlds.both():
        folder.port = free_port()
        document = json.loads(folder.config_file.read_text()) | {"address": f"127.0.0.1:{folder.port}"}
        document["db"] = {"type": "badgerv2", "dataSource": str(folder.folder / server.__name__)}
        document["authority"]["provisioners"].sort(key=lambda entry: entry["name"])
        folder.config_file.write_text(json.dumps(document))
        with folder.serve(server()):
            shown = [
                worlds.workplace.do(f"{client} ca provisioner list --ca-url {folder.url}")
                for client in ("step", "provisor")
            ]
        assert shown[0] == shown[1]
        lists.append(shown[0])
    assert lists[0] == lists[1]
    assert len(json.loads(lists[0])) == len([one for one in COMMANDS if one.startswith("add")]) - 1 + len(HAND_WRITTEN)


# -- the recipes of the documentation of `step` ----------------------------------------------------------------

OLD_KEY: Final = """OLD_ENCRYPTED_KEY=$(PROGRAM ca provisioner list \\
   | jq -r '.[] | select(.name == "you@smallstep.com").encryptedKey')"""
NEW_PASSWORD: Final = """ENCRYPTED_KEY=$(echo $OLD_ENCRYPTED_KEY | \\
  CRYPTO crypto jwe decrypt | \\
  CRYPTO crypto jwe encrypt --alg PBES2-HS256+A128KW | \\
  CRYPTO crypto jose format)"""
STORE: Final = """PROGRAM ca provisioner update you@smallstep.com \\
  --private-key=<(echo -n "$ENCRYPTED_KEY")"""


class Running:
    """A CA with one JWK provisioner, and a workplace that knows it."""

    def __init__(self, folder: CAFolder, server: CAProcess, workplace: Workplace) -> None:
        self.folder = folder
        self.server = server
        self.workplace = workplace

    def entry(self) -> dict[str, Any]:
        (entry,) = json.loads(self.folder.config_file.read_text())["authority"]["provisioners"]
        return dict(entry)

    def on_terminal(self, script: str, *answers: tuple[str, str]) -> str:
        status, screen = run_on_terminal(
            ["bash", "-c", script], answers, env=self.workplace.environment, cwd=str(self.workplace.cwd)
        )
        assert status == 0, plain(screen)
        return plain(screen)

    def token(self, password: str) -> int:
        (self.workplace.cwd / "pw").write_text(password)
        return self.workplace.run("provisor ca token foo --password-file pw --provisioner you@smallstep.com").status


@pytest.fixture(params=[step_ca, provisor_ca])
def running(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Running]:
    if shutil.which("jq") is None:
        pytest.skip("jq is not here")
    folder = CAFolder(tmp_path / "ca", [jwk_provisioner("you@smallstep.com")])
    workplace = Workplace(tmp_path / "work", tmp_path / "step", STEP_CA_CONFIG=str(folder.config_file))
    configure(workplace.step_path, folder.url, folder.fingerprint, folder.pki.root_file)
    with folder.serve(request.param()) as server:
        yield Running(folder, server, workplace)


@pytest.mark.parametrize(
    "crypto",
    ["step", "provisor"],
)
def test_the_password_of_a_provisioner_is_changed_as_the_documentation_says(running: Running, crypto: str) -> None:
    before = running.entry()
    recipe = "\n".join((OLD_KEY, NEW_PASSWORD, STORE)).replace("PROGRAM", "provisor").replace("CRYPTO", crypto)
    running.on_terminal(
        recipe,
        ("decrypt the content encryption key", f"{PASSWORD}\r"),
        ("encrypt the content encryption key", "changed\r"),
    )
    after = running.entry()
    assert after["key"] == before["key"]
    assert after["encryptedKey"] != before["encryptedKey"]
    running.server.reload()
    assert running.token(PASSWORD) != 0
    assert running.token("changed") == 0


def test_without_a_terminal_the_password_stays(running: Running) -> None:
    before = running.folder.config_file.read_bytes()
    done = running.workplace.run(f'ENCRYPTED_KEY=""\n{STORE}'.replace("PROGRAM", "provisor"))
    assert done.status == 1
    assert "unexpected error on /dev/fd/" in done.stderr
    assert "unsupported format" in done.stderr
    assert running.folder.config_file.read_bytes() == before


def test_a_provisioner_gets_a_new_key_as_the_documentation_says(running: Running) -> None:
    before = running.entry()
    running.on_terminal("provisor ca provisioner update you@smallstep.com --create", ("generate one", "rekeyed\r"))
    assert running.entry()["key"]["kid"] != before["key"]["kid"]
    assert running.token(PASSWORD) == 0
    running.server.reload()
    assert running.token(PASSWORD) != 0
    assert running.token("rekeyed") == 0
    issue = "step ca certificate foo foo.crt foo.key --provisioner you@smallstep.com --provisioner-password-file pw"
    running.workplace.do(issue)


def test_the_encrypted_key_is_removed_as_the_documentation_says(running: Running) -> None:
    running.workplace.do('provisor ca provisioner update you@smallstep.com --private-key ""')
    assert "encryptedKey" not in running.entry()
    running.server.reload()
    done = running.workplace.run("provisor ca token foo --password-file pw --provisioner you@smallstep.com")
    assert done.status == 1
    assert "The requested resource could not be found." in done.stderr
    (shown,) = json.loads(running.workplace.do("provisor ca provisioner list"))
    assert "encryptedKey" not in shown
    gone = running.workplace.run(f"provisor ca provisioner jwe-key {shown['key']['kid']}")
    assert gone.status == 1
    assert gone.stderr.startswith("The requested resource could not be found.")


def test_a_provisioner_that_was_renamed_answers_to_its_new_name_only(running: Running) -> None:
    running.workplace.do("provisor ca provisioner update you@smallstep.com --name me@smallstep.com")
    running.server.reload()
    (running.workplace.cwd / "pw").write_text(PASSWORD)
    issue = "step ca certificate foo foo.crt foo.key --force --provisioner-password-file pw --provisioner"
    running.workplace.do(f"{issue} me@smallstep.com")
    assert running.workplace.run(f"{issue} you@smallstep.com").status == 1
