"""Scenes in which a script is asked for several jobs at once: none may be mixed up with another."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from parallax.broker.store.attempts import Assignment, Finish, decode_assignment
from parallax.broker.store.intake import Ending
from parallax.core.lifecycle import Outcome
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report

Question = Callable[[], Any]
Scene = Callable[[Cell], Question]
LARGER: dict[str, Scene] = {}


def larger(name: str) -> Callable[[Scene], Scene]:
    """Register a scene."""

    def add(stage: Scene) -> Scene:
        LARGER[name] = stage
        return stage

    return add


TWO = (job("a1", "anna"), job("b1", "bert"))


def assigned(cell: Cell, *workers: str, reply: str | None = "inbox") -> list[Assignment]:
    """Let the jobs of two tenants lie with these workers; return their assignments."""
    for worker in set(workers):
        cell.join(worker)
    receipts = cell.intake.submit(TWO, reply)
    sent = [
        Dispatch(one.id, one.tenant, receipt.detail, worker, 1, 10.0)
        for one, receipt, worker in zip(TWO, receipts, workers, strict=True)
    ]
    caps = dict.fromkeys(workers, 8)
    assert cell.dispatching.commit(cell.lead(), sent, caps, {}) == ["ok", "ok"]
    found = {w: [decode_assignment(entry) for entry in cell.entries(w)] for w in workers}
    return [next(a for a in found[w] if a.job_id == one.id)
            for w, one in zip(workers, TWO, strict=True)]  # fmt: skip


def running(cell: Cell, **options: Any) -> list[Any]:
    """Let both jobs run on w1; return their attempts."""
    return list(cell.attempts().begin(assigned(cell, "w1", "w1", **options))[0])


@larger("submit of two tenants with bodies, deadlines and limits")
def _(cell: Cell) -> Question:
    jobs = [
        job("a1", "anna", deadline_s=100.0),
        job("b1", "bert", max_attempts=1),
        job("a2", "anna", max_attempts=2, deadline_s=50.0),
        job("a2", "anna", max_attempts=2, deadline_s=50.0),
        job("a2", "anna", prompt_tokens=11),
    ]
    bodies = {"a1": b"of a1", "a2": b"of a2"}
    return lambda: cell.intake.submit(jobs, None, bodies)


@larger("submit of more than fits, within one batch")
def _(cell: Cell) -> Question:
    return lambda: cell.submit(*(job(f"j{n}") for n in range(5)))  # three may wait


@larger("submit of a body that is too big")
def _(cell: Cell) -> Question:
    return lambda: cell.intake.submit([job("j1"), job("j2")], "", {"j2": b"x" * 5_000})


@larger("route of two tenants to two workers, with balances")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    first, second = cell.submit(*TWO)
    sent = [
        Dispatch("a1", "anna", first.detail, "w2", 1, 10.0),
        Dispatch("b1", "bert", second.detail, "w1", 1, 20.0),
    ]
    lease, caps = cell.lead(), {"w1": 1, "w2": 1}
    return lambda: cell.dispatching.commit(lease, sent, caps, {"anna": 1.5, "bert": 2.5})


@larger("route of two jobs where there is room for one")
def _(cell: Cell) -> Question:
    cell.join("w1")
    first, second = cell.submit(*TWO)
    sent = [
        Dispatch("a1", "anna", first.detail, "w1", 1, 10.0),
        Dispatch("b1", "bert", second.detail, "w1", 1, 10.0),
    ]
    lease = cell.lead()
    return lambda: cell.dispatching.commit(lease, sent, {"w1": 1}, {})


@larger("route of a second attempt")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    cell.begun(job())
    lease = cell.lead()
    return lambda: cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), lease)


@larger("route of a second attempt beside what waits, and of a late one")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    cell.submit(job("j1"))
    cell.begun(job("j2"))
    cell.link.call("HSET", cell.keys.job("j2"), "deadline", "1")
    lease = cell.lead()
    sent = [
        Dispatch("j1", "acme", "", "w2", 1, 10.0, hedge=True),
        Dispatch("j2", "acme", "", "w2", 2, 10.0, hedge=True),
    ]
    return lambda: cell.dispatching.commit(lease, sent, {"w2": 8}, {})


@larger("route of a computed prompt")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    attempt = cell.begun(job())
    cell.attempts().finish([Finish(attempt, "prefilled 4 0.25", report(attempt))])
    lease = cell.lead()
    sent = [Dispatch("j1", "acme", "", "w2", 2, 10.0, prefilled_by="w1")]
    return lambda: cell.dispatching.commit(lease, sent, {"w2": 8}, {})


@larger("begin of the second attempt")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    cell.begun(job())
    cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), cell.lead())
    assignment = decode_assignment(cell.entries("w2")[-1])
    return lambda: cell.attempts("w2").begin([assignment])


@larger("begin of one that was cancelled, beside one that was not")
def _(cell: Cell) -> Question:
    held = assigned(cell, "w1", "w1")
    cell.link.call("HSET", cell.keys.job("a1"), "at", "cancelled system 0 1")
    return lambda: cell.attempts().begin(held)


@larger("begin of a computed prompt, which is read once more")
def _(cell: Cell) -> Question:
    first, second = running(cell)
    cell.attempts().finish([Finish(first, "prefilled 4 0.25", report(first))])
    return lambda: cell.attempts().begin([first.assignment, second.assignment])


@larger("finish of two, each told to its own")
def _(cell: Cell) -> Question:
    first, second = running(cell, reply=None)
    ends = [Finish(first, "completed", report(first)), Finish(second, "failed", report(second))]
    return lambda: cell.attempts().finish(ends)


@larger("finish of two, told to one")
def _(cell: Cell) -> Question:
    ends = [Finish(a, "completed", report(a)) for a in running(cell)]
    return lambda: cell.attempts().finish(ends)


@larger("finish of the same attempt twice in one batch")
def _(cell: Cell) -> Question:
    (first, _) = running(cell)
    ends = [Finish(first, word, report(first)) for word in ("completed", "failed")]
    return lambda: cell.attempts().finish(ends)


@larger("finish of two that come back, one of them as a failure")
def _(cell: Cell) -> Question:
    first, second = running(cell)
    cell.link.call("DEL", cell.keys.active)
    ends = [Finish(first, "back", report(first)), Finish(second, "retry", report(second))]
    return lambda: cell.attempts().finish(ends)


@larger("finish of a last attempt that failed")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(max_attempts=1), reply="inbox")
    return lambda: cell.attempts().finish([Finish(attempt, "retry", report(attempt))])


@larger("finish of the second attempt, which wins")
def _(cell: Cell) -> Question:
    _, second = cell.doubled(job())
    return lambda: cell.attempts("w2").finish([Finish(second, "completed", report(second, "w2"))])


@larger("finish of the first attempt, which yields")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    return lambda: cell.attempts().finish([Finish(first, "retry", report(first))])


@larger("finish by a zombie whose job waits again")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(), reply="inbox")
    cell.die()
    cell.rescue.reclaim(cell.lead(), "w1", [attempt.assignment])
    return lambda: cell.attempts().finish([Finish(attempt, "completed", report(attempt))])


@larger("a zombie hands back what waits again")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.die()
    cell.rescue.reclaim(cell.lead(), "w1", [attempt.assignment])
    return lambda: cell.attempts().finish([Finish(attempt, "back", report(attempt))])


def cancelled(cell: Cell, **believed: Any) -> Question:
    end = Ending("j1", "acme", Outcome.CANCELLED, **believed)
    return lambda: cell.intake.terminate([end])


@larger("cancel of what waits")
def _(cell: Cell) -> Question:
    cell.intake.submit([job()], "inbox", {"j1": b"a body"})
    return cancelled(cell, reply="inbox")


@larger("cancel of what lies with a worker")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return cancelled(cell, worker="w1")


@larger("cancel of what runs, twice")
def _(cell: Cell) -> Question:
    cell.doubled(job())
    return cancelled(cell, worker="w1", hedge_worker="w2")


@larger("cancel of what runs, without knowing of the second attempt")
def _(cell: Cell) -> Question:
    cell.doubled(job())
    return cancelled(cell, worker="w1")


@larger("cancel of a computed prompt")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.attempts().finish([Finish(attempt, "prefilled 4 0.25", report(attempt))])
    return cancelled(cell, worker="w1")


@larger("rejection, expiry and death of jobs that wait")
def _(cell: Cell) -> Question:
    jobs = [job("j1"), job("j2", deadline_s=0.001), job("j3"), job("j4", "bert")]
    entries = [receipt.detail for receipt in cell.intake.submit(jobs, "inbox", {"j3": b"a body"})]
    cell.link.call("HSET", cell.keys.job("j2"), "deadline", "1")
    ends = [
        Ending("j1", "acme", Outcome.REJECTED, reply="inbox", entry=entries[0]),
        Ending("j2", "acme", Outcome.EXPIRED, reply="inbox", entry=entries[1]),
        Ending("j3", "acme", Outcome.DEAD, reply="inbox"),
        Ending("j4", "bert", Outcome.EXPIRED, reply="inbox", entry=entries[3]),
    ]
    token = cell.lead().token
    return lambda: cell.intake.terminate(ends, token)


@larger("rejection of what a worker has")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    end = Ending("j1", "acme", Outcome.REJECTED, worker="w1")
    token = cell.lead().token
    return lambda: cell.intake.terminate([end], token)


@larger("rejection of what has ended, and whose entry still waits")
def _(cell: Cell) -> Question:
    receipts = cell.submit(job("j1"), job("j2"))
    cell.link.call("HSET", cell.keys.job("j1"), "at", "cancelled system 0 1")
    end = Ending("j1", "acme", Outcome.REJECTED, entry=receipts[0].detail)
    token = cell.lead().token
    return lambda: cell.intake.terminate([end], token)
