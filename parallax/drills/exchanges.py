"""One request of a client and what came of it, judged where it came: only digests are kept.

Whole is an answer that ended where HTTP says, and where the API says: a document, or a stream with
its last event. An error is one if it has the documented shape, and a code that such a request may
be answered with.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import msgspec

from parallax.broker.api import paths
from parallax.core.digests import digest_of
from parallax.core.reasons import Reason
from parallax.drills.http import Reply
from parallax.drills.wishes import UNKNOWN, Wish
from parallax.producers.gateway.problems import Code


class End(StrEnum):
    """How it ended for the client."""

    WHOLE = "whole"
    ERROR = "error"
    CUT = "cut"
    LEFT = "left"
    LATE = "late"
    REFUSED = "refused"  # nobody listened


@dataclass(frozen=True, slots=True)
class Exchange:
    """A request as the promises see it. Times are seconds since the epoch."""

    wish: str  # its name, which is the session of its jobs
    gateway: str
    began: float
    ended: float
    end: End
    keyed: bool = False
    stream: bool = False
    sent: bool = True  # all of the request
    body: str = ""  # digest of what a worker reads of it; '' for one that none may read
    status: int = 0
    code: str = ""  # of an error
    job: str = ""  # as the answer says
    answer: str = ""  # digest of a whole one
    pieces: tuple[str, ...] = ()  # digests of the chunks of a stream
    wrong: str = ""  # what is neither an answer nor an error as documented
    foreign: str = ""  # what of the answer is not to what was asked


#: Codes with which any request may be answered that can be understood, and their statuses.
_ALWAYS: Mapping[str, int] = {
    Code.NO_BACKENDS: 503, Code.SHUTTING_DOWN: 503, Code.GATEWAY_FULL: 503, Code.STORE_FULL: 503,
    Code.STORE_UNREACHABLE: 503, Code.TIMED_OUT: 504, Code.CANCELLED: 503, Code.NO_ANSWER: 502,
    Reason.ENGINE_FAILED: 502, Reason.ATTEMPTS_USED_UP: 502, Reason.STREAM_BROKEN: 502,
    Reason.DEADLINE: 504, Reason.HOPELESS: 504,
    **{reason: 429 for reason in Reason if reason.by_admission and reason is not Reason.HOPELESS},
    Reason.TENANTS_FULL: 429,
}  # fmt: skip
_MISSHAPEN: dict[str, int] = {Code.INVALID: 400, Code.INVALID_JSON: 400, Code.TOO_LARGE: 413}
_KEYED: dict[str, int] = {Code.KEY_REUSED: 409, Code.STREAM_REPEATED: 409}
_FIELDS = {"message", "type", "param", "code"}


def judged(
    wish: Wish, gateway: str, times: tuple[float, float], reply: Reply, *, other: bool = False
) -> Exchange:
    """Return what came of a request; `other`: it asked something else under the key of its wish."""
    misshapen = wish.misshapen
    found: dict[str, Any] = {
        "keyed": wish.manner.keyed, "stream": wish.stream, "status": reply.status,
        "sent": wish.leave is None or wish.leave.sends >= 1.0,
        "body": "" if misshapen or other else digest_of(wish.stored()),
        "job": reply.headers.get("x-parallax-job", ""), "wrong": reply.wrong,
    }  # fmt: skip
    judge = _Judge(wish, other=other)
    if reply.status == 200 and "text/event-stream" in reply.headers.get("content-type", ""):
        found |= judge.stream(bytes(reply.body), whole=reply.whole)
    elif reply.whole:
        found |= judge.document(reply.status, bytes(reply.body))
    end = found.pop("end", None) or End.CUT
    end = End.LEFT if reply.left else End.LATE if reply.late else end
    found["wrong"] = reply.wrong or found["wrong"]
    return Exchange(wish.name, gateway, *times, end, **found)


class _Judge:
    def __init__(self, wish: Wish, *, other: bool) -> None:
        self._wish, self._other = wish, other
        prompt = wish.prompt + ["other"] * other
        self._said = [prompt[n % len(prompt)] for n in range(wish.tokens)]

    def document(self, status: int, body: bytes) -> dict[str, Any]:
        """Return what a document is: an answer or an error."""
        try:
            content = msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return {"end": End.ERROR, "wrong": f"{status} without JSON: {body[:60]!r}"}
        if status != 200:
            return self._error(status, content)
        try:
            text = _text_of(self._wish.path, content)
        except (KeyError, IndexError, TypeError) as error:
            return {"end": End.WHOLE, "wrong": f"an answer without a text: {error!r}"}
        wrong = "an answer to what cannot be understood" if self._wish.misshapen else ""
        foreign = self._foreign(text, whole=True)
        return {"end": End.WHOLE, "wrong": wrong, "answer": digest_of(body), "foreign": foreign}

    def stream(self, body: bytes, *, whole: bool) -> dict[str, Any]:
        """Return what a stream is: an answer, one that ended with an error, or one cut off."""
        pieces: list[str] = []
        text, last, wrong = "", None, ""
        for payload in _payloads(body, cut=not whole):
            if last is not None:
                wrong = f"more came after {last[:60]!r}"
            if payload == b"[DONE]":
                last = payload
                continue
            try:
                content = msgspec.json.decode(payload)
                failed, said, ended = _event(self._wish.path, content)
            except (msgspec.DecodeError, UnicodeDecodeError, *_UNREADABLE) as error:
                wrong = f"an event that cannot be read: {payload[:60]!r} ({error!r})"
                continue
            if failed:
                foreign = self._foreign(text, whole=False)
                said_of_it = self._error(200, content) | {"pieces": tuple(pieces)}
                return said_of_it | {"foreign": foreign, "wrong": said_of_it["wrong"] or wrong}
            text, last = text + said, payload if ended else last
            pieces.append(digest_of(payload))
        if whole and last is None and not wrong:
            wrong = "a stream that ends with neither its last event nor an error"
        end = End.WHOLE if last is not None and whole else End.CUT
        foreign = self._foreign(text, whole=end is End.WHOLE)
        return {"end": end, "wrong": wrong, "pieces": tuple(pieces), "foreign": foreign}

    def _error(self, status: int, content: Any) -> dict[str, Any]:
        """Return an error; `status` 200: one that came after the head of a stream."""
        error = content.get("error") if isinstance(content, dict) else None
        if status == 200 and self._wish.path == paths.RESPONSES:
            error = {**content, "type": "error"}
            error.pop("sequence_number", None)
        if not isinstance(error, dict) or set(error) != _FIELDS or not error.get("message"):
            return {"end": End.ERROR, "wrong": f"{status} of another shape: {str(content)[:100]}"}
        code = str(error["code"])
        allowed = self._allowed()
        wrong = ""
        if code not in allowed or status not in {200, allowed[code]}:
            wrong = f"{status} {code} to a {self._wish.manner} request: {error['message'][:100]}"
        return {"end": End.ERROR, "code": code, "wrong": wrong}

    def _allowed(self) -> dict[str, int]:
        """Return the codes that this request may be answered with."""
        wish = self._wish
        allowed = dict(_ALWAYS)
        allowed |= _MISSHAPEN if wish.misshapen else {}
        allowed |= {Code.MODEL_NOT_FOUND: 404} if wish.model == UNKNOWN else {}
        return allowed | (_KEYED if wish.manner.keyed else {})

    def _foreign(self, text: str, *, whole: bool) -> str:
        """Return what of a text is not what this request must be answered."""
        words = text.split(" ") if text else []
        due = self._said if whole else self._said[: len(words)]
        if words == due:
            return ""
        n = next((n for n, (a, b) in enumerate(zip(words, due, strict=False)) if a != b), len(due))
        got = words[n : n + 2] or "nothing"
        return f"word {n} of {len(words)} is {got}, where {due[n : n + 2] or 'nothing'} was due"


_UNREADABLE = (KeyError, IndexError, TypeError, AttributeError)


def _text_of(path: str, content: Any) -> str:
    """Return what a whole answer says."""
    if path == paths.RESPONSES:
        return str(content["output"][0]["content"][0]["text"])
    choice = content["choices"][0]
    return str(choice["message"]["content"] if path == paths.CHAT else choice["text"])


def _event(path: str, content: Any) -> tuple[bool, str, bool]:
    """Return of an event whether it is an error, what it says, and whether it is the last one."""
    if path == paths.RESPONSES:
        kind = content["type"]
        said = content["delta"] if kind == "response.output_text.delta" else ""
        return kind == "error", said, kind in {"response.completed", "response.incomplete"}
    if "error" in content:
        return True, "", True
    choices = content["choices"]
    if not choices:
        return False, "", False
    choice = choices[0]
    said = choice["delta"].get("content") if path == paths.CHAT else choice["text"]
    return False, said or "", False


def _payloads(body: bytes, *, cut: bool) -> Iterator[bytes]:
    """Yield the payloads of the events of a stream; the last one may be `cut` off."""
    blocks = body.split(b"\n\n")
    for block in blocks[:-1] if cut else blocks:
        lines = [line[6:] for line in block.split(b"\n") if line.startswith(b"data: ")]
        if lines:
            yield b"\n".join(lines)
