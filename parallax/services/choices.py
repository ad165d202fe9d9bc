"""The policies of a running cell: those it was started with, and the later choices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from math import inf
from typing import Any, Literal

from parallax.broker.store.policies import Choice, PolicyDocument, Verdict
from parallax.core.errors import InvalidInput
from parallax.core.model import Slo
from parallax.core.settings import Policies
from parallax.scheduling.scheduler import Scheduler, build_scheduler

#: Kinds of policies that a running leader can change.
CHANGEABLE = (
    "admission", "fairness", "ordering", "gate", "routing", "predictor", "hedging", "stealing",
)  # fmt: skip


def chosen(started: Policies, document: PolicyDocument) -> tuple[Policies, Slo]:
    """Return the policies in force, and what a canary's jobs are judged by.

    Raises InvalidInput for a kind that cannot be changed while a cell runs.
    """
    for kind in document.overrides:
        if kind not in CHANGEABLE:
            raise InvalidInput("kind of policy", kind, f"one of {', '.join(CHANGEABLE)}")
    changes: dict[str, Any] = {k: choice.choice() for k, choice in document.overrides.items()}
    rollout = document.rollout
    if rollout is None:
        return replace(started, **changes), Slo()
    changes |= {"candidate": rollout.candidate.choice(), "rollout": rollout.canary.choice()}
    return replace(started, **changes), Slo(rollout.ttft_s or inf, rollout.tpot_s or inf)


def told(started: Policies) -> dict[str, Choice]:
    """Return the policies that a process was started with, as they are told to people."""
    found = {kind: getattr(started, kind) for kind in CHANGEABLE}
    return {
        kind: Choice(choice.name, {k: _plain(v) for k, v in choice.parameters.items()})
        for kind, choice in found.items()
    }


#: Where a choice was made: `scheduler` is an option, variable or setting of the leader's process.
Source = Literal["default", "scheduler", "policy set", "canary"]


def in_force(
    started: Mapping[str, Choice], document: PolicyDocument
) -> dict[str, tuple[Choice, Source]]:
    """Return for each kind what a cell uses, and where that choice was made."""
    usual = told(Policies())
    found: dict[str, tuple[Choice, Source]] = {
        kind: (choice, "default" if choice == usual.get(kind) else "scheduler")
        for kind, choice in started.items()
    }
    promoted = document.verdict if document.rollout is None else None
    for kind, choice in document.overrides.items():
        won = promoted and promoted.word.endswith("promote") and promoted.candidate == choice.name
        found[kind] = (choice, "canary" if kind == "routing" and won else "policy set")
    if document.rollout is not None:
        found["candidate"] = (document.rollout.candidate, "canary")
        found["rollout"] = (document.rollout.canary, "canary")
    return found


def _plain(value: object) -> str | int | float | bool:
    return value if isinstance(value, str | int | float) else str(value)


def built(started: Policies, document: PolicyDocument, seed: int) -> Scheduler:
    """Return a new scheduler with the policies in force; raises as `chosen` and `compose` do."""
    policies, slo = chosen(started, document)
    return build_scheduler(policies, seed, slo)


def ended(document: PolicyDocument, word: str, arms: dict[str, tuple[int, int]]) -> dict[str, Any]:
    """Return the changes to a document whose canary has ended: promote or rollback."""
    if document.rollout is None:
        raise InvalidInput(
            "canary", "none", "there is none; begin one with `parallax canary start`"
        )
    candidate = document.rollout.candidate
    changes: dict[str, Any] = {"rollout": None, "verdict": Verdict(candidate.name, word, arms)}
    if word.endswith("promote"):
        changes["overrides"] = document.overrides | {"routing": candidate}
    return changes


def arms_of(scheduler: Scheduler) -> dict[str, tuple[int, int]]:
    """Return for each arm of a canary the jobs that were judged, and those that were missed."""
    _, learnt = scheduler.memory.remember().get("rollout", ("", {}))
    return {arm: (jobs, missed) for arm, (_, jobs, missed) in learnt.items()}
