"""Runs as the bench's driver gets them, with the figures a test is about and plain ones for the rest."""

from __future__ import annotations

from collections.abc import Mapping

from bench.model import PROVISOR, Answers, Latency, Run, Spent


def latency(p99: float = 9.0) -> Latency:
    return Latency(p50=p99 / 3, p90=p99 / 2, p99=p99, p999=p99 * 2, max=p99 * 3)


def make_run(
    side: str = PROVISOR,
    *,
    rate: float = 1000.0,
    cpu: float = 1.0,
    afterwards: float = 0.0,
    p99: float = 9.0,
    good: int = 1000,
    errors: Mapping[str, int] | None = None,
    wrong: tuple[str, ...] = (),
    by_role: Mapping[str, float] | None = None,
    beside: Spent | None = None,
) -> Run:
    """`cpu` and `afterwards` are seconds; with a thousand good answers they are milliseconds for each."""
    answers = Answers(
        mode="sign",
        conns=16,
        offered=0.0,
        seconds=1.0,
        good=good,
        shed=0,
        failed=sum((errors or {}).values()),
        errors=errors or {},
        rate=rate,
        latency=latency(p99),
        late=latency(0.3),
        parts=(rate,) * 8,
        generator_seconds=0.1,
        exhausted=False,
        checked=14,
        wrong=wrong,
        tls="TLS 1.3 TLS_AES_128_GCM_SHA256 X25519",
    )
    return Run(side, answers, spent(cpu, afterwards=afterwards, by_role=by_role), beside)


def spent(cpu: float, *, afterwards: float = 0.0, by_role: Mapping[str, float] | None = None) -> Spent:
    return Spent(
        seconds=1.0,
        cpu=cpu,
        afterwards=afterwards,
        cpu_by_role=by_role or {},
        resident=300 << 20,
        resident_by_role={"worker": 60 << 20, "notary": 80 << 20},
        proportional=200 << 20,
        processes=4,
        others=0.5,
        stolen=0.0,
    )
