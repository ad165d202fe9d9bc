"""KV locality: where the least has to be computed, unless too much waits there."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass, field
from random import Random

from parallax.core.ewma import Ewma
from parallax.core.model import ClusterView, JobView, Usage, WorkerView, check_int, check_number
from parallax.core.prefix import blocks_of, conversation
from parallax.core.prefix_index import PrefixIndex
from parallax.policies.registry import ROUTING

#: Homes of sessions that are remembered; the one not asked for longest is forgotten.
MAX_HOMES = 100_000
#: About so many placements say what a usual prompt is.
USUAL = 1_000.0
#: Memory that is fuller than this counts as so full: beyond it is counted what does not fit.
FULL = 0.98
#: Leading blocks that a worker has in its memory, and in either tier.
_Held = tuple[int, int]
_NOTHING: _Held = (0, 0)


class _Tally:
    """Workers by index, and what they have with what this batch has sent them so far."""

    __slots__ = ("free", "jobs", "kv_tokens", "tokens", "workers")

    def __init__(self, workers: Sequence[WorkerView]) -> None:
        self.workers = workers
        self.free = [w.free for w in workers]
        self.tokens = [w.prefill_tokens for w in workers]
        self.jobs = [w.in_flight - w.decoding for w in workers]
        self.kv_tokens = [w.kv_tokens for w in workers]

    def place(self, index: int, uncached: float, wanted: float) -> None:
        self.free[index] -= 1
        self.tokens[index] += uncached
        self.jobs[index] += 1
        self.kv_tokens[index] += wanted


@ROUTING.register("kv_locality")
@dataclass(slots=True)
class KvLocality:
    """Choose the smallest `slowness * (waiting + omega * uncached + memory + interference)`.

    All four are in usual prompts: a usual prompt is the mean of the tokens that had to be computed
    of the last thousand or so, so that nothing here depends on the size of a model or of a prompt.

    * waiting: the prompt tokens there whose first token is still to come, and `jobs` for each job
      that they belong to, because each is a step of its own, however short;
    * uncached: what of this prompt the worker would have to compute. `omega` > 1 because a miss
      costs twice: the prefill now, and the memory of a second copy later; with 1 the same blocks
      end up everywhere, with 8 a popular prefix melts its worker. A match of less than `least` of
      the prompt does not count: a system prompt that all requests share, and all workers soon
      hold, is no reason to leave some of them idle;
    * memory: `memory * k / (1 - k)`, where k is the share of KV memory that is spoken for, this job
      included, by the scheduler's own account: what was sent since the last report counts. What
      would not fit at all is paid for as tokens that others will have to compute again;
    * interference: `interference * uncached * haste`, where `haste` is how many of the jobs there
      have answers so short that one more prompt beside them makes them miss their pace. A delay of
      d token times moves the pace of an answer of n tokens by d/n. Long answers see many prompts,
      wherever these go, and one more changes little; of those that are short the share that is
      pushed over its limit grows with a high power of 1/n (`fleet.SHORT_TOKENS`; with the first
      power long answers outvote them, and prompts flock to where few run).

    What a worker has evicted into a second tier (its `dram_tokens`) is loaded, not computed: such a
    token costs `load` of one, here and among those that wait, and as much memory as any other.

    A session stays at its home unless another place is better by more than `stickiness`.

    What a worker holds is estimated from what was sent to it: blocks are entered when a job is
    sent and when it ends, and forgotten least recently used first, as engines do, within the memory
    that the worker reports (`blocks` where it reports none). Where there is a second tier another
    index, as long as both tiers together, says what is in one of them.

    Source: the cost form of NVIDIA Dynamo's router and Preble (ICLR'25); k/(1-k) as in SMG;
    constants from sweeps over the development traces (docs/laboratory.md). Cost: O(prompt blocks +
    workers) per job. Use it wherever prompts share prefixes; without any it balances prefill like
    `least_loaded`, and spares short answers, so it costs little to have.
    """

    omega: float = 2.0  # worth of a token found in a cache, in tokens of waiting prefill
    jobs: float = 0.2  # what a job that waits for its first token adds, in usual prompts
    memory: float = 1.0  # worth of memory of which half is spoken for, in the same
    interference: float = 1.0  # worth of one answer that is pushed past its pace, in the same
    stickiness: float = 0.5  # by how much another place must be better than home, in the same
    least: float = 0.1  # share of a prompt below which its cached part does not count
    load: float = 0.1  # cost of a token that is loaded from the second tier, in computed ones
    blocks: int = 32_768  # that a worker is thought to hold if it does not say
    _index: PrefixIndex = field(init=False, repr=False)
    _tiers: PrefixIndex = field(init=False, repr=False)  # of both, where there are two
    _homes: OrderedDict[str, str] = field(default_factory=OrderedDict, init=False, repr=False)
    _found: dict[tuple[str, str], int] = field(default_factory=dict, init=False, repr=False)
    _placed: float = field(default=0.0, init=False, repr=False)  # jobs, as the time of `_usual`
    _usual: Ewma = field(default_factory=lambda: Ewma(USUAL), init=False, repr=False)
    _random: Random = field(default_factory=lambda: Random(0), init=False, repr=False)

    def __post_init__(self) -> None:
        for name in ("omega", "jobs", "memory", "interference", "stickiness"):
            check_number(f"kv_locality.{name}", getattr(self, name), 0.0, 1e3)
        check_number("kv_locality.least", self.least, 0.0, 1.0)
        check_number("kv_locality.load", self.load, 0.0, 1.0)
        check_int("kv_locality.blocks", self.blocks, 1, 10**8)
        self._index, self._tiers = PrefixIndex(10**8), PrefixIndex(10**8)

    def seed(self, random: Random) -> None:
        """Use this source for ties."""
        self._random = random

    def route(
        self, jobs: Sequence[JobView], estimates: Sequence[float], cluster: ClusterView
    ) -> list[str | None]:
        """See `interfaces.RoutingPolicy`."""
        tally = _Tally(cluster.workers)
        self._found.clear()
        routes: list[str | None] = []
        for job in jobs:
            names = blocks_of(job)
            held = self._held(names)
            best = self._best(job, held, tally)
            if best < 0:
                routes.append(None)
                continue
            worker = cluster.workers[best]
            near, both = held.get(worker.id, _NOTHING)
            cached, loaded = self._cached(job, near, both)
            computed = job.prompt_tokens - cached - loaded
            tally.place(best, computed + self.load * loaded, computed + loaded)
            self._placed += 1.0
            self._usual.update(computed + self.load * loaded, self._placed)
            self._enter(job, names, worker)
            self._found[job.id, worker.id] = cached + loaded
            routes.append(worker.id)
        return routes

    def scores(self, job: JobView, estimate: float, cluster: ClusterView) -> dict[str, float]:
        """See `interfaces.Explaining`."""
        costs = self._costs(job, self._held(blocks_of(job)), _Tally(cluster.workers))
        return {cluster.workers[i].id: cost for i, cost in costs}

    def ended(self, job: JobView, worker: str, usage: Usage) -> None:
        """See `interfaces.PlacementObserver`: the answer is in the cache now, too."""
        if job.session and not job.prefix and usage.output_tokens:
            said = usage.prompt_tokens + usage.output_tokens
            names = conversation(f"{job.tenant}/{job.session}", said // job.prefix_block)
            self._index.insert(names, worker)
            if worker in self._tiers:
                self._tiers.insert(names, worker)

    def note(self, job: JobView, worker: WorkerView) -> None:
        """Somebody else sent the job there."""
        self._enter(job, blocks_of(job), worker)

    def lost(self, worker: str) -> None:
        """See `interfaces.PlacementObserver`."""
        self._index.forget(worker)
        self._tiers.forget(worker)

    def cached_tokens(self, job: JobView, worker: str) -> int:
        """See `interfaces.PlacementObserver`."""
        found = self._found.get((job.id, worker))
        if found is None:
            names = blocks_of(job)
            blocks = self._index.match(names, worker)
            both = max(blocks, self._tiers.match(names, worker))
            cached, loaded = self._cached(job, blocks, both)
            found = cached + loaded
        return found

    def _held(self, names: Sequence[int]) -> dict[str, _Held]:
        """Return how many leading blocks each worker has in its memory, and in either tier."""
        if not names:
            return {}
        near, both = self._index.matches(names), self._tiers.matches(names)
        found = {name: (blocks, blocks) for name, blocks in near.items()}
        for name, blocks in both.items():
            hit = near.get(name, 0)
            found[name] = (hit, max(hit, blocks))
        return found

    def _cached(self, job: JobView, blocks: int, both: int) -> tuple[int, int]:
        """Return how many tokens of the prompt would be found, and how many loaded."""
        most = max(0, job.prompt_tokens - 1)
        cached = min(blocks * job.prefix_block, most)
        return cached, min(both * job.prefix_block, most) - cached

    def _best(self, job: JobView, held: dict[str, _Held], tally: _Tally) -> int:
        """Return the index of the best worker, -1 if none is free."""
        best, least, ties = -1, 0.0, 0
        for i, cost in self._costs(job, held, tally):
            if best < 0 or cost < least:
                best, least, ties = i, cost, 1
            elif cost == least:
                ties += 1
                if self._random.random() * ties < 1.0:  # each of the tied ones is equally likely
                    best = i
        return best

    def _costs(
        self, job: JobView, held: dict[str, _Held], tally: _Tally
    ) -> list[tuple[int, float]]:
        """Return what the job would cost on each free worker, in usual prompts, by index."""
        home = self._homes.get(f"{job.tenant}/{job.session}") if job.session else None
        omega, interference, prompt = self.omega, self.interference, job.prompt_tokens
        usual = max(1.0, self._usual.value or prompt)
        jobs, counts = self.jobs * usual, self.least * prompt
        memory = self.memory * usual
        costs: list[tuple[int, float]] = []
        for i, worker in enumerate(tally.workers):
            if tally.free[i] <= 0:
                continue
            uncached, wanting = float(prompt), prompt
            if held and worker.id in held:
                near, both = held[worker.id]
                cached, loaded = self._cached(job, near, both)
                if cached + loaded >= counts:
                    wanting -= cached
                    uncached = wanting - (1.0 - self.load) * loaded
            cost = tally.tokens[i] + jobs * tally.jobs[i]
            cost += (omega + interference * worker.haste) * uncached
            if worker.kv_capacity:
                wanted = tally.kv_tokens[i] + wanting
                spoken = min(FULL, wanted / worker.kv_capacity)
                cost += memory * spoken / (1.0 - spoken)
                if wanted > worker.kv_capacity:
                    cost += wanted - worker.kv_capacity
            cost *= worker.slowness / usual
            if home is not None and worker.id == home:
                cost -= self.stickiness
            costs.append((i, cost))
        return costs

    def _enter(self, job: JobView, names: Sequence[int], worker: WorkerView) -> None:
        """Note at once what the worker is going to hold, so that the next job sees it."""
        if names:
            room = worker.kv_capacity // job.prefix_block if worker.kv_capacity else self.blocks
            self._index.insert(names, worker.id, max(1, room))
            if worker.dram_tokens:
                both = room + worker.dram_tokens // job.prefix_block
                self._tiers.insert(names, worker.id, max(1, both))
        if job.session:
            home = f"{job.tenant}/{job.session}"
            self._homes[home] = worker.id
            self._homes.move_to_end(home)
            if len(self._homes) > MAX_HOMES:
                self._homes.popitem(last=False)
