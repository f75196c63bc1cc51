"""The dependency rule of docs/architecture.md, read from the imports of every module."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src" / "provisor"

# What each place may import of Provisor, beside itself.
CORE = ("errors",)
MIDDLE = ("errors", "core")
ALLOWED = {
    "errors": (),
    "core": CORE,
    "ports": MIDDLE,
    "wire": MIDDLE,
    "config": (*MIDDLE, "wire"),
    "provisioners": (*MIDDLE, "wire", "config", "ports"),
    "authority": (*MIDDLE, "wire", "config", "ports", "provisioners"),
    "server": (*MIDDLE, "wire", "config", "ports", "provisioners", "authority"),
    "net": (*MIDDLE, "config", "ports"),
    "storage": (*MIDDLE, "config", "ports"),
    "kms": (*MIDDLE, "config", "ports"),
    "notary": (*MIDDLE, "config", "ports", "storage", "kms"),
    "client": (*MIDDLE, "wire", "config"),
    # The public names: what other people's programs import.
    "__init__": (*MIDDLE, "client"),
}
# These compose: they know both sides of the ports.
COMPOSE = ("app", "startup", "pki", "pki_files", "checking", "cli", "testing", "pytest_plugin")

MODULES = sorted(SOURCE.rglob("*.py"))

IMPURE = {
    "asyncio",
    "http",
    "logging",
    "os",
    "random",
    "secrets",
    "socket",
    "sqlite3",
    "ssl",
    "subprocess",
    "threading",
    "time",
    "uuid",
}
CLOCKS = {("datetime", "now"), ("datetime", "utcnow"), ("datetime", "today"), ("date", "today")}


def place(module: Path) -> str:
    """The layer a module is in: the first part of its path."""
    relative = module.relative_to(SOURCE)
    return relative.parts[0] if len(relative.parts) > 1 else relative.stem


def imported(module: Path) -> Iterator[str]:
    """Every module name that a file imports, at whatever depth in it."""
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module == "provisor":
                yield from (f"provisor.{alias.name}" for alias in node.names)
            else:
                yield node.module


def of(module: Path) -> str:
    return str(module.relative_to(SOURCE))


@pytest.mark.parametrize("module", MODULES, ids=of)
def test_imports_point_down(module: Path) -> None:
    here = place(module)
    if here in COMPOSE:
        return
    allowed = {here, *ALLOWED[here]}
    for name in imported(module):
        if name.startswith("provisor."):
            assert name.split(".")[1] in {*allowed, "__version__"}, f"{of(module)} imports {name}"


def test_every_place_has_a_rule() -> None:
    assert {place(module) for module in MODULES} <= {*ALLOWED, *COMPOSE}


@pytest.mark.parametrize("module", [m for m in MODULES if place(m) == "core"], ids=of)
def test_the_core_touches_nothing_outside(module: Path) -> None:
    for name in imported(module):
        assert name.split(".")[0] not in IMPURE, f"{of(module)} imports {name}"
    for node in ast.walk(ast.parse(module.read_text())):
        assert not isinstance(node, ast.AsyncFunctionDef), f"{of(module)} waits in {getattr(node, 'name', '')}"
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            assert node.func.id != "open", f"{of(module)} opens a file"
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            assert (node.value.id, node.attr) not in CLOCKS, f"{of(module)} reads the clock"


@pytest.mark.parametrize("module", [m for m in MODULES if place(m) in ("core", "provisioners", "authority")], ids=of)
def test_no_http_status_below_the_server(module: Path) -> None:
    names = {node.attr for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Attribute)}
    assert "HTTPStatus" not in {name.split(".")[-1] for name in imported(module)} | names


def test_a_checked_draft_is_made_in_one_place() -> None:
    makers = []
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.Call):
                name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
                if name == "CheckedDraft":
                    makers.append(of(module))
    assert makers == ["core/x509/check.py"]


def test_handlers_contain_no_try() -> None:
    for module in (SOURCE / "server" / "handlers").glob("*.py"):
        assert not [node for node in ast.walk(ast.parse(module.read_text())) if isinstance(node, ast.Try)], of(module)


def test_broad_excepts_stand_at_the_boundaries_only() -> None:
    broad = set()
    for module in MODULES:
        for node in ast.walk(ast.parse(module.read_text())):
            if isinstance(node, ast.ExceptHandler) and is_broad(node) and not raises_again(node):
                broad.add(of(module))
    assert broad <= {"server/exchange.py", "app/tasks.py", "notary/link.py", "cli/main.py", "client/live.py"}


def is_broad(handler: ast.ExceptHandler) -> bool:
    return handler.type is None or (
        isinstance(handler.type, ast.Name) and handler.type.id in ("Exception", "BaseException")
    )


def raises_again(handler: ast.ExceptHandler) -> bool:
    return any(isinstance(node, ast.Raise) for node in ast.walk(handler))
