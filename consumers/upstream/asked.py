"""Turns a job's body into the request to a server.

The body goes as it came: only what must be known here is read (its kind, its model, the longest
answer), and only what must be otherwise is changed. A field that is not known is the server's
business.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from parallax.broker.api import paths
from parallax.core.errors import InvalidInput
from parallax.engine.request import Request

_LIMITS = ("max_completion_tokens", "max_tokens")
_RESPONSE_LIMIT = "max_output_tokens"

#: What a text to be taken apart is called, where it is not `prompt`.
_TOKENIZED = {"llamacpp": "content", "tgi": "inputs"}

Raw = msgspec.Raw
_FIELDS = msgspec.json.Decoder(dict[str, Raw])
_OPTIONS = msgspec.json.Decoder(dict[str, object] | None)
_TEXT = msgspec.json.Decoder(str)
_LIMIT = msgspec.json.Decoder(int | None)


@dataclass(frozen=True, slots=True)
class Served:
    """The capabilities of a server that requests depend on."""

    kind: str = "openai"
    models: Sequence[str] = ()  # nothing: not known, so whatever is asked for is tried
    default: str = ""  # for requests that name none


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as the server gets it."""

    path: str  # below `/v1`; `/tokenize` has none above it
    payload: bytes
    stream: bool
    own_usage: bool = False  # we asked for the usage: the client does not want to see it
    trace: str = ""  # the context of the job's trace, for a server that is traced, too


def asked(request: Request, served: Served) -> Asked:
    """Return what to send for a request; raises InvalidInput if it can be sent to nobody."""
    fields = _fields_of(request.body)
    path = _path(fields)
    raw = _encoded(request.model) if request.model else fields.get("model")
    fields["model"] = _encoded(_model(raw, served))
    if path not in paths.STREAMING:
        if request.stream:
            raise InvalidInput("stream", True, f"what {path} answers cannot be streamed")
        if path == paths.TOKENIZE:
            _rename(fields, _TOKENIZED.get(served.kind, "prompt"))
        return Asked(path, msgspec.json.encode(fields), stream=False, trace=request.trace)
    if path == paths.RESPONSES:
        _limit(fields, request.max_tokens, (_RESPONSE_LIMIT,), _RESPONSE_LIMIT)
    else:  # newer models of OpenAI refuse the older name
        usual = _LIMITS[0] if served.kind == "openai" else _LIMITS[1]
        _limit(fields, request.max_tokens, _LIMITS, usual)
    fields["stream"] = _encoded(request.stream)
    asks = request.stream and path != paths.RESPONSES  # the last event of those tells it anyway
    own_usage = _ask_for_usage(fields) if asks else False
    if not asks:
        fields.pop("stream_options", None)
    return Asked(path, msgspec.json.encode(fields), request.stream, own_usage, request.trace)


def _path(fields: dict[str, Raw]) -> str:
    """Return where a body goes, and take what names it out of the body; raises InvalidInput."""
    raw = fields.pop(paths.FIELD, None)
    try:
        named = None if raw is None else _TEXT.decode(raw)
    except msgspec.MsgspecError:
        named = ""
    path = paths.path_of(named, fields)
    if path is None:
        told = f"one of {', '.join(paths.TELLING)} must be in it"
        raise InvalidInput("body", ", ".join(fields)[:60], told)
    return path


def _rename(fields: dict[str, Raw], name: str) -> None:
    """Give a text to be taken apart the name by which a server knows it."""
    for other in ("prompt", "content"):
        if other in fields and other != name:
            fields[name] = fields.pop(other)


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
        named = _TEXT.decode(raw) if raw is not None else ""
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


def _limit(fields: dict[str, Raw], most: int, names: Sequence[str], usual: str) -> None:
    """Let no answer be longer than its job may be: admission counted on that."""
    there = [name for name in names if name in fields]
    for name in there:
        try:
            limit = _LIMIT.decode(fields[name])
        except msgspec.MsgspecError as error:
            raise InvalidInput(f"body.{name}", bytes(fields[name])[:60], str(error)) from None
        if limit is None or limit > most:
            fields[name] = _encoded(most)
    if not there:
        fields[usual] = _encoded(most)


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
