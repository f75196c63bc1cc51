"""What verifying the audit log found."""

from __future__ import annotations

import enum
from typing import Final, final

from msgspec import Struct

MOST_FINDINGS: Final = 1000
"""Kept of one verification; the rest is counted."""


class Wrong(enum.StrEnum):
    """In what way the log is not as it was."""

    EVENT_ALTERED = "event altered"
    EVENT_MISSING = "event missing"
    EVENT_MOVED = "event moved"
    EVENT_INSERTED = "event inserted"
    EVENT_WITHOUT_PLACE = "event without a place"
    LOG_GAP = "gap in the log"
    TILE_ALTERED = "tile altered"
    TILE_MISSING = "tile missing"
    HEAD_ALTERED = "head altered"
    LOG_FORKED = "log forked"
    LOG_TRUNCATED = "log truncated"
    LOG_RESTORED = "log restored"
    RESTORE_UNPROVEN = "restore without an event"
    CERTIFICATE_ALTERED = "certificate altered"
    CERTIFICATE_MISSING = "certificate missing"
    CERTIFICATE_WITHOUT_EVENT = "certificate without an event"
    REFERENCE_ALTERED = "reference altered"
    REVOCATION_ALTERED = "revocation altered"
    REVOCATION_MISSING = "revocation missing"
    REVOCATION_WITHOUT_EVENT = "revocation without an event"
    ISSUER_UNKNOWN = "issuer unknown"
    PROOF_WRONG = "proof wrong"
    EXPORT_BROKEN = "export broken"


class Finding(Struct, frozen=True):
    """One thing that is wrong: what, where, and how it shows. `place` is of the log where there is one."""

    wrong: Wrong
    where: str
    text: str
    place: int | None = None

    def __str__(self) -> str:
        return f"{self.wrong.value}: {self.where}: {self.text}"


@final
class LogReport:
    """The findings, and how much was looked at. `notes` are not faults."""

    def __init__(self) -> None:
        self.findings: list[Finding] = []
        self.more = 0
        self.notes: list[str] = []
        self.authority = ""
        self.size = 0
        self.events = 0
        self.heads = 0
        self.certificates = 0
        self.revocations = 0
        self.newest_head: bytes = b""
        self.issuers: list[str] = []

    @property
    def passed(self) -> bool:
        return not self.findings

    def add(self, wrong: Wrong, where: str, text: str, place: int | None = None) -> None:
        if len(self.findings) >= MOST_FINDINGS:
            self.more += 1
            return
        self.findings.append(Finding(wrong, where, text, place))

    def note(self, text: str) -> None:
        self.notes.append(text)
