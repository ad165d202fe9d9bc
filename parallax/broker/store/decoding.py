"""Decodes JSON strictly: a refusal names the field, its value, and the allowed values."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from parallax.core.errors import InvalidInput

M = TypeVar("M", bound=msgspec.Struct)

#: The errors raised for data of another shape than expected.
REFUSALS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError, InvalidInput)


def decoded(decoder: msgspec.json.Decoder[M], data: bytes, what: str) -> M:
    """Decode a message; raises InvalidInput."""
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        place, value = _place(decoder, data, path.rstrip("`"))
        raise InvalidInput(f"{what}.{place}".rstrip("."), value, message) from None
    except REFUSALS as error:
        raise InvalidInput(what, data[:60], f"valid JSON ({error})") from None


def _place(decoder: msgspec.json.Decoder[M], data: bytes, path: str) -> tuple[str, Any]:
    """Return the name of the field at `path` (`.name` or `[index]`) and what stands there."""
    try:
        message = msgspec.json.decode(data)
        if path.startswith("["):
            index = int(path[1:].partition("]")[0])
            return decoder.type.__struct_fields__[index], message[index]
        name = path.lstrip(".")
        return name, message.get(name, data[:60])
    except (msgspec.DecodeError, AttributeError, LookupError, ValueError, RecursionError):
        return path.lstrip("."), data[:60]
