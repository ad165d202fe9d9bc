"""The promises to clients of gateways: for each there is evidence that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from parallax.core.lifecycle import State
from parallax.drills.evidence import Evidence
from parallax.drills.exchanges import End, Exchange
from parallax.drills.gateway_promises import LEFT_S
from parallax.drills.gateways import DRAIN_S, Trouble
from parallax.drills.invariants import violations
from tests.unit.drills.test_invariants import GATEWAYS, GOOD, line, record


def exchange(**fields: Any) -> Exchange:
    values: dict[str, Any] = {
        "wish": "web-1", "gateway": "gateway-1", "began": 9.0, "ended": 12.5, "end": End.WHOLE,
        "status": 200, "job": "j1", "body": "b0d7",
    }  # fmt: skip
    return Exchange(**values | fields)


def trouble(word: str, at: float, seconds: float = 0.0, gateway: str = "gateway-1") -> Trouble:
    return Trouble(gateway, word, at, at + seconds)


#: One request that was answered whole by its one job.
WHOLE = replace(
    GOOD, accepted=set(), told={}, exchanges=[exchange(answer="a05e")], fronts={"j1": "web-1"},
    lines=[
        *(x for x in GOOD.lines if x["what"] not in {"began", "asked"}),
        line("began", bytes=7, body="b0d7"),
        line("asked", verdict="completed", tokens=7, answer="a05e"),
    ],
)  # fmt: skip
#: The same in two pieces; another attempt sent one, which nobody was told.
STREAM = replace(
    WHOLE, exchanges=[exchange(stream=True, pieces=("aa", "bb"))],
    lines=[
        *WHOLE.lines, line("relayed", sequence=0, piece="aa"),
        line("relayed", sequence=1, piece="bb"),
        line("relayed", worker="w2", sequence=0, piece="cc"),
    ],
)  # fmt: skip


def asked(evidence: Evidence = WHOLE, **fields: Any) -> Evidence:
    return replace(evidence, exchanges=[exchange(**fields)])


def cut(*troubles: Trouble, **fields: Any) -> Evidence:
    return replace(asked(end=End.CUT, **fields), troubles=troubles)


def left(*troubles: Trouble, at: float = 0.0, **fields: Any) -> Evidence:
    """A client that left at a time; its job ended at 12.0."""
    one = exchange(end=End.LEFT, began=at - 1, ended=at, job="", status=0)
    early = record(accepted=at - 1, **fields)
    return replace(WHOLE, exchanges=[one], records=WHOLE.records | {"j1": early},
                   troubles=troubles)  # fmt: skip


def keyed(*exchanges: Exchange, **fields: Any) -> Evidence:
    return replace(WHOLE, exchanges=[replace(one, keyed=True) for one in exchanges], **fields)


def second(**fields: Any) -> dict[str, Any]:
    """A second job of the same wish, which completed like the first."""
    lines = [{**x, "job": "j9"} if "job" in x else x for x in WHOLE.lines]
    both = WHOLE.records | {"j9": record("j9", **fields)}
    return {"fronts": {"j1": "web-1", "j9": "web-1"}, "records": both,
            "lines": [*WHOLE.lines, *lines]}  # fmt: skip


BROKEN: list[tuple[str, Callable[[], Evidence]]] = [
    ("I24", lambda: asked(wrong="500 internal_error")),
    ("I24", lambda: asked(end=End.LATE)),
    ("I24", cut),
    ("I24", lambda: cut(trouble("killed", 11.0, gateway="gateway-2"))),
    ("I24", lambda: cut(trouble("killed", 2.0))),
    ("I24", lambda: cut(trouble("paused", 11.0, 3.0))),
    ("I24", lambda: cut(trouble("stopped", 11.0))),  # it had become a job by then
    ("I25", lambda: asked(foreign="word 3 of 9 is web-2.3")),
    ("I25", lambda: asked(answer="a05e", body="another")),
    ("I25", lambda: asked(STREAM, pieces=("aa", "bb"), wish="web-2")),
    ("I26", lambda: asked(answer="another")),
    ("I26", lambda: asked(STREAM, pieces=("aa", "cc"))),
    ("I26", lambda: asked(STREAM, pieces=("bb", "aa"))),
    ("I26", lambda: asked(STREAM, pieces=("aa",))),
    ("I26", lambda: asked(STREAM, pieces=("aa", "bb", "cc"), end=End.ERROR)),
    ("I27", lambda: replace(WHOLE, **second(state=State.FAILED))),
    ("I27", lambda: keyed(exchange(answer="a05e"), **second())),
    ("I27", lambda: keyed(exchange(answer="a05e"), exchange(answer="0ddd"))),
    ("I27", lambda: asked(sent=False, end=End.LEFT)),
    ("I28", lambda: replace(WHOLE, records={"j1": record(state=State.RUNNING)})),
    ("I28", lambda: replace(WHOLE, records={})),
    ("I28", lambda: replace(WHOLE, records={"j1": record(state=State.FAILED)})),
    ("I28", lambda: asked(end=End.ERROR, status=504, code="timed_out", job="", ended=30.0)),
    ("I29", lambda: left(at=11.0 - LEFT_S)),
    ("I29", lambda: left(trouble("killed", 10.0, gateway="gateway-2"), at=11.0 - LEFT_S)),
    ("I30", lambda: replace(WHOLE, bodies_left=frozenset({"j1"}))),
    ("I30", lambda: replace(WHOLE, answers_left=frozenset({"j1"}))),
]


@pytest.mark.parametrize("good", [WHOLE, STREAM])
def test_good_evidence_breaks_nothing(good: Evidence) -> None:
    assert violations(good) == {}


@pytest.mark.parametrize(("name", "spoil"), BROKEN)
def test_evidence_that_breaks_a_promise_is_seen(name: str, spoil: Callable[[], Evidence]) -> None:
    assert name in violations(spoil())


def test_every_promise_can_be_broken() -> None:
    assert {name for name, _ in BROKEN} == GATEWAYS


@pytest.mark.parametrize("spoil", [
    lambda: cut(trouble("killed", 11.0)),
    lambda: cut(trouble("killed", 12.7)),  # it was seen before it was known
    lambda: cut(trouble("stopped", 11.0), wish="web-2"),  # nothing had become of it
    lambda: cut(trouble("stopped", 9.5)),  # nor had of this
    lambda: cut(trouble("stopped", 8.0), wish="web-2"),  # it had not been read
    lambda: cut(trouble("stopped", 11.0), ended=11.0 + DRAIN_S),
    lambda: replace(asked(STREAM, pieces=("aa",), end=End.CUT), troubles=[trouble("killed", 12.0)]),
    lambda: asked(end=End.ERROR, status=504, code="timed_out", job="", ended=20.0),
    lambda: asked(end=End.REFUSED, status=0, job=""),
    lambda: asked(end=End.ERROR, status=503, code="store_full", job=""),
    lambda: left(at=11.5),
    lambda: left(trouble("killed", 10.0), at=11.0 - LEFT_S),
    lambda: left(trouble("paused", 1.0, 3.0), at=11.0 - LEFT_S),
    lambda: replace(left(at=11.0 - LEFT_S), lag_s=2.0),
    lambda: keyed(exchange(answer="a05e"), exchange(answer="a05e", end=End.WHOLE)),
    lambda: keyed(exchange(answer="a05e"), answers_left=frozenset({"j1"})),
    lambda: replace(WHOLE, answers_left=frozenset({"j1"}), troubles=[trouble("killed", 12.0)]),
    lambda: replace(asked(end=End.ERROR, job=""), bodies_left=frozenset({"j1"}),
                    records={"j1": record(state=State.DEAD)}),
])  # fmt: skip
def test_what_may_happen_breaks_nothing(spoil: Callable[[], Evidence]) -> None:
    assert not violations(spoil()).keys() & GATEWAYS


def test_damaged_jobs_are_left_out_with_all_that_was_asked_for_them() -> None:
    one = replace(asked(end=End.LATE, job=""), bodies_left=frozenset({"j1"}))
    found = one.without({"j1"})
    assert not any((found.exchanges, found.fronts, found.bodies_left, found.answers_left))
