"""A cell with workers in front of servers: they live in a loop, and a scene is played beside it."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from parallax.broker.link.async_link import AsyncLink
from parallax.broker.link.connection import Link
from parallax.broker.store.intake import Intake
from parallax.broker.store.keys import Keys
from parallax.broker.store.membership import Member, Membership
from parallax.broker.store.results import Notice, Results
from parallax.consumers.upstream.opening import opened
from parallax.consumers.worker import Worker
from parallax.core.settings import WorkerSettings
from parallax.services.clock import SystemClock
from parallax.telemetry.tracing import OFF, Tracer
from tests.integration.cells import QUICK, Cell, job

CLOCK = SystemClock()
#: No test waits for a whole rest of a failed attempt.
SETTINGS = WorkerSettings(
    heartbeat_s=5.0, block_s=0.2, drain_s=5.0, retry_base_s=0.02, retry_cap_s=0.1
)


def played(
    url: str, servers: Sequence[str], scene: Callable[[Cell], None], tracer: Tracer = OFF
) -> list[Worker]:
    """Play a scene in a cell with a worker in front of each server; return the workers."""
    cell = Cell(lambda: Link.to(url))
    cell.scheduler(replace(QUICK, heartbeat_s=SETTINGS.heartbeat_s))
    workers = [
        Worker("w", (AsyncLink.to(url), cell.connect()), Keys("cell"), opened(one, None, CLOCK),
               SETTINGS, CLOCK, tracer=tracer)
        for one in servers
    ]  # fmt: skip
    over = threading.Event()

    def watch() -> None:
        try:
            scene(cell)
        finally:
            over.set()

    async def live() -> None:
        for worker in workers:
            worker.start()
        beside = asyncio.to_thread(watch)
        await asyncio.gather(beside, *(w.live(over.is_set) for w in workers))

    try:
        asyncio.run(asyncio.wait_for(live(), 90.0))
    finally:
        for scheduler in cell.schedulers:
            scheduler.close()
    return workers


def ask(
    cell: Cell, *names: str, model: str = "tiny", content: str = "hi", max_tokens: int = 8,
    **fields: Any,
) -> None:  # fmt: skip
    """Submit chats; what is told of them goes to the stream `inbox`."""
    body: dict[str, Any] = {"model": model, "messages": [{"role": "user", "content": content}]}
    body["ignore_eos"] = True
    new = [job(name, output_tokens=None, max_tokens=max_tokens, **fields) for name in names]
    bodies = dict.fromkeys(names, json.dumps(body).encode())
    receipts = Intake(cell.link, cell.keys).submit(new, "inbox", bodies)
    assert [receipt.word for receipt in receipts] == ["ok"] * len(names)


def told(cell: Cell, name: str) -> list[Notice]:
    notices = Results(cell.link, cell.keys).follow("inbox", "", 0)[1]
    return [notice for notice in notices if notice.job_id == name]


def said(cell: Cell, name: str) -> str:
    chunks = [json.loads(n.piece.data) for n in told(cell, name) if n.word == "chunk"]
    return "".join(c["delta"].get("content") or "" for one in chunks for c in one["choices"])


def members(cell: Cell) -> list[Member]:
    return Membership(cell.link, cell.keys).members()
