"""The typed messages that travel through Redis: strict on reading, small on the wire.

JSON, never pickle: a writer of a stream must not be able to run code. Every message has a
version `v`; an unknown field, a wrong type or a number out of range is refused with `InvalidInput`,
which names field, value and the allowed ones, and the entry goes to the dead letters. Each entry is
decoded on its own, so that junk never takes a neighbour with it.

While processes are replaced one by one, new ones talk to old ones. A job's `Spec` of a newer
version is refused: who pays hangs on it. Of a `Report` or a `Registration` of a newer version the
fields that are known here are read, as strictly as ever, and those that are not are passed over:
fields never change their meaning, and nothing that is paid or owned hangs on a field that an older
process does not know. A report without a version is of the release that had none.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from math import inf
from typing import Annotated

import msgspec

from parallax.broker.store.decoding import REFUSALS, decoded
from parallax.core.errors import InvalidInput
from parallax.core.model import (
    MAX_HASH,
    MAX_PREFIX,
    MAX_TOKENS,
    JobView,
    Usage,
    check_model,
    check_name,
)
from parallax.core.trace import context_in

VERSION = 1
_MAX_MS = 2**52

_Version = Annotated[int, msgspec.Meta(ge=VERSION, le=VERSION)]
_NewerVersion = Annotated[int, msgspec.Meta(gt=VERSION, le=1_000_000)]
Name = Annotated[str, msgspec.Meta(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}\Z")]
_OptionalName = Annotated[str, msgspec.Meta(pattern=r"^([A-Za-z0-9][A-Za-z0-9._-]{0,63})?\Z")]
_Tokens = Annotated[int, msgspec.Meta(ge=0, le=MAX_TOKENS)]
_SomeTokens = Annotated[int, msgspec.Meta(ge=1, le=MAX_TOKENS)]
_Priority = Annotated[int, msgspec.Meta(ge=-100, le=100)]
_Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
_Block = Annotated[int, msgspec.Meta(ge=1, le=65_536)]
_Hash = Annotated[int, msgspec.Meta(ge=0, le=MAX_HASH)]
_Hashes = Annotated[tuple[_Hash, ...], msgspec.Meta(max_length=MAX_PREFIX)]
_Word = Annotated[str, msgspec.Meta(pattern=r"^[a-z_]{0,64}\Z")]
_Cost = Annotated[float, msgspec.Meta(ge=0, le=1e12)]


class Message(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True, frozen=True):
    """Base of all messages: unknown fields are refused, defaults are not written."""


class Row(msgspec.Struct, forbid_unknown_fields=True, array_like=True, frozen=True):
    """Base of the messages that every job carries: JSON arrays, for every byte is stored thrice."""


class Spec(Row, frozen=True):
    """The scheduler's view of a job, as its arrival entry carries it and its record keeps it."""

    v: _Version
    tenant: str
    prompt: _Tokens
    max: _SomeTokens
    session: str = ""
    priority: _Priority = 0
    prefix: _Hashes = ()
    prefix_block: _Block = 16
    apart: Annotated[int, msgspec.Meta(ge=0, le=2**30)] = 0  # bytes of the prefix kept apart
    model: str = ""


class _StrictSpec(Spec, frozen=True):
    """The same, whose names are looked at each time."""

    tenant: Name
    session: _OptionalName = ""


class Report(Row, frozen=True):
    """The result of an attempt: the field `result` of the job's record.

    The same text tells the scheduler (to settle accounts) and the waiting client.
    """

    tenant: str = ""
    worker: Annotated[str, msgspec.Meta(max_length=64)] = ""
    attempt: Annotated[int, msgspec.Meta(ge=0, le=1_000_000)] = 0
    estimate: _Cost = 0.0  # what the tenant was charged at dispatch
    prompt_tokens: _Tokens = 0  # prefilled, or found in a cache
    output_tokens: _Tokens = 0
    cached_tokens: _Tokens = 0
    wait_s: _Seconds | None = None  # from acceptance to the start of the attempt
    prefill_s: _Seconds | None = None  # from there to the first token of this attempt
    service_s: _Seconds | None = None  # from there to the end
    error: str = ""  # for people
    retry_after_s: _Seconds | None = None
    first_s: _Seconds | None = None  # acceptance to first token, if another worker gave that
    v: _Version = VERSION
    reason: str = ""  # for programs: a word of `Reason`, or '' where there is none

    @property
    def ttft_s(self) -> float | None:
        """Seconds from acceptance to the first token; None if there was none."""
        return self.ttft_after(self.wait_s)

    def ttft_after(self, wait_s: float | None) -> float | None:
        """Return the same for a wait that somebody else knows."""
        if self.first_s is not None or self.prefill_s is None or wait_s is None:
            return self.first_s
        return wait_s + self.prefill_s


class _StrictReport(Report, frozen=True):
    """The same, whose words are looked at each time."""

    tenant: _OptionalName = ""
    reason: _Word = ""


class _NewerReport(_StrictReport, frozen=True, forbid_unknown_fields=False):
    """A report of a version that is not known here."""

    v: _NewerVersion = VERSION + 1


class About(msgspec.Struct, frozen=True):
    """The immutable part of a job: the field `about` of its record.

    `accepted` is in seconds since the epoch; `output_tokens` is the true length where the answer is
    simulated; `reply` names the stream that is told of the end ('' = nobody waits). Who waits is
    sent the answer in pieces if it `streams`; it can be read for a while if it is `kept`. `trace`
    lies apart in the record, and is told to the worker with the rest.
    """

    accepted: float
    digest: str
    output_tokens: int | None
    body_bytes: int
    reply: str
    spec: Spec
    streams: bool = False
    kept: bool = False
    trace: str = ""


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


class _NewerRegistration(Registration, frozen=True, forbid_unknown_fields=False):
    """A registration of a version that is not known here."""

    v: _NewerVersion


_VERSION_AT = Report.__struct_fields__.index("v")
encode = msgspec.json.Encoder().encode
_spec_decoder, _strict_spec_decoder = msgspec.json.Decoder(Spec), msgspec.json.Decoder(_StrictSpec)
_prefix_decoder = msgspec.json.Decoder(tuple[_Hashes, _Block])
_report_decoder, _word_decoder = msgspec.json.Decoder(Report), msgspec.json.Decoder(_Word)
_strict_report_decoder = msgspec.json.Decoder(_StrictReport)
_registration_decoder = msgspec.json.Decoder(Registration)
_newer_report_decoder = msgspec.json.Decoder(_NewerReport)
_newer_registration_decoder = msgspec.json.Decoder(_NewerRegistration)


def decode_prefix(data: bytes) -> tuple[tuple[int, ...], int]:
    """Decode a prefix that was kept apart: hashes and block; raises InvalidInput."""
    try:
        return _prefix_decoder.decode(b"[" + data + b"]")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput("prefix", data[:60], f"hashes and block ({error})") from None


def decode_about(data: bytes | None) -> About:
    """Decode the field `about` of a record; raises InvalidInput, also for None (no record)."""
    parts = (data or b"").split(b" ", 5)
    if len(parts) != 6:
        shown = "accepted, digest, length, bytes, whom to tell and the spec"
        raise InvalidInput("about", (data or b"")[:60], shown)
    accepted, digest, length, size, reply, spec = parts
    streams, kept, trace = False, False, ""
    if not size.isdigit():
        size, _, context = size.partition(b"/")
        size, streams, kept = _letters(size)
        trace = context_in(context.decode("ascii", "replace"))
    return About(
        whole("about.accepted", accepted, _MAX_MS) / 1000,
        _text("about.digest", digest),
        None if length == b"-" else whole("about.length", length, MAX_TOKENS),
        whole("about.bytes", size, _MAX_MS),
        "" if reply == b"-" else _text("about.reply", reply),
        _spec(spec),
        streams,
        kept,
        trace,
    )


def _letters(size: bytes) -> tuple[bytes, bool, bool]:
    """Split `<bytes>[s][k]`: how long the body is, whether the job streams, and is kept."""
    kept = size.endswith(b"k")
    size = size.removesuffix(b"k")
    return size.removesuffix(b"s"), size.endswith(b"s"), kept


def view_of(
    job_id: str, about: About, deadline: float, attempt: int, prefilled_by: str = ""
) -> JobView:
    """Return what policies may know of a job with this record."""
    spec = about.spec
    return JobView(
        job_id,
        spec.tenant,
        spec.prompt,
        spec.max,
        about.accepted,
        spec.session,
        deadline,
        spec.priority,
        attempt,
        spec.prefix,
        spec.prefix_block,
        prefilled_by,
        spec.model,
    )


def decode_report(data: bytes) -> Report:
    """Decode a report of this version, an older or a newer one; raises InvalidInput."""
    try:
        report = _report_decoder.decode(data)
        if report.tenant:
            _check_familiar(report.tenant)
        if report.reason:
            _word_decoder.decode(encode(report.reason))
    except REFUSALS:
        if _is_newer(data):
            return decoded(_newer_report_decoder, data, "report")
        return decoded(_strict_report_decoder, data, "report")
    return report


def _spec(data: bytes) -> Spec:
    try:
        spec = _spec_decoder.decode(data)
        _check_familiar(spec.tenant)
        if spec.session:
            check_name("session", spec.session)
    except REFUSALS:
        spec = decoded(_strict_spec_decoder, data, "spec")
    if spec.model:
        _check_model(spec.model)
    return spec


@lru_cache(maxsize=4_096)
def _check_familiar(name: str) -> None:
    """Check a repeated value once: a pattern costs more than the rest of a row."""
    check_name("tenant", name)


@lru_cache(maxsize=1_024)
def _check_model(name: str) -> None:
    check_model("model", name)


def decode_registration(data: bytes) -> Registration:
    """Decode a worker's registration, of this version or a newer one; raises InvalidInput."""
    try:
        return decoded(_registration_decoder, data, "registration")
    except InvalidInput:
        if not _is_newer(data):
            raise
    return decoded(_newer_registration_decoder, data, "registration")


def _is_newer(data: bytes) -> bool:
    """Whether a report or a registration says that it is of a version that is not known here."""
    try:
        message = msgspec.json.decode(data)
        version = message[_VERSION_AT] if isinstance(message, list) else message["v"]
    except (msgspec.DecodeError, LookupError, TypeError, UnicodeDecodeError, RecursionError):
        return False
    return type(version) is int and version > VERSION


def usage_of(report: Report) -> Usage:
    """Return what the attempt consumed."""
    return Usage(
        report.prompt_tokens,
        report.output_tokens,
        report.cached_tokens,
        report.service_s or 0.0,
        report.prefill_s,
    )


def decode_fields(fields: Sequence[bytes], count: int, meaning: str) -> list[bytes]:
    """Split the one field `j` of an entry into so many parts; raises InvalidInput."""
    if len(fields) != 2 or fields[0] != b"j":
        raise InvalidInput("entry", b" ".join(fields[0::2])[:60], "one field, named j")
    parts = fields[1].split(b" ", count - 1)
    if len(parts) != count:
        raise InvalidInput("entry", fields[1][:60], meaning)
    return parts


def decode_arrival(fields: Sequence[bytes]) -> JobView:
    """Decode an entry of a tenant's stream; raises InvalidInput."""
    return decode_waiting(fields)[0]


def decode_waiting(fields: Sequence[bytes]) -> tuple[JobView, int]:
    """Return the same, and how many bytes of its prefix are kept apart; raises InvalidInput."""
    meaning = "id, accepted, deadline or -, attempts so far, spec"
    name, accepted, due, attempts, text = decode_fields(fields, 5, meaning)
    job_id = _text("id", name)
    check_name("id", job_id)
    spec = _spec(text)
    view = JobView(
        job_id,
        spec.tenant,
        spec.prompt,
        spec.max,
        whole("accepted", accepted, _MAX_MS) / 1000,
        spec.session,
        inf if due == b"-" else whole("deadline", due, _MAX_MS) / 1000,
        spec.priority,
        whole("attempts", attempts, 1_000_000),
        spec.prefix,
        spec.prefix_block,
        model=spec.model,
    )
    return view, spec.apart


def _text(where: str, data: bytes) -> str:
    try:
        return data.decode("ascii")
    except UnicodeDecodeError:
        raise InvalidInput(where, data[:60], "plain ASCII text") from None


def whole(where: str, data: bytes, high: int) -> int:
    """Read a whole number from 0 to `high`; raises InvalidInput."""
    if data.isdigit() and len(data) <= 16 and (number := int(data)) <= high:
        return number
    raise InvalidInput(where, data[:60], f"a whole number from 0 to {high}")
