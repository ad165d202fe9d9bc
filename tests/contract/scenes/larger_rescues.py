"""Scenes with several jobs at once: deaths, rescues, and what a leader does beside dispatching."""

from __future__ import annotations

from dataclasses import replace

from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.dispatch import Lease
from parallax.broker.store.intake import Intake
from parallax.core.errors import Fenced
from parallax.scheduling.actions import Dispatch
from tests.contract.conftest import Cell, job, report
from tests.contract.scenes.larger import TWO, Question, assigned, larger, running


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


@larger("death of a worker that had computed a prompt, in its last attempt")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(max_attempts=1), reply="inbox")
    cell.attempts().finish([Finish(attempt, "prefilled 4 0.25", report(attempt))])
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
    return lambda: cell.rescue.steal(lease, "w1", "w2", [("a1", 1, ""), ("b1", 1, "")], 8)


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


def lie_since(cell: Cell, entry: str, job_id: str) -> None:
    """Let a job's attempt have been sent to its worker when that entry would have been made."""
    work, record = cell.keys.work("w1"), cell.keys.job(job_id)
    held = {bytes(e.fields[1]).split(b" ")[0].decode(): e for e in cell.entries()}
    old = held.pop(job_id)
    at = cell.link.call("HGET", record, "at").decode()
    cell.link.call("HSET", record, "at", at.replace(old.id, entry))
    cell.link.call("DEL", work)
    cell.link.call("XADD", work, entry, *old.fields)
    for other in held.values():
        cell.link.call("XADD", work, other.id, *other.fields)


@larger("repair of what a dead worker holds, early and late")
def _(cell: Cell) -> Question:
    running(cell)
    cell.die()
    now_ms = 1000 * int(cell.link.call("TIME")[0])
    cell.link.call("ZADD", cell.keys.open, now_ms - 120_000, "a1", 5.5, "b1")
    lie_since(cell, "5-1", "b1")
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
