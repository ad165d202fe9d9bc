"""The table of scenes: for each answer of each script, how a cell is brought to asking for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parallax.broker.store.attempts import Finish
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.intake import Ending
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from tests.contract.conftest import Cell, report

STRANGER = Lease("stranger|1")

Question = Callable[[], str]
Scene = Callable[[Cell], Question]
#: (script, answer) -> a scene that prepares a cell and returns the question.
SCENES: dict[tuple[str, str], Scene] = {}
#: What a script answers when it is asked again, where that may differ.
REPEATS: dict[tuple[str, str], str] = {}
#: The answers that only a repetition gets: the first time their scene's question gets another one.
SECOND_ONLY: set[tuple[str, str]] = set()


def scene(
    name: str, word: str, again: str | None = None, second: bool = False
) -> Callable[[Scene], Scene]:
    """Register a scene; `again` and `second` fill the tables `REPEATS` and `SECOND_ONLY`."""

    def add(stage: Scene) -> Scene:
        SCENES[name, word] = stage
        if again is not None:
            REPEATS[name, word] = again
        if second:
            SECOND_ONLY.add((name, word))
        return stage

    return add


def end(cell: Cell, ended: Job, outcome: Outcome = Outcome.CANCELLED, worker: str = "",
        token: str = "") -> str:  # fmt: skip
    return cell.intake.terminate([Ending(ended.id, ended.tenant, outcome, worker=worker)], token)[
        0
    ][0]


def finish(cell: Cell, attempt: Any, verdict: str, worker: str = "w1") -> str:
    return cell.attempts(worker).finish([Finish(attempt, verdict, report(attempt, worker))])[0][0]


def expire_now(cell: Cell, due: Job) -> None:
    cell.link.call("HSET", cell.keys.job(due.id), "deadline", "1")
