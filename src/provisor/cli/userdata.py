"""Values for a CA's templates, from `--set key=value` and `--set-file FILE`."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from provisor.cli import exits, files
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call
from provisor.wire import gojson


def user_data(call: Call) -> Mapping[str, object]:
    """The union; a value of `--set` is JSON when it parses as JSON, else text, and beats the file's.

    Raises `CommandError`.
    """
    values = _from_file(call.text("set-file"))
    for pair in call.texts("set"):
        key, equals, value = pair.partition("=")
        if not equals:
            raise exits.invalid_value(pair, "set")
        values[key] = _value(value)
    return values


def _from_file(path: str) -> dict[str, object]:
    if not path:
        return {}
    try:
        return msgspec.json.decode(files.read_file(path), type=dict[str, object])
    except msgspec.MsgspecError as error:
        raise CommandError(f"error unmarshaling {path}: {error}") from error


def _value(text: str) -> object:
    try:
        return msgspec.json.decode(text)
    except msgspec.MsgspecError:
        return text


def encode_user_data(call: Call) -> msgspec.Raw | None:
    """The same as JSON, None without either flag."""
    if not (call.is_set("set") or call.is_set("set-file")):
        return None
    return msgspec.Raw(gojson.encode_json(user_data(call)))
