"""huey: a pool of threads on a blocking pop. It pops: a job dies with the worker that holds it."""

from __future__ import annotations

from huey import RedisHuey

from ops.bench.peers.harness import Queue, main, wait_until
from ops.bench.peers.harness import nothing as do_nothing


def _huey(url: str) -> tuple[RedisHuey, object]:
    huey = RedisHuey("bench", url=url, blocking=True)
    return huey, huey.task(name="nothing")(do_nothing)


def work(url: str) -> None:
    """Run a consumer."""
    huey, _ = _huey(url)
    huey.create_consumer(workers=4, worker_type="thread", periodic=False).run()


def produce(url: str, count: int) -> None:
    """Enqueue one by one; all have ended when the result store has grown by as many."""
    huey, nothing = _huey(url)
    goal = huey.storage.result_store_size() + count
    for _ in range(count):
        nothing()  # type: ignore[operator]
    wait_until(lambda: huey.storage.result_store_size() >= goal)


if __name__ == "__main__":
    main(Queue(work, produce))
