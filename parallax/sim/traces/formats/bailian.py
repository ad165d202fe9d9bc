"""Alibaba's Qwen Bailian usage traces: JSON lines with conversations and hashes of 16-token blocks.

Fields: chat_id, parent_chat_id (-1 for a first turn), timestamp (s), input_length, output_length,
type, turn, hash_ids. A conversation is a chain of parents; its first chat names the session.
Source: github.com/alibaba-edu/qwen-bailian-usagetraces-anon.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path

from parallax.core.model import Job
from parallax.sim.timed import Timed
from parallax.sim.traces.registry import FORMATS
from parallax.sim.traces.rows import LONGEST, Clock, json_rows, named

COLUMNS = ("chat_id", "timestamp", "input_length", "output_length")
BLOCK = 16
#: Chats whose session is remembered; the oldest are forgotten, and a late turn starts afresh.
REMEMBERED = 1_000_000


@FORMATS.register("bailian", COLUMNS)
def read(path: Path, prefix: str = "bailian", most: int = LONGEST) -> Iterator[Timed]:
    """Yield the jobs of a file; raises InvalidInput naming file, line and column."""
    clock = Clock()
    sessions: OrderedDict[str, str] = OrderedDict()
    for n, row in enumerate(json_rows(path)):
        chat, parent = row.text("chat_id"), row.text("parent_chat_id", "-1")
        session = sessions.get(parent) or named(f"s{chat}")
        sessions[chat] = session
        if len(sessions) > REMEMBERED:
            sessions.popitem(last=False)
        prompt = row.tokens("input_length")
        job = Job(
            f"{prefix}-{n}", "bailian", prompt, most, session=session,
            output_tokens=row.tokens("output_length", most),
            prefix=row.hashes("hash_ids", prompt // BLOCK), prefix_block=BLOCK,
        )  # fmt: skip
        yield clock.since(row, "timestamp", row.number("timestamp")), job
