"""The recorded tables, and the world that a template of theirs looks at."""

from __future__ import annotations

import gzip
import json
import os
import zoneinfo
from datetime import UTC, datetime, tzinfo
from functools import cache
from pathlib import Path
from typing import Any, Final

from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa

DATA: Final = Path(__file__).parent / "data"

Document = dict[str, Any]


@cache
def table(name: str) -> Document:
    document: Document = json.loads(gzip.decompress((DATA / f"{name}.json.gz").read_bytes()))
    return document


def cases(name: str) -> list[Document]:
    found: list[Document] = table(name)["cases"]
    return found


def startups() -> list[Document]:
    found: list[Document] = json.loads((DATA / "startup.json").read_text(encoding="utf-8"))
    return found


class RealWorld:
    """Randomness, keys and zones as the server gives them."""

    now = datetime.now(UTC)

    def random(self, count: int) -> bytes:
        return os.urandom(count)

    def zone(self, name: str) -> tzinfo | None:
        try:
            return zoneinfo.ZoneInfo(name)
        except (zoneinfo.ZoneInfoNotFoundError, ValueError):
            return None

    def make_key(self, kind: str) -> Any:
        match kind:
            case "ecdsa":
                return ec.generate_private_key(ec.SECP256R1())
            case "ed25519":
                return ed25519.Ed25519PrivateKey.generate()
            case "dsa":
                return dsa.generate_private_key(2048)
        return rsa.generate_private_key(65537, 2048)
