"""The audit log as the administrator's socket shows it. Times are RFC 3339, digests and ids hex."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class EventItem(Struct, frozen=True, rename="camel"):
    """`place` is that in the log, from 1, `event` the stored JSON as it is. `sequenced`: the tree has it."""

    place: int
    id: str
    sequenced: bool
    event: msgspec.Raw


class EventPage(Struct, frozen=True, rename="camel", omit_defaults=True):
    """`cursor` is where the next page begins; empty behind the last one. A page may be short, or empty, before."""

    events: tuple[EventItem, ...]
    cursor: str = ""


class HeadBody(Struct, frozen=True, rename="camel"):
    """The newest signed head: its file (core/tree_head.py), and the certificate in PEM whose key signed it."""

    head: str
    issuer: str
