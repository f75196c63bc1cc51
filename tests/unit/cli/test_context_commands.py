from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisor.cli.main import run

CONTEXTS = {
    "alpha": {"profile": "p1", "authority": "a1"},
    "Beta": {"profile": "p1", "authority": "b1"},
    "zed": {"profile": "pz", "authority": "a1"},
}


@pytest.fixture
def base(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """$STEPPATH with three contexts that share folders; none is current."""
    monkeypatch.setenv("STEPPATH", str(tmp_path))
    (tmp_path / "contexts.json").write_text(json.dumps(CONTEXTS))
    for folder in ("authorities/a1", "authorities/b1", "profiles/p1", "profiles/pz"):
        (tmp_path / folder / "config").mkdir(parents=True)
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *words: str, status: int = 0) -> tuple[str, str]:
    assert run(words) == status
    captured = capsys.readouterr()
    return captured.out, captured.err


def test_without_a_current_one_all_are_listed(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "context", "list") == ("alpha\nBeta\nzed\n", "")
    assert said(capsys, "context", "current", status=1) == ("", "no context selected\n")


def test_the_selected_one_is_first(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "context", "select", "zed") == ("", "✔ Context: zed\n")
    assert (base / "current-context.json").read_text() == '{"context":"zed"}'
    assert said(capsys, "context", "list") == ("▶ zed\nalpha\nBeta\n", "")
    assert said(capsys, "context", "current") == ("zed\n", "")
    shown = said(capsys, "context", "current", "--json")[0]
    assert shown == '{"name":"zed","authority":"a1","profile":"pz"}\n'
    listed = json.loads(said(capsys, "context", "list", "--json")[0])
    assert [(one["name"], one["current"]) for one in listed] == [("zed", True), ("alpha", False), ("Beta", False)]
    assert said(capsys, "path")[0] == f"{base}/authorities/a1\n"


def test_only_what_nobody_shares_is_deleted(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "ssh").mkdir()
    lines = [f'Include "{base}/authorities/{name}/ssh/config"\n' for name in ("b1", "a1")]
    (base / "ssh" / "includes").write_text("".join(lines))
    run(["context", "select", "alpha"])
    capsys.readouterr()
    assert said(capsys, "context", "remove", "Beta", "--force") == ("", "")
    assert sorted(one.name for one in (base / "authorities").iterdir()) == ["a1"]
    assert sorted(one.name for one in (base / "profiles").iterdir()) == ["p1", "pz"]
    assert (base / "ssh" / "includes").read_text() == lines[1]
    assert said(capsys, "context", "remove", "zed", "--force") == ("", "")
    assert sorted(one.name for one in (base / "authorities").iterdir()) == ["a1"]
    assert sorted(one.name for one in (base / "profiles").iterdir()) == ["p1"]
    assert (base / "contexts.json").read_text() == (
        '{\n    "alpha": {\n        "profile": "p1",\n        "authority": "a1"\n    }\n}'
    )


def test_a_question_comes_first(
    base: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("provisor.cli.prompt.confirm", lambda label, **_: False)
    _, err = said(capsys, "context", "remove", "Beta", status=1)
    assert err == (f"The following directories will be removed:\n\n  - {base}/authorities/b1\n\ncontext not removed\n")
    assert (base / "authorities" / "b1").is_dir()


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("select", "nope"), "context 'nope' not found"),
        (("select",), "not enough positional arguments were provided in 'provisor context select'"),
        (("select", "alpha", "zed"), "too many positional arguments were provided in 'provisor context select'"),
        (("remove", "nope"), "context 'nope' not found"),
        (("remove", "alpha", "-f"), "cannot remove current context"),
        (("remove",), "not enough positional arguments were provided in 'provisor context remove <name> [--force]'"),
    ],
)
def test_refusals(base: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], text: str) -> None:
    (base / "current-context.json").write_text('{"context":"alpha"}')
    assert said(capsys, "context", *words, status=1) == ("", f"{text}\n")


@pytest.mark.parametrize("name", ["../../outside", "/outside", ".", ""])
def test_no_folder_outside_is_deleted(base: Path, capsys: pytest.CaptureFixture[str], name: str) -> None:
    contexts = {"evil": {"profile": name, "authority": name}}
    (base / "contexts.json").write_text(json.dumps(contexts))
    _, err = said(capsys, "context", "remove", "evil", "--force", status=1)
    assert "is not a folder of a context" in err
    assert (base / "authorities" / "a1").is_dir()
    assert json.loads((base / "contexts.json").read_text()) == contexts


def test_a_current_one_that_is_gone_is_named(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "current-context.json").write_text('{"context":"gone"}')
    for words in (("context", "list"), ("context", "current"), ("path",)):
        assert said(capsys, *words, status=1) == ("", "could not load context 'gone'\n")


def test_a_broken_file_is_named(base: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (base / "contexts.json").write_text("{bad")
    err = said(capsys, "context", "list", status=1)[1]
    assert err.startswith("error unmarshaling context map: ")
    assert str(base / "contexts.json") in err
