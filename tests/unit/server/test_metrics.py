from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from provisor.server.metrics import Metrics, SnapshotFile, load_snapshots, make_metrics_app, render

RECORDED = """\
# HELP promhttp_metric_handler_errors_total Total number of internal errors encountered by the promhttp metric handler.
# TYPE promhttp_metric_handler_errors_total counter
promhttp_metric_handler_errors_total{cause="encoding"} 0
promhttp_metric_handler_errors_total{cause="gathering"} 0
# HELP step_ca_kms_errors Number of KMS-related errors
# TYPE step_ca_kms_errors counter
step_ca_kms_errors 0
# HELP step_ca_kms_signed Number of KMS-backed signatures
# TYPE step_ca_kms_signed counter
step_ca_kms_signed 16
# HELP step_ca_uptime_seconds Number of seconds since service start
# TYPE step_ca_uptime_seconds gauge
step_ca_uptime_seconds 0
# HELP step_ca_x509_renewed_total Number of certificates renewed
# TYPE step_ca_x509_renewed_total counter
step_ca_x509_renewed_total{provisioner="nokey",success="true"} 1
# HELP step_ca_x509_signed_total Number of certificates signed
# TYPE step_ca_x509_signed_total counter
step_ca_x509_signed_total{provisioner="admin@example.test",success="true"} 1
step_ca_x509_signed_total{provisioner="nokey",success="false"} 2
step_ca_x509_signed_total{provisioner="nokey",success="true"} 6
# HELP step_ca_x509_webhook_authorized_total Number of authorizing webhooks called
# TYPE step_ca_x509_webhook_authorized_total counter
step_ca_x509_webhook_authorized_total{provisioner="admin@example.test",success="true"} 1
step_ca_x509_webhook_authorized_total{provisioner="nokey",success="true"} 6
# HELP step_ca_x509_webhook_enriched_total Number of enriching webhooks called
# TYPE step_ca_x509_webhook_enriched_total counter
step_ca_x509_webhook_enriched_total{provisioner="admin@example.test",success="true"} 1
step_ca_x509_webhook_enriched_total{provisioner="nokey",success="true"} 8
"""


def page(*processes: Metrics) -> str:
    return render([each.snapshot() for each in processes], uptime_seconds=0.9).decode()


def samples(text: str) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_the_page_is_the_recorded_one() -> None:
    worker, notary = Metrics(), Metrics()
    notary.kms_signed.inc(by=16)
    worker.x509_renewed.inc("nokey", "true")
    for provisioner, success, times in (("admin@example.test", "true", 1), ("nokey", "false", 2), ("nokey", "true", 6)):
        worker.x509_signed.inc(provisioner, success, by=times)
    for family, times in ((worker.x509_webhook_authorized, 6), (worker.x509_webhook_enriched, 8)):
        family.inc("admin@example.test", "true")
        family.inc("nokey", "true", by=times)
    assert page(worker, notary) == RECORDED


def test_an_empty_page_has_what_the_reference_has_at_its_start() -> None:
    names = [line.split()[2] for line in page().splitlines() if line.startswith("# TYPE")]
    assert names == [
        "promhttp_metric_handler_errors_total",
        "step_ca_kms_errors",
        "step_ca_kms_signed",
        "step_ca_uptime_seconds",
    ]


def test_processes_are_added_up() -> None:
    first, second = Metrics(), Metrics()
    for each in (first, second):
        each.issued.inc("ci")
        each.step_seconds.observe(0.0001, "8")
        each.step_seconds.observe(0.3, "8")
        each.step_seconds.observe(99, "8")
    found = samples(page(first, second))
    assert found["provisor_issued_total", (("provisioner", "ci"),)] == 2
    assert found["provisor_step_seconds_count", (("step", "8"),)] == 6
    assert found["provisor_step_seconds_sum", (("step", "8"),)] == pytest.approx(2 * 99.3001)
    buckets = {
        bound: found["provisor_step_seconds_bucket", (("le", bound), ("step", "8"))]
        for bound in ("5e-05", "0.0001", "0.5", "10", "+Inf")
    }
    assert buckets == {"5e-05": 0, "0.0001": 2, "0.5": 4, "10": 4, "+Inf": 6}


def test_of_a_gauge_the_newest_counts() -> None:
    old, new = Metrics(), Metrics()
    old.certificate_expiry.set(1000, "root")
    new.certificate_expiry.set(2000, "root")
    snapshots = [new.snapshot(), old.snapshot()]
    snapshots[1] = type(snapshots[1])(at=snapshots[0].at - 1, families=snapshots[1].families)
    found = samples(render(snapshots, uptime_seconds=5).decode())
    assert found["provisor_ca_certificate_expiry_timestamp_seconds", (("certificate", "root"),)] == 2000
    assert found["step_ca_uptime_seconds", ()] == 5


@pytest.mark.parametrize("name", ['a"b', "a\\b", "a\nb", "Ünïcode", "{}"])
def test_label_values_are_escaped(name: str) -> None:
    metrics = Metrics()
    metrics.issued.inc(name)
    assert samples(page(metrics))["provisor_issued_total", (("provisioner", name),)] == 1


def test_the_number_of_series_is_bounded() -> None:
    metrics = Metrics()
    for number in range(3000):
        metrics.refused.inc(f"name {number}", "reason")
    assert len(metrics.refused.series) <= 1001
    assert metrics.refused.series["other", "other"] == [2000.0]


def test_labels_must_be_as_many_as_declared() -> None:
    with pytest.raises(ValueError, match="labels"):
        Metrics().issued.inc("a", "b")


def test_a_process_leaves_its_snapshot_soon_after_a_change_and_it_outlives_it(tmp_path: Path) -> None:
    async def scenario() -> None:
        metrics = Metrics()
        SnapshotFile(metrics, tmp_path, "worker-0", asyncio.get_running_loop())
        assert load_snapshots(tmp_path) == []
        for _ in range(100):
            metrics.issued.inc("ci")
        async with asyncio.timeout(5):
            while not load_snapshots(tmp_path):  # noqa: ASYNC110 - a file does not tell
                await asyncio.sleep(0.01)

    asyncio.run(scenario())
    (snapshot,) = load_snapshots(tmp_path)
    assert list(snapshot.families["provisor_issued_total"]) == [(("ci",), [100.0])]


def test_a_snapshot_that_cannot_be_read_or_written_is_passed_over(tmp_path: Path) -> None:
    (tmp_path / "metrics-worker-9.json").write_bytes(b"{")
    assert load_snapshots(tmp_path) == []
    loop = asyncio.new_event_loop()
    SnapshotFile(Metrics(), tmp_path / "gone", "worker-0", loop).publish()
    loop.close()


def ask(path: str, method: str, directory: Path) -> list[dict[str, Any]]:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b""}

    async def send(message: Any) -> None:
        sent.append(message)

    app = make_metrics_app(directory, 100.0, clock=lambda: 107.5)
    asyncio.run(_call(app, {"type": "http", "path": path, "method": method}, receive, send))
    return sent


async def _call(app: Any, *arguments: Any) -> None:
    await app(*arguments)


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
def test_the_page_is_served_to_any_method(method: str, tmp_path: Path) -> None:
    start, body = ask("/metrics", method, tmp_path)
    assert start["status"] == 200
    assert start["headers"] == [(b"content-type", b"text/plain; version=0.0.4; charset=utf-8; escaping=underscores")]
    assert b"\nstep_ca_uptime_seconds 7\n" in body["body"]


@pytest.mark.parametrize("path", ["/", "/metrics/", "/health"])
def test_there_is_nothing_else(path: str, tmp_path: Path) -> None:
    start, body = ask(path, "GET", tmp_path)
    assert (start["status"], body["body"]) == (404, b"404 page not found\n")
