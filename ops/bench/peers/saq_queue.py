"""saq: high concurrency in one event loop."""

from __future__ import annotations

import asyncio
from typing import Any

from saq import Queue as SaqQueue
from saq import Worker

from ops.bench.peers.harness import Queue, main
from ops.bench.peers.harness import nothing as do_nothing

_BATCH = 200


async def nothing(_context: Any) -> int:
    """Do the job: nothing, with a result."""
    return do_nothing()


def work(url: str) -> None:
    """Run a worker."""

    async def serve() -> None:
        queue = SaqQueue.from_url(url)
        await queue.connect()
        await Worker(queue, functions=[nothing], concurrency=100).start()

    asyncio.run(serve())


class Producer:
    """Enqueues concurrently (it has no bulk call); results stay in the jobs when none is open."""

    def __init__(self, url: str) -> None:
        self._run = asyncio.Runner().run
        self._queue = SaqQueue.from_url(url)
        self._run(self._queue.connect())
        self._jobs: list[Any] = []

    def submit(self, count: int) -> None:
        """Send jobs."""
        self._run(self._submit(count))

    async def _submit(self, count: int) -> None:
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            enqueued = (self._queue.enqueue("nothing", ttl=3600) for _ in range(size))
            self._jobs = await asyncio.gather(*enqueued)

    def ended(self) -> bool:
        """Say whether all have ended."""
        return bool(self._run(self._queue.count("incomplete")) == 0)

    def last(self) -> object:
        """Return the last result."""
        return self._run(self._queue.job(self._jobs[-1].key)).result


if __name__ == "__main__":
    main(Queue(work, Producer))
