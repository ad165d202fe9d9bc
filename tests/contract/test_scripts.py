"""Every answer word of every script, each asked for twice: the second call answers like the first.

A lost reply makes the client send a script again, so an answer that changes on repetition is a bug
even if nobody lost a reply yet.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib.resources import files
from typing import Any

import pytest
from msgspec import structs

from parallax.broker.link.connection import Link
from parallax.broker.link.scripts import Argument, names, script
from parallax.broker.store.attempts import Assignment, Finish, decode_assignment
from parallax.broker.store.codec import VERSION, Registration
from parallax.broker.store.dispatch import Entry, Lease
from parallax.broker.store.intake import Ending
from parallax.broker.store.ledger import Ledger
from parallax.broker.store.membership import Leadership
from parallax.broker.store.policies import PolicyDocument, PolicyStore
from parallax.core.errors import Conflict, Fenced
from parallax.core.lifecycle import Outcome
from parallax.core.model import Job
from tests.contract.conftest import Cell, job, report

STRANGER = Lease("stranger|1")


def submit(cell: Cell, *jobs: Job) -> list[str]:
    return [receipt.word for receipt in cell.submit(*jobs)]


def end(cell: Cell, ended: Job, outcome: Outcome = Outcome.CANCELLED, worker: str = "",
        token: str = "") -> str:  # fmt: skip
    return cell.intake.terminate([Ending(ended.id, ended.tenant, outcome, worker=worker)], token)[
        0
    ][0]


def finish(cell: Cell, attempt: Any, verdict: str, worker: str = "w1") -> str:
    return cell.attempts(worker).finish([Finish(attempt, verdict, report(attempt, worker))])[0][0]


def begin(cell: Cell, assignment: Assignment, worker: str = "w1") -> str:
    running, expired, _ = cell.attempts(worker).begin([assignment])
    return "run" if running else "expired" if expired else "skip"


def expire_now(cell: Cell, due: Job) -> None:
    cell.link.call("HSET", cell.keys.job(due.id), "deadline", "1")


# -- the table: (script, answer) -> a scene that sets the stage and returns the question
# ------------

Question = Callable[[], str]
Scene = Callable[[Cell], Question]
SCENES: dict[tuple[str, str], Scene] = {}


def scene(name: str, word: str, again: str | None = None) -> Callable[[Scene], Scene]:
    """Register a scene; `again` is the answer to the repetition where it may differ."""

    def add(stage: Scene) -> Scene:
        SCENES[name, word] = stage
        if again is not None:
            REPEATS[name, word] = again
        return stage

    return add


REPEATS: dict[tuple[str, str], str] = {}


@scene("submit", "ok", again="dup")
@scene("submit", "dup")
def _(cell: Cell) -> Question:
    return lambda: submit(cell, job())[0]


@scene("submit", "conflict")
def _(cell: Cell) -> Question:
    submit(cell, job())
    return lambda: submit(cell, job(prompt_tokens=11))[0]


@scene("submit", "too_big")
def _(cell: Cell) -> Question:
    return lambda: cell.intake.submit([job()], "", {"j1": b"x" * 5000})[0].word


@scene("submit", "full")
def _(cell: Cell) -> Question:
    submit(cell, job("a"), job("b"), job("c"))
    return lambda: submit(cell, job("d"))[0]


@scene("submit", "bad_stream")
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.arrivals("acme"), "junk")
    return lambda: submit(cell, job())[0]


@scene("submit", "bad_job")
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.job("j1"), "junk")
    return lambda: submit(cell, job())[0]


def routed(cell: Cell, routed_job: Job, **options: Any) -> Question:
    entry = cell.submit(routed_job)[0].detail
    lease = cell.lead()

    def ask() -> str:
        try:
            return cell.route(
                routed_job, entry, options.get("lease", lease), cap=options.get("cap", 8)
            )
        except Fenced:
            return "fenced"

    return ask


@scene("route", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job())


@scene("route", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job(), lease=STRANGER)


@scene("route", "noworker")
def _(cell: Cell) -> Question:
    return routed(cell, job())


@scene("route", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    return routed(cell, job(), cap=0)


@scene("route", "expired")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    expire_now(cell, job())
    return ask


@scene("route", "stale")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return ask


@scene("route", "orphan")
def _(cell: Cell) -> Question:
    cell.join()
    ask = routed(cell, job())
    cell.link.call("DEL", cell.keys.job("j1"))
    return ask


@scene("begin", "run")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    assignment = decode_assignment(cell.entries()[0])
    return lambda: begin(cell, assignment)


@scene("begin", "skip")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    assignment = structs.replace(decode_assignment(cell.entries()[0]), attempt="7")
    return lambda: begin(cell, assignment)


@scene("begin", "expired")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    expire_now(cell, job())
    assignment = decode_assignment(cell.entries()[0])
    return lambda: begin(cell, assignment)


@scene("finish", "ok", again="again")
@scene("finish", "again")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "late")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    end(cell, job(), worker="w1")
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "stale")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "running w1/2/9-9 1")
    return lambda: finish(cell, attempt, "failed")


@scene("finish", "requeued")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "retry")


@scene("finish", "unknown")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    cell.link.call("DEL", cell.keys.job("j1"))
    return lambda: finish(cell, attempt, "completed")


@scene("finish", "yielded")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    return lambda: finish(cell, first, "back")


@scene("finish", "kept")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job())
    return lambda: finish(cell, attempt, "prefilled 4 0.25")


@scene("terminate", "ok", again="again")
@scene("terminate", "again")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: end(cell, job())


@scene("terminate", "late")
def _(cell: Cell) -> Question:
    cell.join()
    finish(cell, cell.begun(job()), "completed")
    return lambda: end(cell, job())


@scene("terminate", "not_due")
def _(cell: Cell) -> Question:
    cell.submit(job(deadline_s=1000.0))
    return lambda: end(cell, job(), Outcome.EXPIRED)


@scene("terminate", "moved")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return lambda: end(cell, job(), worker="elsewhere")


@scene("terminate", "unknown")
def _(cell: Cell) -> Question:
    return lambda: end(cell, job())


@scene("terminate", "fenced")
def _(cell: Cell) -> Question:
    cell.submit(job())

    def ask() -> str:
        try:
            return end(cell, job(), token=STRANGER.token)
        except Fenced:
            return "fenced"

    return ask


def reclaimed(cell: Cell, entry: str, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            return (
                cell.rescue.reclaim(lease, "w1", [Assignment(entry, "j1", "1", 1.0)]) or ["alive"]
            )[0]
        except Fenced:
            return "fenced"

    return ask


@scene("reclaim", "ok", again="dropped")
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.die()
    return reclaimed(cell, entry)


@scene("reclaim", "yielded", again="dropped")
def _(cell: Cell) -> Question:
    first, _ = cell.doubled(job())
    cell.die()
    return reclaimed(cell, first.assignment.entry)


@scene("reclaim", "alive")
def _(cell: Cell) -> Question:
    cell.join()
    return reclaimed(cell, cell.assigned(job()))


@scene("reclaim", "dead", again="done")
@scene("reclaim", "done")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(max_attempts=1))
    cell.die()
    return reclaimed(cell, attempt.assignment.entry)


@scene("reclaim", "dropped")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    cell.die()
    return reclaimed(cell, "1-1")


@scene("reclaim", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.die()
    return reclaimed(cell, entry, STRANGER)


def stolen(cell: Cell, cap: int = 8, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            return cell.rescue.steal(lease, "w1", "w2", [("j1", 1)], cap)[0]
        except Fenced:
            return "fenced"

    return ask


@scene("steal", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell)


@scene("steal", "gone")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    cell.link.call("DEL", cell.keys.work("w1"))
    return stolen(cell)


@scene("steal", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell, lease=STRANGER)


@scene("steal", "started")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.begun(job())
    return stolen(cell)


@scene("steal", "copy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return stolen(cell)


@scene("steal", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.join("w2")
    cell.assigned(job())
    return stolen(cell, cap=0)


@scene("steal", "dead_thief")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return stolen(cell)


def told(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        try:
            cell.rescue.stop(lease, [("w1", "j1", 1)])
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("stop", "ok")
def _(cell: Cell) -> Question:
    return told(cell, cell.lead())


@scene("stop", "fenced")
def _(cell: Cell) -> Question:
    return told(cell, STRANGER)


def repaired(cell: Cell, grace_ms: int = 0, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()

    def ask() -> str:
        try:
            return cell.rescue.repair(lease, ["j1"], grace_ms)[0]
        except Fenced:
            return "fenced"

    return ask


@scene("repair", "ok", again="present")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("DEL", cell.keys.arrivals("acme"))
    return repaired(cell)


@scene("repair", "present")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return repaired(cell)


@scene("repair", "held")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    cell.die()
    cell.link.call(
        "ZADD", cell.keys.open, "XX", int(cell.link.call("TIME")[0]) * 1000 - 90_000, "j1"
    )
    return repaired(cell, 60_000)


@scene("repair", "yielded", again="present")
def _(cell: Cell) -> Question:
    cell.doubled(job())
    cell.link.call("DEL", cell.keys.work("w1"))
    return repaired(cell)


@scene("repair", "moved")
def _(cell: Cell) -> Question:
    cell.submit(job())
    names = [cell.keys.leader, cell.keys.open, cell.keys.counts, cell.keys.active, cell.keys.bell]
    names += [cell.keys.events]
    names += [cell.keys.job("j1"), cell.keys.arrivals("acme"), "plx:{test}:w", "plx:{test}:hb"]
    args: list[Argument] = [cell.lead().token, 0, 100, 1, "j1", "acme", "w9"]  # w9 when we looked

    def ask() -> str:
        word: bytes = cell.link.run(script("repair"), names, args)[1]
        return word.decode()

    return ask


@scene("repair", "spent")
def _(cell: Cell) -> Question:
    cell.join()
    cell.begun(job(max_attempts=1))
    cell.link.call("DEL", cell.keys.work("w1"))
    return repaired(cell)


@scene("repair", "young")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("DEL", cell.keys.arrivals("acme"))
    return repaired(cell, 1_000_000)


@scene("repair", "done")
def _(cell: Cell) -> Question:
    cell.submit(job())
    end(cell, job())
    return repaired(cell)


@scene("repair", "vanished")
def _(cell: Cell) -> Question:
    return repaired(cell)


@scene("repair", "fenced")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return repaired(cell, lease=STRANGER)


def scrubbed(cell: Cell, entry: str) -> Question:
    return lambda: cell.rescue.scrub("w1", [Assignment(entry, "j1", "1", 1.0)])[0]


@scene("scrub", "removed", again="gone")
@scene("scrub", "gone")
def _(cell: Cell) -> Question:
    cell.join()
    entry = cell.assigned(job())
    cell.link.call("HSET", cell.keys.job("j1"), "at", "assigned w9/1/9-9")
    return scrubbed(cell, entry)


@scene("scrub", "kept")
def _(cell: Cell) -> Question:
    cell.join()
    return scrubbed(cell, cell.assigned(job()))


@scene("quarantine", "ok", again="gone")
@scene("quarantine", "gone")
def _(cell: Cell) -> Question:
    stream = cell.keys.arrivals("acme")
    entry = cell.link.call("XADD", stream, "*", "junk", b"\xff").decode()
    junk = [(Entry(entry, [b"junk", b"\xff"]), "not understood")]
    return lambda: "ok" if cell.rescue.quarantine(stream, junk) else "gone"


@scene("progress", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    attempt = cell.begun(job(), reply=None)

    def ask() -> str:
        cell.attempts().progress([(attempt, "first", 1)])
        return "ok" if cell.results.follow("j1", "", 0)[1][0].word == "first" else "silent"

    return ask


def written(cell: Cell, before: PolicyDocument) -> Question:
    store, after = PolicyStore(cell.link, cell.keys), ["serial", "{}"]

    def ask() -> str:
        args = [before.serial, *after]
        word: bytes = store._link.run(script("choose"), [cell.keys.policy], args)[0]
        return word.decode()

    return ask


@scene("choose", "ok")
def _(cell: Cell) -> Question:
    return written(cell, PolicyDocument())


@scene("choose", "changed")
def _(cell: Cell) -> Question:
    PolicyStore(cell.link, cell.keys).replace(PolicyDocument())
    return written(cell, PolicyDocument())


def learnt(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        try:
            PolicyStore(cell.link, cell.keys).keep(lease, "serial", {"part": ["Kind", {}]})
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("remember", "ok")
def _(cell: Cell) -> Question:
    return learnt(cell, cell.lead())


@scene("remember", "fenced")
def _(cell: Cell) -> Question:
    return learnt(cell, STRANGER)


@scene("retire", "retired")
def _(cell: Cell) -> Question:
    return lambda: "retired" if cell.dispatching.retire(["acme"]) else "busy"


@scene("retire", "busy")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: "retired" if cell.dispatching.retire(["acme"]) else "busy"


@scene("wake", "rung", again="active")
def _(cell: Cell) -> Question:
    cell.link.call("XADD", cell.keys.arrivals("acme"), "*", "junk", "1")
    return lambda: cell.rescue.wake(["acme"])["acme"]


@scene("wake", "active")
def _(cell: Cell) -> Question:
    cell.submit(job())
    return lambda: cell.rescue.wake(["acme"])["acme"]


@scene("wake", "quiet")
def _(cell: Cell) -> Question:
    return lambda: cell.rescue.wake(["acme"])["acme"]


def forgotten(cell: Cell, account: str | None, lease: Lease | None = None) -> Question:
    lease = lease or cell.lead()
    ledger = cell.keys.ledger
    cell.link.call("HSET", ledger, "", "100.0", *(("acme", account) if account else ()))

    def ask() -> str:
        before = cell.link.call("HGET", ledger, "acme")
        try:
            Ledger(cell.link, cell.keys).forget(lease, ["acme", ""])
        except Fenced:
            return "fenced"
        assert cell.link.call("HGET", ledger, "") == b"100.0"
        after = cell.link.call("HGET", ledger, "acme")
        return "gone" if before is None else "kept" if after else "forgotten"

    return ask


@scene("forget", "kept")
def _(cell: Cell) -> Question:
    return forgotten(cell, "100.5")


@scene("forget", "forgotten", again="gone")
def _(cell: Cell) -> Question:
    return forgotten(cell, "100.0")


@scene("forget", "gone")
def _(cell: Cell) -> Question:
    return forgotten(cell, None)


@scene("forget", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return forgotten(cell, "1.0", STRANGER)


def leading(cell: Cell, candidate: str) -> Question:
    return lambda: "acquired" if cell.leadership(candidate).acquire() else "held"


@scene("lead", "acquired")
def _(cell: Cell) -> Question:
    return leading(cell, "one")


@scene("lead", "held")
def _(cell: Cell) -> Question:
    cell.lead("one")
    return leading(cell, "two")


def lease_call(cell: Cell, what: str, lease: Lease) -> Question:
    leadership = Leadership(cell.link, cell.keys, "leader", 60_000)

    def ask() -> str:
        try:
            getattr(leadership, what)(lease)
        except Fenced:
            return "fenced"
        return "ok"

    return ask


@scene("renew", "ok")
def _(cell: Cell) -> Question:
    return lease_call(cell, "renew", cell.lead())


@scene("renew", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return lease_call(cell, "renew", STRANGER)


def resigned(cell: Cell, lease: Lease) -> Question:
    def ask() -> str:
        before = cell.link.call("GET", cell.keys.leader)
        Leadership(cell.link, cell.keys, "leader", 60_000).resign(lease)
        return "ok" if before != cell.link.call("GET", cell.keys.leader) else "fenced"

    return ask


@scene("resign", "ok", again="fenced")
def _(cell: Cell) -> Question:
    return resigned(cell, cell.lead())


@scene("resign", "fenced")
def _(cell: Cell) -> Question:
    cell.lead()
    return resigned(cell, STRANGER)


def beaten(cell: Cell, life: str) -> Question:
    def ask() -> str:
        try:
            return (
                "new"
                if cell.membership.beat("w1", life, 60_000, Registration(VERSION, 1))
                else "ok"
            )
        except Conflict:
            return "taken"

    return ask


@scene("heartbeat", "new", again="ok")
@scene("heartbeat", "ok")
def _(cell: Cell) -> Question:
    return beaten(cell, "mine")


@scene("heartbeat", "taken")
def _(cell: Cell) -> Question:
    cell.join()
    return beaten(cell, "another")


def clamped(cell: Cell) -> Question:
    key = cell.keys.heartbeat("w1")

    def ask() -> str:
        before = cell.link.call("PTTL", key)
        Leadership(cell.link, cell.keys, "leader", 1).clamp(["w1"], 50_000)
        after = cell.link.call("PTTL", key)
        return "gone" if after == -2 else "cut" if before > 50_000 >= after else "ok"

    return ask


@scene("clamp", "cut", again="ok")
@scene("clamp", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return clamped(cell)


@scene("clamp", "gone")
def _(cell: Cell) -> Question:
    return clamped(cell)


def buried(cell: Cell, lease: Lease | None) -> Question:
    return lambda: cell.membership.bury("w1", lease)


@scene("bury", "ok")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, None)


@scene("bury", "fenced")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, STRANGER)


@scene("bury", "alive")
def _(cell: Cell) -> Question:
    cell.join()
    return buried(cell, cell.lead())


@scene("bury", "busy")
def _(cell: Cell) -> Question:
    cell.join()
    cell.assigned(job())
    return buried(cell, None)


@scene("repair", "spoilt")
def _(cell: Cell) -> Question:
    cell.submit(job())
    cell.link.call("HSET", cell.keys.job("j1"), "about", "garbage")
    return repaired(cell)


@scene("unseat", "removed", again="ok")
@scene("unseat", "ok")
def _(cell: Cell) -> Question:
    cell.link.call("SET", cell.keys.events, b"\xff")
    names = [cell.keys.dead, cell.keys.counts, cell.keys.events]
    return lambda: str(cell.link.run(script("unseat"), names, [10, "stream"])[2], "ascii")


@scene("expel", "ok", again="gone")
@scene("expel", "gone")
def _(cell: Cell) -> Question:
    cell.link.call("SADD", cell.keys.active, b"\xff", "acme")
    names = [cell.keys.active, cell.keys.dead, cell.keys.counts]
    return lambda: str(cell.link.run(script("expel"), names, [10, b"\xff"])[0], "ascii")


#: Words whose scene asks a question that answers something else the first time.
SECOND_ONLY = {
    ("submit", "dup"), ("finish", "again"), ("terminate", "again"), ("reclaim", "done"),
    ("scrub", "gone"), ("quarantine", "gone"), ("wake", "quiet"),
    ("heartbeat", "ok"), ("clamp", "ok"), ("unseat", "ok"), ("expel", "gone"),
}  # fmt: skip


@pytest.mark.parametrize(("name", "word"), sorted(set(SCENES) - SECOND_ONLY))
def test_script_answers_and_answers_the_same_again(cell: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](cell)
    assert ask() == word
    assert ask() == REPEATS.get((name, word), word)


@pytest.mark.parametrize(("name", "word"), sorted(SECOND_ONLY))
def test_words_that_answer_a_repetition(cell: Cell, name: str, word: str) -> None:
    ask = SCENES[name, word](cell)
    ask()
    assert ask() == word


def test_every_word_in_every_header_has_a_scene() -> None:
    documented = set()
    for name in names():
        text = (files("parallax.broker") / "lua" / f"{name}.lua").read_text()
        header = re.search(r"^-- REPLY(.*?)\n(?!--  )", text, re.MULTILINE | re.DOTALL)
        assert header, f"{name}.lua does not say what it replies"
        reply = re.sub(r"\n--", " ", header.group(1))
        for group in re.findall(r"\(([^)]*)\)", reply) or [reply]:
            documented |= {(name, part.split()[0]) for part in group.split("|")}
        documented |= {(name, word) for word in re.findall(r"\b(fenced|alive)\b", reply)}
    assert documented - set(SCENES) == set()
    assert set(SCENES) - documented == set()


def test_a_link_sends_the_script_again_when_the_cache_was_flushed(
    connect: Callable[[], Link], cell: Cell
) -> None:
    cell.submit(job("a"))
    cell.link.call("SCRIPT", "FLUSH")
    assert submit(cell, job("b")) == ["ok"]
