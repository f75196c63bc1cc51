"""Every block of code in docs/client.md runs, one after the other, as a reader would type them."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from provisor import pki
from provisor.client.csr import csr_pem, generate_key, make_csr
from provisor.core.jose.jwk import encode_jwk, make_jwk
from provisor.core.names import classify_sans
from provisor.testing import CA

ROOT = Path(__file__).resolve().parents[3]
GUIDE = ROOT / "docs" / "client.md"
_BLOCK = re.compile(r"^```python(?P<kind> \w+)?\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL)


def blocks(kind: str) -> list[tuple[int, str]]:
    """The line each begins at, and its code."""
    text = GUIDE.read_text()
    found = [match for match in _BLOCK.finditer(text) if (match["kind"] or "").strip() == kind]
    return [(text.count("\n", 0, match.start("code")), match["code"]) for match in found]


@pytest.fixture
def ca() -> Iterator[CA]:
    with CA(provisioner="admin@example.com", listen=True) as running:
        yield running


def test_the_guide_runs(
    ca: CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The address and the fingerprint are those of a CA that is there; the files that it speaks of are, too."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("no_proxy", "*")
    Path("root_ca.crt").write_text(ca.root_pem)
    Path("provisioner.json").write_bytes(encode_jwk(make_jwk(ca.provisioner_key.private_key), private=True))
    Path("device.csr").write_text(csr_pem(make_csr(generate_key(), "device", classify_sans(["device"]))))
    pki.create_pki(
        str(tmp_path), name="Mine", dns=["localhost"], address=":443", provisioner="admin", password=b"capassword"
    )
    names: dict[str, object] = {}
    for line, code in blocks(""):
        real = code.replace("https://ca.example.com", ca.url).replace("FINGERPRINT", ca.fingerprint)
        # Blank lines before it: a failure shows the line of the guide.
        exec(compile("\n" * line + real, str(GUIDE), "exec"), names)  # noqa: S102
    for name in ("ca", "web", "app"):
        names[name].close()  # type: ignore[attr-defined]
    assert not [thread for thread in threading.enumerate() if thread.name == "provisor-live"]
    assert "Certificate('web.internal'" in capsys.readouterr().out
    assert {"web.crt", "web.key", "device.crt"} <= {path.name for path in tmp_path.iterdir()}


def test_its_tests_run(tmp_path: Path) -> None:
    found = blocks("pytest")
    assert found
    (tmp_path / "test_guide.py").write_text("\n".join(code for _, code in found))
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "provisor.pytest_plugin", "-W", "error"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src"), "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_every_public_name_is_explained() -> None:
    import provisor

    text = GUIDE.read_text()
    assert not [
        name for name in provisor.__all__ if name not in text and name not in ("Certificate", "LiveCertificate")
    ]
