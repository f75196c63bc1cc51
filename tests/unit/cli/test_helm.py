"""`ca init --helm` beside what `step` prints: the same lines, but for keys, certificates and comments."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from provisor.cli.main import run

RECORDED = Path(__file__).parent / "recorded" / "helm.json"


def lines(text: str) -> list[str]:
    text = re.sub(r"-----BEGIN ([A-Z ]+)-----.*?-----END", r"\1", text, flags=re.DOTALL)
    text = re.sub(r'"(kid|x|y|encryptedKey)":"[^"]+"', r'"\1":"..."', text)
    text = re.sub(r"fingerprint: [0-9a-f]{64}", "fingerprint: ...", text)
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.strip().startswith("#")]


def test_the_values_are_those_of_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STEPPATH", str(tmp_path / "step"))
    Path("pw").write_text("capassword\n")
    recorded = json.loads(RECORDED.read_text())
    words = recorded["command"].replace(" --remote-management", "").split()[1:]
    assert run(words) == 0
    captured = capsys.readouterr()
    assert lines(captured.out) == lines(recorded["stdout"].replace("enableAdmin: true", "enableAdmin: false"))
    assert captured.err == recorded["stderr"].rstrip("\n") + "\n"
    assert not (tmp_path / "step").exists()
