"""Describes a load in figures: its arrivals, its lengths, its shared prefixes.

* `gap_cv`: standard deviation over mean of the gaps between arrivals (Poisson: 1).
* `iod_1s`, `iod_60s`: index of dispersion, variance over mean of the arrivals counted in windows
  (Poisson: 1 for any window; what drifts has more in longer ones). Only whole windows count: the
  rest of one at the end would look like a lull.
* `reuse_blocks`, `reuse_tokens`: share of prompt blocks, and of prompt tokens, that an infinite
  cache would have had: the blocks a prompt begins with, up to the first unknown one. A last block
  that is not whole counts as a block that nobody else uses.
* `lru_hit_N`: the same share of blocks for a cache that holds N blocks, the least recently used
  one being evicted.
* conversations are those that the trace names, or follow from prefixes (see `threads`).

A figure that the load does not define (reuse without prefixes) is None.
"""

from __future__ import annotations

from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
from numpy.typing import NDArray

from parallax.core.model import Job, JobView
from parallax.core.prefix import blocks_of
from parallax.sim.timed import Timed
from parallax.sim.traces.threads import Threads

Figures = dict[str, float | int | None]
Floats = NDArray[np.float64]
CAPACITIES = (1_000, 5_000, 10_000, 30_000, 50_000)  # blocks


def describe(jobs: Iterable[Timed], capacities: Sequence[int] = CAPACITIES) -> Figures:
    """Return the figures of a load, read once. O(jobs + blocks * capacities)."""
    times: list[float] = []
    prompts: list[int] = []
    outputs: list[int] = []
    tenants: Counter[str] = Counter()
    reuse, turns = _Reuse([_Lru(capacity) for capacity in capacities]), _Turns()
    for at_s, job in jobs:
        times.append(at_s)
        prompts.append(job.prompt_tokens)
        outputs.append(job.output_tokens or 0)
        tenants[job.tenant] += 1
        reuse.add(job)
        turns.add(at_s, job)
    at = np.array(times, dtype=np.float64)
    return {
        "jobs": len(times),
        **_arrivals(at),
        **_lengths("prompt", np.array(prompts, dtype=np.float64)),
        **_lengths("output", np.array(outputs, dtype=np.float64)),
        "prompt_per_output": sum(prompts) / sum(outputs) if sum(outputs) else None,
        "tenants": len(tenants),
        "busiest_tenant_share": max(tenants.values()) / len(times) if times else None,
        **turns.figures(len(times)),
        **reuse.figures(sum(prompts)),
    }


def _arrivals(at: Floats) -> Figures:
    span = float(at[-1] - at[0]) if len(at) else 0.0
    gaps = np.diff(at)
    mean = float(gaps.mean()) if len(gaps) else 0.0
    counts = np.bincount((at - at[0]).astype(np.int64)) if len(at) else None
    return {
        "duration_s": span,
        "rate_per_s": len(at) / span if span else None,
        "gap_cv": float(gaps.std()) / mean if mean else None,
        "iod_1s": _dispersion(at, 1.0),
        "iod_60s": _dispersion(at, 60.0),
        "peak_1s": int(counts.max()) if counts is not None else None,
        "distinct_times": len(np.unique(at)),
    }


def _dispersion(at: Floats, window_s: float) -> float | None:
    """Return variance over mean of the counts in whole windows; None without two of them."""
    whole = int((at[-1] - at[0]) // window_s) if len(at) else 0
    if whole < 2:
        return None
    counts = np.bincount(((at - at[0]) / window_s).astype(np.int64), minlength=whole)[:whole]
    return float(counts.var() / counts.mean())


def _lengths(name: str, tokens: Floats) -> Figures:
    if not len(tokens):
        return {f"{name}_{what}": None for what in ("mean", "p50", "p95", "max")}
    middle, high = np.percentile(tokens, (50, 95))
    return {
        f"{name}_mean": float(tokens.mean()),
        f"{name}_p50": float(middle),
        f"{name}_p95": float(high),
        f"{name}_max": int(tokens.max()),
    }


@dataclass(slots=True)
class _Turns:
    """Conversations: how many, how long, and how much time between their turns."""

    threads: Threads = field(default_factory=Threads)
    counts: Counter[str] = field(default_factory=Counter)
    last_s: dict[str, float] = field(default_factory=dict)
    gaps: list[float] = field(default_factory=list)
    known: bool = False  # whether anything tells conversations apart

    def add(self, at_s: float, job: Job) -> None:
        self.known = self.known or bool(job.session or job.prefix)
        thread = self.threads.of(job)
        if thread in self.counts:
            self.gaps.append(at_s - self.last_s[thread])
        self.counts[thread] += 1
        self.last_s[thread] = at_s

    def figures(self, jobs: int) -> Figures:
        middle, high = np.percentile(self.gaps, (50, 90)) if self.gaps else (None, None)
        found: Figures = {
            "conversations": len(self.counts),
            "conversations_of_many_turns": sum(count > 1 for count in self.counts.values()),
            "turns_max": max(self.counts.values(), default=0),
            "follow_up_share": 1 - len(self.counts) / jobs if jobs else None,
            "turn_gap_p50_s": None if middle is None else float(middle),
            "turn_gap_p90_s": None if high is None else float(high),
        }
        return found if self.known else dict.fromkeys(found)


@dataclass(slots=True)
class _Lru:
    """A cache of so many blocks."""

    capacity: int
    hits: int = 0
    held: OrderedDict[int, None] = field(default_factory=OrderedDict)

    def add(self, names: Sequence[int]) -> None:
        self.hits += sum(1 for _ in takewhile(self.held.__contains__, names))
        for name in reversed(names):  # the end of a chain is evicted before what it hangs on
            self.held[name] = None
            self.held.move_to_end(name)
        while len(self.held) > self.capacity:
            self.held.popitem(last=False)


@dataclass(slots=True)
class _Reuse:
    """How much of the prompts was there before."""

    caches: list[_Lru]
    uses: dict[int, int] = field(default_factory=dict)  # block -> how often it was asked for
    alone: int = 0  # blocks without a name: nobody else can use them
    blocks: int = 0
    hits: int = 0
    hit_tokens: int = 0

    def add(self, job: Job) -> None:
        names = blocks_of(_view(job))
        known = sum(1 for _ in takewhile(self.uses.__contains__, names))
        blocks = max(len(names), -(-job.prompt_tokens // job.prefix_block))
        self.blocks, self.alone = self.blocks + blocks, self.alone + blocks - len(names)
        self.hits, self.hit_tokens = self.hits + known, self.hit_tokens + known * job.prefix_block
        for name in names:
            self.uses[name] = self.uses.get(name, 0) + 1
        for cache in self.caches:
            cache.add(names)

    def figures(self, prompt_tokens: int) -> Figures:
        distinct = len(self.uses) + self.alone
        once = sum(count == 1 for count in self.uses.values()) + self.alone
        found: Figures = {
            "blocks": self.blocks,
            "blocks_distinct": distinct,
            "blocks_used_once_share": once / distinct if distinct else None,
            "reuse_blocks": self.hits / self.blocks if self.blocks else None,
            "reuse_tokens": self.hit_tokens / prompt_tokens if prompt_tokens else None,
        }
        for cache in self.caches:
            share = cache.hits / self.blocks if self.blocks else None
            found[f"lru_hit_{cache.capacity}"] = share
        return found if self.uses else dict.fromkeys(found)


def _view(job: Job) -> JobView:
    return JobView(
        job.id, job.tenant, job.prompt_tokens, job.max_tokens, 0.0, job.session,
        prefix=job.prefix, prefix_block=job.prefix_block, model=job.model,
    )  # fmt: skip
