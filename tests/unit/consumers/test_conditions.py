"""A desk whose engine comes and goes: what is begun, what rests, and what goes back unharmed."""

from __future__ import annotations

from random import Random

import pytest

from parallax.broker.store.attempts import Assignment, Attempt
from parallax.consumers import actions as do
from parallax.consumers import news as told
from parallax.consumers.desk import Desk
from parallax.consumers.engines.interface import Condition, Done
from parallax.core.settings import WorkerSettings

ONE = Assignment("1-0", "j", "1", 1.0, 1)
ATTEMPT = Attempt(ONE, "acme", "", 10, 20, 5, "in", 0.1)


def desk(*, ready: bool = True, fresh: bool = True) -> Desk:
    made = Desk("w", 2, WorkerSettings(), Random(1), ready=ready)
    made.handle([told.Fresh(fresh)], 0.0)
    return made


def kinds(actions: list[do.Action]) -> list[type[do.Action]]:
    return [type(action) for action in actions]


def verdicts(made: Desk) -> list[str]:
    """Let what rests have rested; return how it ends."""
    actions = made.handle([], 1_000.0)
    return [f.verdict for a in actions if isinstance(a, do.End) for f in a.finishes]


def test_what_comes_to_an_engine_that_is_not_ready_goes_back_after_a_rest() -> None:
    made = desk(ready=False)
    assert kinds(made.handle([told.Read([ONE])], 0.0)) == [do.Begin]
    assert do.Add not in kinds(made.handle([told.Begun([ATTEMPT])], 0.0))
    assert len(made.resting) == 1
    assert verdicts(made) == ["back"]


def test_the_control_what_comes_to_one_that_is_ready_is_added() -> None:
    made = desk()
    made.handle([told.Read([ONE])], 0.0)
    assert do.Add in kinds(made.handle([told.Begun([ATTEMPT])], 0.0))


@pytest.mark.parametrize(
    ("untouched", "verdict"), [(True, "back"), (False, "retry")], ids=["untouched", "touched"]
)
def test_an_attempt_that_the_engine_has_not_begun_does_not_count(
    untouched: bool, verdict: str
) -> None:
    made = desk()
    made.handle([told.Read([ONE])], 0.0)
    made.handle([told.Begun([ATTEMPT])], 0.0)
    made.handle([Done("j", 0.0, error="gone", again=True, untouched=untouched)], 0.0)
    assert verdicts(made) == [verdict]


@pytest.mark.parametrize("ready", [True, False])
def test_who_may_be_believed_dead_begins_nothing(ready: bool) -> None:
    made = desk(ready=ready, fresh=False)
    assert made.handle([told.Read([ONE])], 0.0) == []


def test_fewer_slots_are_heeded_at_once() -> None:
    made = desk()
    made.handle([Condition(0.0, True, 1, "busy")], 0.0)
    several = [Assignment(f"{n}-0", f"j{n}", "1", 1.0, 1) for n in range(1, 4)]
    (begin,) = made.handle([told.Read(several)], 0.0)
    assert isinstance(begin, do.Begin)
    assert len(begin.assignments) == 1
