"""Traces by format, which is found out from the file where it is not given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from zlib import crc32

from parallax.core.errors import InvalidInput
from parallax.core.model import MAX_TOKENS, check_int
from parallax.sim.timed import Timed
from parallax.sim.traces import azure, bailian, burstgpt, generic, mooncake, vtc
from parallax.sim.traces.rows import LONGEST, first_line

#: Format -> its reader, called with the file, the start of the ids, and the longest answer.
FORMATS: dict[str, Callable[[Path, str, int], Iterator[Timed]]] = {
    "azure": azure.read,
    "bailian": bailian.read,
    "burstgpt": burstgpt.read,
    "generic": generic.read,
    "mooncake": mooncake.read,
    "vtc": vtc.read,
}
#: Columns by which a format is known, the most telling first.
_SIGNS: tuple[tuple[str, set[str]], ...] = (
    ("azure", set(azure.COLUMNS)),
    ("burstgpt", set(burstgpt.COLUMNS)),
    ("bailian", {"chat_id", "input_length", "output_length"}),
    ("mooncake", {"timestamp", "input_length", "output_length"}),
    ("vtc", set(vtc.COLUMNS)),
    ("generic", set(generic.COLUMNS)),
)


def read(
    path: Path, form: str = "", limit: int | None = None, tenants: int = 1, prefix: str = ""
) -> Iterator[Timed]:
    """Return the jobs of a trace, in order of time; raises InvalidInput naming file, line, column.

    `tenants` > 1 deals them to so many tenants. The file is read twice: the first time for the
    longest answer, which all jobs promise alike, and for what is wrong with it.
    """
    check_int("tenants", tenants, 1, 10_000)
    if limit is not None:
        check_int("limit", limit, 0, 10**9)
    form = form or sniffed(path)
    if form not in FORMATS:
        raise InvalidInput("format", form, f"known: {', '.join(sorted(FORMATS))}")
    reader, prefix = FORMATS[form], prefix or form
    lengths = (job.output_tokens or 0 for _, job in islice(reader(path, prefix, MAX_TOKENS), limit))
    jobs = islice(reader(path, prefix, promised(max(lengths, default=0))), limit)
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
    line = first_line(path)
    columns = _columns(line)
    for name, signs in _SIGNS:
        if signs <= columns:
            return name
    allowed = f"columns of one of the formats {', '.join(sorted(FORMATS))}"
    raise InvalidInput(f"{path}, line 1", line.strip()[:80], allowed)


def _columns(line: str) -> set[str]:
    if line.lstrip().startswith("{"):
        try:
            return set(json.loads(line))
        except (ValueError, RecursionError):
            return set()
    return {name.strip().strip('"') for name in line.split(",")}
