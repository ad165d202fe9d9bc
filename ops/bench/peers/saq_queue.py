"""saq: high concurrency in one event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue as SaqQueue
from saq import Worker

from ops.bench.peers.harness import Queue, main, wait_until_async

_BATCH = 200


async def nothing(_context: Any) -> int:
    """Do the job: nothing, with a result."""
    return 1


def work(url: str) -> None:
    """Run a worker."""

    async def serve() -> None:
        queue = SaqQueue.from_url(url)
        await queue.connect()
        await Worker(queue, functions=[nothing], concurrency=100).start()

    asyncio.run(serve())


async def _produce(url: str, count: int) -> None:
    queue = SaqQueue.from_url(url)
    await queue.connect()
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        await asyncio.gather(*(queue.enqueue("nothing", ttl=3600) for _ in range(size)))

    async def ended() -> bool:
        return bool(await queue.count("incomplete") == 0)

    await wait_until_async(ended)
    await queue.disconnect()


def produce(url: str, count: int) -> None:
    """Enqueue concurrently; all have ended when none is incomplete (results stay in the jobs)."""
    asyncio.run(_produce(url, count))


if __name__ == "__main__":
    main(Queue(work, produce))
