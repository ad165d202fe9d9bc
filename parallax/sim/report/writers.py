"""Writing results as JSON and CSV, byte for byte the same for the same input."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite

from parallax.sim.outcome import JobOutcome
from parallax.sim.report.figures import is_good, slo_of

_JOB_COLUMNS = (
    "id", "tenant", "session", "outcome", "worker", "arm", "attempts", "hedged", "prompt_tokens",
    "cached_tokens", "output_tokens", "arrival_s", "dispatched_s", "first_token_s", "finished_s",
    "deadline_s", "ttft_s", "tpot_s", "e2e_s",
)  # fmt: skip


def json_text(document: object) -> str:
    """Return a document as JSON: sorted keys, nine digits, and null for NaN and infinity."""
    return json.dumps(_plain(document), indent=1, sort_keys=True, allow_nan=False) + "\n"


def jobs_csv(jobs: Iterable[JobOutcome], spec: Mapping[str, object]) -> str:
    """Return one line per job. `good` is 1 if it completed within objectives and deadline."""
    slo = slo_of(spec)
    return _csv(
        (*_JOB_COLUMNS, "good"),
        (
            (
                *(getattr(job, name) for name in _JOB_COLUMNS),
                job.outcome == "completed" and is_good(job, slo),
            )
            for job in jobs
        ),
    )


def runs_csv(runs: Sequence[Mapping[str, object]]) -> str:
    """Return one line per run; columns are all that any of them has, in order of appearance."""
    columns = list(dict.fromkeys(name for run in runs for name in run))
    return _csv(columns, ([run.get(name) for name in columns] for run in runs))


def stable(value: float) -> float | None:
    """Round to nine digits, so that no noise of the last bit shows; None if not finite."""
    return float(f"{value:.9g}") if isfinite(value) else None


def _plain(value: object) -> object:
    if isinstance(value, Mapping):
        return {str(key): _plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part) for part in value]
    return stable(value) if isinstance(value, float) else value


def _csv(head: Iterable[str], rows: Iterable[Iterable[object]]) -> str:
    buffer = io.StringIO(newline="")
    writer = csv.writer(buffer, lineterminator="\n")
    writer.writerow(head)
    for row in rows:
        writer.writerow(_cell(value) for value in row)
    return buffer.getvalue()


def _cell(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, bool):
        return int(value)
    if isinstance(value, float):
        rounded = stable(value)
        return "" if rounded is None else f"{rounded:.9g}"
    return value
