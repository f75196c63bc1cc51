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
    hit = 0
    with RunningProvisor(tmp_path) as ca:
        for number, victim in enumerate(victims):
            load = Load(ca, attempts(ca, f"round{number}", REQUESTS))
            load.start()
            answers = chance.randrange(REQUESTS // 2)
            wait_for(lambda load=load, answers=answers: load.answered >= answers, "no answers", ca)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.02))
            moment = time.monotonic()
            os.kill(chance.choice(ca.pids(victim)), signal.SIGKILL)
            if victim == "supervisor":
                ca.kill()
                ca.start()
            made = load.join()
            ca.await_ready()
            seen.update(attempt.status for attempt in made)
            hit += any(attempt.began < moment < attempt.ended for attempt in made)
            check_accounts(ca, made)
    print(f"answers {dict(seen)}; {hit} of {len(victims)} died with requests in flight")
    assert seen[201] > REQUESTS
    assert hit > len(victims) * 2 // 3


def test_while_the_notary_is_away_the_answer_is_503_and_soon_success_again(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        load = Load(ca, attempts(ca, "away", 2000), threads=6)
        load.start()
        for _ in range(2):
            answers = load.answered + 50
            wait_for(lambda answers=answers: load.answered > answers, "no load", ca)  # type: ignore[misc]
            died = time.monotonic()
            os.kill(ca.pids("notary")[0], signal.SIGKILL)
            ca.await_log("the notary process is back")
            back = time.monotonic()
            ca.await_ready(seconds=5)
            wait_for(
                lambda back=back: any(each.status == 201 and each.began > back for each in load.attempts),  # type: ignore[misc]
                "nothing is issued by the notary that came back",
                ca,
                5.0,
            )
            assert time.monotonic() - died < 8
        load.stop()
        made = load.join()
        check_answers(made)
        assert not [attempt for attempt in made if attempt.status == 0], "no worker died, so no connection breaks"
        assert max(attempt.seconds for attempt in made) < WORKER_DEADLINE
        check_accounts(ca, made[:200])


def test_a_notary_that_dies_again_and_again_takes_no_worker_with_it(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        workers = ca.pids("worker")
        load = Load(ca, attempts(ca, "again", 600), threads=4)
        load.start()
        for times in range(1, 5):
            os.kill(ca.pids("notary")[0], signal.SIGKILL)
            ca.await_log("the notary process is back", times)
        ca.await_ready()
        load.stop()
        made = load.join()
        check_accounts(ca, made)
        assert ca.pids("worker") == workers, ca.log


def test_a_notary_that_does_not_answer_is_waited_for_no_longer_than_the_deadline(tmp_path: Path) -> None:
    with RunningProvisor(tmp_path) as ca:
        (notary,) = ca.pids("notary")
        os.kill(notary, signal.SIGSTOP)
        try:
            made = Load(ca, attempts(ca, "stopped", 4)).run()
        finally:
            os.kill(notary, signal.SIGCONT)
        assert {attempt.status for attempt in made} == {503}
        assert max(attempt.seconds for attempt in made) < WORKER_DEADLINE
        ca.await_ready()
        check_answers(made)
        wait_for(lambda: len(Stored(ca.store).certificates) == len(made), "what it had got, it commits", ca)
        check_accounts(ca, made)
