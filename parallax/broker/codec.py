"""What travels through Redis, as typed messages: strict on reading, small on the wire.

JSON, never pickle: whoever can write to a stream must not be able to run code. Every message has a
version `v`; an unknown version, an unknown field, a wrong type or a number out of range is refused
with `InvalidInput`, which names field, value and what is allowed, and the entry goes to the dead
letters. Each entry is decoded on its own, so that junk never takes a neighbour with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from math import inf
from typing import Annotated, Any, TypeVar

import msgspec

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job, JobView, Usage, check_name

VERSION = 1
_MAX_MS = 2**52

_Version = Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
_Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
_OptionalName = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z")]
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
_SomeTokens = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]
_Priority = Annotated[int, msgspec.Meta(ge=-100, le=100)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Cost = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Base of all messages: unknown fields are refused, defaults are not written."""


class Spec(Message, frozen=True):
    """What the scheduler may know of a job (the field `s` of an arrival)."""

    v: _Version
    tenant: _Name
    prompt: _Tokens
    max: _SomeTokens
    session: _OptionalName = ""
    priority: _Priority = 0


class Report(Message, frozen=True):
    """What came of an attempt: the field `result` of the job's record.

    The same text tells the scheduler (to settle accounts) and whoever waits for the job.
    """

    tenant: _OptionalName = ""
    worker: _OptionalName = ""
    attempt: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    estimate: _Cost = 0.0  # what the tenant was charged at dispatch
    prompt_tokens: _Tokens = 0  # prefilled, or found in a cache
    output_tokens: _Tokens = 0
    cached_tokens: _Tokens = 0
    wait_s: _Seconds | None = None  # from acceptance to the start of the attempt
    ttft_s: _Seconds | None = None  # from there to the first token
    service_s: _Seconds | None = None  # from there to the end
    error: str = ""
    retry_after_s: _Seconds | None = None


@dataclass(frozen=True, slots=True)
class Ticket:
    """What a job carries for others than the scheduler: its digest, true length, whom to tell."""

    digest: str
    output_tokens: int | None
    reply: str

    def encode(self) -> str:
        """Return the field `ticket` of a record."""
        length = "-" if self.output_tokens is None else self.output_tokens
        return f"{self.digest} {length} {self.reply or '-'}"


class Registration(Message, frozen=True):
    """A worker as it registers."""

    v: _Version
    slots: Annotated[int, msgspec.Meta(ge=1, le=100_000)]
    engine: str = ""
    kv_capacity: _Tokens = 0
    weight: Annotated[float, msgspec.Meta(gt=0, le=1e6)] = 1.0
    role: str = "both"
    version: str = ""
    about: dict[str, str | int | float] = {}


M = TypeVar("M", bound=Message)

encode = msgspec.json.Encoder().encode
_spec_decoder = msgspec.json.Decoder(Spec)
_report_decoder = msgspec.json.Decoder(Report)
_registration_decoder = msgspec.json.Decoder(Registration)


def spec_of(job: Job) -> bytes:
    """Encode what the scheduler may know of a job."""
    return encode(
        Spec(VERSION, job.tenant, job.prompt_tokens, job.max_tokens, job.session, job.priority)
    )


def ticket_of(job: Job, body: bytes, reply: str) -> str:
    """Encode the ticket of a job.

    Its digest is over all that must be equal for two submissions of one id to be the same job.
    """
    text = f"{job.tenant}|{job.session}|{job.prompt_tokens}|{job.max_tokens}|{job.output_tokens}"
    text += f"|{job.deadline_s}|{job.priority}"
    digest = hashlib.blake2b(text.encode() + body, digest_size=8).hexdigest()
    return Ticket(digest, job.output_tokens, reply).encode()


def decode_ticket(data: bytes) -> Ticket:
    """Decode a ticket; raises InvalidInput."""
    parts = _text("ticket", data).split(" ")
    if len(parts) != 3:
        raise InvalidInput("ticket", data[:60], "digest, length and whom to tell")
    digest, length, reply = parts
    truth = None if length == "-" else _whole("ticket", length.encode(), MAX_TOKENS)
    return Ticket(digest, truth, "" if reply == "-" else reply)


def decode_spec(data: bytes) -> Spec:
    """Decode the spec of a job; raises InvalidInput."""
    return _decoded(_spec_decoder, data, "spec")


def decode_report(data: bytes) -> Report:
    """Decode a report; raises InvalidInput."""
    return _decoded(_report_decoder, data, "report")


def decode_registration(data: bytes) -> Registration:
    """Decode a worker's registration; raises InvalidInput."""
    return _decoded(_registration_decoder, data, "registration")


def usage_of(report: Report) -> Usage:
    """Return what the attempt consumed."""
    return Usage(
        report.prompt_tokens,
        report.output_tokens,
        report.cached_tokens,
        report.service_s or 0.0,
        report.ttft_s,
    )


_ARRIVAL = (b"j", b"s", b"t", b"d", b"n")


def decode_arrival(fields: Sequence[bytes]) -> JobView:
    """Decode an entry of a tenant's stream; raises InvalidInput.

    Fields: `j` job id, `s` spec, `t` accepted and `d` deadline in ms (empty = none), `n` attempts
    it has had.
    """
    if tuple(fields[0::2]) != _ARRIVAL:
        shown = b" ".join(fields[0::2])[:60]
        raise InvalidInput("entry", shown, "the fields must be j, s, t, d, n in this order")
    job_id = _text("j", fields[1])
    check_name("j", job_id)
    spec = decode_spec(fields[3])
    deadline = inf if not fields[7] else _whole("d", fields[7], _MAX_MS) / 1000
    return JobView(
        job_id,
        spec.tenant,
        spec.prompt,
        spec.max,
        _whole("t", fields[5], _MAX_MS) / 1000,
        spec.session,
        deadline,
        spec.priority,
        _whole("n", fields[9], 1_000_000),
    )


def _text(where: str, data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidInput(where, data[:60], "plain ASCII text") from None


def _whole(where: str, data: bytes, high: int) -> int:
    if not data.isdigit() or len(data) > 16 or int(data) > high:
        raise InvalidInput(where, data[:60], f"a whole number from 0 to {high}")
    return int(data)


def _decoded(decoder: msgspec.json.Decoder[M], data: bytes, what: str) -> M:
    try:
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        place = path.rstrip("`").lstrip(".")
        value = _value_at(data, place)
        raise InvalidInput(f"{what}.{place}".rstrip("."), value, message) from None
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(what, data[:60], f"valid JSON ({error})") from None


def _value_at(data: bytes, place: str) -> Any:
    try:
        return msgspec.json.decode(data).get(place, data[:60])
    except (msgspec.DecodeError, AttributeError, RecursionError):
        return data[:60]
