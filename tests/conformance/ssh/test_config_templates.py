"""SSH configuration files from templates: every recorded request, to the octet."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any, Final

import pytest

from conformance.templates.tables import RealWorld
from provisor.core.ssh.config_templates import (
    ConfigTemplate,
    SSHKeys,
    check_data,
    check_template,
    render_config,
)
from provisor.core.template.errors import TemplateError
from provisor.core.template.values import from_plain
from provisor.errors import BadRequest, ConfigError

Row = dict[str, Any]
TABLE: Final[Row] = json.loads((Path(__file__).parent / "data" / "config-templates.json").read_text(encoding="utf-8"))


def template_of(entry: Row) -> ConfigTemplate:
    return ConfigTemplate(
        entry["name"],
        entry["type"],
        entry["path"],
        entry.get("template", ""),
        entry.get("comment", ""),
        tuple(entry.get("requires", ())),
    )


def answer(case: Row) -> tuple[int, list[Row] | str]:
    group = TABLE[case["group"]]
    side = case["request"].get("type") or "user"
    templates = [template_of(entry) for entry in group["templates"]["ssh"][side]]
    data = from_plain(group["templates"].get("data") or {})
    assert isinstance(data, dict)
    keys = SSHKeys(base64.b64decode(group["keys"]["host"]), base64.b64decode(group["keys"]["user"]))
    pairs = [(template, group["texts"].get(template.template, "")) for template in templates]
    try:
        found = render_config(pairs, data, keys, case["request"].get("data") or {}, RealWorld())
    except BadRequest as error:
        return 400, f"The request could not be completed: {error.public or error.detail}."
    except TemplateError:
        return 500, ""
    return 200, [
        {
            "name": each.name,
            "type": each.type,
            "path": each.path,
            "comment": each.comment,
            "content": None if each.content is None else base64.b64encode(each.content).decode(),
        }
        for each in found
    ]


@pytest.mark.parametrize("case", TABLE["cases"], ids=lambda case: f"{case['group']} {case['label']}")
def test_the_files_are_the_recorded_ones(case: Row) -> None:
    status, found = answer(case)
    assert status == case["status"], found
    if status == 200:
        (recorded,) = case["answer"].values()
        assert found == recorded
    elif status == 400:
        assert found == case["answer"]["message"]


GOOD: Final = ConfigTemplate("n", "file", "p", "t")


@pytest.mark.parametrize(
    ("name", "template"),
    [
        ("type-bad", ConfigTemplate("n", "link", "p", "t")),
        ("type-empty", ConfigTemplate("n", "", "p", "t")),
        ("name-empty", ConfigTemplate("", "file", "p", "t")),
        ("path-empty", ConfigTemplate("n", "file", "", "t")),
        ("template-empty", ConfigTemplate("n", "file", "p", "")),
        ("directory-with-template", ConfigTemplate("n", "directory", "p", "t")),
    ],
)
def test_a_template_that_is_none_is_refused_as_recorded(name: str, template: ConfigTemplate) -> None:
    (recorded,) = (entry["output"][0] for entry in TABLE["refused"] if entry["name"] == name)
    check_template(GOOD)
    with pytest.raises(ConfigError) as refused:
        check_template(template)
    assert refused.value.reason == recorded


@pytest.mark.parametrize("name", ["Step", "User"])
def test_names_that_the_ca_fills_are_refused(name: str) -> None:
    check_data({"Team": 1})
    with pytest.raises(ConfigError, match=f"cannot contain '{name}' as a property"):
        check_data({name: 1})
