"""What to print when cases of a long table differ."""

from __future__ import annotations

from collections.abc import Sequence


def grouped(different: Sequence[tuple[object, ...]], most: int = 12) -> str:
    lines = "\n\n".join("\n   ".join(repr(part)[:600] for part in case) for case in different[:most])
    return f"{len(different)} differ\n\n{lines}"
