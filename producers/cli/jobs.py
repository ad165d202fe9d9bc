"""`parallax submit | cancel`."""

from __future__ import annotations

import json
import secrets
import sys
from collections.abc import Iterator
from itertools import islice
from typing import Any, cast

import click
from click.core import ParameterSource

from parallax.broker.store.codec import Report
from parallax.broker.store.intake import Receipt
from parallax.cli.documents import Cancelled
from parallax.cli.main import EXIT_FAILED
from parallax.cli.output import say, show
from parallax.cli.silence import silence_explained
from parallax.cli.where import Where, as_option, cells_options, speaking_for
from parallax.core.errors import InvalidInput, ParallaxError, StoreFull, Unreachable
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from parallax.producers.client.interface import Jobs
from parallax.producers.client.submission import checked_jobs

_BATCH = 500


@click.command()
@cells_options
@as_option
@click.option("-f", "--file", type=click.File("r", encoding="utf-8-sig"),
              help="Jobs as JSON lines ('-' for standard input).")  # fmt: skip
@click.option("--prompt-tokens", type=int, default=None, help="Length of the prompt, tokens.")
@click.option("--max-tokens", type=int, default=None, help="Longest answer, tokens.")
@click.option("--output-tokens", type=int, help="True length of the answer, if it is simulated.")
@click.option("--tenant", default="default", show_default=True, help="Who pays.")
@click.option("--session", default="", help="Conversation that this is a turn of.")
@click.option("--deadline", "deadline_s", type=float, help="Seconds after which it is useless.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is sooner.")
@click.option("--id", "job_id", help="Id of the job [default: a random one]; the same id twice is "
              "the same job. Jobs of a file are ID-1, ID-2, ... by their lines.")  # fmt: skip
@click.option("--wait/--detach", default=True, show_default=True, help="Wait for the end.")
@click.option("--timeout", "timeout_s", type=float, default=300.0, show_default=True,
              help="Seconds to wait without news.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="A line of JSON for each job.")
def submit(
    where: Where,
    speaker: str | None,
    file: Any,
    job_id: str | None,
    wait: bool,
    timeout_s: float,
    as_json: bool,
    **fields: Any,
) -> None:
    """Submit one job, or many from a file of JSON lines.

    A file is read to its end and checked before any of its jobs is sent: with a bad line none is.

    Exits with 1 if a job was not accepted, or did not complete; with 4 if no cell that was asked
    answered. A job is told to be `unknown` if its cell alone did not: submit the same id again.
    """
    defaults = {name: value for name, value in fields.items() if value is not None}
    named = click.get_current_context().get_parameter_source("tenant")
    if speaker is not None and named is ParameterSource.DEFAULT:
        defaults["tenant"] = speaker
    prefix = f"job-{secrets.token_hex(6)}"
    jobs: Iterator[Job]
    if file is not None:
        jobs = checked_jobs(file, defaults, job_id or prefix)
    else:
        jobs = iter([_single(job_id or prefix, defaults)])
    client = where.connect()
    try:
        door = speaking_for(speaker, client)
        accepted, refused = _submitted(door, jobs, as_json, wait)
        if not accepted and not refused:
            raise InvalidInput("--file", getattr(file, "name", None), "at least one job in it")
        failed = refused
        if wait and accepted:
            with silence_explained(where.places()):
                failed += _awaited(door, accepted, timeout_s, as_json)
    finally:
        client.close()
    sys.exit(EXIT_FAILED if failed else 0)


def _single(job_id: str, fields: dict[str, Any]) -> Job:
    for name in ("prompt_tokens", "max_tokens"):
        if name not in fields:
            raise InvalidInput(f"--{name.replace('_', '-')}", None, "it must be given")
    return Job(id=job_id, **fields)


def _submitted(
    client: Jobs, jobs: Iterator[Job], as_json: bool, wait: bool
) -> tuple[list[str], int]:
    accepted: list[str] = []
    refused = 0
    silent: list[Unreachable] = []
    later = as_json and wait  # the line of its end is an accepted job's only one
    try:
        while batch := list(islice(jobs, _BATCH)):
            for receipt in _receipts(client, batch, bool(accepted)):
                error = receipt.error()
                if error is None:
                    accepted.append(receipt.job_id)
                    if not later:
                        _told(receipt.job_id, "accepted", {}, as_json)
                    continue
                refused += 1
                state = "refused"
                if isinstance(error, Unreachable):
                    state = "unknown"
                    silent.append(error)
                _told(receipt.job_id, state, {"error": str(error)}, as_json)
    except BaseException:
        for job_id in accepted if later else ():
            _told(job_id, "accepted", {}, as_json)
        raise
    if silent and len(silent) == refused and not accepted:
        raise silent[0]  # nothing was reachable
    return accepted, refused


def _receipts(client: Jobs, batch: list[Job], told: bool) -> list[Receipt]:
    """Offer a batch; if jobs were accepted before, all of it has receipts, whatever went wrong."""
    try:
        return client.submit(batch)
    except ParallaxError as error:
        if not told and not isinstance(error, StoreFull):
            raise
        return [Receipt.failed(job.id, error) for job in batch]


def _awaited(client: Jobs, accepted: list[str], timeout_s: float, as_json: bool) -> int:
    """Tell how jobs end; return how many did not complete.

    Every accepted job is told of, even if waiting is interrupted or fails: it goes on without us.
    """
    missing = set(accepted)
    failed, why = 0, "it is no longer waited for"
    try:
        for completion in client.wait(accepted, timeout_s):
            missing.discard(completion.job_id)
            failed += completion.outcome is not Outcome.COMPLETED
            _told(completion.job_id, completion.outcome.value, shown(completion.report), as_json)
        why = f"no news for {timeout_s:g} s"
    finally:
        for job_id in sorted(missing):
            _told(job_id, "waiting", {"error": why}, as_json)
    return failed + len(missing)


def shown(report: Report) -> dict[str, Any]:
    """Return what a report says to who submitted the job. Times are seconds.

    `wait_s` and `ttft_s` count from acceptance, `service_s` from the start of the attempt.
    """
    said: dict[str, Any] = {
        "tenant": report.tenant,
        "worker": report.worker,
        "attempt": report.attempt,
        "estimate": report.estimate,
        "prompt_tokens": report.prompt_tokens,
        "output_tokens": report.output_tokens,
        "cached_tokens": report.cached_tokens,
        "wait_s": report.wait_s,
        "ttft_s": report.ttft_s,
        "service_s": report.service_s,
        "error": report.error,
        "reason": report.reason,
        "retry_after_s": report.retry_after_s,
    }
    return {name: value for name, value in said.items() if value not in (None, "")}


def _told(job_id: str, state: str, details: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": job_id, "state": state, **details}))
    else:
        text = " ".join(f"{name}={_short(value)}" for name, value in details.items())
        say(f"{job_id} {state} {text}".rstrip())


def _short(value: object) -> str:
    if isinstance(value, str) and not value.isalnum() and {" ", "=", '"'} & set(value):
        return json.dumps(value, ensure_ascii=False)  # else it could pass for more fields
    return f"{value:.4g}" if isinstance(value, float) else str(value)


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
