"""Scenes in which a script is asked for several jobs at once: none may be mixed up with another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from parallax.broker.attempts import Assignment, Finish, decode_assignment
from parallax.broker.dispatching import Lease
from parallax.broker.intake import Ending, Intake
from parallax.core.errors import Fenced
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
    return cancelled(cell, worker="w1", rival="w2")


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


@larger("death of a worker with two jobs, one of them begun")
def _(cell: Cell) -> Question:
    held = assigned(cell, "w1", "w1")
    cell.attempts().begin(held[:1])
    cell.link.call("DEL", cell.keys.active)
    cell.die()
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w1", held)


@larger("death of a worker with a last attempt")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(max_attempts=1), reply="inbox")
    cell.die()
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w1", [attempt.assignment])


@larger("death of the second attempt's worker")
def _(cell: Cell) -> Question:
    _, second = cell.doubled(job())
    cell.die("w2")
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w2", [second.assignment])


@larger("death of the first attempt's worker")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    cell.die("w1")
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w1", [first.assignment])


@larger("death before a deadline, after a second attempt is over")
def _(cell: Cell) -> Question:
    cell.join("w1")
    cell.join("w2")
    first = cell.begun(job(deadline_s=1000.0))
    cell.send(Dispatch("j1", "acme", "", "w2", 2, 10.0, hedge=True), cell.lead())
    second = cell.begin("w2")
    cell.attempts("w2").finish([Finish(second, "back", report(second, "w2"))])
    cell.die("w1")
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w1", [first.assignment])


@larger("repair of what is nowhere, for an idle tenant")
def _(cell: Cell) -> Question:
    cell.submit(*TWO)
    cell.link.call("DEL", cell.keys.arrivals("anna"), cell.keys.active)
    lease = cell.lead()
    return lambda: cell.rescue.repair(lease, ["a1", "b1"], 0)


@larger("repair of what is young")
def _(cell: Cell) -> Question:
    cell.submit(*TWO)
    cell.link.call("DEL", cell.keys.arrivals("anna"))
    lease = cell.lead()
    return lambda: cell.rescue.repair(lease, ["a1", "b1"], 1_000_000)


@larger("steal of two, one of them begun")
def _(cell: Cell) -> Question:
    held = assigned(cell, "w1", "w1")
    cell.join("w2")
    cell.attempts().begin(held[:1])
    lease = Lease("another|7")
    cell.link.call("SET", cell.keys.leader, lease.token)
    return lambda: cell.rescue.steal(lease, "w1", "w2", [("a1", 1), ("b1", 1)], 8)


@larger("scrub of the second attempt, and of one that is over")
def _(cell: Cell) -> Question:
    first, second = cell.doubled(job())
    cell.attempts("w2").finish([Finish(second, "back", report(second, "w2"))])
    cell.link.call("XADD", cell.keys.work("w1"), "*", "j", "j1 7 1.5 1")
    other = decode_assignment(cell.entries("w1")[-1])
    return lambda: cell.rescue.scrub("w1", [first.assignment, other])


@larger("stop of two attempts")
def _(cell: Cell) -> Question:
    lease = cell.lead()
    return lambda: cell.rescue.stop(lease, [("w1", "j1", 1), ("w2", "j2", 2)])


@larger("progress of one that is watched, and of one that is not")
def _(cell: Cell) -> Question:
    first, second = running(cell, reply=None)
    return lambda: cell.attempts().progress([(first, "first", 1), (second, "tokens", 5)], [second])


@larger("a worker leaves")
def _(cell: Cell) -> Question:
    cell.join()
    cell.membership.report("w1", 60_000, {"running": 1})
    cell.link.call("XADD", cell.keys.control("w1"), "*", "cancel", "x")
    return lambda: cell.membership.bury("w1")


@larger("a tenant with work and one without are retired")
def _(cell: Cell) -> Question:
    cell.submit(*TWO)
    cell.link.call("XTRIM", cell.keys.arrivals("bert"), "MAXLEN", 0)
    return lambda: cell.dispatching.retire(["anna", "bert"])


@larger("tenants that nobody rang for are woken")
def _(cell: Cell) -> Question:
    cell.submit(*TWO)
    cell.link.call("DEL", cell.keys.active)
    return lambda: cell.rescue.wake(["anna", "bert", "nobody"])


@larger("a worker comes back under its name")
def _(cell: Cell) -> Question:
    cell.join()
    cell.link.call("DEL", cell.keys.heartbeat("w1"), cell.keys.workers)
    return cell.join


@larger("submit for one tenant more than may wait")
def _(cell: Cell) -> Question:
    intake = Intake(cell.link, cell.keys, replace(cell.limits, max_active=1))
    intake.submit([TWO[0]])
    return lambda: intake.submit([TWO[1], job("a2", "anna")])


@larger("finish of two with bodies, one of which comes back")
def _(cell: Cell) -> Question:
    cell.join()
    receipts = cell.intake.submit(TWO, "inbox", {"a1": b"of a1", "b1": b"of b1"})
    for one, receipt in zip(TWO, receipts, strict=True):
        assert cell.route(one, receipt.detail, cell.lead()) == "ok"
    held = [decode_assignment(entry) for entry in cell.entries()]
    first, second = cell.attempts().begin(held)[0]
    ends = [Finish(first, "completed", report(first)), Finish(second, "back", report(second))]
    return lambda: cell.attempts().finish(ends)


@larger("death of a worker with a job that was accepted long ago")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    key = cell.keys.job("j1")
    about = cell.link.call("HGET", key, "about").partition(b" ")[2]
    cell.link.call("HSET", key, "about", b"5 " + about)
    cell.die()
    lease = cell.lead()
    return lambda: cell.rescue.reclaim(lease, "w1", [attempt.assignment])


@larger("repair of what is there: waiting, running, computed")
def _(cell: Cell) -> Question:
    _, second = running(cell)
    cell.submit(job("c1", "carl"))
    cell.attempts().finish([Finish(second, "prefilled 4 0.25", report(second))])
    cell.link.call("ZADD", cell.keys.open, 5, "a1", 5, "b1", 5, "c1")
    cell.link.call("DEL", cell.keys.active)
    lease = cell.lead()
    return lambda: cell.rescue.repair(lease, ["a1", "b1", "c1"], 0)


@larger("repair of what a dead worker holds, early and late")
def _(cell: Cell) -> Question:
    running(cell)
    cell.die()
    now_ms = 1000 * int(cell.link.call("TIME")[0])
    cell.link.call("ZADD", cell.keys.open, now_ms - 120_000, "a1", 5, "b1")
    lease = cell.lead()
    return lambda: cell.rescue.repair(lease, ["a1", "b1"], 60_000)


@larger("repair of the second attempt's loss")
def _(cell: Cell) -> Question:
    cell.doubled(job())
    cell.link.call("DEL", cell.keys.work("w1"))
    lease = cell.lead()
    return lambda: cell.rescue.repair(lease, ["j1"], 0)


@larger("repair by a stranger")
def _(cell: Cell) -> Question:
    cell.submit(*TWO)
    cell.link.call("DEL", cell.keys.arrivals("anna"), cell.keys.active)

    def ask() -> str:
        try:
            cell.rescue.repair(Lease("stranger|1"), ["a1", "b1"], 0)
        except Fenced:
            return "fenced"
        return "it changed something"

    return ask


@larger("scrub of the second attempt alone")
def _(cell: Cell) -> Question:
    _, second = cell.doubled(job())
    return lambda: cell.rescue.scrub("w2", [second.assignment])
