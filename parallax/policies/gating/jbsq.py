"""JBSQ: a worker holds what it can run and a small prefetch, never more."""

from __future__ import annotations

from dataclasses import dataclass

from parallax.core.model import WorkerView, check_int
from parallax.policies.registry import GATE


@GATE.register("jbsq")
@dataclass(slots=True)
class Jbsq:
    """Join-bounded-shortest-queue: at most `slots + prefetch` attempts per worker.

    What has been sent is in its final order, so the bound decides how much fairness and ordering
    can still do: with an unbounded queue SJF is FCFS. The prefetch hides one round trip; more of
    it costs exactly what it seems to gain.

    Source: R2P2 (Kogias et al., ATC'19). Cost: O(1).
    """

    prefetch: int = 1  # attempts beyond the running ones
    memory: bool = False  # hold back jobs, too, that are not expected to fit into KV memory

    def __post_init__(self) -> None:
        check_int("jbsq.prefetch", self.prefetch, 0, 1_000_000)

    def free(self, worker: WorkerView) -> int:
        """See `interfaces.DispatchGate`."""
        if worker.draining:
            return 0
        places = worker.slots + self.prefetch - worker.in_flight
        return max(0, min(places, worker.kv_room) if self.memory else places)
