"""Stands in for `step` in recorded command lines: runs Provisor's program instead.

`step crypto jwt inspect --insecure`, which Provisor does not have, is played here, for what tokens say.
"""

from __future__ import annotations

import base64
import json
import sys

from provisor.cli.main import run


def main() -> int:
    """The exit status."""
    if sys.argv[1:4] == ["crypto", "jwt", "inspect"]:
        header, payload, signature = sys.stdin.read().strip().split(".")
        shown = {"header": _decode(header), "payload": _decode(payload), "signature": signature}
        print(json.dumps(shown, indent=2, ensure_ascii=False))
        return 0
    return run(sys.argv[1:])


def _decode(part: str) -> object:
    return _sorted(json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4))))


def _sorted(value: object) -> object:
    if isinstance(value, dict):
        return {name: _sorted(value[name]) for name in sorted(value)}
    return [_sorted(item) for item in value] if isinstance(value, list) else value


if __name__ == "__main__":
    sys.exit(main())
