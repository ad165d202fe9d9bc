"""The gate by tokens: what is not sent can still be ordered, though slots are free."""

from __future__ import annotations

from dataclasses import replace

import pytest

from parallax.core.errors import InvalidInput
from parallax.core.model import Job
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.gating.tokens import Tokens
from parallax.policies.testing import worker
from parallax.sim.simulate import simulate
from parallax.sim.spec import FleetSpec, RunSpec, WorkloadSpec


def test_none_is_sent_while_so_many_tokens_wait() -> None:
    gate = Tokens(prompts=1_000)
    assert gate.free(worker(in_flight=3, decoding=1, prefill_tokens=999.0)) == 1
    assert gate.free(worker(in_flight=3, decoding=1, prefill_tokens=1_000.0)) == 0


def test_a_worker_for_which_none_wait_is_given_one_however_long_and_a_full_one_none() -> None:
    gate = Tokens(prompts=1, prefetch=1)
    assert gate.free(worker()) == 1
    assert gate.free(worker(slots=8, in_flight=8, decoding=8)) == 1
    assert gate.free(worker(slots=8, in_flight=9, decoding=9)) == 0
    assert gate.free(worker(draining=True)) == 0


@pytest.mark.parametrize(("name", "value"), [("prompts", 0), ("prefetch", -1)])
def test_its_parameters_are_checked(name: str, value: int) -> None:
    with pytest.raises(InvalidInput, match=rf"tokens\.{name}"):
        Tokens(**{name: value})


def first_token_of_the_quiet_one(gate: PolicyChoice) -> float:
    """Return how long one short job waits that comes after a burst of another tenant's long ones.

    All of them fit into the slots of the only worker.
    """
    burst = [(0.0, Job(f"n{n}", "noisy", 4_000, 64, "", 16)) for n in range(40)]
    load = [*burst, (0.5, Job("quiet", "quiet", 200, 64, "", 16))]
    policies = replace(Policies(), gate=gate)
    run = simulate(RunSpec(WorkloadSpec("made-up"), FleetSpec(1), policies), load)
    assert {job.outcome for job in run.jobs} == {"completed"}
    (quiet,) = (job for job in run.jobs if job.tenant == "quiet")
    return quiet.ttft_s


def test_a_quiet_tenant_overtakes_a_burst_that_would_fit_into_the_slots() -> None:
    held_back = first_token_of_the_quiet_one(PolicyChoice("tokens"))
    control = first_token_of_the_quiet_one(PolicyChoice("jbsq"))
    assert held_back < 0.2 * control
