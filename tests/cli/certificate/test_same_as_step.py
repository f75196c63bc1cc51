"""The same command lines, on the same files, by the real `step` and by Provisor: texts, statuses and files are equal.

Where they differ on purpose, `DIFFERENT` says what Provisor prints, and why.
"""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from provisor.cli.main import run
from provisor.core.pem import encode_pem
from support.command_line import Desk
from support.described import describe, describe_file
from support.peers import require_peer

pytestmark = pytest.mark.peer

LINES = [
    line
    for line in (Path(__file__).parent / "command_lines.txt").read_text().splitlines()
    if line and not line.startswith("#")
]

DIFFERENT: Mapping[str, tuple[int, str]] = {
    # step: runs the plugin for hardware keys when a file is not there
    **dict.fromkeys(
        (
            "create a x7.crt y7.key --profile leaf --ca inter.crt --ca-key nofile --no-password --insecure",
            "create a k6.csr --csr --key nofile",
            "sign foo.csr nofile inter.key",
            "sign foo.csr inter.crt nofile",
        ),
        (1, 'error reading "nofile": no such file or directory\n'),
    ),
    # step: says that it saved a private key, when it was given a public one and saved nothing
    "create a k9.crt k9.key --key inter.pub --ca root.crt --ca-key root.key --ca-password-file pw "
    "--skip-csr-signature --no-password --insecure": (0, "Your certificate has been saved in k9.crt.\n"),
    # step: has written the key when it finds that there is no place for the certificate
    "create a nodir/m9.crt m9.key --profile leaf --ca inter.crt --ca-key inter.key --no-password --insecure -f": (
        1,
        "open nodir/m9.crt failed: no such file or directory\n",
    ),
    # the same, told by another program
    **dict.fromkeys(
        (
            "create x s10.csr --profile root-ca --key inter.pub --skip-csr-signature",
            "create x s10.csr --profile self-signed --subtle --key inter.pub --skip-csr-signature",
        ),
        (1, "error creating certificate: the profile root-ca needs a private key, for it signs itself\n"),
    ),
    "key xk.key": (1, "error decoding PEM: keys of kind X25519 are not supported\n"),
    # the words of another parser
    **dict.fromkeys(
        ("sign inter.crt inter.crt inter.key", "sign foo.key inter.crt inter.key", "sign pw inter.crt inter.key"),
        (1, "error parsing {}: error parsing certificate request as DER format: asn1: "),
    ),
    # step: packs whatever is first, also a private key
    "bundle l.crt inter.key bo.crt": (1, "could not parse certificate file 'inter.key'\n"),
    "bundle foo.key inter.crt bo.crt": (1, "could not parse certificate file 'foo.key'\n"),
    # step: packs a key that is another's
    "p12 a7.p12 leaf.crt inter.key --password-file pw": (
        1,
        "the key in inter.key does not belong to the certificate in leaf.crt\n",
    ),
    # the file that is not there is named
    "verify leaf.crt --roots nofile": (
        1,
        "failure to load root certificate pool from input path 'nofile': "
        "error reading cert pool: open nofile: no such file or directory\n",
    ),
}

OF_THE_DESK = ("newpw", "ppw")
MADE_BY_US = (
    "create Root root.crt root.key --profile root-ca --password-file pw",
    "create Inter inter.crt inter.key --profile intermediate-ca --ca root.crt --ca-key root.key "
    "--ca-password-file pw --no-password --insecure",
    "create leaf.internal l.crt leaf.key --ca inter.crt --ca-key inter.key --no-password --insecure "
    "--san leaf.internal --san 10.0.0.1",
    "bundle l.crt inter.crt leaf.crt",
    "bundle inter.crt root.crt ir.crt",
    "create self x9.crt x9.key --profile self-signed --subtle --no-password --insecure",
    "create Other m2.crt m2.key --profile root-ca --no-password --insecure",
    "create q q.crt q.key --profile root-ca --kty OKP --no-password --insecure",
    "create foo.internal foo.csr foo.key --csr --no-password --insecure --san foo.internal --san a@b.c",
    "key inter.crt --out inter.pub",
    "format inter.crt --out inter.der",
    "format foo.csr --out foo.csr.der",
)
MADE_BY_OPENSSL = """
openssl genrsa -out rs.key 2048
openssl genpkey -algorithm x25519 -out xk.key
openssl ecparam -genkey -name prime256v1 -out ecp.key
openssl ecparam -genkey -noout -name prime256v1 -out p.key
openssl req -new -key p.key -subj '/CN=only cn/O=Acme' -out nosan.csr
openssl req -new -key p.key -subj /CN=x -addext keyUsage=critical,keyAgreement -addext extendedKeyUsage=codeSigning \
 -addext basicConstraints=CA:true -addext 1.2.3.4=ASN1:UTF8String:hi -addext subjectAltName=DNS:q,RID:1.2.3 -out ext.csr
openssl req -new -key p.key -subj /CN=x -addext subjectKeyIdentifier=hash -addext keyUsage=digitalSignature -out ski.csr
openssl req -new -key p.key -subj / -addext subjectAltName=DNS:only -out nos.csr
openssl req -new -key p.key -subj /CN=a@b.c -out em.csr
openssl req -new -key p.key -subj / -out nn.csr
openssl req -new -key p.key -subj /CN=rid -addext subjectAltName=RID:1.2.3 -out rid.csr
openssl req -new -key rs.key -sha1 -subj /CN=rid -out sha1.csr
cat foo.csr foo.csr > two.csr
sed s/MII/MIJ/ foo.csr > brk.csr
head -c 100 inter.der > cut.der
(cat inter.der; echo) > tail.der
(echo hello; cat l.crt) > txt.crt
touch empty
"""


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    folder = tmp_path_factory.mktemp("files")
    (folder / "pw").write_text("password\n")
    (folder / "bad").write_text("wrong\n")
    with contextlib.chdir(folder):
        for line in MADE_BY_US:
            assert run(["certificate", *shlex.split(line)]) == 0, line
        subprocess.run(["bash", "-ec", MADE_BY_OPENSSL], check=True, capture_output=True, timeout=60)
        forge_signature(folder / "foo.csr.der", folder / "badsig.csr")
    return folder


def forge_signature(good: Path, bad: Path) -> None:
    """One bit of it is another."""
    der = bytearray(good.read_bytes())
    der[-1] ^= 1
    bad.write_text(encode_pem("CERTIFICATE REQUEST", bytes(der)))


@pytest.mark.parametrize("line", LINES)
def test_both_programs_do_the_same(line: str, files: Path, desk: Desk, tmp_path: Path) -> None:
    step = require_peer("step")
    words = ["certificate", *shlex.split(line)]
    theirs = tmp_path / "theirs"
    shutil.copytree(files, desk.cwd, dirs_exist_ok=True)
    shutil.copytree(desk.cwd, theirs)
    env = {name: value for name, value in os.environ.items() if not name.startswith("STEP")}
    wanted = subprocess.run(
        [step, *words],
        cwd=theirs,
        env=env | {"STEPPATH": str(tmp_path / "none")},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        timeout=30,
        check=False,
    )
    ended = desk.run(words)
    if line in DIFFERENT:
        status, text = DIFFERENT[line]
        assert ended.status == status
        assert ended.stderr.startswith(text.format(words[2]).replace("root-ca", profile_in(words)))
        return
    assert normal(ended.stderr) == normal(wanted.stderr)
    assert shown(ended.stdout) == shown(wanted.stdout)
    assert ended.status == wanted.returncode
    assert changed(desk.cwd, files) == changed(theirs, files)


def changed(folder: Path, before: Path) -> dict[str, object]:
    """The files that are new or have another content."""
    return {
        path.name: describe_file(path)
        for path in folder.iterdir()
        if path.name not in OF_THE_DESK and not is_same(path, before / path.name)
    }


def is_same(path: Path, other: Path) -> bool:
    return other.is_file() and path.read_bytes() == other.read_bytes()


def profile_in(words: list[str]) -> str:
    return words[words.index("--profile") + 1] if "--profile" in words else ""


def normal(text: str) -> str:
    text = re.sub(r"use the flag '--[a-z-]+' to run without a terminal\n", "", text)
    return text.replace("'step certificate", "'provisor certificate")


def shown(text: str) -> object:
    """Certificates by what they say; everything else as it is."""
    if "-----BEGIN CERT" in text:
        return describe(text.encode())
    return text


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Desk:
    return Desk(tmp_path, monkeypatch, capsys)
