"""rq: one SimpleWorker (no fork per job), jobs enqueued in bulk, as its documentation advises."""

from __future__ import annotations

from redis import Redis
from rq import Queue as RqQueue
from rq import SimpleWorker
from rq.registry import FinishedJobRegistry

from ops.bench.peers.harness import Queue, main, nothing, wait_until

_BATCH = 500


def work(url: str) -> None:
    """Run a worker that does not fork."""
    connection = Redis.from_url(url)
    worker = SimpleWorker([RqQueue(connection=connection)], connection=connection)
    worker.work(logging_level="ERROR")


def produce(url: str, count: int) -> None:
    """Enqueue in bulk; all have ended when they are in the registry of finished jobs."""
    connection = Redis.from_url(url)
    queue = RqQueue(connection=connection)
    finished = FinishedJobRegistry(queue=queue)
    goal = finished.get_job_count(cleanup=False) + count
    for start in range(0, count, _BATCH):
        size = min(_BATCH, count - start)
        queue.enqueue_many([RqQueue.prepare_data(nothing, result_ttl=3600) for _ in range(size)])
    wait_until(lambda: finished.get_job_count(cleanup=False) >= goal)


if __name__ == "__main__":
    main(Queue(work, produce))
