"""arq: many jobs at once in one event loop, a short poll delay, results kept."""

from __future__ import annotations

import asyncio
from typing import Any

from arq import create_pool
from arq.connections import RedisSettings
from arq.worker import Worker

from ops.bench.peers.harness import Queue, main, wait_until_async

_BATCH = 200


async def nothing(_context: dict[str, Any]) -> int:
    """Do the job: nothing, with a result."""
    return 1


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


async def _produce(url: str, count: int) -> None:
    pool = await create_pool(RedisSettings.from_dsn(url))
    ids: list[str] = []
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        jobs = await asyncio.gather(*(pool.enqueue_job("nothing") for _ in range(size)))
        ids += [job.job_id for job in jobs if job is not None]
    keys = [f"arq:result:{job_id}" for job_id in ids]

    async def ended() -> bool:
        return bool(await pool.exists(*keys) == count)

    await wait_until_async(ended)
    await pool.aclose()


def produce(url: str, count: int) -> None:
    """Enqueue concurrently; all have ended when all their results exist."""
    asyncio.run(_produce(url, count))


if __name__ == "__main__":
    main(Queue(work, produce))
