"""Which workers may be given a job: one rule for dispatch, hand-over, hedge and steal."""

from __future__ import annotations

from typing import NamedTuple

from parallax.core.model import JobView, WorkerView
from parallax.core.roles import PREFILL


class Need(NamedTuple):
    """The requirements of an attempt on its worker; jobs of equal needs may go to the same ones.

    `prefill` says that a worker which only computes prompts will do. `like` is the pool and the
    version that an attempt must share with the one that it is a copy, or the continuation, of.
    `model` is what the worker must serve; '' = any.
    """

    prefill: bool = False
    like: tuple[str, str] | None = None  # role and version
    model: str = ""


#: What a job needs that is served whole, or whose prompt has been computed.
ANSWER = Need()
#: What a new job needs while prompts may be computed apart from answers.
SPLIT = Need(prefill=True)


def need_like(worker: WorkerView, job: JobView) -> Need:
    """Return what a copy of a job's attempt at this worker needs, or one that is moved from there.

    Prompts that are computed apart are neither copied nor moved.
    """
    return Need(like=(worker.role, worker.version), model=job.model)


def serves(worker: WorkerView, model: str) -> bool:
    """Whether a worker serves a model; one that names none serves any, and '' is any."""
    return not model or not worker.models or model in worker.models


def eligible(need: Need, worker: WorkerView) -> bool:
    """Whether a live worker may be given a job of that need.

    `free` is the gate's word: it takes in slots, draining, and the room in KV memory.
    """
    if worker.free <= 0 or worker.draining:
        return False
    if worker.role == PREFILL and not need.prefill:
        return False
    if need.model and not serves(worker, need.model):
        return False
    return need.like is None or need.like == (worker.role, worker.version)
