"""taskiq-redis: the stream broker (it acknowledges), results in Redis, one worker process."""

from __future__ import annotations

import asyncio
import os
import sys

from redis.asyncio import Redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from ops.bench.peers.harness import Queue, main, wait_until_async

_BATCH = 200
_URL = "BENCH_REDIS_URL"

url_of_server = os.environ.get(_URL, "redis://localhost")
broker = RedisStreamBroker(url=url_of_server, xread_count=500).with_result_backend(
    RedisAsyncResultBackend(redis_url=url_of_server, result_ex_time=3600)
)


@broker.task(task_name="nothing")  # type: ignore[untyped-decorator]
async def nothing() -> int:
    """Do the job: nothing, with a result."""
    return 1


def work(url: str) -> None:
    """Become taskiq's own worker command with one process."""
    command = [
        sys.executable, "-m", "taskiq", "worker", "ops.bench.peers.taskiq_queue:broker",
        "--workers", "1", "--max-async-tasks", "500", "--max-prefetch", "500",
        "--log-level", "ERROR",
    ]  # fmt: skip
    os.execve(sys.executable, command, {**os.environ, _URL: url})  # noqa: S606


async def _produce(url: str, count: int) -> None:
    await broker.startup()
    ids: list[str] = []
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        tasks = await asyncio.gather(*(nothing.kiq() for _ in range(size)))
        ids += [task.task_id for task in tasks]
    redis = Redis.from_url(url)

    async def ended() -> bool:
        return bool(await redis.exists(*ids) == count)

    await wait_until_async(ended)
    await redis.aclose()
    await broker.shutdown()


def produce(url: str, count: int) -> None:
    """Enqueue concurrently; all have ended when all their results exist."""
    asyncio.run(_produce(url, count))


if __name__ == "__main__":
    if sys.argv[1] == "produce" and os.environ.get(_URL) != sys.argv[2]:
        os.environ[_URL] = sys.argv[2]  # the broker is built on import
        again = [sys.executable, "-m", "ops.bench.peers.taskiq_queue", *sys.argv[1:]]
        os.execv(sys.executable, again)  # noqa: S606
    main(Queue(work, produce))
