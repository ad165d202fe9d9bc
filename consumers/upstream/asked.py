"""What a job's body asks of a server, and the request that is made of it.

The body goes as it came: only what must be known here is read (its kind, its model, the longest
answer), and only what must be otherwise is changed. A field that is not known is the server's
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from parallax.core.errors import InvalidInput
from parallax.engine.request import Request

#: A field of a body -> the path that takes bodies with it. The first that is there decides.
PATHS = {"messages": "/chat/completions", "prompt": "/completions", "input": "/embeddings"}
_LIMITS = ("max_completion_tokens", "max_tokens")
_STREAMING = ("/chat/completions", "/completions")

Raw = msgspec.Raw
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OPTIONS = msgspec.json.Decoder(dict[str, object] | None)
_MODEL = msgspec.json.Decoder(str)
_LIMIT = msgspec.json.Decoder(int | None)


@dataclass(frozen=True, slots=True)
class Served:
    """What a server serves, as far as requests must know it."""

    kind: str = "openai"
    models: Sequence[str] = ()  # nothing: not known, so whatever is asked for is tried
    default: str = ""  # for requests that name none


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the server gets it."""

    path: str
    payload: bytes
    stream: bool
    own_usage: bool = False  # the usage was asked for by us: whoever asked does not want to see it


def asked(request: Request, served: Served) -> Asked:
    """Return what to send for a request; raises InvalidInput if it can be sent to nobody."""
    fields = _fields_of(request.body)
    path = next((path for field, path in PATHS.items() if field in fields), None)
    if path is None:
        raise InvalidInput("body", request.body[:60], f"one of {', '.join(PATHS)} must be in it")
    fields["model"] = _encoded(_model(fields.get("model"), served))
    if path not in _STREAMING:
        if request.stream:
            raise InvalidInput("stream", True, f"what {path} answers cannot be streamed")
        return Asked(path, msgspec.json.encode(fields), stream=False)
    _limit(fields, request.max_tokens, served.kind)
    fields["stream"] = _encoded(request.stream)
    own_usage = _ask_for_usage(fields) if request.stream else False
    if not request.stream:
        fields.pop("stream_options", None)
    return Asked(path, msgspec.json.encode(fields), request.stream, own_usage)


def _fields_of(body: bytes) -> dict[str, Raw]:
    if not body:
        told = "a job without a body imitates work; this engine answers requests: give a PROMPT"
        raise InvalidInput("body", "", told)
    try:
        return _FIELDS.decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("body", body[:60], f"must be a JSON object ({error})") from None


def _model(raw: Raw | None, served: Served) -> str:
    """Return the model to ask for; raises InvalidInput if it is not served."""
    try:
        named = _MODEL.decode(raw) if raw is not None else ""
    except msgspec.MsgspecError as error:
        raise InvalidInput("body.model", bytes(raw or b"")[:60], str(error)) from None
    if not named:
        return served.default or next(iter(served.models), "")
    if not served.models or named in served.models:
        return named
    if served.kind == "ollama" and f"{named}:latest" in served.models:
        return named
    if served.kind == "tgi" and named == "tgi":  # what its own documents say instead of a model
        return named
    shown = ", ".join(served.models[:10])
    raise InvalidInput("body.model", named, f"it is not served here; served: {shown}")


def _limit(fields: dict[str, Raw], most: int, kind: str) -> None:
    """Let no answer be longer than its job may be: that is what was admitted."""
    there = [name for name in _LIMITS if name in fields]
    for name in there:
        try:
            limit = _LIMIT.decode(fields[name])
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"body.{name}", bytes(fields[name])[:60], str(error)) from None
        if limit is None or limit > most:
            fields[name] = _encoded(most)
    if not there:  # newer models of OpenAI refuse the older name
        fields[_LIMITS[0] if kind == "openai" else _LIMITS[1]] = _encoded(most)


def _ask_for_usage(fields: dict[str, Raw]) -> bool:
    """Ask for a last chunk with the usage; return whether that is ours alone."""
    raw = fields.get("stream_options")
    try:
        options = (_OPTIONS.decode(raw) if raw is not None else None) or {}
    except msgspec.MsgspecError as error:
        raise InvalidInput("body.stream_options", bytes(raw or b"")[:60], str(error)) from None
    if options.get("include_usage") is True:
        return False
    fields["stream_options"] = _encoded({**options, "include_usage": True})
    return True


def _encoded(value: object) -> Raw:
    return Raw(msgspec.json.encode(value))
