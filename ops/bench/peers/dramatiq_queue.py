"""dramatiq: eight threads (its default), a long prefetch, results in Redis.

By default a worker fetches two messages a thread and sleeps when it may fetch no more; with no-op
jobs that sleep, and no work, would set the rate. Prefetched messages stay unacknowledged.
"""

from __future__ import annotations

import threading
from typing import Any

import dramatiq
from dramatiq.brokers.redis import RedisBroker
from dramatiq.results import Results
from dramatiq.results.backends import RedisBackend

from ops.bench.peers.harness import Queue, all_there, main
from ops.bench.peers.harness import nothing as do_nothing

_PREFETCH = 256


def _actor(url: str) -> tuple[RedisBroker, RedisBackend, Any]:
    broker, backend = RedisBroker(url=url), RedisBackend(url=url)
    broker.add_middleware(Results(backend=backend, store_results=True, result_ttl=3_600_000))
    return broker, backend, dramatiq.actor(do_nothing, actor_name="nothing", broker=broker)


def work(url: str) -> None:
    """Run a worker."""
    broker, _, _ = _actor(url)
    worker = dramatiq.Worker(broker, worker_threads=8)
    worker.queue_prefetch = _PREFETCH  # what the variable dramatiq_queue_prefetch sets
    worker.start()
    threading.Event().wait()


class Producer:
    """Sends one by one (it has no bulk call); a job has ended when its result exists."""

    def __init__(self, url: str) -> None:
        _, self._backend, self._nothing = _actor(url)
        self._messages: list[Any] = []
        self._keys: list[str] = []

    def submit(self, count: int) -> None:
        """Send jobs."""
        self._messages = [self._nothing.send() for _ in range(count)]
        self._keys += [self._backend.build_message_key(message) for message in self._messages]

    def ended(self) -> bool:
        """Say whether all have ended."""
        return all_there(self._keys, self._backend.client.exists)

    def last(self) -> object:
        """Return the last result."""
        return self._messages[-1].get_result(backend=self._backend)


if __name__ == "__main__":
    main(Queue(work, Producer))
