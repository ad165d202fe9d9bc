"""A load for engines that answer: jobs whose lengths fit them, texts that share what jobs share.

The simulator knows what prompts have in common by the names of their blocks. Here the same names
become words, so that a real engine finds in its cache what the simulated one finds.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import chain
from random import Random
from statistics import mean

from parallax.core.model import Job
from parallax.core.prefix import conversation
from parallax.engine.profiles import Profile
from parallax.sim.timed import Timed

#: Words that nearly every tokenizer has as one token each.
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "was", "with", "be", "have")
#: Tokens of a block, and of the shortest prompt.
BLOCK, SHORTEST = 16, 4
#: The share of an engine's context that the longest job takes: tokenizers count otherwise.
ROOM = 0.9


def scale_to(context: int, jobs: Iterable[Timed]) -> float:
    """Return the factor (at most 1) by which lengths fit engines of so much context."""
    longest = max(job.prompt_tokens + _output(job) for _, job in jobs)
    return min(1.0, ROOM * context / longest)


def adapted(jobs: Iterable[Timed], scale: float, name: str) -> list[Timed]:
    """Return jobs with lengths so many times longer, whose ids begin with a name."""
    return [(at, _scaled(job, scale, name)) for at, job in jobs]


def _scaled(job: Job, scale: float, name: str) -> Job:
    prompt = max(SHORTEST, round(job.prompt_tokens * scale))
    output = max(1, round(_output(job) * scale))
    blocks = prompt // BLOCK
    if job.prefix:
        names: Sequence[int] = job.prefix[: round(len(job.prefix) * scale)][:blocks]
    elif job.session:
        names = conversation(f"{name}/{job.tenant}/{job.session}", blocks)
    else:
        names = ()
    return replace(
        job, id=f"{name}-{job.id}", prompt_tokens=prompt, max_tokens=output, output_tokens=output,
        prefix=tuple(names), prefix_block=BLOCK,
    )  # fmt: skip


def _output(job: Job) -> int:
    return job.max_tokens if job.output_tokens is None else max(1, job.output_tokens)


def text_of(job: Job) -> str:
    """Return the prompt of a job: the words of its blocks, then words of its own."""
    shared = chain.from_iterable(
        Random(f"block {name}").choices(WORDS, k=job.prefix_block) for name in job.prefix
    )
    own = Random(f"job {job.id}").choices(WORDS, k=job.prompt_tokens)
    words = [*shared, *own]
    return " ".join(words[: max(1, job.prompt_tokens - 1)])  # one token begins every text


def body_of(job: Job, *, full_length: bool) -> bytes:
    """Return the body of a job; `full_length` keeps engines that know it from ending early."""
    body: dict[str, object] = {"prompt": text_of(job), "max_tokens": job.max_tokens}
    if full_length:
        body["ignore_eos"] = True
    return json.dumps(body).encode()


def rate_for(load: float, jobs: Sequence[Timed], profiles: Sequence[Profile]) -> float:
    """Return how many times faster jobs must come to use engines that much (0..1).

    What caches spare is not counted, so engines are used a little less.
    """
    span = max(at for at, _ in jobs) or 1.0
    capacity = sum(1.0 / mean(_work_s(job, profile) for _, job in jobs) for profile in profiles)
    return load * capacity / (len(jobs) / span)


def _work_s(job: Job, profile: Profile) -> float:
    """Return what of an engine's time a job takes when all slots are in use."""
    cost, prompt, output = profile.cost, job.prompt_tokens, _output(job)
    prefill = cost.base_ms + cost.prefill_ms * prompt + cost.quad_ms * prompt * prompt / 2
    step = cost.base_ms / profile.max_seqs + cost.decode_ms
    decode = output * (step + cost.kv_us * (prompt + output / 2) / 1000)
    return max(1e-6, (prefill + decode) / 1000)
