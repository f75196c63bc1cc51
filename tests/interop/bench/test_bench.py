"""The benchmark itself, small: it builds its generator, starts both servers, and every answer is right."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from bench import generator
from bench.model import BenchError
from support.peers import REPOSITORY, require_peer

pytestmark = [pytest.mark.slow, pytest.mark.peer]

_SECONDS = 150


@pytest.fixture
def go() -> str:
    try:
        return generator.find_go()
    except BenchError as error:
        pytest.skip(str(error))


def test_the_generator_has_no_faults_of_its_own(go: str) -> None:
    for words in (["vet", "./..."], ["test", "./..."]):
        done = subprocess.run(
            [go, *words],
            cwd=REPOSITORY / "bench" / "load",
            env={**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"},
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr


def test_a_quick_row_measures_both_and_finds_every_answer_right(go: str, tmp_path: Path) -> None:
    peers = require_peer("step-ca").parent
    words = ["--quick", "--rows", "renew-keep", "--peers", str(peers), "--lab", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--json", "found.json", "--markdown", "found.md"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    assert [run["side"] for run in row["runs"]] == ["step-ca", "Provisor"]
    for run in row["runs"]:
        answers, spent = run["answers"], run["spent"]
        assert answers["good"] > 0
        assert answers["checked"] >= 4
        assert (answers["failed"], answers["wrong"]) == (0, [])
        assert "X25519" in answers["tls"]
        assert spent["proportional"] > 0
    assert set(row["runs"][0]["spent"]["cpu_by_role"]) == {"step-ca"}
    assert {"supervisor", "notary", "worker", "jobs"} <= set(row["runs"][1]["spent"]["cpu_by_role"])
    assert "renew by mTLS, kept alive" in (tmp_path / "found.md").read_text()
    assert not list(tmp_path.glob("provisor-bench-*")), "the lab is left"


def test_a_wave_of_renewals_leaves_nobody_without_and_nobody_with_two(go: str, tmp_path: Path) -> None:
    peers = require_peer("step-ca").parent
    words = ["--quick", "--rows", "wave", "--peers", str(peers), "--lab", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--json", "found.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    (row,) = json.loads((tmp_path / "found.json").read_text())["rows"]
    found = {check["what"]: check["value"]["median"] for check in row["checks"]}
    assert found["renewed"] == 1
    assert found["renewed more than once"] == 0
    assert found["issued and received by nobody"] == 0
    assert row["runs"][1]["answers"]["good"] == 5000


def test_rules_are_measured_on_servers_that_have_them(go: str, tmp_path: Path) -> None:
    peers = require_peer("step-ca").parent
    words = ["--quick", "--rows", "templates,policies,webhooks", "--peers", str(peers), "--lab", str(tmp_path)]
    done = subprocess.run(
        [sys.executable, "-m", "bench", *words, "--rounds", "1", "--seconds", "0.5", "--json", "found.json"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": f"{REPOSITORY}:{REPOSITORY / 'src'}"},
        capture_output=True,
        text=True,
        timeout=_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {row["name"]: row for row in json.loads((tmp_path / "found.json").read_text())["rows"]}
    assert len(rows["policies"]["checks"]) == 4
    for name, count in (("templates", 3), ("webhooks", 2)):
        assert len(rows[name]["runs"]) == count
        for run in rows[name]["runs"]:
            assert run["answers"]["good"] > 0
            assert (run["answers"]["failed"], run["answers"]["wrong"]) == (0, [])
