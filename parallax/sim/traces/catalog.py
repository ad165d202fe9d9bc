"""Traces by format, which is found out from the file where it is not given."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import islice
from pathlib import Path

from parallax.core.errors import InvalidInput
from parallax.core.model import check_int
from parallax.sim.timed import Timed
from parallax.sim.traces import azure, bailian, burstgpt, generic, mooncake, vtc

FORMATS: dict[str, Callable[[Path, str], Iterator[Timed]]] = {
    "azure": azure.read,
    "bailian": bailian.read,
    "burstgpt": burstgpt.read,
    "generic": generic.read,
    "mooncake": mooncake.read,
    "vtc": vtc.read,
}
#: Columns by which a format is known, the most telling first.
_SIGNS = (
    ("azure", {"TIMESTAMP", "ContextTokens", "GeneratedTokens"}),
    ("burstgpt", {"Timestamp", "Request tokens", "Response tokens"}),
    ("bailian", {"chat_id", "input_length", "output_length"}),
    ("mooncake", {"timestamp", "input_length", "output_length", "hash_ids"}),
    ("vtc", {"arrival_s", "client", "prompt_tokens", "output_tokens"}),
    ("generic", {"arrival_s", "prompt_tokens", "output_tokens"}),
)


def read(
    path: Path, form: str = "", limit: int | None = None, tenants: int = 1, prefix: str = ""
) -> Iterator[Timed]:
    """Yield the jobs of a trace, in order of time.

    `tenants` > 1 deals the jobs in turn to so many tenants, for traces that name none. Raises
    InvalidInput naming file, line and column.
    """
    check_int("tenants", tenants, 1, 10_000)
    form = form or sniffed(path)
    if form not in FORMATS:
        raise InvalidInput("format", form, f"known: {', '.join(sorted(FORMATS))}")
    jobs = islice(FORMATS[form](path, prefix or form), limit)
    if tenants == 1:
        return jobs
    return (
        (at_s, replace(job, tenant=f"tenant-{n % tenants}")) for n, (at_s, job) in enumerate(jobs)
    )


def sniffed(path: Path) -> str:
    """Return the format of a file, by the columns of its first line."""
    try:
        with path.open(encoding="utf-8-sig") as file:
            line = file.readline(1 << 20)
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput("trace", str(path), f"a readable file ({error})") from None
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
        except ValueError:
            return set()
    return {name.strip() for name in line.split(",")}
