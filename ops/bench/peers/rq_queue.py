"""rq: one SimpleWorker (no fork per job), jobs enqueued in bulk, as its documentation advises."""

from __future__ import annotations

from typing import Any

from redis import Redis
from rq import Queue as RqQueue
from rq import SimpleWorker
from rq.registry import FinishedJobRegistry

from ops.bench.peers.harness import Queue, main, nothing

_BATCH = 500


def work(url: str) -> None:
    """Run a worker that does not fork."""
    connection = Redis.from_url(url)
    worker = SimpleWorker([RqQueue(connection=connection)], connection=connection)
    worker.work(logging_level="ERROR")


class Producer:
    """Enqueues in bulk; jobs and results have ended when the registry of finished ones says so."""

    def __init__(self, url: str) -> None:
        self._queue = RqQueue(connection=Redis.from_url(url))
        self._finished = FinishedJobRegistry(queue=self._queue)
        self._sent = 0
        self._jobs: list[Any] = []

    def submit(self, count: int) -> None:
        """Send jobs."""
        for start in range(0, count, _BATCH):
            size = min(_BATCH, count - start)
            batch = [RqQueue.prepare_data(nothing, result_ttl=3600) for _ in range(size)]
            self._jobs = self._queue.enqueue_many(batch)
        self._sent += count

    def ended(self) -> bool:
        """Say whether all have ended."""
        return bool(self._finished.get_job_count(cleanup=False) >= self._sent)

    def last(self) -> object:
        """Return the last result."""
        return self._jobs[-1].return_value()


if __name__ == "__main__":
    main(Queue(work, Producer))
