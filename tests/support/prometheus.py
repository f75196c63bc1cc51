"""The real Prometheus (Debian's package): the server, started on a configuration of ours, and promtool."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import pytest

from support.server import quiet_port

_PATIENCE: Final = 30.0


def require_prometheus(program: str = "prometheus") -> str:
    """The path of `prometheus` or `promtool`, or the test is skipped."""
    found = shutil.which(program)
    if found is not None:
        return found
    reason = f"{program} is not installed: apt-get install prometheus"
    if os.environ.get("PROVISOR_REQUIRE_PEERS") == "1":
        pytest.fail(reason)
    pytest.skip(reason)


class Prometheus:
    """A server that scrapes one target every quarter of a second, with our alert rules loaded."""

    def __init__(self, folder: Path, target: str, rules: Path) -> None:
        self._program = require_prometheus()
        self._folder = folder
        self._port = quiet_port()
        self._config = folder / "prometheus.yml"
        self._config.write_text(
            json.dumps(
                {
                    "global": {"scrape_interval": "250ms", "scrape_timeout": "250ms", "evaluation_interval": "250ms"},
                    "rule_files": [str(rules)],
                    "scrape_configs": [{"job_name": "provisor", "static_configs": [{"targets": [target]}]}],
                }
            )
        )

    def __enter__(self) -> Self:
        with (self._folder / "prometheus.log").open("wb") as log:
            self._process = subprocess.Popen(
                [
                    self._program,
                    f"--config.file={self._config}",
                    f"--storage.tsdb.path={self._folder / 'tsdb'}",
                    f"--web.listen-address=127.0.0.1:{self._port}",
                ],
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )
        deadline = time.monotonic() + _PATIENCE
        while not self._is_ready():
            if time.monotonic() > deadline or self._process.poll() is not None:
                self._stop()
                raise AssertionError((self._folder / "prometheus.log").read_text())
            time.sleep(0.05)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop()

    def _stop(self) -> None:
        self._process.terminate()
        self._process.wait(_PATIENCE)

    def _is_ready(self) -> bool:
        with suppress(OSError):
            self.get("/-/ready", {})
            return True
        return False

    def get(self, path: str, query: dict[str, str]) -> bytes:
        """Raises `OSError` for an answer that is none, and for any status but 200."""
        url = f"http://127.0.0.1:{self._port}{path}?{urllib.parse.urlencode(query)}"
        with urllib.request.urlopen(url, timeout=_PATIENCE) as answer:
            return bytes(answer.read())

    def query(self, expression: str) -> list[dict[str, Any]]:
        """The series of an expression now. Raises `OSError` if it is none."""
        document = json.loads(self.get("/api/v1/query", {"query": expression}))
        assert document["status"] == "success", document
        result: list[dict[str, Any]] = document["data"]["result"]
        return result

    def rules(self) -> list[dict[str, Any]]:
        """The rules as they were evaluated last."""
        groups = json.loads(self.get("/api/v1/rules", {}))["data"]["groups"]
        return [rule for group in groups for rule in group["rules"]]
