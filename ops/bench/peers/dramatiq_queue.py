"""dramatiq: eight threads (its default), results in Redis."""

from __future__ import annotations

import threading

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from ops.bench.peers.harness import Queue, main, wait_until
from ops.bench.peers.harness import nothing as do_nothing


def _actor(url: str) -> tuple[RedisBroker, RedisBackend, dramatiq.Actor]:
    broker, backend = RedisBroker(url=url), RedisBackend(url=url)
    broker.add_middleware(Results(backend=backend, store_results=True, result_ttl=3_600_000))
    return broker, backend, dramatiq.actor(do_nothing, actor_name="nothing", broker=broker)


def work(url: str) -> None:
    """Run a worker."""
    broker, _, _ = _actor(url)
    dramatiq.Worker(broker, worker_threads=8).start()
    threading.Event().wait()


def produce(url: str, count: int) -> None:
    """Send one by one (it has no bulk call); all have ended when all their results exist."""
    _, backend, nothing = _actor(url)
    keys = [backend.build_message_key(nothing.send()) for _ in range(count)]
    wait_until(lambda: backend.client.exists(*keys) == count)


if __name__ == "__main__":
    main(Queue(work, produce))
