"""`base64`: to and from base64."""

from __future__ import annotations

from provisor.cli import output
from provisor.cli.crypto.encoding import decode_base64, encode_base64
from provisor.cli.crypto.message import read_message
from provisor.cli.exits import CommandError
from provisor.cli.grammar import Call, command, switch


@command(
    "base64",
    usage="[<text>...]",
    flags=(
        switch("d", "decode", help="decode instead of encode"),
        switch("r", "raw", help="without padding"),
        switch("u", "url", help="the alphabet for URLs and names of files"),
    ),
    most=None,
)
def base64(call: Call) -> None:
    """encode to base64, or decode it

    The text is the arguments with a space between them; without any, stdin, or what is typed. Decoding finds out
    alphabet and padding by itself unless a flag says which.
    """
    is_url, is_raw = call.switch("url"), call.switch("raw")
    if not call.switch("decode"):
        data = _input(call, "Please enter text to encode")
        output.data(encode_base64(data, url=is_url, padded=not is_raw))
        return
    text = _input(call, "Please enter text to decode")
    if not is_url and not is_raw:
        text = text.rstrip(b"\r\n")
        is_url, is_raw = b"-" in text or b"_" in text, not text.endswith(b"=")
    try:
        output.data_bytes(decode_base64(text, url=is_url, padded=not is_raw))
    except ValueError as error:
        raise CommandError(f"error decoding input: {error}") from error


def _input(call: Call, question: str) -> bytes:
    if call.arguments:
        return " ".join(call.arguments).encode(errors="surrogateescape")
    return read_message(question)
