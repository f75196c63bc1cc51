"""The test scripts that step's authors wrote for their command line, with Provisor in the place of step.

They are part of its public Go module: taken from the module proxy into the folder of the peers, built there with the
checks they call, never copied here. `testscripts/shared_test.go` puts our program in.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

from support.peers import REPOSITORY, find_go, require_peer

pytestmark = pytest.mark.peer

MODULE = "github.com/smallstep/cli@v0.30.6"
PACKAGE = "github.com/smallstep/cli/integration"
DRIVER = Path(__file__).parent / "testscripts" / "shared_test.go"

DIFFERENT: Mapping[str, str] = {
    "TestCryptoHelp/help": "looks for a sentence of step's own help",
    "TestHelp/help": "looks for a sentence of step's own help",
    "TestHelpQuality/html": "writes step's own help as HTML; the pages of ours are docs/commands",
    "TestVersionCommand/version": "looks for step's own name and version",
}
"""Scripts that fail with Provisor, and why."""

SCRIPTS = (
    "TestBogusCommandFails/bogus",
    "TestCertificateFingerprintCommand/fingerprint",
    "TestCertificateSignCommand/sign",
    "TestCertificateSignCommand/sign-bad-csr",
    "TestCertificateVerifyCommand/verify",
    "TestCertificateVerifyCommand/verify-bad-pem",
    "TestCryptoHelp/help",
    "TestCryptoJWKCommand/jwk-create",
    "TestCryptoJWKCreateECCommand/jwk-create-ec",
    "TestCryptoJWKCreateOKPCommand/jwk-create-okp",
    "TestCryptoJWKCreateOctCommand/jwk-create-oct",
    "TestCryptoJWKCreateRSACommand/jwk-create-rsa",
    "TestCryptoJWTCommand/jwt-inspect",
    "TestCryptoJWTCommand/jwt-sign",
    "TestCryptoJWTCommand/jwt-verify",
    "TestCryptoKeyPair/keypair",
    "TestCryptoOTP/otp",
    "TestHelp/help",
    "TestHelpQuality/html",
    "TestVersionCommand/version",
)


@pytest.fixture(scope="module")
def transcript(tmp_path_factory: pytest.TempPathFactory) -> str:
    """What the whole suite printed."""
    require_peer("step")
    folder = tmp_path_factory.mktemp("suite")
    go = find_go()
    env = {**os.environ, "GOFLAGS": "-mod=mod", "CGO_ENABLED": "0"}
    got = subprocess.run(
        [go, "mod", "download", "-json", MODULE], env=env, capture_output=True, check=True, timeout=300
    )
    suite = folder / "cli"
    shutil.copytree(json.loads(got.stdout)["Dir"], suite, copy_function=shutil.copyfile)
    for each in (suite, *suite.rglob("*")):
        each.chmod(0o755)
    shutil.copyfile(DRIVER, suite / "integration" / DRIVER.name)
    program = folder / "program"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={REPOSITORY / 'src'} exec {sys.executable} "
        "-c 'from provisor.cli.main import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    link = f"-X {PACKAGE}.program={program}"
    binary = folder / "suite.test"
    command = [go, "test", "-c", "-o", str(binary), "-ldflags", link, "./integration"]
    subprocess.run(command, cwd=suite, env=env, check=True, timeout=600)
    done = subprocess.run(
        [binary, "-test.v"], cwd=suite / "integration", capture_output=True, text=True, timeout=300, check=False
    )
    return done.stdout


def outcome(transcript: str, script: str) -> str:
    found = re.search(rf"^ *--- (\w+): {re.escape(script)} ", transcript, re.MULTILINE)
    return found[1] if found else "absent"


def test_every_script_of_the_suite_is_known_here(transcript: str) -> None:
    assert sorted(set(re.findall(r"^ +--- \w+: (\S+) ", transcript, re.MULTILINE))) == sorted(SCRIPTS)


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_script_passes_unless_it_is_explained(transcript: str, script: str) -> None:
    begin = transcript.find(f"=== NAME  {script}")
    wanted = "FAIL" if script in DIFFERENT else "PASS"
    assert outcome(transcript, script) == wanted, transcript[begin : begin + 6000]
