"""What one rendering may use. A template and the data it meets are not to be trusted with the machine."""

from __future__ import annotations

from datetime import datetime, tzinfo
from typing import Final, Protocol

from provisor.core.template.errors import LimitReached

STEPS: Final = 200_000
OUTPUT: Final = 1 << 20
ALLOCATION: Final = 16 << 20
COSTLY: Final = 4
DEPTH: Final = 200
"""Of templates within templates, and of values within values."""
PATTERN: Final = 4096
SUBJECT: Final = 1 << 20


class World(Protocol):
    """What lies outside: the clock, randomness, the time zones, and the making of keys."""

    @property
    def now(self) -> datetime: ...

    def random(self, length: int) -> bytes: ...

    def zone(self, name: str) -> tzinfo | None:
        """An IANA zone, None when there is none of that name."""
        ...

    def make_key(self, kind: str) -> object:
        """A private key of `cryptography`: `rsa` (4096), `rsa2048`, `ecdsa` (P-256), `ed25519`, `dsa` (1024)."""
        ...


class Budget:
    """Counts what a rendering has used. One for a rendering, not shared."""

    __slots__ = ("allocated", "costly", "depth", "output", "steps", "world")

    def __init__(self, world: World) -> None:
        self.world = world
        self.steps = STEPS
        self.output = OUTPUT
        self.allocated = 0
        self.costly = COSTLY
        self.depth = 0

    def step(self, count: int = 1) -> None:
        self.steps -= count
        if self.steps < 0:
            raise LimitReached(f"the template takes more than {STEPS} steps")

    def allocate(self, octets: int) -> None:
        """Before something of this size is made."""
        self.allocated += octets
        if self.allocated > ALLOCATION:
            raise LimitReached(f"the template uses more than {ALLOCATION >> 20} MiB")

    def spend_costly(self, name: str) -> None:
        """Before something that takes a noticeable part of a second: a key, a password hash."""
        self.costly -= 1
        if self.costly < 0:
            raise LimitReached(f"the template calls {name} and its like more than {COSTLY} times")
