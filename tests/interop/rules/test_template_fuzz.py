"""A short run of `make fuzz-templates`."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

import pytest

from support.peers import REPOSITORY

pytestmark = pytest.mark.peer


def test_no_template_is_rendered_otherwise_than_by_go() -> None:
    if shutil.which("go") is None:
        pytest.skip("there is no Go to build the reference's renderer with")
    done = subprocess.run(
        [sys.executable, REPOSITORY / "scripts" / "fuzz_templates.py", "--count", "1500", "--seed", "4"],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY / "src")},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1500 templates" in done.stdout
