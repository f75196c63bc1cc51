"""Rows where the same requests go to step-ca and to Provisor in turn."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bench.lab import Lab, Measured, Row
from bench.model import NO_BAR, PROVISOR, Bar, Check, Run
from bench.pki import IssuerKey
from bench.servers import Server
from bench.stats import alone, compare, of_side

CRL_ENTRIES: Final = 10_000
_MIB: Final = 1 << 20


class Paired(Struct, frozen=True):
    """One row. `bars` is by figure: rate, cpu, p99. `revoked` certificates are there before, and a restart."""

    name: str
    title: str
    mode: str
    conns: int = 16
    bars: Mapping[str, Bar] = {}
    key: IssuerKey = "P-256"
    revoked: int = 0
    more: Callable[[Sequence[Run]], list[Check]] | None = None


def _notary(runs: Sequence[Run]) -> list[Check]:
    """From the notary's own process: it must not be the ceiling of a machine with many cores."""
    used = [us for run in of_side(runs, PROVISOR) if (us := run.role_us("notary")) is not None]
    return [alone("the notary's own CPU an entry", used, "µs", Bar(160, 100, most=True))] if used else []


def _memory(runs: Sequence[Run]) -> list[Check]:
    """Resident for a process, proportional for the tree: there shared pages would count for each."""
    ours = of_side(runs, PROVISOR)
    largest = [max(run.spent.resident_by_role.values()) / _MIB for run in ours]
    checks = [alone("memory, largest process (RSS)", largest, "MiB", Bar(100, most=True))]
    for role in sorted(ours[0].spent.resident_by_role):
        sizes = [run.spent.resident_by_role.get(role, 0) / _MIB for run in ours]
        checks.append(alone(f"memory of {role} (RSS)", sizes, "MiB"))
    whole = compare(
        "memory of the tree (PSS)",
        runs,
        lambda run: run.spent.proportional / _MIB,
        NO_BAR,
        unit="MiB",
        inverse=True,
    )
    assert whole.ours is not None
    in_all = Check("memory in all (PSS)", whole.ours, "MiB", Bar(aim=250, most=True))
    return [*checks, whole, in_all]


def _cores(runs: Sequence[Run]) -> list[Check]:
    """How many cores the servers kept busy."""
    return [compare("cores busy", runs, lambda run: run.spent.cpu / run.spent.seconds, NO_BAR, unit="")]


_HALF: Final = Bar(0.5, most=True)
PAIRED: Final = (
    Paired(
        "sign",
        "JWK sign, kept alive, 16 connections",
        "sign",
        bars={"cpu": Bar(3.5, 5), "rate": Bar(2.5, 5), "p99": _HALF},
        more=_notary,
    ),
    Paired(
        "sign64",
        "JWK sign, kept alive, 64 connections",
        "sign",
        conns=64,
        bars={"cpu": Bar(3.5, 5), "rate": Bar(3, 5), "p99": _HALF},
        more=_memory,
    ),
    Paired(
        "sign-new",
        "JWK sign, a new TLS connection each",
        "sign-new",
        bars={"cpu": Bar(2.5, 3), "rate": Bar(2, 3), "p99": _HALF},
    ),
    Paired("renew-keep", "renew by mTLS, kept alive", "renew-keep", bars={"cpu": Bar(2.5, 4)}),
    Paired("renew", "renew by mTLS, a new connection each", "renew", bars={"cpu": Bar(1.8, 2.5)}),
    Paired("revoke", "revoke", "revoke", bars={"cpu": Bar(3, 4)}),
    Paired("crl", f"CRL of {CRL_ENTRIES:,} entries", "crl", bars={"cpu": Bar(10)}, revoked=CRL_ENTRIES),
    Paired("rsa2048", "sign with an RSA-2048 issuer", "sign", bars={"rate": Bar(2, 4)}, key="RSA-2048", more=_cores),
    Paired("rsa4096", "sign with an RSA-4096 issuer", "sign", bars={"rate": Bar(2, 4)}, key="RSA-4096", more=_cores),
    Paired("health", "GET /health: what TLS and HTTP cost without a CA", "health"),
)


def checks_of(runs: Sequence[Run], bars: Mapping[str, Bar]) -> list[Check]:
    """By rate, by CPU, by p99, and the median latency for the eye."""
    return [
        compare("rate", runs, lambda run: run.answers.rate, bars.get("rate", NO_BAR), unit="/s"),
        compare("CPU", runs, lambda run: run.cpu_ms, bars.get("cpu", NO_BAR), unit="ms", less_is_better=True),
        compare("p99", runs, lambda run: run.answers.latency.p99, bars.get("p99", NO_BAR), unit="ms", inverse=True),
        compare("p50", runs, lambda run: run.answers.latency.p50, NO_BAR, unit="ms", inverse=True),
    ]


def measure(paired: Paired, lab: Lab) -> Measured:
    with lab.pair(key=paired.key) as servers:
        notes = []
        load = lab.load(paired.mode, paired.conns)
        if paired.revoked:
            count = lab.settings.scaled(paired.revoked)
            for server in servers:
                revoke_and_restart(lab, server, count)
            load = replace(load, entries=count)
            notes.append(f"{count:,} certificates issued and revoked through the API of each, which was then restarted")
        runs = lab.rounds(servers, load)
    checks = checks_of(runs, paired.bars)
    if paired.more is not None:
        checks += paired.more(runs)
    return Measured(tuple(checks), tuple(runs), tuple(notes))


def revoke_and_restart(lab: Lab, server: Server, count: int) -> None:
    """step-ca makes its list at a start; so both are restarted."""
    lab.prepare(server, "revoke", count)
    server.stop()
    server.start()


ROWS: Final = tuple(Row(paired.name, paired.title, partial(measure, paired)) for paired in PAIRED)
