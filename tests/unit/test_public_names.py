"""What `import provisor` gives, and that it costs nothing before it is used."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import provisor

SOURCE = Path(__file__).resolve().parents[2] / "src"


@pytest.mark.parametrize("name", provisor.__all__)
def test_each_name_is_there_and_is_called_so(name: str) -> None:
    assert getattr(provisor, name).__name__ == name


def test_every_name_is_listed() -> None:
    assert set(dir(provisor)) == {*provisor.__all__, "__version__"}
    assert provisor.__all__ == sorted(provisor.__all__)
    assert len(provisor.__all__) <= 16


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="module 'provisor' has no attribute 'Klient'"):
        provisor.Klient  # noqa: B018


def test_errors_are_one_tree() -> None:
    for name in ("BadAnswer", "CAError", "Denied", "NotFound", "Unauthorized", "Unreachable"):
        assert issubclass(getattr(provisor, name), provisor.ClientError)
    for name in ("Denied", "NotFound", "Unauthorized"):
        assert issubclass(getattr(provisor, name), provisor.CAError)
    for name in ("BadKey", "ClientError", "PasswordNeeded", "WrongPassword"):
        assert issubclass(getattr(provisor, name), provisor.ProvisorError)


@pytest.mark.parametrize(
    ("statement", "absent"),
    [
        ("import provisor", ("ssl", "cryptography", "msgspec", "provisor.client", "provisor.errors")),
        ("import provisor; provisor.Client", ("asyncio", "uvloop", "sqlite3", "provisor.server", "provisor.cli")),
        ("import provisor.pytest_plugin", ("ssl", "cryptography", "provisor.testing", "provisor.client")),
    ],
)
def test_what_is_not_used_is_not_imported(statement: str, absent: tuple[str, ...]) -> None:
    # pytest itself may import what it likes: its plugin is measured by what it adds.
    before = "import pytest; " if "pytest" in statement else ""
    program = f"import sys; {before}seen = set(sys.modules); {statement}; print(*set(sys.modules) - seen)"
    added = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": str(SOURCE)}, capture_output=True, text=True, check=True
    ).stdout.split()
    assert not set(added) & set(absent)
