"""A key that takes 20 ms for a signature, as one in a module or across a network does, with 200 requests in flight.

Only key files can be configured: so the notary's own code is driven in a process of its own, with a signer that
sleeps. How many signatures are under way at once is what that signer declares, a choice of this benchmark and no
default of the notary; it bounds the rate at so many for each delay. The store is a file that syncs every commit.
"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Final

from bench.lab import Lab, Measured, Row
from bench.machine import REPOSITORY
from bench.model import Bar, BenchError
from bench.servers import environment
from bench.slow_notary import CONCURRENCY
from bench.stats import alone

DELAY: Final = 0.02
IN_FLIGHT: Final = 200


def measure(lab: Lab) -> Measured:
    rates, cpu, failed = [], [], 0
    for number in range(lab.settings.rounds):
        words = [sys.executable, "-m", "bench.slow_notary", str(DELAY), str(IN_FLIGHT)]
        words += [str(min(3.0, lab.settings.seconds)), str(lab.folder / f"slow-{number}.db")]
        done = subprocess.run(
            words, cwd=REPOSITORY, env=environment(), capture_output=True, text=True, timeout=120, check=False
        )
        if done.returncode:
            raise BenchError(f"bench.slow_notary: {done.stderr.strip()[-500:]}")
        found = json.loads(done.stdout)
        rates.append(found["good"] / found["seconds"])
        cpu.append(1e6 * found["cpu"] / max(1, found["good"]))
        failed += found["failed"]
        lab.tell(f"{number + 1} slow signer: {rates[-1]:,.0f}/s, {found['failed']} refused {found['reasons']}")
    checks = (
        alone("rate", rates, "/s", Bar(2000)),
        alone("CPU of the notary's process an entry, what submits them included", cpu, "µs"),
        alone("refused", [float(failed)], "", Bar(0, most=True)),
    )
    note = (
        f"in process, no server; the benchmark's signer declares {CONCURRENCY} signatures at once, which bounds the "
        f"rate at {CONCURRENCY / DELAY:,.0f}/s: a key file declares the number of cores, and no slow key can be "
        "configured yet"
    )
    return Measured(checks, notes=(note,))


ROWS: Final = (Row("signer", f"a signer of {DELAY * 1000:.0f} ms, {IN_FLIGHT} in flight", measure),)
