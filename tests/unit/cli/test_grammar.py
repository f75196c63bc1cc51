"""The command line grammar of `step`."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from provisor.cli.exits import CommandError, UsageError
from provisor.cli.grammar import (
    Call,
    Flag,
    FlagKind,
    StepCommand,
    command,
    settle,
    split_words,
    switch,
    text,
    texts,
    unbuilt,
    wants_help,
)

FLAGS = (
    text("root"),
    text("provisioner", "issuer"),
    texts("san"),
    switch("f", "force"),
    switch("ssh", default=True),
    Flag(names=("size",), kind=FlagKind.INT),
    Flag(names=("min",), kind=FlagKind.DURATION),
    text("ca-url"),
    text("context"),
    unbuilt("kms"),
)


@command("ca thing", usage="<name>", flags=FLAGS, least=1, most=2)
def thing(call: Call) -> None:
    """do a thing

    And say more about it.
    """


@pytest.fixture(autouse=True)
def _no_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path))


@pytest.mark.parametrize(
    "words",
    [
        ["a", "--root", "r", "b"],
        ["--root=r", "a", "b"],
        ["-root", "r", "a", "b"],
        ["-root=r", "a", "b"],
        ["a", "b", "--root", "r"],
        ["--root", "r", "--", "a", "b"],
    ],
)
def test_a_flag_stands_anywhere_with_one_dash_or_two(words: list[str]) -> None:
    call = thing.make_call(words)
    assert call.arguments == ("a", "b")
    assert call.text("root") == "r"
    assert call.is_set("root")


def test_a_value_may_look_like_a_flag_or_be_empty() -> None:
    assert split_words(["--root", "--san"], FLAGS).given == {"root": ("--san",)}
    assert split_words(["--root="], FLAGS).given == {"root": ("",)}
    assert split_words(["--root=a=b"], FLAGS).given == {"root": ("a=b",)}


def test_after_two_dashes_everything_is_an_argument() -> None:
    assert split_words(["--", "--root", "-f"], FLAGS).arguments == ("--root", "-f")


def test_a_single_dash_is_an_argument() -> None:
    assert split_words(["-"], FLAGS).arguments == ("-",)


def test_a_repeated_flag_collects_or_replaces() -> None:
    words = split_words(["--san", "a", "--san=b", "--root", "1", "--root", "2"], FLAGS)
    assert words.given == {"san": ("a", "b"), "root": ("2",)}


def test_any_name_of_a_flag_will_do_but_not_two() -> None:
    assert split_words(["--issuer", "x"], FLAGS).given == {"provisioner": ("x",)}
    with pytest.raises(UsageError, match="Cannot use two forms of the same flag: issuer provisioner"):
        split_words(["--provisioner", "x", "--issuer", "x"], FLAGS)


@pytest.mark.parametrize(
    ("words", "value"),
    [([], False), (["-f"], True), (["--force"], True), (["--force=true"], True), (["-f=0"], False), (["--f=T"], True)],
)
def test_a_switch_is_negated_with_a_value(words: list[str], value: bool) -> None:
    assert thing.make_call(["a", *words]).switch("force") is value


def test_a_switch_takes_no_following_word() -> None:
    call = thing.make_call(["--force", "a", "--ssh=false", "b"])
    assert call.arguments == ("a", "b")
    assert not call.switch("ssh")
    assert thing.make_call(["a"]).switch("ssh")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--frob", "a"], "flag provided but not defined: -frob"),
        (["-frob=1", "a"], "flag provided but not defined: -frob"),
        (["--root"], "flag needs an argument: -root"),
        (["--force=maybe", "a"], 'invalid boolean value "maybe" for -force: parse error'),
        (["--size", "big", "a"], 'invalid value "big" for flag -size: parse error'),
        (["-min=20d", "a"], 'invalid value "20d" for flag -min: parse error'),
    ],
)
def test_a_wrong_flag_is_a_matter_for_the_help_page(words: list[str], message: str) -> None:
    with pytest.raises(UsageError) as refused:
        thing.make_call(words)
    assert refused.value.message == message
    assert refused.value.status == 1
    assert "provisor ca thing <name>" in refused.value.page


def test_behind_an_argument_an_unknown_flag_counts_as_an_argument() -> None:
    with pytest.raises(CommandError) as refused:
        thing.make_call(["a", "b", "--frob"])
    assert refused.value.message == "too many positional arguments were provided in 'provisor ca thing <name>'"
    with pytest.raises(CommandError, match="flag provided but not defined: -frob"):
        thing.make_call(["a", "--frob"])


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "not enough positional arguments were provided in 'provisor ca thing <name>'"),
        (["a", "b", "c"], "too many positional arguments were provided in 'provisor ca thing <name>'"),
    ],
)
def test_the_number_of_arguments_is_checked(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refused:
        thing.make_call(words)
    assert refused.value.message == message


@pytest.mark.parametrize("words", [["--kms", "x"], ["--kms="], ["--kms=x"]])
def test_a_flag_that_is_not_built_is_refused_by_name(words: list[str]) -> None:
    with pytest.raises(CommandError, match="flag '--kms' is not supported by this version of provisor"):
        thing.make_call(["a", *words])


def test_switching_off_what_is_not_built_is_no_request_for_it() -> None:
    unbuilt_switch = command("x", usage="", flags=(unbuilt("ssh", kind=FlagKind.BOOL),))(thing._run)
    unbuilt_switch.make_call(["--ssh=false"])
    with pytest.raises(CommandError, match="--ssh"):
        unbuilt_switch.make_call(["--ssh"])


def test_the_environment_cannot_switch_on_what_is_not_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("STEP_KMS", "x")
    with pytest.raises(CommandError, match="--kms"):
        thing.make_call(["a"])


def test_the_command_line_beats_the_environment_beats_the_defaults_beats_the_built_in() -> None:
    flag = text("ca-url", default="built-in")
    defaults, environment = {"ca-url": "file"}, {"STEP_CA_URL": "env"}
    given = {"ca-url": ("line",)}
    assert settle([flag], given, environment, defaults)["ca-url"].values == ("line",)
    assert settle([flag], {}, environment, defaults)["ca-url"].values == ("env",)
    assert settle([flag], {}, {}, defaults)["ca-url"].values == ("file",)
    built_in = settle([flag], {}, {}, {})["ca-url"]
    assert built_in.values == ("built-in",)
    assert not built_in.is_set


def test_only_the_first_name_of_a_flag_is_its_variable() -> None:
    flags = (text("provisioner", "issuer"), switch("f", "force"))
    settled = settle(flags, {}, {"STEP_ISSUER": "x", "STEP_FORCE": "1", "STEP_F": "true"}, {})
    assert not settled["provisioner"].is_set
    assert settled["force"].values == ("true",)


def test_any_name_of_a_flag_may_stand_in_defaults() -> None:
    settled = settle((text("provisioner", "issuer"),), {}, {}, {"issuer": "x"})
    assert settled["provisioner"].values == ("x",)


def test_an_empty_variable_is_no_value() -> None:
    assert not settle((text("root"),), {}, {"STEP_ROOT": ""}, {})["root"].is_set


def test_a_list_in_the_environment_is_separated_by_commas() -> None:
    assert settle((texts("san"),), {}, {"STEP_SAN": "a, b"}, {})["san"].values == ("a", "b")


def test_some_flags_ignore_the_environment() -> None:
    flag = Flag(names=("key",), ignores_environment=True)
    assert not settle((flag,), {}, {"STEP_KEY": "x"}, {})["key"].is_set


def test_a_value_from_elsewhere_that_cannot_be_names_its_source(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "defaults.json").write_text(json.dumps({"size": "big"}))
    with pytest.raises(CommandError, match=r'parse error \(from the "size" in defaults.json\)'):
        thing.make_call(["a"])


def test_defaults_come_from_the_file_of_the_authority(tmp_path: Path) -> None:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / "defaults.json").write_text(json.dumps({"ca-url": "https://x", "f": True, "size": 5}))
    call = thing.make_call(["a"])
    assert (call.text("ca-url"), call.switch("force"), call.number("size")) == ("https://x", True, 5)
    other = tmp_path / "other.json"
    other.write_text("{}")
    assert thing.make_call(["a"], str(other)).text("ca-url") == ""


def test_a_required_flag_that_is_missing_is_named_with_the_command() -> None:
    with pytest.raises(CommandError) as refused:
        thing.make_call(["a"]).required("ca-url")
    assert refused.value.message == "'provisor ca thing' requires the '--ca-url' flag"


@pytest.mark.parametrize(("words", "wanted"), [(["--help"], True), (["a", "-h"], True), (["--", "-h"], False)])
def test_help_is_wanted_before_two_dashes(words: list[str], wanted: bool) -> None:
    assert wants_help(words) is wanted


def test_the_help_page_shows_the_flags_that_work() -> None:
    page = thing.help_page()
    assert isinstance(thing, StepCommand)
    assert "provisor ca thing -- do a thing" in page
    assert "And say more about it." in page
    assert "--provisioner=value, --issuer=value" in page
    assert "-f, --force" in page
    assert "kms" not in page
