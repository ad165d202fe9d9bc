"""Workers as processes of this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from itertools import count as numbers_from

from parallax.services.orders import Interrupted
from parallax.services.system import System

_WORKER = "worker-"


class LocalCapacity:
    """Children of this process: started by `System`, and drained by SIGTERM.

    A worker that ends unasked is started again by the system, and counts meanwhile as one that
    starts. Its number is part of its name and of its metrics port, so the least free one is taken.
    """

    name = "local"

    def __init__(self, system: System) -> None:
        self._system = system

    def size(self) -> int:
        """See `Capacity`."""
        return len(self._system.processes.staying(_WORKER))

    def owns(self, worker: str) -> bool:
        """See `Capacity`."""
        return self._child(worker) in self._system.processes.children

    def stays(self, worker: str) -> bool:
        """See `Capacity`."""
        return self._child(worker) in self._system.processes.staying(_WORKER)

    def start(self, count: int) -> None:
        """See `Capacity`."""
        taken = self._system.processes.children
        free = (n for n in numbers_from(1) if f"{_WORKER}{n}" not in taken)
        for _ in range(count):
            self._system.start_worker(next(free))

    def drain(self, workers: Sequence[str]) -> None:
        """See `Capacity`."""
        for worker in workers:
            if self.owns(worker):
                self._system.processes.retire(self._child(worker))

    def tend(self) -> None:
        """Start again who has ended unasked."""
        with suppress(Interrupted):  # whoever runs this looks at its orders
            self._system.watch()

    def close(self) -> None:
        """Nothing: the system drains its processes when it ends."""

    def _child(self, worker: str) -> str:
        """Return the name of its process: `w3-1f0c2a` is the worker of the child `worker-3`."""
        name, prefix = worker.rpartition("-")[0], self._system.plan.prefix
        return f"{_WORKER}{name.removeprefix(prefix)}" if name.startswith(prefix) else ""
