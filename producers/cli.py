"""`parallax submit | cancel | loadgen | replay`."""

from __future__ import annotations

import json
import os
import secrets
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import click

from parallax.cli.main import EXIT_FAILED
from parallax.cli.options import (
    found_url,
    policies_from,
    policy_arguments,
    policy_options,
    redis_options,
    server_url,
    start_logging,
)
from parallax.cli.output import show
from parallax.core.errors import InvalidInput, ParallaxError, StoreFull
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job, check_number
from parallax.services.clock import SystemClock
from parallax.services.system import Plan, System
from producers.client import Client, Completion
from producers.live import Live, parsed_crashes, report
from producers.submission import jobs_from_lines
from producers.traces import recorded
from producers.workload import Lengths, Workload, parsed_shares

F = TypeVar("F", bound=Callable[..., Any])
_BATCH = 500


# -- submit
# -----------------------------------------------------------------------------------------


@click.command()
@redis_options
@click.option("-f", "--file", type=click.File("r", encoding="utf-8"),
              help="Jobs as JSON lines ('-' for standard input).")  # fmt: skip
@click.option("--prompt-tokens", type=int, default=None, help="Length of the prompt, tokens.")
@click.option("--max-tokens", type=int, default=None, help="Longest answer, tokens.")
@click.option("--output-tokens", type=int, help="True length of the answer, if it is simulated.")
@click.option("--tenant", default="default", show_default=True, help="Who pays.")
@click.option("--session", default="", help="Conversation that this is a turn of.")
@click.option("--deadline", "deadline_s", type=float, help="Seconds after which it is useless.")
@click.option("--priority", type=int, default=0, show_default=True, help="Higher is sooner.")
@click.option("--id", "job_id", help="Id of the job [default: a random one]; the same id twice is "
              "the same job.")  # fmt: skip
@click.option("--wait/--detach", default=True, show_default=True, help="Wait for the end.")
@click.option("--timeout", "timeout_s", type=float, default=300.0, show_default=True,
              help="Seconds to wait without news.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="One JSON document per job.")
def submit(
    redis: str | None,
    cell: str,
    home: Path | None,
    file: Any,
    job_id: str | None,
    wait: bool,
    timeout_s: float,
    as_json: bool,
    **fields: Any,
) -> None:
    """Submit one job, or many from a file of JSON lines.

    Exits with 1 if a job was not accepted, or did not complete.
    """
    defaults = {name: value for name, value in fields.items() if value is not None}
    prefix = f"job-{secrets.token_hex(6)}"
    jobs: Iterator[Job]
    if file is not None:
        jobs = jobs_from_lines(file, defaults, prefix)
    else:
        jobs = iter([_single(job_id or prefix, defaults)])
    client = Client(server_url(redis, home), cell)
    try:
        accepted, refused = _submitted(client, jobs, as_json)
        failed = refused
        if wait and accepted:
            failed += _awaited(client, accepted, timeout_s, as_json)
    finally:
        client.close()
    sys.exit(EXIT_FAILED if failed else 0)


def _single(job_id: str, fields: dict[str, Any]) -> Job:
    for name in ("prompt_tokens", "max_tokens"):
        if name not in fields:
            raise InvalidInput(f"--{name.replace('_', '-')}", None, "it must be given")
    return Job(id=job_id, **fields)


def _submitted(client: Client, jobs: Iterator[Job], as_json: bool) -> tuple[list[str], int]:
    accepted: list[str] = []
    refused = 0
    while batch := list(islice(jobs, _BATCH)):
        try:
            receipts = client.submit(batch)
        except StoreFull as full:  # nothing of the batch was accepted; earlier ones may drain
            for job in batch:
                _told(job.id, "refused", {"error": str(full)}, as_json)
            refused += len(batch)
            continue
        for receipt in receipts:
            error = receipt.error()
            if error is None:
                accepted.append(receipt.job_id)
                if not as_json:
                    click.echo(f"{receipt.job_id} accepted")
            else:
                refused += 1
                _told(receipt.job_id, "refused", {"error": str(error)}, as_json)
    return accepted, refused


def _awaited(client: Client, accepted: list[str], timeout_s: float, as_json: bool) -> int:
    missing = set(accepted)
    failed = 0
    for completion in client.wait(accepted, timeout_s):
        missing.discard(completion.job_id)
        failed += completion.outcome is not Outcome.COMPLETED
        _told(completion.job_id, completion.outcome.value, _result(client, completion), as_json)
    for job_id in sorted(missing):
        _told(job_id, "waiting", {"error": f"no news for {timeout_s:g} s"}, as_json)
    return failed + len(missing)


def _result(client: Client, completion: Completion) -> dict[str, Any]:
    if completion.data:
        return asdict_of(completion.report)
    record = client.records([completion.job_id])[0]
    return asdict_of(record.report) if record else {}


def asdict_of(result: Any) -> dict[str, Any]:
    """Return a message's fields that say something."""
    import msgspec

    return {name: v for name, v in msgspec.structs.asdict(result).items() if v not in (None, "")}


def _told(job_id: str, state: str, details: dict[str, Any], as_json: bool) -> None:
    if as_json:
        click.echo(json.dumps({"id": job_id, "state": state, **details}))
    else:
        text = " ".join(f"{name}={_short(value)}" for name, value in details.items())
        click.echo(f"{job_id} {state} {text}".rstrip())


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


# -- cancel
# -----------------------------------------------------------------------------------------


@click.command()
@redis_options
@click.argument("job_ids", nargs=-1, required=True, metavar="JOB...")
@click.option("--json", "as_json", is_flag=True, help="One JSON document.")
def cancel(
    redis: str | None, cell: str, home: Path | None, job_ids: tuple[str, ...], as_json: bool
) -> None:
    """Cancel jobs, wherever they are. Exits with 1 if one had ended before or is not known."""
    client = Client(server_url(redis, home), cell)
    try:
        answers = {job_id: client.cancel(job_id) for job_id in job_ids}
    finally:
        client.close()
    said = {"ok": "cancelled", "late": "had ended before", "unknown": "is not known"}
    rows = [(job_id, said[word]) for job_id, word in answers.items()]
    show(answers, as_json=as_json, title="Cancelled", head=("job", "answer"), rows=rows)
    sys.exit(0 if set(answers.values()) == {"ok"} else EXIT_FAILED)


# -- live runs
# --------------------------------------------------------------------------------------


def live_options(command: F) -> F:
    """Add what `loadgen` and `replay` share: the system to run against, and what to do to it."""
    for option in (
        click.option("--json", "as_json", is_flag=True, help="One JSON document."),
        click.option("--verbose", is_flag=True, help="Show the logs of the processes."),
        click.option("--kill", "kills", multiple=True, metavar="WHO[@WHEN]",
                     help="Kill -9 a worker, the scheduler or the server, at so many jobs or %."),
        click.option("--durability", default="everysec", show_default=True,
                     help="everysec or always (of a system started here)."),
        click.option("--engine-speed", type=float, default=1.0, show_default=True,
                     help="Speed of the engines started here."),
        click.option("--profile", default="llama3-8b-a100", show_default=True,
                     help="Profile of the engines started here."),
        click.option("--engine", default="clock", show_default=True,
                     help="Engine of the workers started here."),
        click.option("--workers", type=int, help="Start a private system with so many workers "
                     "[default: use the one that runs; if none does, start 8]."),
    ):  # fmt: skip
        command = option(command)
    return command


@contextmanager
def _system(redis: str | None, cell: str, home: Path | None, options: dict[str, Any]
            ) -> Iterator[tuple[str, System | None]]:  # fmt: skip
    """Give the URL of the system to use: the one that runs, or a private one for this run."""
    workers = options.pop("workers")
    engine, profile = options.pop("engine"), options.pop("profile")
    speed, durability = options.pop("engine_speed"), options.pop("durability")
    verbose = options.pop("verbose")
    policies = policies_from(options)
    url = None if workers else found_url(redis, home)
    if url is not None:
        yield url, None
        return
    plan = Plan(
        workers=workers or 8,
        worker_arguments=("--engine", engine, "--profile", profile, "--speed", str(speed)),
        scheduler_arguments=policy_arguments(policies),
        durability=durability,
        cell=cell,
    )
    logs = None if verbose else Path(os.devnull)
    with System(plan, SystemClock(), url=redis, ephemeral=True, logs=logs) as system:
        yield system.url, system


@click.command()
@redis_options
@policy_options
@live_options
@click.option("--rate", type=float, default=20.0, show_default=True, help="Jobs per second in all.")
@click.option("--duration", "duration_s", type=float, default=30.0, show_default=True,
              help="Seconds of load.")  # fmt: skip
@click.option("--tenants", default="default", show_default=True, metavar="NAME[:SHARE],...",
              help="Who sends, and how much of the load.")  # fmt: skip
@click.option("--weights", default="", metavar="NAME:WEIGHT,...", help="What tenants are due.")
@click.option("--prompt-tokens", type=float, default=256.0, show_default=True, help="Mean length.")
@click.option("--output-tokens", type=float, default=64.0, show_default=True, help="Mean length.")
@click.option("--length-cv", type=float, default=1.0, show_default=True,
              help="Standard deviation of lengths over their mean.")  # fmt: skip
@click.option("--arrival-cv", type=float, default=1.0, show_default=True,
              help="Variation of the gaps: 1 is Poisson, above come bursts.")  # fmt: skip
@click.option("--sessions", type=int, default=0, show_default=True, help="Sessions per tenant.")
@click.option("--deadline", "deadline_s", type=float, help="Seconds until a job is useless.")
@click.option("--seed", type=int, default=0, show_default=True, help="Seed of the load.")
def loadgen(
    redis: str | None,
    cell: str,
    home: Path | None,
    rate: float,
    duration_s: float,
    tenants: str,
    weights: str,
    prompt_tokens: float,
    output_tokens: float,
    length_cv: float,
    arrival_cv: float,
    sessions: int,
    deadline_s: float | None,
    seed: int,
    kills: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Offer an open-loop load: jobs come at their times, whether or not earlier ones are done."""
    check_number("--duration", duration_s, 0.01, 86_400.0)
    workload = Workload(
        rate,
        parsed_shares(tenants),
        Lengths(prompt_tokens, length_cv),
        Lengths(output_tokens, length_cv, most=1_024),
        arrival_cv,
        sessions,
        deadline_s,
        f"load-{secrets.token_hex(3)}",
        seed,
    )
    crashes = parsed_crashes(kills, int(rate * duration_s))
    due = parsed_shares(weights) if weights else {}
    start_logging()
    with _system(redis, cell, home, options) as (url, system):
        live = Live(url, cell, SystemClock(), system, crashes, due)
        run = live.run(workload.jobs(duration_s=duration_s))
        kept = report(run, live, as_json, (0.2 * duration_s, run.offered_s))
    sys.exit(0 if kept else EXIT_FAILED)


@click.command()
@redis_options
@policy_options
@live_options
@click.argument("file", type=click.Path(path_type=Path, dir_okay=False))
@click.option("--speed", type=float, default=1.0, show_default=True,
              help="How many times faster than recorded the jobs come.")  # fmt: skip
@click.option("--limit", type=int, help="Only the first so many jobs.")
@click.option("--tenants", default="", metavar="NAME[:WEIGHT],...",
              help="Tenants that the jobs are dealt to, in turn "
              "[default: the trace's own].")  # fmt: skip
@click.option("--format", "form", default="", metavar="NAME",
              help="Format of the trace [default: found out].")  # fmt: skip
def replay(
    redis: str | None,
    cell: str,
    home: Path | None,
    file: Path,
    speed: float,
    limit: int | None,
    tenants: str,
    form: str,
    kills: tuple[str, ...],
    as_json: bool,
    **options: Any,
) -> None:
    """Replay a recorded trace in real time, in any format that `parallax trace` knows.

    Without --redis and with no system running, a private one is started for as long as the replay.
    """
    if not 0.001 <= speed <= 100_000:
        raise InvalidInput("--speed", speed, "a number from 0.001 to 100000")
    weights = parsed_shares(tenants) if tenants else {}
    load = recorded(file, limit, tuple(weights), f"replay-{secrets.token_hex(3)}", form)
    total = sum(1 for _ in recorded(file, limit, form=form)) if kills else 0
    crashes = parsed_crashes(kills, total)
    start_logging()
    with _system(redis, cell, home, options) as (url, system):
        live = Live(url, cell, SystemClock(), system, crashes, weights)
        run = live.run(load, speed)
        kept = report(run, live, as_json, None)
    if not run.samples:
        raise ParallaxError(f"{file} has no jobs")
    sys.exit(0 if kept else EXIT_FAILED)
