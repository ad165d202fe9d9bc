"""Alibaba's Qwen Bailian usage traces: JSON lines with conversations and hashes of 16-token blocks.

Fields: chat_id, parent_chat_id (-1 for a first turn), timestamp (s), input_length, output_length,
type, turn, hash_ids. A conversation is a chain of parents; its first chat names the session.
Source: github.com/alibaba-edu/qwen-bailian-usagetraces-anon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import MAX_HASH, MAX_PREFIX, Job
from parallax.sim.timed import Timed
from parallax.sim.traces.rows import LONGEST, json_rows

BLOCK = 16
#: Chats whose session is remembered; the oldest are forgotten, and a late turn starts afresh.
REMEMBERED = 1_000_000


def read(path: Path, prefix: str = "bailian") -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    start: float | None = None
    sessions: OrderedDict[str, str] = OrderedDict()
    for n, row in enumerate(json_rows(path)):
        at_s = row.number("timestamp")
        start = at_s if start is None else start
        chat, parent = row.text("chat_id"), row.text("parent_chat_id", "-1")
        session = sessions.get(parent, f"s{chat}")
        sessions[chat] = session
        if len(sessions) > REMEMBERED:
            sessions.popitem(last=False)
        prompt, output = row.tokens("input_length"), row.tokens("output_length")
        names = row.numbers("hash_ids")[: min(prompt // BLOCK, MAX_PREFIX)]
        if any(not 0 <= name <= MAX_HASH for name in names):
            raise row.fault("hash_ids", names[:3], f"whole numbers from 0 to {MAX_HASH}")
        job = Job(
            f"{prefix}-{n}", "bailian", prompt, max(LONGEST, output), session=session,
            output_tokens=output, prefix=tuple(names), prefix_block=BLOCK,
        )  # fmt: skip
        yield max(0.0, at_s - start), job
