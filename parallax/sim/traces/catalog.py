"""Traces by format, which is found out from the file where it is not given."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from zlib import crc32

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, check_int
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS, Format
from parallax.sim.traces.rows import LONGEST, columns_of, first_line


def read(
    path: Path, form: str = "", limit: int | None = None, tenants: int = 1, prefix: str = ""
) -> Iterator[Timed]:
    """Return the jobs of a trace, in order of time; raises InvalidInput naming file, line, column.

    `tenants` > 1 deals them to so many tenants. The file is read twice: the first time for the
    longest answer, which all jobs promise alike, and for what is wrong with it. A file without
    jobs is wrong, too.
    """
    check_int("tenants", tenants, 1, 10_000)
    if limit is not None:
        check_int("limit", limit, 0, 10**9)
    form = form or sniffed(path)
    reader, prefix = FORMATS[form].read, prefix or form
    lengths = (job.output_tokens or 0 for _, job in islice(reader(path, prefix, MAX_TOKENS), limit))
    longest = max(lengths, default=None)
    if longest is None and limit != 0:
        raise InvalidInput(str(path), form, "at least one job: this file has none")
    jobs = islice(reader(path, prefix, promised(longest or 0)), limit)
    return dealt(jobs, [f"tenant-{n}" for n in range(tenants)]) if tenants > 1 else jobs


def promised(longest: int) -> int:
    """Return what jobs say of their length when none is longer: it tells none of them from others.

    >>> promised(977), promised(4_097)
    (4096, 8192)
    """
    most = LONGEST
    while most < longest:
        most *= 2
    return min(most, MAX_TOKENS)


def dealt(jobs: Iterable[Timed], tenants: Sequence[str]) -> Iterator[Timed]:
    """Deal jobs to tenants in turn; a session stays with one of them."""
    for n, (at_s, job) in enumerate(jobs):
        number = crc32(job.session.encode()) if job.session else n
        yield at_s, replace(job, tenant=tenants[number % len(tenants)])


def sniffed(path: Path) -> str:
    """Return the format of a file, by the columns of its first line."""
    number, line = first_line(path)
    columns, formats = _columns(line), FORMATS.by_columns()
    for one in formats:
        if columns.issuperset(one.columns):
            return one.name
    where = f"{path}, line {number}"
    if line.lstrip().startswith("["):
        allowed = "one JSON object a line, not a list of them (`jq -c '.[]'` parts it)"
        raise InvalidInput(where, line.strip(), allowed)
    near = max(formats, key=lambda one: _shared(one, columns))
    missing = [column for column in near.columns if column not in columns]
    if len(missing) <= len(near.columns) / 2:
        allowed = f"it must be there, as in the format {near.name}: {', '.join(near.columns)}"
        raise InvalidInput(f"{where}, column {missing[0]}", None, allowed)
    known = "; ".join(f"{name}: {', '.join(FORMATS[name].columns)}" for name in FORMATS)
    raise UnknownFormat(where, line.strip(), f"the columns of a format: {known}")


def _shared(form: Format, columns: set[str]) -> float:
    """Return the share of a format's columns that a file has."""
    return len(columns.intersection(form.columns)) / len(form.columns)


class UnknownFormat(InvalidInput):
    """A file has the columns of no format; lists those of each."""

    most = 2_000


def _columns(line: str) -> set[str]:
    if line.lstrip().startswith("{"):
        try:
            return set(json.loads(line))
        except (ValueError, RecursionError):
            return set()
    try:
        return set(columns_of(line))
    except csv.Error:
        return set()
