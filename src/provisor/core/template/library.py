"""The function maps: which names a template of each use may call."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from provisor.core.template.builtins import BUILTINS
from provisor.core.template.errors import FunctionError, TemplateFailed
from provisor.core.template.function import Function, takes
from provisor.core.template.functions.asn1 import ASN1
from provisor.core.template.functions.dates import DATES, STEP_DATES
from provisor.core.template.functions.encoding import ENCODING
from provisor.core.template.functions.generators import SECRETS
from provisor.core.template.functions.lists import DEFAULTS, DICTS, LISTS
from provisor.core.template.functions.numbers import NUMBERS
from provisor.core.template.functions.regex import REGEX
from provisor.core.template.functions.strings import STRINGS
from provisor.core.template.functions.versions import VERSIONS


def _fail(message: str) -> str:
    """Ends the rendering with a message for the client; an empty one is an error like others."""
    if message:
        raise TemplateFailed(message)
    raise FunctionError("")


SPRIG: Final[Mapping[str, Function]] = {
    **STRINGS,
    **NUMBERS,
    **LISTS,
    **DICTS,
    **DEFAULTS,
    **ENCODING,
    **DATES,
    **REGEX,
    **VERSIONS,
    **SECRETS,
    "fail": takes("string")(_fail),
}
"""sprig 3.3 without `env` and `expandenv`."""

# `slice` of sprig hides the one of the language.
CONFIGURATION_FUNCTIONS: Final[Mapping[str, Function]] = {**BUILTINS, **SPRIG}
"""For SSH configuration files and URLs of webhooks."""
SSH_FUNCTIONS: Final[Mapping[str, Function]] = {**CONFIGURATION_FUNCTIONS, **STEP_DATES}
X509_FUNCTIONS: Final[Mapping[str, Function]] = {**SSH_FUNCTIONS, **ASN1}
