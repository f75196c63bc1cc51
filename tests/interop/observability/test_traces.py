"""Traces of a real server, as a receiver of OTLP over HTTP gets them."""

from __future__ import annotations

import json
import os
import re
import shutil
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, Final

import pytest

from support.load import Attempt, Load, attempts
from support.otlp_receiver import OTLPReceiver, ReceivedSpan
from support.peers import REPOSITORY
from support.server import RunningProvisor, exchange, quiet_port, wait_for

pytestmark = pytest.mark.slow

TRACE: Final = "0af7651916cd43dd8448eb211c80319c"
SPAN: Final = "b7ad6b7169203331"


@pytest.fixture
def receiver() -> Iterator[OTLPReceiver]:
    with OTLPReceiver() as made:
        yield made


def make(folder: Path, tracing: object, *, environment: dict[str, str] | None = None, **more: Any) -> RunningProvisor:
    settings = {"provisor": {"workers": 1, "tracing": tracing}, "logger": {"format": "json"}, **more}
    return RunningProvisor(folder, settings=settings, environment=environment)


def sign(ca: RunningProvisor, name: str, **headers: str) -> Attempt:
    attempt = Attempt(ca, name)
    with closing(ca.connect()) as connection:
        attempt.answer = exchange(connection, "POST", "/1.0/sign", attempt.body, headers)
    return attempt


def request_lines(ca: RunningProvisor, path: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in ca.log.splitlines() if line.startswith("{")]
    return [line for line in lines if line["path"] == path]


def roots(receiver: OTLPReceiver, route: str = "/sign") -> list[ReceivedSpan]:
    return [span for span in receiver.spans if span.attributes.get("http.route") == route]


def test_an_issuance_arrives_with_its_steps_under_the_callers_span(tmp_path: Path, receiver: OTLPReceiver) -> None:
    with make(tmp_path, {"endpoint": receiver.endpoint, "sampleRatio": 0, "serviceName": "ca-test"}) as ca:
        attempt = sign(ca, "traced.example.test", traceparent=f"00-{TRACE}-{SPAN}-01")
        assert attempt.status == 201
        sign(ca, "silent.example.test")
        sign(ca, "declined.example.test", traceparent=f"00-{TRACE}-{SPAN}-00")
        wait_for(lambda: roots(receiver), "no span arrives", ca)
        assert [line["trace-id"] for line in request_lines(ca, "/1.0/sign")][::2] == [TRACE, TRACE]
    (root,) = roots(receiver)
    assert (root.trace_id, root.parent_id, root.name, root.kind) == (TRACE, SPAN, "POST /sign", 2)
    assert root.attributes == {
        "http.request.method": "POST",
        "http.route": "/sign",
        "http.response.status_code": 201,
        "provisor.operation": "x509-sign",
        "provisor.outcome": "granted",
        "provisor.provisioner.name": "tester",
        "provisor.provisioner.kind": "JWK",
        "provisor.serial": str(attempt.certificate.serial_number),
    }
    assert root.resource["service.name"] == "ca-test"
    assert abs(time.time() - root.ended / 1e9) < 60
    steps = [span for span in receiver.spans if span.parent_id == root.span_id]
    assert [span.name for span in steps] == [
        *("1 authenticate", "2 authorize", "3 match", "4 enrich", "5 build", "6 check", "7 consent", "8 notarize"),
    ]
    assert all(root.began <= step.began <= step.ended <= root.ended for step in steps)
    sent = b"".join(receiver.raw)
    token = json.loads(attempt.body)["ott"]
    for secret in (b"example.test", token.encode(), token.split(".")[2].encode(), attempt.token_id.encode()):
        assert secret not in sent


def test_everything_is_traced_where_that_is_wanted_and_the_rest_is_sent_at_the_end(
    tmp_path: Path, receiver: OTLPReceiver
) -> None:
    with make(tmp_path, {"endpoint": receiver.endpoint, "sampleRatio": 1}) as ca:
        made = Load(ca, attempts(ca, "all", 40), threads=4).run()
        assert made[0].status == 201
        assert sign(ca, made[0].name).status == 201
        assert ca.stop() == 0
    assert len(roots(receiver)) == 41
    assert len({span.trace_id for span in roots(receiver)}) == 41


@pytest.mark.parametrize("receiver_is", ["away", "failing"])
def test_a_receiver_that_is_away_costs_no_request(tmp_path: Path, receiver: OTLPReceiver, receiver_is: str) -> None:
    receiver.status = 400
    port = quiet_port()
    endpoint = receiver.endpoint if receiver_is == "failing" else "http://127.0.0.1:9"
    with make(tmp_path, {"endpoint": endpoint, "sampleRatio": 1}, metricsAddress=f"127.0.0.1:{port}") as ca:
        made = Load(ca, attempts(ca, "away", 40), threads=4).run()
        assert [attempt.status for attempt in made] == [201] * 40
        wait_for(lambda: count(port, "dropped-export-failed") >= 40, "losses are not counted", ca)
        ca.await_log("lost (dropped-export-failed); requests are not affected")
        began = time.monotonic()
        assert ca.stop() == 0
        assert time.monotonic() - began < 15
        assert ca.log.count("Traceback") == 0
    assert receiver.spans == []


def count(port: int, outcome: str) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=10) as answer:
        page = answer.read().decode()
    found = re.search(rf'provisor_traces_total{{outcome="{outcome}"}} (\d+)', page)
    return int(found[1]) if found else 0


def test_a_reload_switches_tracing_on_and_off(tmp_path: Path, receiver: OTLPReceiver) -> None:
    with make(tmp_path, None) as ca:
        sign(ca, "before.example.test")
        ca.write_config(provisor={"workers": 1, "tracing": {"endpoint": receiver.endpoint, "sampleRatio": 1}})
        ca.reload()
        sign(ca, "while.example.test")
        wait_for(lambda: roots(receiver), "no span arrives", ca)
        ca.write_config(provisor={"workers": 1})
        ca.reload()
        sign(ca, "after.example.test")
    assert len(roots(receiver)) == 1


def test_the_standard_variables_switch_it_on(tmp_path: Path, receiver: OTLPReceiver) -> None:
    environment = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.endpoint,
        "OTEL_EXPORTER_OTLP_COMPRESSION": "gzip",
        "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test",
        "OTEL_SERVICE_NAME": "by-environment",
    }
    with make(tmp_path, None, environment=environment) as ca:
        sign(ca, "env.example.test", traceparent=f"00-{TRACE}-{SPAN}-01")
        wait_for(lambda: roots(receiver), "no span arrives", ca)
    (root,) = roots(receiver)
    assert root.resource["service.name"] == "by-environment"
    assert root.resource["deployment.environment"] == "test"


def test_a_start_without_the_extra_is_refused_with_the_remedy(tmp_path: Path) -> None:
    # An installation that knows nothing of OpenTelemetry.
    hidden = tmp_path / "hidden"
    hidden.mkdir()
    (hidden / "sitecustomize.py").write_text(
        "import importlib.metadata as m\n"
        "real = m.version\n"
        "def version(name):\n"
        "    if name.startswith('opentelemetry'):\n"
        "        raise m.PackageNotFoundError(name)\n"
        "    return real(name)\n"
        "m.version = version\n"
    )
    ca = make(
        tmp_path,
        {"endpoint": "http://127.0.0.1:4318"},
        environment={"PYTHONPATH": f"{hidden}{os.pathsep}{REPOSITORY / 'src'}"},
    )
    try:
        assert ca.spawn().wait(30) == 2
        assert "pip install 'provisor[otel]', or remove provisor.tracing ($.provisor.tracing)" in ca.log
    finally:
        shutil.rmtree(ca.runtime)
