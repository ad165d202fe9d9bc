"""Formats the lines of `submit` for a job: words, or JSON."""

from __future__ import annotations

import json
from typing import Any

import click

from parallax.broker.store.codec import Report
from parallax.cli.answers import document
from parallax.cli.output import say
from parallax.producers.client.completion import Completion


def told(
    job_id: str, state: str, details: dict[str, Any], as_json: bool, *, err: bool = False
) -> None:
    """Say how a job is: on standard output, or on standard error."""
    if as_json:
        click.echo(json.dumps({"id": job_id, "state": state, **details}))
    else:
        text = " ".join(f"{name}={_short(value)}" for name, value in details.items())
        say(f"{job_id} {state} {text}".rstrip(), err=err)


def shown(completion: Completion) -> dict[str, Any]:
    """Return what people are told of an end: what its report says, and the text of the answer."""
    return _known(said_by(completion.report) | {"text": completion.text})


def detailed(completion: Completion) -> dict[str, Any]:
    """Return what programs are told of an end: that, and the answer as its engine gave it."""
    return shown(completion) | _known({"answer": document(completion.answer)})


def said_by(report: Report) -> dict[str, Any]:
    """Return what a report says to who submitted the job. Times are seconds.

    `wait_s` and `ttft_s` count from acceptance, `service_s` from the start of the attempt.
    """
    return _known(
        {
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
    )


def _known(details: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in details.items() if value not in (None, "")}


def _short(value: object) -> str:
    if isinstance(value, str) and not value.isalnum() and {" ", "=", '"'} & set(value):
        return json.dumps(value, ensure_ascii=False)  # else it could pass for more fields
    return f"{value:.4g}" if isinstance(value, float) else str(value)
