"""What a leader decided can be decided again offline, to the last byte; and it can be explained."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.recording import (
    Batch,
    Beginning,
    Line,
    Recording,
    decode_line,
    encode_line,
)
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.errors import InvalidInput
from parallax.core.settings import Policies, PolicyChoice
from parallax.policies.registry import ROUTING
from parallax.services.replay import Explanation, jobs_of, redo
from parallax.sim.traces.formats import generic
from tests.integration.cells import Cell, job, jobs, recording_of

LAST = job("late", prompt_tokens=64, deadline_s=30.0, session="s", prefix=(1, 2, 3))
ROUTINGS = sorted(set(ROUTING))


def recorded(cell: Cell, count: int = 60) -> list[Line]:
    """Let a cell work while it is recorded; return the recording as it is read from its file."""
    recording = Recording(cell.connect(), cell.keys, "test")
    recording.start(60_000)
    cell.until(lambda: recording_of(cell.schedulers[-1]), "the leader to record")
    cell.submit(*jobs(count - 1), LAST)
    cell.until_ended("late", *(f"j{n}" for n in range(count - 1)))
    cell.until(lambda: not cell.link.call("XLEN", cell.keys.events), "the last commit")
    lines = [decode_line(line) for line in recording.take(1)]
    lines += [decode_line(line) for line in recording.take(1)]
    recording.stop()
    return lines


def working(connect: Callable[[], Link], policies: Policies | None = None) -> Cell:
    cell = Cell(connect, policies or Policies())
    cell.scheduler()
    cell.worker(NoopEngine(5))
    cell.worker(NoopEngine(5))
    cell.submit(*(job(f"before{n}") for n in range(40)))
    cell.until_ended(*(f"before{n}" for n in range(40)))
    return cell


@pytest.mark.slow
@pytest.mark.parametrize("routing", ROUTINGS)
def test_every_routing_policy_decides_the_same_again(
    connect: Callable[[], Link], routing: str
) -> None:
    lines = recorded(working(connect, Policies(routing=PolicyChoice(routing))), 30)
    done = list(redo(lines))
    assert len(done) > 3
    assert all(one.same for one in done)
    assert sum(len(one.batch.events) for one in done) > 60


@pytest.mark.dear
def test_another_seed_or_policy_decides_otherwise(connect: Callable[[], Link]) -> None:
    begin, *batches = recorded(working(connect, Policies(routing=PolicyChoice("random"))))
    assert isinstance(begin, Beginning)
    for other in (
        replace(begin, seed=1),
        replace(begin, policies=Policies(routing=PolicyChoice("round_robin"))),
        replace(begin, accounts={"a": 1e9}),
    ):
        assert not all(one.same for one in redo([other, *batches]))


@pytest.mark.dear
def test_a_new_leader_begins_a_new_segment(connect: Callable[[], Link]) -> None:
    cell = working(connect)
    recording = Recording(cell.connect(), cell.keys, "test")
    recording.start(60_000)
    cell.until(lambda: recording_of(cell.schedulers[-1]), "the leader to record")
    cell.schedulers.pop()
    cell.link.call("DEL", cell.keys.leader)
    cell.scheduler()
    cell.until(lambda: recording_of(cell.schedulers[-1]), "the new leader to record")
    cell.submit(job("j"))
    cell.until_ended("j")
    lines = [decode_line(line) for line in recording.take(1)]
    assert sum(isinstance(line, Beginning) for line in lines) == 2
    assert all(one.same for one in redo(lines))


@pytest.mark.dear
def test_a_missing_batch_is_noticed(connect: Callable[[], Link]) -> None:
    lines = recorded(working(connect))
    del lines[len(lines) // 2]
    with pytest.raises(InvalidInput, match="missing"):
        list(redo(lines))


@pytest.mark.dear
def test_when_nobody_asks_any_more_the_leader_stops(connect: Callable[[], Link]) -> None:
    cell = working(connect)
    recorded(cell)
    cell.until(lambda: not recording_of(cell.schedulers[-1]), "the leader to stop")
    before = cell.link.call("XLEN", cell.keys.record)
    cell.submit(job("unseen"))
    cell.until_ended("unseen")
    assert cell.link.call("XLEN", cell.keys.record) == before


def test_lines_come_back_as_they_were_written(connect: Callable[[], Link]) -> None:
    for line in recorded(working(connect)):
        assert encode_line(decode_line(encode_line(line))) == encode_line(line)


@pytest.mark.parametrize("junk", [b"", b"{", b"[]", b'["batch",1]', b'["begin",{}]', b"\xff",
                                  b'["batch","l",1,1.0,[["Nonsense",{}]],[]]'])  # fmt: skip
def test_junk_is_refused(junk: bytes) -> None:
    with pytest.raises(InvalidInput):
        decode_line(junk)


@pytest.mark.dear
def test_a_placement_is_explained(connect: Callable[[], Link]) -> None:
    lines = recorded(working(connect))
    explanation = Explanation("late")
    list(redo(lines, explanation))
    (placement,) = explanation.placements
    assert placement.policy == "KvLocality"
    assert placement.chosen in {worker.id for worker in placement.workers}
    assert placement.together >= 1
    assert set(placement.scores) <= {worker.id for worker in placement.workers}


@pytest.mark.dear
def test_recorded_jobs_are_a_trace(connect: Callable[[], Link], tmp_path: Path) -> None:
    lines = recorded(working(connect))
    generic.write(tmp_path / "trace.jsonl", jobs_of(lines))
    again = list(generic.read(tmp_path / "trace.jsonl"))
    assert len(again) == 60
    assert {job.output_tokens for _, job in again} == {5}
    assert any(job.prefix == (1, 2, 3) and job.session == "s" for _, job in again)
    assert isinstance(lines[1], Batch)
