"""A long prefix has a place of its own: who reads arrivals and records by count reads little."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from parallax.broker.link.connection import Link
from parallax.broker.store.attempts import Finish, decode_assignment
from parallax.broker.store.codec import decode_about, decode_waiting
from parallax.broker.store.dead_letters import DeadLetters
from parallax.broker.store.dispatch import ENTRY_BYTES
from parallax.broker.store.keys import Keys
from parallax.broker.store.limits import Limits
from parallax.broker.store.specs import MOST_INLINE, joined, parts_of, spec_of
from parallax.core.model import MAX_HASH, MAX_PREFIX, Job
from tests.contract.conftest import Cell, job, report

LONG = tuple(range(MAX_HASH - MAX_PREFIX, MAX_HASH))


@pytest.fixture
def roomy(connect: Callable[[], Link]) -> Cell:
    return Cell(connect(), Keys("test"), Limits())


def long(job_id: str = "j1", **fields: Any) -> Job:
    return job(job_id, prompt_tokens=16 * MAX_PREFIX, prefix=LONG, **fields)


@pytest.mark.parametrize("count", [0, 1, 40, 60, MAX_PREFIX])
def test_parts_come_together_again(count: int) -> None:
    some = job(prompt_tokens=16 * MAX_PREFIX, prefix=LONG[:count], deadline_s=5.0)
    spec, prefix = parts_of(some)
    assert len(spec) <= MOST_INLINE
    assert bool(prefix) == (len(spec_of(some)) > MOST_INLINE)
    whole = decode_about(b"1500 0123456789abcdef - 0 - " + joined(spec, prefix)).spec
    assert (whole.prefix, whole.prefix_block) == (LONG[:count], 16)


def test_no_arrival_and_no_record_is_longer_than_its_reader_reckons_with(roomy: Cell) -> None:
    names = {"session": "s" * 64, "deadline_s": 60.0, "priority": -100, "max_attempts": 20}
    roomy.submit(long("j" * 64, **names), reply="r" * 64)
    ((_, fields),) = roomy.link.call("XRANGE", roomy.keys.arrivals("acme"), "-", "+")
    assert sum(map(len, fields)) < ENTRY_BYTES
    assert len(roomy.link.call("HGET", roomy.keys.job("j" * 64), "about")) < ENTRY_BYTES
    view, apart = decode_waiting(fields)
    assert (view.prefix, view.prompt_tokens) == ((), 16 * MAX_PREFIX)
    assert apart == len(roomy.link.call("HGET", roomy.keys.job("j" * 64), "prefix"))


def test_the_worker_gets_all_of_it(roomy: Cell) -> None:
    roomy.join()
    assert roomy.begun(long()).prefix == LONG
    other = roomy.begun(long("j2", model="llama"))
    assert (other.prefix, other.model) == (LONG, "llama")


def test_who_is_queued_again_keeps_it(roomy: Cell) -> None:
    roomy.join()
    attempt = roomy.begun(long())
    words = roomy.attempts().finish([Finish(attempt, "retry", report(attempt))])
    assert words[0][0] == "requeued"
    ((_, fields),) = roomy.link.call("XRANGE", roomy.keys.arrivals("acme"), "-", "+")
    assert decode_waiting(fields)[1] == len(parts_of(long())[1])


def test_the_same_job_is_the_same_and_another_prefix_is_another(roomy: Cell) -> None:
    other = job(prompt_tokens=16 * MAX_PREFIX, prefix=(*LONG[:-1], 7))
    assert [r.word for r in roomy.submit(long(), long(), other)] == ["ok", "dup", "conflict"]


def test_a_dead_job_is_offered_again_with_it(roomy: Cell) -> None:
    roomy.join()
    attempt = roomy.begun(long(max_attempts=1))
    assert roomy.attempts().finish([Finish(attempt, "retry", report(attempt))])[0][1] == "dead"
    letters = DeadLetters(roomy.link, roomy.keys)
    letter = letters.newest(1)[0]
    entry = letters.requeue(letter).detail
    again = long(letter.successor)
    assert roomy.route(again, entry, roomy.lead()) == "ok"
    running, *_ = roomy.attempts().begin([decode_assignment(roomy.entries()[-1])])
    assert running[0].prefix == LONG
