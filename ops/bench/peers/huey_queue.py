"""huey: a pool of threads on a blocking pop. It pops: a job dies with the worker that holds it."""

from __future__ import annotations

from typing import Any

from huey import RedisHuey

from ops.bench.peers.harness import Queue, main
from ops.bench.peers.harness import nothing as do_nothing


def _huey(url: str) -> tuple[RedisHuey, Any]:
    huey = RedisHuey("bench", url=url, blocking=True)
    return huey, huey.task(name="nothing")(do_nothing)


def work(url: str) -> None:
    """Run a consumer."""
    huey, _ = _huey(url)
    huey.create_consumer(workers=4, worker_type="thread", periodic=False).run()


class Producer:
    """Enqueues one by one (it has no bulk call); all have ended when as many results are stored."""

    def __init__(self, url: str) -> None:
        self._huey, self._nothing = _huey(url)
        self._goal = self._huey.storage.result_store_size()
        self._result: Any = None

    def submit(self, count: int) -> None:
        """Send jobs."""
        self._goal += count
        for _ in range(count):
            self._result = self._nothing()

    def ended(self) -> bool:
        """Say whether all have ended."""
        return bool(self._huey.storage.result_store_size() >= self._goal)

    def last(self) -> object:
        """Return the last result."""
        return self._result.get(preserve=True)


if __name__ == "__main__":
    main(Queue(work, Producer))
