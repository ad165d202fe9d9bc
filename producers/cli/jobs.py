"""`parallax submit | cancel`."""

from __future__ import annotations

import secrets
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any, cast

import click
from click.core import ParameterSource

from parallax.broker.store.intake import Receipt
from parallax.cli.documents import Cancelled
from parallax.cli.main import EXIT_FAILED
from parallax.cli.models import check_served
from parallax.cli.output import show
from parallax.cli.silence import silence_explained
from parallax.cli.where import Where, as_option, cells_options, speaking_for
from parallax.core.errors import InvalidInput, ParallaxError, StoreFull, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.cli.asking import Question, ask
from parallax.producers.cli.durable import durability_options, warn, word
from parallax.producers.cli.lines import detailed, shown, told
from parallax.producers.client.chat import USUAL_MAX_TOKENS, chat
from parallax.producers.client.interface import Jobs
from parallax.producers.client.submission import checked_jobs

#: Most jobs of a file that are offered at once, and about so many bytes of their bodies.
_BATCH, _BATCH_BYTES = 500, 4 << 20


@click.command()
@cells_options
@as_option
@durability_options
@click.argument("prompt", required=False)
@click.option("--stream", is_flag=True, help="Show the answer as it is made.")
@click.option("-f", "--file", type=click.File("r", encoding="utf-8-sig"),
              help="Jobs as JSON lines ('-' for standard input).")  # fmt: skip
@click.option("--prompt-tokens", type=int, default=None,
              help="Length of the prompt, tokens [default: estimated from PROMPT].")  # fmt: skip
@click.option("--max-tokens", type=int, default=None, help="Longest answer, tokens [default: "
              f"{USUAL_MAX_TOKENS}, with a PROMPT].")  # fmt: skip
@click.option("--output-tokens", type=int, help="True length of the answer, if it is simulated.")
@click.option("-m", "--model", default="", help="Model to ask [default: any]. Only workers that "
              "serve it are given the job.")  # fmt: skip
@click.option("--unserved", is_flag=True, help="Submit it though no worker serves the model yet.")
@click.option("--tenant", default="default", show_default=True, help="Who pays.")
@click.option("--session", default="", help="Conversation that this is a turn of.")
@click.option("--deadline", "deadline_s", type=float, help="Seconds after which it is useless.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is sooner.")
@click.option("--id", "job_id", help="Id of the job [default: a random one]; the same id twice is "
              "the same job. Jobs of a file are ID-1, ID-2, ... by their lines.")  # fmt: skip
@click.option("--wait/--detach", default=True, show_default=True, help="Wait for the end, or keep "
              "the answer for `parallax get JOB --answer`.")  # fmt: skip
@click.option("--timeout", "timeout_s", type=float, default=300.0, show_default=True,
              help="Seconds to wait without news.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each job.")
def submit(
    where: Where,
    speaker: str | None,
    prompt: str | None,
    stream: bool,
    unserved: bool,
    file: Any,
    job_id: str | None,
    wait: bool,
    timeout_s: float,
    as_json: bool,
    replicas: int,
    **fields: Any,
) -> None:
    """Ask a PROMPT; or submit one job of the lengths given, or many from a file of JSON lines.

    The answer to a PROMPT is all that is written to standard output. Ctrl-C cancels it; jobs
    without a PROMPT go on.

    A file is read to its end and checked before any of its jobs is sent: with a bad line none is.
    Its lines may ask something, too: `prompt`, a text, or `body`, a chat request.

    Exits with 1 if a job was not accepted, did not complete, or is unconfirmed (--durability); with
    4 if no cell that was asked answered. A job is told to be `unknown` if its cell alone did not:
    submit the same id again.
    """
    _check_together(prompt, file, stream=stream, wait=wait)
    if fields["model"] and not unserved:
        check_served(fields["model"], where.places())
    defaults = {name: value for name, value in fields.items() if value is not None}
    named = click.get_current_context().get_parameter_source("tenant")
    if speaker is not None and named is ParameterSource.DEFAULT:
        defaults["tenant"] = speaker
    prefix = f"job-{secrets.token_hex(6)}"
    if prompt is not None:
        defaults |= {"id": job_id or prefix, "keep": not wait}
        question = Question(*chat(prompt, stream=stream, **defaults), timeout_s, as_json)
        if stream and replicas:
            raise InvalidInput("--stream", "--durability replicated", "either of them")
        sys.exit(ask(where, speaker, question, wait=wait, replicas=replicas))
    jobs: Iterator[tuple[Job, bytes]]
    if file is not None:
        jobs = checked_jobs(file, defaults, job_id or prefix)
    else:
        jobs = iter([(_single(job_id or prefix, defaults), b"")])
    client = where.connect(replicas)
    try:
        door = speaking_for(speaker, client)
        accepted, refused = _submitted(door, jobs, as_json, wait)
        if not accepted and not refused:
            raise InvalidInput("--file", getattr(file, "name", None), "at least one job in it")
        failed = refused + sum(kept is False for kept in accepted.values())
        if wait and accepted:
            with silence_explained(where.places()):
                failed += _awaited(door, accepted, timeout_s, as_json)
    finally:
        client.close()
    sys.exit(EXIT_FAILED if failed else 0)


def _check_together(prompt: str | None, file: Any, *, stream: bool, wait: bool) -> None:
    if prompt is not None and file is not None:
        raise InvalidInput("PROMPT", prompt[:60], "either a PROMPT or --file")
    if stream and prompt is None:
        raise InvalidInput("--stream", "without a PROMPT", 'for example: "Say hello" --stream')
    if stream and not wait:
        raise InvalidInput("--stream", "--detach", "either --stream or --detach")


def _single(job_id: str, fields: dict[str, Any]) -> Job:
    for name in ("prompt_tokens", "max_tokens"):
        if name not in fields:
            told = 'it must be given, if no PROMPT is: parallax submit "Say hello"'
            raise InvalidInput(f"--{name.replace('_', '-')}", None, told)
    return Job(id=job_id, **fields)


def _submitted(
    client: Jobs, jobs: Iterable[tuple[Job, bytes]], as_json: bool, wait: bool
) -> tuple[dict[str, bool | None], int]:
    """Return the jobs that were accepted, each with whether replicas hold it, and the others."""
    accepted: dict[str, bool | None] = {}
    refused = 0
    silent: list[Unreachable] = []
    later = as_json and wait  # the line of its end is an accepted job's only one
    try:
        for batch, bodies in _batches(jobs, keep=not wait):
            for receipt in _receipts(client, batch, bodies, bool(accepted)):
                error = receipt.error()
                if error is None:
                    accepted[receipt.job_id] = receipt.confirmed
                    if not later:
                        told(receipt.job_id, "accepted", word(receipt.confirmed), as_json)
                    if receipt.confirmed is False:
                        warn(receipt.job_id)
                    continue
                refused += 1
                state = "refused"
                if isinstance(error, Unreachable):
                    state = "unknown"
                    silent.append(error)
                told(receipt.job_id, state, {"error": str(error)}, as_json)
    except BaseException:
        for job_id, kept in accepted.items() if later else ():
            told(job_id, "accepted", word(kept), as_json)
        raise
    if silent and len(silent) == refused and not accepted:
        raise silent[0]  # nothing was reachable
    return accepted, refused


def _batches(
    jobs: Iterable[tuple[Job, bytes]], *, keep: bool
) -> Iterator[tuple[list[Job], dict[str, bytes]]]:
    """Yield jobs with the bodies they have; answers that nobody waits for are kept (`keep`)."""
    batch, bodies, held = list[Job](), dict[str, bytes](), 0
    for job, body in jobs:
        if len(batch) >= _BATCH or held + len(body) > _BATCH_BYTES:
            yield batch, bodies
            batch, bodies, held = [], {}, 0
        batch.append(replace(job, keep=True) if keep and body else job)
        if body:
            bodies[job.id] = body
        held += len(body)
    if batch:
        yield batch, bodies


def _receipts(
    client: Jobs, batch: list[Job], bodies: Mapping[str, bytes], told: bool
) -> list[Receipt]:
    """Offer a batch; if jobs were accepted before, all of it has receipts, whatever went wrong."""
    try:
        return client.submit(batch, bodies=bodies or None)
    except ParallaxError as error:
        if not told and not isinstance(error, StoreFull):
            raise
        return [Receipt.failed(job.id, error) for job in batch]


def _awaited(
    client: Jobs, accepted: Mapping[str, bool | None], timeout_s: float, as_json: bool
) -> int:
    """Tell how jobs end; return how many did not complete.

    Every accepted job is told of, even if waiting is interrupted or fails: it goes on without us.
    """
    missing = set(accepted)
    failed, why = 0, "it is no longer waited for"
    try:
        for completion in client.wait(list(accepted), timeout_s):
            missing.discard(completion.job_id)
            failed += completion.outcome is not Outcome.COMPLETED
            details = detailed(completion) if as_json else shown(completion)
            details |= word(accepted[completion.job_id])
            told(completion.job_id, completion.outcome.value, details, as_json)
        why = f"no news for {timeout_s:g} s"
    finally:
        for job_id in sorted(missing):
            told(job_id, "waiting", {"error": why}, as_json)
    return failed + len(missing)


# -- cancel
# -----------------------------------------------------------------------------------------


@click.command()
@cells_options
@as_option
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def cancel(where: Where, speaker: str | None, job_ids: tuple[str, ...], as_json: bool) -> None:
    """Cancel jobs, wherever they are. Exits with 1 if one had ended before or is not known."""
    client = where.connect()
    answers: dict[str, str] = {}
    silent: list[Unreachable] = []
    try:
        for job_id in job_ids:
            try:
                answers[job_id] = speaking_for(speaker, client).cancel(job_id)
            except Unreachable as error:  # of several cells another may know the next job
                answers[job_id] = "silent"
                silent.append(error)
    finally:
        client.close()
    if len(silent) == len(answers):
        raise silent[0]
    rows = [(job_id, _SAID[word]) for job_id, word in answers.items()]
    found = [Cancelled(job_id, cast("Any", word)) for job_id, word in answers.items()]
    show(found, as_json=as_json, title="Cancelled", head=("job", "answer"), rows=rows)
    sys.exit(0 if set(answers.values()) == {"ok"} else EXIT_FAILED)


_SAID = {
    "ok": "cancelled", "late": "had ended before", "unknown": "is not known",
    "silent": "may be in a cell that does not answer",
}  # fmt: skip
