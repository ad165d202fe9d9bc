"""The shapes of synthetic jobs: singles, groups, sessions, conversations."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import count
from random import Random
from typing import Any

from parallax.core.model import Job
from parallax.core.prefix import conversation
from parallax.sim.timed import Timed
from parallax.sim.workloads.spec import Made, Stage

BLOCK = 16  # tokens of a prefix's blocks
#: Makes the job of an arrival from its number, the group it falls to, and its stage.
Body = Callable[[int, int, Stage], Job]


def singles(made: Made, random: Random) -> Body:
    """Jobs that have nothing to do with each other."""

    def body(n: int, _: int, stage: Stage) -> Job:
        tenant, prompt = _tenant(made, stage, random), made.prompt.draw(random)
        return _job(made, n, tenant, prompt, _answer(made, random))

    return body


def grouped(made: Made, random: Random) -> Body:
    """Prompts that begin with their group's common text; each member asks its own question."""
    system, question = made.system.draw(random), made.prompt.draw(random)
    following = _row(made, random) if made.order == "cyclic" else None

    def body(n: int, group: int, stage: Stage) -> Job:
        if following is None:
            member = random.randrange(made.members)
        else:
            group, member = following(stage)
        own = f"groups/{group}/{member}"
        names = _chain((f"groups/{group}", system), (own, system + question))
        tenant = _tenant(made, stage, random)
        return _job(made, n, tenant, system + question, _answer(made, random), prefix=names)

    return body


def _row(made: Made, random: Random) -> Callable[[Stage], tuple[int, int]]:
    """Return what gives the next group and member of a shuffled row, from its head in each stage.

    Between two arrivals of a prompt are then all the others, the most that an LRU cache can suffer.
    """
    row = [(group, member) for group in range(made.groups) for member in range(made.members)]
    random.shuffle(row)
    now: Stage | None = None
    at = 0

    def following(stage: Stage) -> tuple[int, int]:
        nonlocal now, at
        if stage is not now:
            now, at = stage, 0
        at += 1
        return row[(at - 1) % len(row)]

    return following


def turns(made: Made, random: Random) -> Body:
    """Turns of open sessions: each prompt is all that was said before, and something new."""
    said, turn, serial = [0] * made.groups, [0] * made.groups, [0] * made.groups
    owner = [_tenant(made, made.stages[0], random) for _ in range(made.groups)]

    def body(n: int, group: int, _: Stage) -> Job:
        if turn[group] >= made.max_turns or (turn[group] and said[group] >= made.max_context):
            turn[group], serial[group] = 0, serial[group] + 1
        if turn[group] == 0:
            said[group] = made.system.draw(random)
        prompt, output = said[group] + made.prompt.draw(random), _answer(made, random)
        said[group], turn[group] = prompt + output, turn[group] + 1
        session = f"s{group}-{serial[group]}"
        return _job(made, n, owner[group], prompt, output, session=session)

    return body


@dataclass(slots=True)
class _Talk:
    """A conversation that is open."""

    serial: int
    group: int
    tenant: str
    left: int  # turns
    system: int  # tokens, as is `said`
    said: int


def conversations(
    made: Made, random: Random, begins: Iterator[tuple[float, int, Stage]]
) -> Iterator[Timed]:
    """Conversations that begin at the given times in their groups; turns are some thinking apart.

    The load is open: a turn comes when its user has thought, whether or not the answer is there.
    What would come after the last stage is left out.
    """
    end_s = sum(stage.seconds for stage in made.stages)
    systems = [made.system.draw(random) for _ in range(made.groups)]
    due: list[tuple[float, int, _Talk]] = []  # the next turn of each open conversation
    numbers = count()
    for serial, (begin_s, group, stage) in enumerate(begins):
        while due and due[0][0] <= begin_s:
            yield _next_turn(made, random, due, next(numbers))
        tenant = _tenant(made, stage, random)
        length = min(made.turns.draw(random), made.max_turns)
        talk = _Talk(serial, group, tenant, length, systems[group], systems[group])
        heappush(due, (begin_s, serial, talk))
    while due and due[0][0] < end_s:
        yield _next_turn(made, random, due, next(numbers))


def _next_turn(made: Made, random: Random, due: list[tuple[float, int, _Talk]], n: int) -> Timed:
    at_s, serial, talk = heappop(due)
    prompt, output = talk.said + made.prompt.draw(random), _answer(made, random)
    names = _chain((f"app/{talk.group}", talk.system), (f"talk/{serial}", prompt))
    job = _job(made, n, talk.tenant, prompt, output, prefix=names, session=f"s{serial}")
    talk.said, talk.left = prompt + output, talk.left - 1
    if talk.left and talk.said < made.max_context:
        heappush(due, (at_s + made.think_s.real(random), serial, talk))
    return at_s, job


def _chain(*parts: tuple[str, int]) -> tuple[int, ...]:
    """Return the names of whole blocks: of each part up to so many tokens from the start."""
    names: list[int] = []
    for text, tokens in parts:
        names += conversation(text, tokens // BLOCK)[len(names) :]
    return tuple(names)


def _tenant(made: Made, stage: Stage, random: Random) -> str:
    shares = stage.tenants or made.tenants
    (number,) = random.choices(range(len(shares)), weights=shares)
    return f"tenant-{number}"


def _answer(made: Made, random: Random) -> int:
    return min(made.output.draw(random), made.max_tokens)


def _job(made: Made, n: int, tenant: str, prompt: int, output: int, **more: Any) -> Job:
    deadline = made.deadline_s or None
    model = made.models[n % len(made.models)] if made.models else ""
    return Job(
        f"made-{n}", tenant, prompt, made.max_tokens, output_tokens=output, deadline_s=deadline,
        model=model, **more,
    )  # fmt: skip
