"""Dashboard and alert rules against a real Prometheus that scrapes a real server with load on it."""

from __future__ import annotations

import http.client
import json
import math
import os
import re
import shutil
import signal
import socket
import ssl
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Final

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID

from provisor.errors import ProvisorError, Unavailable
from provisor.storage.base import StoreFailed
from support.load import Load, attempts
from support.peers import REPOSITORY
from support.prometheus import Prometheus, require_prometheus
from support.server import RunningProvisor, exchange, quiet_port, wait_for

pytestmark = [pytest.mark.peer, pytest.mark.slow]

DOCS: Final = REPOSITORY / "docs" / "observability"
RULES: Final = DOCS / "alerts.yml"
DASHBOARD: Final = DOCS / "dashboard.json"
RULE_TESTS: Final = Path(__file__).with_name("alerts.test.yml")

_NAME: Final = re.compile(r"\b(?:provisor|step_ca)_[a-z0-9_]+")


def panels() -> list[tuple[str, str]]:
    """Title and expression of every query of the dashboard, its variables filled in."""
    document = json.loads(DASHBOARD.read_text())
    found = []
    for panel in document["panels"]:
        for target in panel.get("targets", ()):
            expression = target["expr"].replace("$__rate_interval", "30s").replace("$instance", ".*")
            found.append((f"{panel['title']}: {target['legendFormat']}", expression))
    return found


def alert_names() -> list[str]:
    return re.findall(r"- alert: (\w+)", RULES.read_text())


PANELS: Final = panels()
NAMES: Final = sorted(set(_NAME.findall(RULES.read_text())) | {n for _, e in PANELS for n in _NAME.findall(e)})


# -- what needs no server -----------------------------------------------------------------------


def promtool(*words: str, cwd: Path) -> None:
    done = subprocess.run(
        [require_prometheus("promtool"), *words], cwd=cwd, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_rules_are_well_formed() -> None:
    promtool("check", "rules", str(RULES), cwd=DOCS)


def test_the_rules_fire_when_they_should_and_else_not(tmp_path: Path) -> None:
    for file in (RULES, RULE_TESTS):
        shutil.copy(file, tmp_path)
    promtool("test", "rules", RULE_TESTS.name, cwd=tmp_path)


def test_every_rule_is_tested_to_fire() -> None:
    text = RULE_TESTS.read_text()
    fires = re.findall(r"alertname: (\w+)\n +exp_alerts:\n", text)
    silent = re.findall(r"alertname: (\w+), exp_alerts: \[\]", text)
    assert set(fires) == set(silent) == set(alert_names())


def test_the_error_ratio_counts_every_fault_that_is_ours() -> None:
    def below(kind: type[ProvisorError]) -> Iterator[str]:
        if kind.__module__.startswith("provisor."):
            yield kind.__name__
        for child in kind.__subclasses__():
            yield from below(child)

    (reasons,) = re.findall(r'reason=~"([A-Za-z|]*Unavailable[A-Za-z|]*)"', RULES.read_text())
    assert set(reasons.split("|")) == {"ConfigError", StoreFailed.__name__, *below(Unavailable)}


# -- what needs one -----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def prometheus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """One that has watched issuance, renewal, rekeying, refusal, a list, a dead worker and turned away connections."""
    require_prometheus()
    folder = tmp_path_factory.mktemp("scraped")
    port = quiet_port()
    settings: dict[str, object] = {
        "metricsAddress": f"127.0.0.1:{port}",
        "crl": {"enabled": True, "generateOnRevoke": True},
    }
    # Spans are thrown at a port where nobody listens: their loss is a metric, too.
    provisor = {"workers": 1, "tracing": {"endpoint": "http://127.0.0.1:9", "sampleRatio": 1}}
    with (
        RunningProvisor(folder, settings={**settings, "provisor": provisor}) as ca,
        Prometheus(folder, f"127.0.0.1:{port}", RULES) as server,
    ):
        wait_for(lambda: value(server, "sum(step_ca_kms_signed)") > 0, "nothing is scraped", ca)
        work(ca, "first")
        settle(server, ca)
        kill_a_worker(ca)
        work(ca, "second")
        wait_for(lambda: value(server, "sum(rate(step_ca_x509_rekeyed_total[30s]))") > 0, "load is not seen", ca)
        wait_for(lambda: value(server, "sum(increase(provisor_children_restarts_total[30s]))") > 0, "no death", ca)
        wait_for(lambda: value(server, "sum(rate(provisor_job_seconds_count[30s]))") > 0, "no job is seen", ca)
        yield server


def value(server: Prometheus, expression: str) -> float:
    series = server.query(expression)
    return float(series[0]["value"][1]) if series else 0.0


def settle(server: Prometheus, ca: RunningProvisor) -> None:
    """Wait until the server has seen what was done so far: a rate begins with the second sample of a series."""
    for name in (
        "provisor_refused_total",
        'provisor_connections_refused_total{reason="host"}',
        "step_ca_x509_rekeyed_total",
        "provisor_job_seconds_count",
        'provisor_traces_total{outcome="dropped-export-failed"}',
    ):
        wait_for(lambda name=name: value(server, f"sum({name})") > 0, f"not seen: {name}", ca)  # type: ignore[misc]


def work(ca: RunningProvisor, label: str) -> None:
    """Certificates, a refusal, a renewal, a rekeying, a revocation, and a request that is none."""
    made = Load(ca, attempts(ca, label, 20), threads=4).run()
    assert [attempt.status for attempt in made] == [201] * 20
    with closing(ca.connect()) as connection:
        assert made[0].send(connection) == 401  # its token is spent
    serial = str(made[1].certificate.serial_number)
    revocation = {"serial": serial, "ott": ca.token(serial, purpose="revoke"), "passive": True}
    assert ca.post("/revoke", revocation).status == 200
    renew_and_rekey(ca, f"{label}-client.example.test")
    with socket.create_connection(("127.0.0.1", ca.port)) as raw, trusting(ca).wrap_socket(raw, False) as tls:
        tls.sendall(b"GET /health HTTP/1.1\r\n\r\n")
        assert tls.recv(4096).startswith(b"HTTP/1.1 400 ")


def renew_and_rekey(ca: RunningProvisor, name: str) -> None:
    key, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    answer = ca.post("/sign", {"csr": request(name, key), "ott": ca.token(name)})
    assert answer.status == 201, answer
    context = trusting(ca)
    with NamedTemporaryFile("w") as file:
        private = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
        file.write(private + "".join(answer.json["certChain"]))
        file.flush()
        context.load_cert_chain(file.name)
    with closing(http.client.HTTPSConnection("localhost", ca.port, timeout=20, context=context)) as connection:
        assert exchange(connection, "POST", "/renew").status == 201
        body = json.dumps({"csr": request(name, other)}).encode()
        assert exchange(connection, "POST", "/rekey", body).status == 201


def request(name: str, key: ec.EllipticCurvePrivateKey) -> str:
    builder = x509.CertificateSigningRequestBuilder(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
    builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
    return builder.sign(key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()


def trusting(ca: RunningProvisor) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=ca.pki.root_pem.decode())
    context.check_hostname = False
    return context


def kill_a_worker(ca: RunningProvisor) -> None:
    (pid,) = ca.pids("worker")
    os.kill(pid, signal.SIGKILL)
    ca.await_log("the worker 0 process is back")
    ca.await_ready()


def test_nothing_is_left_to_guess() -> None:
    assert len(PANELS) > 25
    assert len(NAMES) > 20


@pytest.mark.parametrize("name", NAMES)
def test_every_metric_that_is_named_exists(prometheus: Prometheus, name: str) -> None:
    assert prometheus.query(f'{{__name__="{name}"}}')


@pytest.mark.parametrize(("title", "expression"), PANELS, ids=[title for title, _ in PANELS])
def test_every_panel_shows_something(prometheus: Prometheus, title: str, expression: str) -> None:
    values = [float(series["value"][1]) for series in prometheus.query(expression)]
    assert any(math.isfinite(each) for each in values), f"{title}: {expression} gives {values}"


def test_every_rule_is_evaluated_and_nobody_is_paged_for_a_healthy_server(prometheus: Prometheus) -> None:
    rules = prometheus.rules()
    assert [rule["name"] for rule in rules] == alert_names()
    assert {rule["name"]: rule.get("lastError") for rule in rules if rule["health"] != "ok"} == {}
    paged = [r["name"] for r in rules if r["labels"]["severity"] == "page" and r["state"] == "firing"]
    assert paged == []


def test_the_gauges_tell_a_healthy_server(prometheus: Prometheus) -> None:
    assert value(prometheus, "min(provisor_notary_up)") == 1
    assert value(prometheus, "min(provisor_store_writable)") == 1
    assert 0 < value(prometheus, "min(provisor_leaf_not_after_timestamp_seconds) - time()") <= 86400
    assert 0 < value(prometheus, "min(provisor_crl_next_update_timestamp_seconds) - time()") <= 86400
    assert value(prometheus, "max(provisor_log_lag_seconds)") < 30
    assert value(prometheus, "max(provisor_index_lag_seconds)") < 30
    assert value(prometheus, 'sum(provisor_children_restarts_total{role="worker"})') == 1
    assert value(prometheus, "sum(provisor_internal_errors_total)") == 0


def test_the_instances_of_the_dashboard_are_found(prometheus: Prometheus) -> None:
    assert [series["metric"]["job"] for series in prometheus.query("step_ca_uptime_seconds")] == ["provisor"]
