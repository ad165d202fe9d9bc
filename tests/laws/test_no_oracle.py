"""No decision rests on how long an answer will be: the source says so, and so do the decisions.

The first half reads the source of everything that decides: a true length may be read from the
`Usage` of an attempt that ended, and from nothing else. The second half plays the same events with
other lengths for the jobs that still wait; until the first of them ends, nothing may differ.
"""

from __future__ import annotations

import ast
import heapq
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest

from parallax.core.lifecycle import Outcome
from parallax.core.model import JobView, Usage
from parallax.core.settings import Policies
from parallax.policies.ordering.sjf import Sjf
from parallax.scheduling.actions import Action, Dispatch
from parallax.scheduling.events import AttemptEnded, Event, JobArrived, WorkerReported
from parallax.scheduling.scheduler import Scheduler, build_scheduler
from tests.laws.histories import every_composition

ROOT = Path(__file__).parents[2]
DECIDES = ("parallax/policies", "parallax/scheduling")
SOURCES = sorted(path for part in DECIDES for path in (ROOT / part).rglob("*.py"))

TRUTH = "output_tokens"
#: The nouns that know a length beforehand.
ORACLES = {"Job", "JobTruth"}

Function = ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda


def peeks(source: str) -> list[str]:
    """Return the places where a source reads a true length other than from what was used."""
    tree = ast.parse(source)
    return [f"line {line}: {why}" for line, why in sorted(_peeks(tree, set()))]


def _peeks(node: ast.AST, used: set[str]) -> Iterator[tuple[int, str]]:
    """Look below a node; `used` are the names that stand for a `Usage` here."""
    for child in ast.iter_child_nodes(node):
        inner = used
        if isinstance(child, Function):
            inner = _names_of_usage(child, used)
        why = _reason(child, inner)
        if why:
            yield getattr(child, "lineno", 0), why
        yield from _peeks(child, inner)


def _reason(node: ast.AST, used: set[str]) -> str:
    if isinstance(node, ast.Attribute) and node.attr == TRUTH:
        return "" if _is_usage(node.value, used) else f"reads {ast.unparse(node)}"
    if isinstance(node, ast.Attribute) and node.attr in ORACLES:
        return f"names {ast.unparse(node)}"
    if isinstance(node, ast.ImportFrom):
        known = sorted(ORACLES & {alias.name for alias in node.names})
        return f"imports {', '.join(known)}" if known else ""
    if isinstance(node, ast.Constant) and node.value == TRUTH:
        return f"names {TRUTH!r} in a text"
    return ""


def _is_usage(node: ast.expr, used: set[str]) -> bool:
    """Whether an expression is a `Usage`: a name known to be one, or somebody's `usage`."""
    if isinstance(node, ast.Attribute):
        return node.attr == "usage"
    return isinstance(node, ast.Name) and node.id in used


def _names_of_usage(function: Function, outer: set[str]) -> set[str]:
    """Return the names that stand for a `Usage` in a function: annotated so, or taken from one."""
    given = function.args
    arguments = [*given.posonlyargs, *given.args, *given.kwonlyargs]
    names = outer - {argument.arg for argument in arguments}
    names |= {a.arg for a in arguments if a.annotation and _says_usage(a.annotation)}
    for node in ast.walk(function):
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            if _is_usage(node.value, names):
                names.add(node.targets[0].id)
            else:
                names.discard(node.targets[0].id)
    return names


def _says_usage(annotation: ast.expr) -> bool:
    return ast.unparse(annotation) in {"Usage", "Usage | None"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_source_that_decides_reads_a_length_beforehand(path: Path) -> None:
    assert peeks(path.read_text()) == []


def test_the_sources_are_found_and_some_do_read_what_was_used() -> None:
    assert len(SOURCES) > 25
    assert sum(f".{TRUTH}" in path.read_text() for path in SOURCES) >= 2


CAUGHT = [
    "def key(self, job):\n    return job.output_tokens",
    "def key(self, job: JobView, estimate: float):\n    return self.truth[job.id].output_tokens",
    "from parallax.core.model import JobTruth",
    "from parallax.core.model import ClusterView, Job, JobView",
    "import parallax.core.model as m\ndef f(x: m.JobTruth): ...",
    "def key(self, job): return getattr(job, 'output_tokens')",
    "longest = sorted(jobs, key=lambda job: job.output_tokens)",
    "def f(self, usage: Usage):\n    return lambda usage: usage.output_tokens",
    "def f(self, usage: Usage):\n    usage = self.oracle\n    return usage.output_tokens",
]
LEFT_ALONE = [
    "def ended(self, job: JobView, worker: str, usage: Usage):\n    return usage.output_tokens",
    "def f(event: AttemptEnded):\n    used = event.usage\n    return used.output_tokens",
    "def f(event: AttemptEnded):\n    return event.usage.output_tokens",
    "def learn(self, job: JobView, output_tokens: int):\n    self.seen.append(output_tokens)",
]


@pytest.mark.parametrize("source", CAUGHT)
def test_a_source_that_peeks_is_caught(source: str) -> None:
    assert peeks(source) != []


@pytest.mark.parametrize("source", LEFT_ALONE)
def test_learning_from_what_was_used_is_left_alone(source: str) -> None:
    assert peeks(source) == []


# -- decisions --------------------------------------------------------------------------------

FORK = 6.0  # when the lengths of what still waits are dealt anew (seconds)
LAST = 9.0


@dataclass
class Cell:
    """Four workers of two slots, jobs of three tenants, and lengths that only the cell knows."""

    scheduler: Scheduler
    lengths: dict[str, int]
    jobs: list[JobView]
    log: list[tuple[float, Action]] = field(default_factory=list)
    dealt: set[str] = field(default_factory=set)
    first_dealt_end: float = LAST
    _ends: list[tuple[float, str, Dispatch]] = field(default_factory=list)
    _sent: set[str] = field(default_factory=set)

    def play(self, again: Random | None) -> None:
        """Play all events until LAST; at FORK deal the lengths of what waits anew with `again`."""
        self._tell([WorkerReported(f"w{n}", 2) for n in range(4)], 0.0)
        by_id = {job.id: job for job in self.jobs}
        coming = list(reversed(self.jobs))
        while True:
            end = self._ends[0][0] if self._ends else LAST
            now = min(end, coming[-1].arrival if coming else LAST)
            if now >= FORK and not self.dealt:
                self._deal(again)
            if now >= LAST:
                return
            if now == end:
                _, job_id, sent = heapq.heappop(self._ends)
                self._ended(by_id[job_id], sent, now)
            else:
                job = coming.pop()
                self._tell([JobArrived(job, job.id)], now)

    def _tell(self, events: list[Event], now: float) -> None:
        for action in self.scheduler.handle(events, now):
            self.log.append((now, action))
            if isinstance(action, Dispatch):
                self._sent.add(action.job_id)
                service = 0.004 * self.lengths[action.job_id]
                heapq.heappush(self._ends, (now + service, action.job_id, action))

    def _ended(self, job: JobView, sent: Dispatch, now: float) -> None:
        length = self.lengths[job.id]
        if job.id in self.dealt:
            self.first_dealt_end = min(self.first_dealt_end, now)
        used = Usage(job.prompt_tokens, length, 0, 0.004 * length, 0.01)
        end = AttemptEnded(
            job.id, job.tenant, sent.worker, sent.attempt, sent.estimate, Outcome.COMPLETED, used
        )
        self._tell([end], now)

    def _deal(self, again: Random | None) -> None:
        waiting = [job.id for job in self.jobs if job.id not in self._sent]
        self.dealt = set(waiting)
        if again is not None:
            lengths = [self.lengths[name] for name in waiting]
            again.shuffle(lengths)
            self.lengths.update(zip(waiting, lengths, strict=True))


def world(seed: int) -> tuple[list[JobView], dict[str, int]]:
    random = Random(seed)
    jobs, at = [], 0.0
    for n in range(400):
        at += random.expovariate(50.0)
        tenant = random.choice("abc")
        prompt = random.randrange(1, 1_000)
        due = at + random.choice((2.0, 60.0))
        jobs.append(JobView(f"j{n}", tenant, prompt, 400, at, deadline=due))
    return jobs, {job.id: random.randrange(150, 400) for job in jobs}


def played(policies: Policies, again: Random | None, *, peeking: bool = False) -> Cell:
    jobs, lengths = world(3)
    cell = Cell(build_scheduler(policies, 5), lengths, jobs)
    if peeking:
        cell.scheduler._line.ordering = Peeking(lengths)
    cell.play(again)
    return cell


def same_until_the_first_end(one: Cell, other: Cell) -> bool:
    """Whether two plays took the same decisions until an answer told the first dealt length."""
    until = min(one.first_dealt_end, other.first_dealt_end)
    logs = ([entry for entry in cell.log if entry[0] < until] for cell in (one, other))
    return next(logs) == next(logs)


def decided_between(cell: Cell, other: Cell) -> int:
    """How many dispatches were compared after the lengths were dealt."""
    until = min(cell.first_dealt_end, other.first_dealt_end)
    times = [at for at, action in cell.log if isinstance(action, Dispatch)]
    return sum(FORK <= at < until for at in times)


@dataclass
class Peeking(Sjf):
    """Shortest true length first: the dictionary is the oracle."""

    lengths: dict[str, int] = field(default_factory=dict)

    def __init__(self, lengths: dict[str, int]) -> None:
        Sjf.__init__(self)
        self.lengths = lengths

    def key(self, job: JobView, estimate: float, service_s: float) -> float:
        return float(self.lengths[job.id])


@pytest.mark.sampled(4)
@every_composition
def test_other_lengths_of_what_waits_change_no_decision(policies: Policies) -> None:
    compared = 0
    truth = played(policies, None)
    for seed in range(3):
        dealt = played(policies, Random(seed))
        assert dealt.lengths != truth.lengths
        assert same_until_the_first_end(truth, dealt)
        compared += decided_between(truth, dealt)
    assert compared > 10


def test_an_order_that_peeks_is_caught() -> None:
    truth = played(Policies(), None, peeking=True)
    dealt = [played(Policies(), Random(seed), peeking=True) for seed in range(3)]
    assert not all(same_until_the_first_end(truth, other) for other in dealt)


def test_after_the_first_end_the_lengths_do_matter() -> None:
    """The control of the comparison: two plays are different plays, once answers are known."""
    truth, dealt = played(Policies(), None), played(Policies(), Random(0))
    assert truth.log != dealt.log
