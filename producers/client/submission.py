"""Jobs as people write them: JSON lines, checked field by field, all of them before any is sent."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterable, Iterator
from tempfile import SpooledTemporaryFile
from typing import IO, Any

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.producers.client import chat

#: The fields of a line: those of a job, and its question. It is answered whole.
FIELDS = (*(f.name for f in dataclasses.fields(Job) if f.name != "stream"), "prompt", "body")
MAX_LINE = 1 << 20

#: Most lines of one file, and how much of it is kept in memory (bytes) while it is checked.
MAX_LINES, IN_MEMORY = 1_000_000, 8 << 20

_REQUIRED = ("tenant", "prompt_tokens", "max_tokens")


def jobs_from_lines(
    lines: Iterable[str], defaults: dict[str, Any], prefix: str
) -> Iterator[tuple[Job, bytes]]:
    """Yield a job for each line of JSON, and its body; an id is made up where none is given.

    What a line asks is its `prompt` (a text) or its `body` (a whole request, an object); lengths
    are taken from that where they are not given. Of one that asks nothing the body is empty.

    Raises InvalidInput naming line, field, value and the allowed values.
    """
    number = 0
    try:
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield _job(number, line, {"id": f"{prefix}-{number}", **defaults})
    except UnicodeDecodeError as error:
        raise InvalidInput(f"after line {number}", error.object[:20], "UTF-8 text") from None


def checked_jobs(
    lines: Iterable[str], defaults: dict[str, Any], prefix: str
) -> Iterator[tuple[Job, bytes]]:
    """Yield the same jobs, the first of them after the last line was found to be good.

    So a file with a bad line sends nothing, and the mended one nothing twice. What was read is kept
    in memory, and on the disk beyond a few megabytes: a pipe cannot be read twice.
    """
    with SpooledTemporaryFile(IN_MEMORY, "w+", encoding="utf-8", newline="\n") as kept:
        for _ in jobs_from_lines(_copied(lines, kept), defaults, prefix):
            pass
        kept.seek(0)
        yield from jobs_from_lines(kept, defaults, prefix)


def _copied(lines: Iterable[str], kept: IO[str]) -> Iterator[str]:
    for number, line in enumerate(lines, 1):
        if number > MAX_LINES:
            raise InvalidInput(f"line {number}", line.strip()[:60], f"at most {MAX_LINES} lines")
        kept.write(line if line.endswith("\n") else f"{line}\n")
        yield line


def _job(number: int, line: str, defaults: dict[str, Any]) -> tuple[Job, bytes]:
    where = f"line {number}"
    if len(line) > MAX_LINE:
        raise InvalidInput(where, f"{len(line)} characters", f"at most {MAX_LINE}")
    try:
        fields = json.loads(line, parse_constant=_no_constant, object_pairs_hook=_no_duplicates)
    except (ValueError, RecursionError) as error:
        raise InvalidInput(where, line.strip()[:60], f"one JSON object ({error})") from None
    if not isinstance(fields, dict):
        raise InvalidInput(where, fields, "one JSON object")
    for name in fields:
        if name not in FIELDS:
            raise InvalidInput(
                f"{where}, field {name}", fields[name], f"known: {', '.join(FIELDS)}"
            )
    try:
        guesses, body = _asked(fields, defaults)
        return _made({**guesses, **defaults, **fields}), body
    except InvalidInput as error:
        raise InvalidInput(f"{where}, field {error.field}", error.value, error.allowed) from None


def _made(fields: dict[str, Any]) -> Job:
    for name in _REQUIRED:
        if name not in fields:
            raise InvalidInput(name, None, "it must be given")
    if isinstance(fields.get("prefix"), list):
        fields["prefix"] = tuple(fields["prefix"])
    return Job(**fields)


def _asked(fields: dict[str, Any], defaults: dict[str, Any]) -> tuple[dict[str, int], bytes]:
    """Take prompt or body out of the fields; return lengths for want of better, and the body."""
    if "prompt" in fields and "body" in fields:
        raise InvalidInput("body", fields["body"], "either prompt or body")
    if "prompt" in fields:
        usual = defaults.get("max_tokens", chat.USUAL_MAX_TOKENS)
        prompt = fields.pop("prompt")
        body = chat.request(prompt, fields.get("max_tokens", usual))
        return {"prompt_tokens": chat.estimated_tokens(prompt), "max_tokens": usual}, body
    if "body" in fields:
        return _request(fields.pop("body"), fields)
    return {}, b""


def _request(body: object, fields: dict[str, Any]) -> tuple[dict[str, int], bytes]:
    """Check a body; the longest answer that it allows becomes the field of the job."""
    if not isinstance(body, dict):
        raise InvalidInput("body", body, "a request: one JSON object")
    if body.get("stream"):
        raise InvalidInput("body.stream", body["stream"], "false: it is answered whole")
    most = chat.longest_answer(body)
    if most is not None and fields.setdefault("max_tokens", most) != most:
        raise InvalidInput("max_tokens", fields["max_tokens"], f"{most}, as its body says")
    return {"prompt_tokens": chat.estimated_prompt(body)}, chat.encoded(body)


def _no_constant(text: str) -> float:
    raise ValueError(f"{text} is not JSON")


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise ValueError("a field is given twice")
    return dict(pairs)
