"""`parallax submit PROMPT`: one question, and nothing but its answer on standard output."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

import click

from parallax.cli.answers import write_answer
from parallax.cli.main import EXIT_FAILED, EXIT_INTERRUPTED
from parallax.cli.output import say
from parallax.cli.silence import silence_explained
from parallax.cli.where import Where, speaking_for
from parallax.core.errors import BrokenAnswer, NotCompleted, ParallaxError, TimedOut
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.core.text import printable_lines
from parallax.producers.cli.durable import warn, word
from parallax.producers.cli.lines import detailed, said_by, told
from parallax.producers.client.chat import chunk_text
from parallax.producers.client.completion import Completion
from parallax.producers.client.interface import Jobs
from parallax.producers.client.stream import NO_TEXT, Stream
from parallax.services.orders import Interrupted


class Question(NamedTuple):
    """A request, its patience without news, and the form of its output."""

    job: Job
    body: bytes
    timeout_s: float
    as_json: bool


def ask(
    where: Where, speaker: str | None, question: Question, *, wait: bool, replicas: int = 0
) -> int:
    """Ask it and show the answer; return the exit code."""
    client = where.connect(replicas)
    try:
        door = speaking_for(speaker, client)
        if not wait:
            return _left(door, question)
        with silence_explained(where.places()):
            return (_streamed if question.job.stream else _whole)(door, question)
    finally:
        client.close()


def _left(door: Jobs, question: Question) -> int:
    """Submit it; its answer is kept."""
    confirmed = _accepted(door, question)
    told(question.job.id, "accepted", word(confirmed), question.as_json)
    return EXIT_FAILED if confirmed is False else 0


def _accepted(door: Jobs, question: Question) -> bool | None:
    """Submit it; return whether replicas hold it, None where nobody asked."""
    (receipt,) = door.submit([question.job], bodies={question.job.id: question.body})
    error = receipt.error()
    if error is not None:
        raise error
    if receipt.confirmed is False:
        warn(receipt.job_id)
    return receipt.confirmed


# -- as a whole


def _whole(door: Jobs, question: Question) -> int:
    job_id, as_json = question.job.id, question.as_json
    confirmed = _accepted(door, question)
    with _cancelled_by_ctrl_c(lambda: door.cancel(job_id), job_id):
        ended = next(door.wait([job_id], question.timeout_s), None)
    if ended is None:
        why = {"error": f"no news for {question.timeout_s:g} s"}
        told(job_id, "waiting", why, as_json, err=not as_json)
        return EXIT_FAILED
    if as_json:
        told(job_id, ended.outcome.value, detailed(ended) | word(confirmed), as_json)
    else:
        _show(ended)
    if ended.outcome is not Outcome.COMPLETED:
        return EXIT_FAILED
    if not ended.answer:
        say(f"parallax: job {job_id} has no answer: {NO_TEXT}, or another was told it", err=True)
        return EXIT_FAILED
    return EXIT_FAILED if confirmed is False else 0


def _show(ended: Completion) -> None:
    """Write the answer, as it is if it is no chat, and on standard error how the job ended."""
    if ended.answer:
        write_answer(ended.answer)
    _ended(ended)


def _ended(ended: Completion) -> None:
    """Say on standard error how the job ended; `get` and `--json` tell all of it."""
    details = said_by(ended.report)
    few = {name: details[name] for name in _FEW if name in details}
    told(ended.job_id, ended.outcome.value, few, as_json=False, err=True)


#: What interests somebody who asked one question.
_FEW = ("worker", "output_tokens", "ttft_s", "error", "reason", "retry_after_s")


# -- as it is made


def _streamed(door: Jobs, question: Question) -> int:
    page = _Page(silent=question.as_json)
    stream = door.stream(question.job, question.body, timeout_s=question.timeout_s)
    failure: ParallaxError | None = None
    try:
        with _cancelled_by_ctrl_c(lambda: stream.cancelled, stream.job_id), stream:
            for chunk in stream:
                page.write(chunk)
    except (BrokenAnswer, NotCompleted, TimedOut) as error:
        failure = error
    finally:
        page.end()
    if question.as_json:
        _as_line(stream, page.text, failure)
    elif failure is not None and not isinstance(failure, NotCompleted):
        say(f"parallax: {failure}", err=True)
    elif stream.completion is not None:
        _ended(stream.completion)
    return EXIT_FAILED if failure else 0


def _as_line(stream: Stream, text: str, failure: ParallaxError | None) -> None:
    ended, details = stream.completion, {"text": text}
    state = ended.outcome.value if ended else "cancelled" if stream.cancelled == "ok" else "waiting"
    if failure is not None:
        details["error"] = str(failure)
    told(stream.job_id, state, details | (said_by(ended.report) if ended else {}), as_json=True)


class _Page:
    """Shows text as it comes, each part at once; keeps it instead if it is to be `silent`."""

    def __init__(self, *, silent: bool) -> None:
        self._silent, self._parts, self._open = silent, list[str](), False

    @property
    def text(self) -> str:
        """All that came, if it was kept."""
        return "".join(self._parts)

    def write(self, chunk: bytes) -> None:
        """Show what a chunk says, or the chunk if it is of another form."""
        said = chunk_text(chunk)
        text = chunk.decode("utf-8", "replace") + "\n" if said is None else said
        if self._silent:
            self._parts.append(text)
        elif text:
            click.echo(printable_lines(text), nl=False)  # it flushes
            self._open = not text.endswith("\n")

    def end(self) -> None:
        """End the line that is open, if one is."""
        if self._open:
            click.echo()
            self._open = False


@contextmanager
def _cancelled_by_ctrl_c(cancel: Callable[[], str], job_id: str) -> Iterator[None]:
    """While the body runs: Ctrl-C cancels the job, says so on a line of its own, and ends."""
    try:
        yield
    except KeyboardInterrupt:
        try:
            answer = cancel()
        except ParallaxError:
            answer = "silent"
        click.echo(err=True)  # behind the ^C of the terminal
        say(f"parallax: job {job_id} {_SAID.get(answer, answer)}", err=True)
        raise Interrupted(EXIT_INTERRUPTED) from None


_SAID = {
    "ok": "is cancelled",
    "late": "had ended",
    "": "had ended",
    "unknown": "is not known any more",
    "silent": "may go on: Redis does not answer",
}
