"""The table of metrics in docs/observability is what the code has; alerts and dashboard name nothing else."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

import pytest

from provisor.config.ca_json import TracingSettings
from provisor.server.metrics import Metrics, render

DOCS: Final = Path(__file__).resolve().parents[3] / "docs" / "observability"
README: Final = (DOCS / "README.md").read_text()
BEGIN: Final = "<!-- metrics: checked against the code by tests/unit/server/test_observability_docs.py -->\n"
END: Final = "<!-- end of metrics -->\n"
NAMED: Final = re.compile(r"\b(?:provisor|step_ca|promhttp)_[a-z0-9_]+")


def declared() -> dict[str, tuple[str, str, str]]:
    """Kind, labels and help of every family, by its name."""
    families = {
        family.name: (family.kind, " ".join(f"`{label}`" for label in family.labels), family.help)
        for family in Metrics().families
    }
    # Those that the page adds by itself.
    page = render([], uptime_seconds=1).decode()
    for name, kind in re.findall(r"^# TYPE (\S+) (\S+)$", page, re.MULTILINE):
        (help_text,) = re.findall(rf"^# HELP {name} (.*)$", page, re.MULTILINE)
        labels = sorted(set(re.findall(rf"^{name}{{(\w+)=", page, re.MULTILINE)))
        families.setdefault(name, (kind, " ".join(f"`{label}`" for label in labels), help_text))
    return families


def table() -> str:
    lines = ["| metric | kind | labels | what |", "|---|---|---|---|"]
    lines += [f"| `{name}` | {kind} | {labels} | {text} |" for name, (kind, labels, text) in sorted(declared().items())]
    return "\n".join(lines) + "\n"


def test_the_table_of_metrics_is_the_codes() -> None:
    found = README[README.index(BEGIN) + len(BEGIN) : README.index(END)]
    assert found == table(), f"the table should be:\n{table()}"


@pytest.mark.parametrize("file", ["README.md", "alerts.yml", "dashboard.json"])
def test_only_metrics_that_exist_are_named(file: str) -> None:
    known = declared()
    for name in set(NAMED.findall((DOCS / file).read_text())):
        base = re.sub(r"_(bucket|sum|count)$", "", name)
        assert name in known or known.get(base, ("",))[0] == "histogram", name


def test_every_metric_of_ours_is_in_the_dashboard_or_an_alert() -> None:
    text = (DOCS / "dashboard.json").read_text() + (DOCS / "alerts.yml").read_text()
    shown = {re.sub(r"_(bucket|sum|count)$", "", name) for name in NAMED.findall(text)} | set(NAMED.findall(text))
    assert {name for name in declared() if name.startswith("provisor_")} <= shown


def test_every_alert_is_in_the_readme() -> None:
    alerts = re.findall(r"- alert: (\w+)", (DOCS / "alerts.yml").read_text())
    assert sorted(alerts) == sorted(re.findall(r"`(Provisor\w+)`", README))


def test_every_setting_of_tracing_is_in_the_readme() -> None:
    for name in TracingSettings.__struct_encode_fields__:
        assert f"| `{name}` |" in README


def test_the_dashboard_is_one_that_can_be_imported() -> None:
    document = json.loads((DOCS / "dashboard.json").read_text())
    ids = [panel["id"] for panel in document["panels"]]
    assert len(ids) == len(set(ids))
    assert [variable["name"] for variable in document["templating"]["list"]] == ["datasource", "instance"]
    for panel in document["panels"]:
        place = panel["gridPos"]
        assert place["x"] + place["w"] <= 24
        for target in panel.get("targets", ()):
            assert target["datasource"] == {"type": "prometheus", "uid": "${datasource}"}
