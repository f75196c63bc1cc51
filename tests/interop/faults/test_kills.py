"""Processes are killed at any moment: what clients were told stays true, and the service comes back."""

from __future__ import annotations

import os
import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
from support.load import Load, Stored, attempts, check_accounts, check_answers
from support.server import RunningProvisor, wait_for

pytestmark = pytest.mark.slow

SEED = 20261123
VICTIMS = ("worker",) * 7 + ("notary",) * 7 + ("supervisor",) * 7
REQUESTS = 60

WORKER_DEADLINE = 5.0 + 15.0 + 5.0
"""Seconds within which a worker answers at the latest: connecting to the notary, its answer, looking the outcome up."""


def test_whoever_is_killed_nothing_is_lost_and_no_token_works_twice(tmp_path: Path) -> None:
    print(f"seed {SEED}")
    chance = random.Random(SEED)
    victims = list(VICTIMS)
    chance.shuffle(victims)
    seen: Counter[int] = Counter()
    with RunningProvisor(tmp_path) as ca:
        for number, victim in enumerate(victims):
            load = Load(ca, attempts(ca, f"round{number}", REQUESTS))
            load.start()
            time.sleep(chance.uniform(0.01, 0.25))
            os.kill(chance.choice(ca.pids(victim)), signal.SIGKILL)
            if victim == "supervisor":
                ca.kill()
                ca.start()
            made = load.join()
            ca.await_ready()
            seen.update(attempt.status for attempt in made)
            check_accounts(ca, made)
    print(f"answers {dict(seen)}")
    assert seen[201] > REQUESTS
