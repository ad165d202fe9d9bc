"""taskiq-redis: the stream broker (it acknowledges), results in Redis, one worker process."""

from __future__ import annotations

import asyncio
import os
import sys
from typing import Any

from redis.asyncio import Redis
from taskiq_redis import RedisAsyncResultBackend, RedisStreamBroker

from ops.bench.peers.harness import URL, Queue, all_there, main
from ops.bench.peers.harness import nothing as do_nothing

_BATCH = 200

broker = RedisStreamBroker(url=os.environ[URL], xread_count=500).with_result_backend(
    RedisAsyncResultBackend(redis_url=os.environ[URL], result_ex_time=3600)
)


@broker.task(task_name="nothing")  # type: ignore[untyped-decorator]
async def nothing() -> int:
    """Do the job: nothing, with a result."""
    return do_nothing()


def work(_url: str) -> None:
    """Become taskiq's own worker command with one process."""
    command = [
        sys.executable, "-m", "taskiq", "worker", "ops.bench.peers.taskiq_queue:broker",
        "--workers", "1", "--max-async-tasks", "500", "--max-prefetch", "500",
        "--log-level", "ERROR",
    ]  # fmt: skip
    os.execv(sys.executable, command)  # noqa: S606


class Producer:
    """Enqueues concurrently (it has no bulk call); a job has ended when its result exists."""

    def __init__(self, url: str) -> None:
        self._run = asyncio.Runner().run
        self._run(broker.startup())
        self._redis = Redis.from_url(url)
        self._tasks: list[Any] = []
        self._keys: list[str] = []

    def submit(self, count: int) -> None:
        """Send jobs."""
        self._run(self._submit(count))

    async def _submit(self, count: int) -> None:
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            self._tasks = await asyncio.gather(*(nothing.kiq() for _ in range(size)))
            self._keys += [task.task_id for task in self._tasks]

    def ended(self) -> bool:
        """Say whether all have ended."""
        return all_there(self._keys, lambda *keys: self._run(self._exists(*keys)))

    async def _exists(self, *keys: str) -> int:
        return int(await self._redis.exists(*keys))

    def last(self) -> object:
        """Return the last result."""
        result = self._run(self._tasks[-1].wait_result(timeout=1))
        result.raise_for_error()
        return result.return_value


if __name__ == "__main__":
    main(Queue(work, Producer))
