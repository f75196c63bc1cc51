"""The language, its functions and their errors: every recorded case, to the octet."""

from __future__ import annotations

import base64

import pytest

from conformance.templates.tables import Document, RealWorld, cases, table
from provisor.core.template.builtins import BUILTINS
from provisor.core.template.errors import ExecutionError, ParseError, TemplateFailed
from provisor.core.template.evaluator import Template
from provisor.core.template.library import SSH_FUNCTIONS, X509_FUNCTIONS
from provisor.core.template.values import from_plain
from support.cases import grouped


def answer(case: Document, data: object) -> tuple[str, str]:
    """The stage that failed, empty for none; and the output or the error."""
    try:
        output = Template(case["template"], X509_FUNCTIONS).render(from_plain(data), RealWorld())
    except ParseError as error:
        return "parse", str(error)
    except TemplateFailed as error:
        return "fail", str(error)
    except ExecutionError as error:
        return "execute", str(error)
    if case.get("outputBase64"):
        return "", base64.b64encode(output.encode("utf-8", "surrogateescape")).decode()
    return "", output


@pytest.mark.parametrize("name", ["template-language", "template-sprig", "template-step"])
def test_every_template_gives_what_was_recorded(name: str) -> None:
    sets = table(name).get("data")
    different = []
    for case in cases(name):
        data = sets.get(case.get("data")) if isinstance(sets, dict) else None
        wanted = case.get("stage", ""), case["error"] if "error" in case else case["output"]
        if (found := answer(case, data)) != wanted:
            different.append((case["id"], case["template"], wanted, found))
    assert not different, grouped(different)


@pytest.mark.parametrize(("which", "functions"), [("x509", X509_FUNCTIONS), ("ssh", SSH_FUNCTIONS)])
def test_there_are_the_recorded_functions_and_no_others(which: str, functions: object) -> None:
    assert isinstance(functions, dict)
    assert sorted(functions.keys() - BUILTINS.keys()) == sorted(table("template-functions")[which])


@pytest.mark.parametrize("case", [c for c in cases("config-values") if c["kind"] == "validateTemplate"])
def test_a_template_of_a_configuration_is_taken_or_refused_as_recorded(case: Document) -> None:
    try:
        Template(case["input"], X509_FUNCTIONS)
        found = "ok"
    except ParseError as error:
        found = f"error parsing template: {error}"
    assert found == case.get("result", case.get("error"))
