"""What every measurement works with: a folder, the generator, servers in pairs, rounds in turn."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from msgspec import Struct

from bench.generator import Generator, Load
from bench.model import PROVISOR, SIDES, Check, Run
from bench.pki import PKI, IssuerKey
from bench.servers import Server, server_words


class Settings(Struct, frozen=True):
    """`quick` makes everything small: the path is gone, the figures mean little."""

    rounds: int = 5
    seconds: float = 4.0
    quick: bool = False

    @property
    def warm(self) -> float:
        return 0.2 if self.quick else 1.0

    def scaled(self, number: int) -> int:
        """A tenth of it when it has to be quick."""
        return number // 10 if self.quick else number


class Measured(Struct, frozen=True):
    """What a row brought."""

    checks: tuple[Check, ...]
    runs: tuple[Run, ...] = ()
    notes: tuple[str, ...] = ()


class Row(Struct, frozen=True):
    """A row of the report, and how it is measured. `large`: it takes too long for every day."""

    name: str
    title: str
    measure: Callable[[Lab], Measured]
    large: bool = False


class Lab:
    """`tell` writes a line of progress; `peers` is the folder with step-ca."""

    def __init__(
        self, folder: Path, peers: Path, generator: Generator, settings: Settings, tell: Callable[[str], None]
    ) -> None:
        self.folder = folder
        self.peers = peers
        self.generator = generator
        self.settings = settings
        self.tell = tell
        self._numbers = itertools.count(1)
        self._pkis: dict[IssuerKey, PKI] = {}

    def pki(self, key: IssuerKey = "P-256") -> PKI:
        """One for each kind of key: every server of that kind is started on it."""
        if key not in self._pkis:
            self._pkis[key] = PKI(self.folder / f"pki-{key}", key)
        return self._pkis[key]

    def server(
        self,
        side: str = PROVISOR,
        *,
        key: IssuerKey = "P-256",
        database: Mapping[str, str] | None = None,
        settings: Mapping[str, object] | None = None,
    ) -> Server:
        """With an empty store, not yet started."""
        folder = self.folder / f"{next(self._numbers):02}-{side}"
        words = server_words(side, self.peers)
        return Server(side, words, folder, self.pki(key), database=database, settings=settings)

    @contextmanager
    def pair(
        self, *, key: IssuerKey = "P-256", databases: Sequence[Mapping[str, str] | None] = (None, None)
    ) -> Iterator[list[Server]]:
        """step-ca and Provisor, running, each with an empty store."""
        with ExitStack() as stack:
            servers = [self.server(side, key=key, database=db) for side, db in zip(SIDES, databases, strict=True)]
            yield [stack.enter_context(server) for server in servers]

    def load(self, mode: str, conns: int = 16) -> Load:
        """A closed loop of the usual length."""
        return Load(mode, conns, seconds=self.settings.seconds, warm=self.settings.warm)

    def rounds(
        self, servers: Sequence[Server], load: Load, *, beside: Mapping[str, int] | None = None, rounds: int = 0
    ) -> list[Run]:
        """Every server in turn, again and again. `beside`: the root of a process tree that works for a side."""
        runs = []
        for number in range(rounds or self.settings.rounds):
            for server in servers:
                run = self.generator.run(server, load, beside=(beside or {}).get(server.side))
                self.tell(describe(run, number + 1))
                runs.append(run)
        return runs

    def prepare(self, server: Server, mode: str, count: int) -> Run:
        """So many requests that are no measurement."""
        run = self.generator.run(server, Load(mode, count=count))
        self.tell(f"{server.side}: {run.answers.good} × {mode} beforehand")
        return run


def describe(run: Run, number: int) -> str:
    """A line of progress."""
    answers = run.answers
    text = (
        f"{number} {run.side:8} {answers.mode} ×{answers.conns}: {answers.rate:,.0f}/s, "
        f"p99 {answers.latency.p99:.1f} ms, {run.cpu_ms:.2f} ms CPU, generator {run.generator_ms:.2f} ms"
    )
    if answers.failed or answers.wrong:
        text += f", {answers.failed} FAILED {dict(answers.errors)}, {len(answers.wrong)} WRONG {answers.wrong[:1]}"
    return text + (" (ran out of prepared requests)" if answers.exhausted else "")
