"""The project's own format, CSV or JSON lines, for loads that no other format fits.

Columns: arrival_s, prompt_tokens, output_tokens; and if wanted tenant, session, max_tokens,
deadline_s, priority, model. JSON lines may have prefix (hashes of whole blocks) and prefix_block
too.
Times count from the first row, as in every format; any other named column is refused.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, Job
from parallax.sim.files import written
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, Row, csv_rows, first_line, json_rows

COLUMNS = ("arrival_s", "prompt_tokens", "output_tokens")
OPTIONAL = ("tenant", "session", "max_tokens", "deadline_s", "priority", "model")
KNOWN = (*COLUMNS, *OPTIONAL)
KNOWN_JSON = (*KNOWN, "prefix", "prefix_block")
BLOCK = 16  # tokens, where `prefix_block` is not given


@FORMATS.register("generic", COLUMNS)
def read(path: Path, prefix: str = "job", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column.

    `most` is what jobs without `max_tokens` promise.
    """
    clock = Clock(slack_s=0.0)
    is_json = first_line(path)[1].lstrip().startswith("{")
    rows = json_rows(path, KNOWN_JSON) if is_json else csv_rows(path, COLUMNS, KNOWN)
    for n, row in enumerate(rows):
        at_s = clock.since(row, "arrival_s", row.number("arrival_s"))
        yield at_s, _job(f"{prefix}-{n}", row, most)


def _job(name: str, row: Row, most: int) -> Job:
    longest = row.tokens("max_tokens") if row.given("max_tokens") else most
    prompt, output = row.tokens("prompt_tokens"), row.tokens("output_tokens")
    block = row.tokens("prefix_block") if row.given("prefix_block") else BLOCK
    deadline = row.number("deadline_s") if row.given("deadline_s") else None
    tenant, session = row.text("tenant", "default"), row.text("session", "")
    priority = row.whole("priority") if row.given("priority") else 0
    hashes = row.hashes("prefix", MAX_TOKENS)
    try:
        return Job(
            name, tenant, prompt, longest, session=session, output_tokens=output,
            deadline_s=deadline, priority=priority, prefix=hashes, prefix_block=block,
            model=row.text("model", ""),
        )  # fmt: skip
    except InvalidInput as error:
        raise row.fault(error.field, error.value, error.allowed) from None


def lines(jobs: Iterable[Timed]) -> Iterator[str]:
    """Yield a line of JSON for each job; what is at its default is left out."""
    for at_s, job in jobs:
        if job.output_tokens is None:
            raise InvalidInput(f"output_tokens of {job.id}", None, "a trace says how long it is")
        fields: dict[str, object] = {
            "arrival_s": round(at_s, 6),
            "tenant": job.tenant,
            "prompt_tokens": job.prompt_tokens,
            "output_tokens": job.output_tokens,
            "max_tokens": job.max_tokens,
        }
        if job.session:
            fields["session"] = job.session
        if job.deadline_s is not None:
            fields["deadline_s"] = job.deadline_s
        if job.priority:
            fields["priority"] = job.priority
        if job.model:
            fields["model"] = job.model
        if job.prefix:
            fields["prefix"] = list(job.prefix)
        if job.prefix_block != BLOCK:
            fields["prefix_block"] = job.prefix_block
        yield json.dumps(fields)


def write(path: Path, jobs: Iterable[Timed]) -> int:
    """Write jobs as JSON lines, all or nothing; return how many. No jobs are not a trace.

    Devices and pipes are written to as the jobs come.
    """
    count = 0
    try:
        with written(path) as file:
            for line in lines(jobs):
                file.write(f"{line}\n")
                count += 1
            if not count:
                raise InvalidInput("trace", str(path), "jobs to write: there are none")
    except OSError as error:
        raise InvalidInput("output", str(path), f"a file that can be written ({error})") from None
    return count
