"""Every promise has evidence that breaks it: a check that cannot fail proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parallax.broker.store.codec import Report
from parallax.broker.store.results import Record
from parallax.core.lifecycle import State
from parallax.drills.contention import Window
from parallax.drills.evidence import Evidence
from parallax.drills.invariants import INVARIANTS, violations
from parallax.drills.silence import STILL_S, longest_silence_s
from parallax.drills.watching import Memory


def record(name: str = "j1", **fields: Any) -> Record:
    values: dict[str, Any] = {
        "job_id": name, "tenant": "t0", "state": State.COMPLETED, "attempts": 1, "accepted": 10.0,
        "prompt_tokens": 5, "max_tokens": 9, "session": "", "worker": "w1", "reply": "",
        "deadline": None, "started": 11.0, "finished": 12.0,
        "report": Report("t0", "w1", 1, 1.0, 5, 7),
    }  # fmt: skip
    return Record(**values | fields)


def line(what: str, job: str = "j1", worker: str = "w1", **fields: Any) -> dict[str, Any]:
    return {"what": what, "job": job, "worker": worker, "attempt": 1, **fields}


#: One job that was accepted, ran, and ended.
GOOD = Evidence(
    accepted={"j1"},
    refused={"j2"},
    unknown=set(),
    told={"j1": 1},
    records={"j1": record(), "j2": None},
    lines=[
        line("read", epoch=5),
        line("began"),
        line("asked", verdict="completed", tokens=7),
        line("answered", word="ok", detail="completed"),
    ],
    counts={"accepted": 1, "completed": 1},
    open_jobs=0,
)

#: Promises with a test file of their own.
PAYLOADS = {"I21", "I22", "I23"}
GATEWAYS = {"I24", "I25", "I26", "I27", "I28", "I29", "I30"}

Spoil = Callable[[], Evidence]


def window(**fields: Any) -> Window:
    """A minute in which the weights 1 and 4 were followed, and what was used was charged."""
    fair = {"cheat": 1000.0, "honest": 4000.0}
    values: dict[str, Any] = {"computed": fair, "busy_s": {"cheat": 10.0, "honest": 40.0}}
    return Window(60.0, **(values | {"charged": fair, "in_flight": 50.0} | fields))


def more(*lines: dict[str, Any]) -> Evidence:
    return replace(GOOD, lines=[*GOOD.lines, *lines])


def other(**fields: Any) -> Evidence:
    return replace(GOOD, records=GOOD.records | {"j1": record(**fields)})


BROKEN: list[tuple[str, Spoil]] = [
    ("I1", lambda: replace(GOOD, records={})),
    ("I1", lambda: other(state=State.RUNNING)),
    ("I2", lambda: more(line("answered", worker="w2", word="ok", detail="completed"))),
    ("I2", lambda: replace(GOOD, told={"j1": 2})),
    ("I3", lambda: other(report=Report("t0", "w1", 1, 1.0, 5, 8))),
    ("I3", lambda: other(worker="w2")),
    ("I4", lambda: replace(GOOD, lines=[x for x in GOOD.lines if x["what"] != "began"])),
    ("I5", lambda: replace(GOOD, left={"plx:{c}:in:t0": "3 entries"})),
    ("I6", lambda: replace(GOOD, open_jobs=1)),
    ("I6", lambda: replace(GOOD, counts={"accepted": 2, "completed": 1})),
    ("I7", lambda: replace(GOOD, left={"plx:{c}:body:j1": "a body"})),
    ("I8", lambda: replace(GOOD, counts={**GOOD.counts, "repaired": 1})),
    ("I8", lambda: replace(GOOD, counts={**GOOD.counts, "vanished": 1}, destroyed=True)),
    ("I9", lambda: more(line("began", worker="w2"))),
    ("I10", lambda: more(*(line("began", "poison-1", attempt=n) for n in range(1, 5)))),
    ("I10", lambda: replace(GOOD, records=GOOD.records | {"poison-1": record("poison-1")})),
    ("I11", lambda: replace(GOOD, records=GOOD.records | {"j2": record("j2")})),
    ("I12", lambda: replace(GOOD, longest_silence_s=30.0)),
    ("I13", lambda: more(line("read", epoch=4))),
    ("I14", lambda: replace(GOOD, survivors=1)),
    ("I15", lambda: replace(GOOD, misplaced=["j1 is open and its body is gone"])),
    ("I16", lambda: replace(GOOD, unexplained={"plx:{c}:odd": "no rule explains it"})),
    ("I17", lambda: replace(GOOD, told={})),
    ("I18", lambda: replace(GOOD, windows=[window(computed={"cheat": 1500.0, "honest": 4000.0})])),
    ("I18", lambda: replace(GOOD, windows=[window(busy_s={"cheat": 30.0, "honest": 40.0})])),
    ("I19", lambda: replace(GOOD, windows=[window(charged={"cheat": 700.0, "honest": 4000.0})])),
    ("I19", lambda: replace(GOOD, windows=[window(charged={"cheat": 1000.0, "honest": 5000.0})])),
    ("I20", lambda: replace(GOOD, memory={"scheduler-1 (7)": Memory(60.0, 501.0, 500.0, 501.0)})),
    ("I20", lambda: replace(GOOD, memory={"scheduler-1 (7)": Memory(60.0, 300.0, 100.0, 300.0)})),
]


def test_good_evidence_breaks_nothing() -> None:
    assert violations(GOOD) == {}


def test_a_worker_that_hands_poison_back_was_not_killed_by_it() -> None:
    began = [line("began", "poison-1", attempt=n) for n in range(1, 5)]
    back = line("asked", "poison-1", attempt=2, verdict="back", tokens=0)
    assert violations(more(*began, back)) == {}


@pytest.mark.parametrize(("name", "spoil"), BROKEN)
def test_evidence_that_breaks_a_promise_is_seen(name: str, spoil: Spoil) -> None:
    assert name in violations(spoil())


def test_every_promise_can_be_broken() -> None:
    assert {name for name, _ in BROKEN} == set(INVARIANTS) - PAYLOADS - GATEWAYS
    assert len(INVARIANTS) == 30


@pytest.mark.parametrize("spoil", [
    lambda: replace(GOOD, unknown={"j9"}, records=GOOD.records | {"j9": None}),
    lambda: replace(GOOD, unknown={"j9"}, records=GOOD.records | {"j9": record("j9")},
                    lines=[*GOOD.lines, line("began", "j9"),
                           line("asked", "j9", verdict="completed", tokens=7)]),
    lambda: replace(GOOD, counts={**GOOD.counts, "repaired": 1}, destroyed=True),
    lambda: more({"what": "restarted", "worker": "w1"}, line("read", epoch=4)),
    lambda: replace(GOOD, windows=[window()]),
    lambda: replace(GOOD, windows=[window(charged={"cheat": 900.0, "honest": 4300.0})]),
    lambda: replace(GOOD, windows=[window(charged={"cheat": 9.0, "honest": 9.0})], untold=True),
    lambda: replace(GOOD, memory={"worker-1 (8)": Memory(10.0, 300.0, 100.0, 300.0)}),
    lambda: replace(GOOD, accepted={"j1", "j9"}, counts={"accepted": 2, "completed": 1})
            .without({"j9"}),
])  # fmt: skip
def test_what_may_have_happened_or_not_breaks_nothing(spoil: Spoil) -> None:
    assert violations(spoil()) == {}


def test_silence_is_counted_while_a_tenant_has_jobs() -> None:
    records = {
        "a": record("a", accepted=0.0, finished=4.0),
        "b": record("b", accepted=1.0, finished=9.0),
        "c": record("c", accepted=100.0, finished=101.0),
    }
    assert longest_silence_s(dict(records)) == 5.0


def test_every_tenant_is_listened_to() -> None:
    others = {f"a{n}": record(f"a{n}", tenant="t0", accepted=n, finished=n + 4) for n in range(40)}
    late = record("b", tenant="t9999", accepted=1.0, finished=31.0)
    assert longest_silence_s({**others, "b": late}) == 30.0


def test_while_nobody_hears_anything_nobody_starves() -> None:
    records = {
        "a": record("a", tenant="t0", accepted=0.0, finished=4.0),
        "b": record("b", tenant="t1", accepted=1.0, finished=31.0),
    }
    assert longest_silence_s(dict(records)) == 3.0 + STILL_S
    assert longest_silence_s({"b": records["b"]}) == STILL_S


def test_a_damaged_job_is_excused_and_no_other() -> None:
    spoiled = replace(GOOD, records=GOOD.records | {"j1": None})
    assert "I1" in violations(spoiled)
    assert violations(spoiled.without({"j1"})) == {}
    assert "I1" in violations(spoiled.without({"j2"}))
