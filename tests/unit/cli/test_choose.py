from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from provisor.cli import choose
from provisor.cli.choose import Choice, read_choices
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, text

JWK: Mapping[str, object] = {"type": "JWK", "name": "you", "key": {"kid": "k1"}}
OTHER: Mapping[str, object] = {"type": "jwk", "name": "other", "key": {"kid": "k2"}}
OIDC: Mapping[str, object] = {"type": "OIDC", "name": "Google", "clientID": "cid"}
ACME: Mapping[str, object] = {"type": "ACME", "name": "acme"}
UNKNOWN: Mapping[str, object] = {"type": "Pigeon", "name": "post"}
ALL = read_choices([JWK, OTHER, OIDC, ACME, UNKNOWN])


@command("ca token", usage="", flags=(text("kid"), text("provisioner", "issuer")))
def with_flags(call: Call) -> None:
    """x"""


@command("ca revoke", usage="", flags=())
def without_flags(call: Call) -> None:
    """x"""


@pytest.fixture(autouse=True)
def _own_base(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("STEPPATH", str(tmp_path))


@pytest.mark.parametrize(
    ("raw", "label"),
    [
        (JWK, "you (JWK) [kid: k1]"),
        (OIDC, "Google (OIDC) [client: cid]"),
        ({"type": "AZURE", "name": "az", "tenantID": "t"}, "az (Azure) [tenant: t]"),
        ({"type": "K8SSA", "name": "k"}, "k (K8sSA)"),
        (ACME, "acme (ACME)"),
    ],
)
def test_a_label_has_the_canonical_spelling(raw: Mapping[str, object], label: str) -> None:
    assert read_choices([raw])[0].label == label


def test_unknown_types_are_no_choice() -> None:
    assert [choice.name for choice in ALL] == ["you", "other", "Google", "acme"]


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ([], ["you", "other", "Google", "acme"]),
        (["--provisioner", "other"], ["other"]),
        (["--issuer", "acme"], ["acme"]),
        (["--kid", "k1"], ["you"]),
        (["--kid", "cid"], ["Google"]),
    ],
)
def test_flags_narrow_the_choice(words: list[str], names: list[str]) -> None:
    assert [one.name for one in choose.narrow(with_flags.make_call(words), ALL)] == names


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--provisioner", "You"], "invalid value 'You' for flag '--provisioner'"),
        (["--kid", "k"], "invalid value 'k' for flag '--kid'"),
        (["--kid", "k1", "--provisioner", "other"], "invalid value 'other' for flag '--provisioner'"),
    ],
)
def test_nothing_left_is_the_fault_of_a_flag(words: list[str], message: str) -> None:
    with pytest.raises(CommandError) as refused:
        choose.narrow(with_flags.make_call(words), ALL)
    assert refused.value.message == message


def test_a_ca_without_provisioners_makes_no_tokens() -> None:
    with pytest.raises(CommandError, match="the CA does not have any provisioner configured"):
        choose.narrow(with_flags.make_call([]), ())


def test_the_only_one_is_taken_and_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert choose.choose(without_flags.make_call([]), ALL[:1]) is ALL[0]
    assert capsys.readouterr().err == "✔ Provisioner: you (JWK) [kid: k1]\n"


def test_of_several_the_person_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, list[str], str, str]] = []

    def select(label: str, items: list[str], *, name: str, flag: str) -> int:
        asked.append((label, items, name, flag))
        return 2

    monkeypatch.setattr("provisor.cli.prompt.select", select)
    chosen: Choice = choose.choose(with_flags.make_call([]), ALL)
    assert chosen.name == "Google"
    choose.choose(without_flags.make_call([]), ALL)
    assert [(one[2], one[3]) for one in asked] == [("Provisioner", "provisioner"), ("Provisioner", "token")]
    assert asked[0][0] == "What provisioner key do you want to use?"
