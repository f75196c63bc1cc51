from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisor.cli import context
from provisor.cli.context import Context
from provisor.cli.exits import CommandError


@pytest.fixture(autouse=True)
def base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("STEPPATH", str(tmp_path / "base"))
    return tmp_path / "base"


def write_defaults(folder: str, **values: object) -> None:
    config = Path(folder) / "config"
    config.mkdir(parents=True, exist_ok=True)
    (config / "defaults.json").write_text(json.dumps(values))


@pytest.mark.parametrize(
    ("given", "expected"), [("/a/b/../c/", "/a/c"), ("rel/../dir", "dir"), ("./x", "x"), ("/x//y", "/x/y")]
)
def test_the_base_is_cleaned_but_stays_relative(monkeypatch: pytest.MonkeyPatch, given: str, expected: str) -> None:
    monkeypatch.setenv("STEPPATH", given)
    assert context.base_path() == expected


def test_the_base_is_in_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STEPPATH")
    monkeypatch.setenv("HOME", "/home/jane")
    assert context.base_path() == "/home/jane/.step"


def test_without_contexts_everything_is_in_the_base(base: Path) -> None:
    paths = context.find_paths()
    assert (paths.step, paths.profile, paths.context) == (str(base), str(base), None)
    assert not context.in_use()
    assert not base.exists()


def test_a_context_is_written_as_the_reference_writes_it(base: Path) -> None:
    paths = context.add_context(Context("beta", authority="beta-auth", profile="beta-prof"))
    context.add_context(Context("alpha", authority="alpha", profile="alpha"))
    assert (base / "contexts.json").read_text() == (
        '{\n    "alpha": {\n        "profile": "alpha",\n        "authority": "alpha"\n    },\n'
        '    "beta": {\n        "profile": "beta-prof",\n        "authority": "beta-auth"\n    }\n}'
    )
    assert (base / "current-context.json").read_text() == '{"context":"alpha"}'
    assert Path(paths.profile_defaults).read_text() == "{}"
    assert oct((base / "contexts.json").stat().st_mode & 0o777) == "0o600"
    assert oct((base / "profiles").stat().st_mode & 0o777) == "0o700"
    assert paths.step == str(base / "authorities" / "beta-auth")


def test_the_current_context_counts_unless_another_is_named(base: Path) -> None:
    for name in ("one", "two"):
        context.add_context(Context(name, authority=name, profile=name))
    assert context.find_paths().step == str(base / "authorities" / "two")
    assert context.find_paths("one").step == str(base / "authorities" / "one")


def test_an_unknown_context_is_refused() -> None:
    with pytest.raises(CommandError, match="could not load context 'nope'"):
        context.find_paths("nope")


def test_the_only_context_needs_no_choice(base: Path) -> None:
    context.add_context(Context("one", authority="one", profile="one"))
    (base / "current-context.json").unlink()
    assert context.find_paths().step == str(base / "authorities" / "one")


def test_of_several_contexts_one_is_chosen_and_stays(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("beta", "Alpha"):
        context.add_context(Context(name, authority=name, profile=name))
    (base / "current-context.json").unlink()
    monkeypatch.setattr("provisor.cli.prompt.select", lambda label, items, **_: items.index("beta"))
    assert context.find_paths().step == str(base / "authorities" / "beta")
    assert context.load_current() == "beta"


@pytest.mark.parametrize("name", ["", ".", "..", "a/b", "../x", "a\x00"])
def test_a_context_cannot_leave_its_folder(name: str) -> None:
    with pytest.raises(CommandError, match="invalid context name"):
        context.add_context(Context(name, authority="a", profile="a"))
    with pytest.raises(CommandError):
        context.add_context(Context("a", authority=name, profile="a"))


def test_a_new_authority_gets_a_context_when_there_are_contexts_or_one_is_named(base: Path) -> None:
    assert context.paths_for_new_authority("ca.internal").context is None
    named = context.paths_for_new_authority("ca.internal", authority="auth")
    assert named.context == Context("ca.internal", authority="auth", profile="ca.internal")
    assert context.paths_for_new_authority("other").context == Context("other", authority="other", profile="other")


def test_the_profile_overrides_the_authority_in_defaults(capsys: pytest.CaptureFixture[str]) -> None:
    paths = context.add_context(Context("one", authority="one", profile="one"))
    write_defaults(paths.step, **{"ca-url": "a", "root": "r", "context": "x"})
    write_defaults(paths.profile, **{"ca-url": "p"})
    assert context.load_defaults(paths) == {"ca-url": "p", "root": "r"}
    assert capsys.readouterr().err == "cannot set 'context' attribute in config files\n"


def test_defaults_are_text_and_lists_are_left_out(base: Path) -> None:
    write_defaults(str(base), a=True, b=5, c="x", d=["l"], e={"o": 1}, f=None)
    assert context.load_defaults(context.plain_paths()) == {"a": "true", "b": "5", "c": "x"}


@pytest.mark.parametrize("content", ["", "[]", "{", "nonsense"])
def test_defaults_that_are_no_object_are_refused(base: Path, content: str) -> None:
    (base / "config").mkdir(parents=True)
    (base / "config" / "defaults.json").write_text(content)
    with pytest.raises(CommandError, match=r"error parsing .*defaults.json"):
        context.load_defaults(context.plain_paths())


def test_a_name_in_a_configuration_is_below_the_step_folder(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/jane")
    paths = context.plain_paths()
    assert context.resolve(paths, "/abs") == "/abs"
    assert context.resolve(paths, "~/x") == "/home/jane/x"
    assert context.resolve(paths, "templates/x.tpl") == str(base / "templates/x.tpl")
    assert context.resolve(paths, "./x") == str(Path.cwd() / "x")
