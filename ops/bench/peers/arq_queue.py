"""arq: many jobs at once in one event loop, a short poll delay, results kept."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from ops.bench.peers.harness import Queue, all_there, main
from ops.bench.peers.harness import nothing as do_nothing

_BATCH = 200


async def nothing(_context: dict[str, Any]) -> int:
    """Do the job: nothing, with a result."""
    return do_nothing()


def work(url: str) -> None:
    """Run a worker."""
    asyncio.set_event_loop(asyncio.new_event_loop())
    Worker(
        functions=[nothing],
        redis_settings=RedisSettings.from_dsn(url),
        max_jobs=500,
        queue_read_limit=1000,
        poll_delay=0.01,
        keep_result=3600,
    ).run()


class Producer:
    """Enqueues concurrently (it has no bulk call); a job has ended when its result exists."""

    def __init__(self, url: str) -> None:
        self._run = asyncio.Runner().run
        self._pool = self._run(create_pool(RedisSettings.from_dsn(url)))
        self._jobs: list[Any] = []
        self._keys: list[str] = []

    def submit(self, count: int) -> None:
        """Send jobs."""
        self._run(self._submit(count))

    async def _submit(self, count: int) -> None:
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            enqueued = (self._pool.enqueue_job("nothing") for _ in range(size))
            self._jobs = await asyncio.gather(*enqueued)
            self._keys += [f"arq:result:{job.job_id}" for job in self._jobs]

    def ended(self) -> bool:
        """Say whether all have ended."""
        return all_there(self._keys, lambda *keys: self._run(self._pool.exists(*keys)))

    def last(self) -> object:
        """Return the last result."""
        return self._run(self._jobs[-1].result(timeout=1))


if __name__ == "__main__":
    main(Queue(work, Producer))
