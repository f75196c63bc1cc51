"""Who is at the administrator's socket, and what the process that serves it knows beside the store."""

from __future__ import annotations

import pwd
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Final

from msgspec import Struct

from provisor.core.identity import Identity, ProvisionerRef
from provisor.server.request import Request
from provisor.wire.admin import ProcessBody

METHOD: Final = "admin-socket"
_NOBODY: Final = ProvisionerRef("", "", "")


class Operator(Struct, frozen=True):
    """The user and the process at the other end, as the kernel knows them."""

    user: int
    process: int

    @property
    def name(self) -> str:
        with suppress(KeyError):
            return f"uid {self.user} ({pwd.getpwuid(self.user).pw_name})"
        return f"uid {self.user}"

    @property
    def source(self) -> str:
        return f"unix socket, pid {self.process}"

    @property
    def identity(self) -> Identity:
        return Identity(provisioner=_NOBODY, method=METHOD, subject=self.name)


class Surroundings(Struct, frozen=True):
    """`config` is the path of ca.json, `started` when the server was (unix seconds)."""

    config: str
    started: float
    processes: Callable[[], Sequence[ProcessBody]]


def operator_of(request: Request) -> Operator:
    """The socket proves him before a request is read, so he is always there."""
    found = request.scope["state"]["operator"]
    assert isinstance(found, Operator)
    return found


def surroundings_of(request: Request) -> Surroundings:
    found = request.scope["state"]["surroundings"]
    assert isinstance(found, Surroundings)
    return found
