"""docs/guide.md, from top to bottom, in an empty folder."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from support.peers import REPOSITORY, free_port

GUIDE = REPOSITORY / "docs" / "guide.md"


def test_every_command_of_the_guide_works(tmp_path: Path) -> None:
    blocks = re.findall(r"^```sh\n(.*?)^```", GUIDE.read_text(), re.DOTALL | re.MULTILINE)
    programs = tmp_path / "bin"
    programs.mkdir()
    program = programs / "provisor"
    program.write_text(
        f"#!/bin/sh\nPYTHONPATH={REPOSITORY / 'src'} exec {sys.executable} "
        "-c 'from provisor.cli.main import main; main()' \"$@\"\n"
    )
    program.chmod(0o755)
    work = tmp_path / "work"
    work.mkdir()
    script = "set -em\ntrap 'kill %1; wait' EXIT\n" + "\n".join(blocks).replace("9443", str(free_port()))
    environment = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(work), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=work,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    assert '"db.internal"' in done.stdout
    assert (work / "app.crt").exists()
