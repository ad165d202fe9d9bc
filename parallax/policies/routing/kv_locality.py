"""KV locality: where the least has to be computed, unless too much waits there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.model import ClusterView, JobView, Usage, WorkerView, check_int, check_number
from parallax.core.prefix import blocks_of, conversation
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING

#: Homes of sessions that are remembered; the one not asked for longest is forgotten.
MAX_HOMES = 100_000


@ROUTING.register("kv_locality")
@dataclass(slots=True)
class KvLocality:
    """Choose the smallest `slowness * (prefill waiting + omega * uncached + gamma * KV tokens)`.

    All three are prompt tokens, or are turned into them: prompts sent there whose first token is
    still to come, what of this prompt the worker would have to compute, and the context that every
    step there has to read. `omega` > 1 because a miss costs twice: the prefill now, and the memory
    of a second copy later; with 1 the same blocks end up everywhere, with 8 a popular prefix melts
    its worker. A job whose KV cache would not fit beside what was sent there before pays for what
    it would push out. A session stays at its home unless another place is better by more than
    `stickiness` tokens.

    What a worker holds is estimated from what was sent to it: blocks are entered when a job is
    sent and when it ends, and forgotten least recently used first, as engines do, within the memory
    that the worker reports (`blocks` where it reports none).

    Source: the cost form of NVIDIA Dynamo's router and Preble (ICLR'25); omega from a sweep. Cost:
    O(prompt blocks + workers) per job. Use it wherever prompts share prefixes; without any it
    balances prefill like `least_loaded`, so it costs little to have.
    """

    omega: float = 2.0  # worth of a token found in a cache, in tokens of waiting prefill
    gamma: float = 0.1  # worth of a token of context that is resident, in the same
    stickiness: float = 512.0  # tokens by which another place must be better than home
    blocks: int = 32_768  # that a worker is thought to hold if it does not say
    _index: PrefixIndex = field(init=False, repr=False)
    _homes: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False, repr=False)
    _found: dict[tuple[str, str], int] = field(default_factory=dict, init=False, repr=False)
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        check_number("kv_locality.omega", self.omega, 0.0, 1e3)
        check_number("kv_locality.gamma", self.gamma, 0.0, 1e3)
        check_number("kv_locality.stickiness", self.stickiness, 0.0, 1e7)
        check_int("kv_locality.blocks", self.blocks, 1, 10**8)
        self._index = PrefixIndex(10**8)

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        gamma = self.gamma
        waiting = [w.prefill_tokens + gamma * w.kv_tokens for w in cluster.workers]
        free = [w.free for w in cluster.workers]
        self._found.clear()
        routes: list[str | None] = []
        for job in jobs:
            names = blocks_of(job)
            held = self._index.matches(names) if names else {}
            best = self._best(job, held, cluster.workers, waiting, free)
            if best < 0:
                routes.append(None)
                continue
            worker = cluster.workers[best]
            cached = self._cached(job, held.get(worker.id, 0))
            waiting[best] += (1.0 + gamma) * (job.prompt_tokens - cached)
            free[best] -= 1
            self._enter(job, names, worker)
            self._found[job.id, worker.id] = cached
            routes.append(worker.id)
        return routes

    def scores(self, job: JobView, estimate: float, cluster: ClusterView) -> dict[str, float]:
        """See `interfaces.Explaining`."""
        workers, names = cluster.workers, blocks_of(job)
        held = self._index.matches(names) if names else {}
        waiting = [w.prefill_tokens + self.gamma * w.kv_tokens for w in workers]
        costs = self._costs(job, held, workers, waiting, [w.free for w in workers])
        return {workers[i].id: cost for i, cost in costs}

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`: the answer is in the cache now, too."""
        if job.session and not job.prefix and usage.output_tokens:
            said = usage.prompt_tokens + usage.output_tokens
            names = conversation(f"{job.tenant}/{job.session}", said // job.prefix_block)
            self._index.insert(names, worker)

    def note(self, job: JobView, worker: WorkerView) -> None:
        """Somebody else sent the job there."""
        self._enter(job, blocks_of(job), worker)

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._index.forget(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        found = self._found.get((job.id, worker))
        if found is None:
            found = self._cached(job, self._index.match(blocks_of(job), worker))
        return found

    def _cached(self, job: JobView, blocks: int) -> int:
        return min(blocks * job.prefix_block, max(0, job.prompt_tokens - 1))

    def _best(
        self, job: JobView, held: dict[str, int], workers: Sequence[WorkerView],
        waiting: Sequence[float], free: Sequence[int],
    ) -> int:  # fmt: skip
        """Return the index of the best worker, -1 if none is free."""
        best, least, ties = -1, 0.0, 0
        for i, cost in self._costs(job, held, workers, waiting, free):
            if best < 0 or cost < least:
                best, least, ties = i, cost, 1
            elif cost == least:
                ties += 1
                if self._random.random() * ties < 1.0:  # each of the tied ones is equally likely
                    best = i
        return best

    def _costs(
        self, job: JobView, held: dict[str, int], workers: Sequence[WorkerView],
        waiting: Sequence[float], free: Sequence[int],
    ) -> list[tuple[int, float]]:  # fmt: skip
        """Return what it costs, in tokens, to place the job on each free worker, by index."""
        home = self._homes.get(f"{job.tenant}/{job.session}") if job.session else None
        omega, prompt = self.omega, job.prompt_tokens
        costs: list[tuple[int, float]] = []
        for i, worker in enumerate(workers):
            if free[i] <= 0:
                continue
            uncached = prompt
            if held and worker.id in held:
                uncached -= self._cached(job, held[worker.id])
            cost = waiting[i] + omega * uncached
            beyond = worker.kv_tokens + uncached - worker.kv_capacity
            if beyond > 0 and worker.kv_capacity:
                cost += beyond
            cost *= worker.slowness
            if home is not None and worker.id == home:
                cost -= self.stickiness
            costs.append((i, cost))
        return costs

    def _enter(self, job: JobView, names: Sequence[int], worker: WorkerView) -> None:
        """Note at once what the worker is going to hold, so that the next job sees it."""
        if names:
            room = worker.kv_capacity // job.prefix_block if worker.kv_capacity else self.blocks
            self._index.insert(names, worker.id, max(1, room))
        if job.session:
            home = f"{job.tenant}/{job.session}"
            self._homes[home] = worker.id
            self._homes.move_to_end(home)
            if len(self._homes) > MAX_HOMES:
                self._homes.popitem(last=False)
