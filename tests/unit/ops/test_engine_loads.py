"""The judges of `make bench-engines`: each finds what it is there for."""

from __future__ import annotations

from dataclasses import replace

import pytest

from ops.bench.engine_loads import (
    cached_share,
    conversations,
    kept,
    mixed,
    p99_of,
    tokens_while_both_wait,
)
from parallax.broker.store.codec import Report
from parallax.broker.store.results import Record
from parallax.core.lifecycle import State

REPORT = Report(prompt_tokens=100, output_tokens=10, cached_tokens=25, wait_s=0.5, service_s=1.5)


def ended(name: str, tenant: str = "t", at: float = 2.0, state: State = State.COMPLETED) -> Record:
    return Record(name, tenant, state, 1, 0.0, 100, 10, "", "w", "", None, at, at, REPORT)


def test_rounds_of_conversations_come_in_different_orders() -> None:
    jobs = conversations("c", 6, 4, 1.0)
    rounds = [[job.session for _, job in jobs[n : n + 6]] for n in range(0, 24, 6)]
    assert all(sorted(one) == sorted(rounds[0]) for one in rounds)
    assert len({tuple(one) for one in rounds}) > 1
    longest = {job.session: job.prefix for _, job in jobs}
    assert all(job.prefix == longest[job.session][: len(job.prefix)] for _, job in jobs)


def test_shares_and_ratios_are_counted() -> None:
    assert cached_share([ended("a"), ended("b")]) == 0.25
    heavy = [ended(f"h{n}", "heavy", n) for n in range(40)]
    light = [ended(f"l{n}", "light", 4 * n + 1.5) for n in range(40)]
    light += [ended(f"e{n}", "light", 39.0) for n in range(9)]  # when heavy has no more to begin
    assert tokens_while_both_wait([*heavy, *light], "heavy", "light") == 4.0
    assert p99_of([ended("a", at=3.0)], "t") == pytest.approx(3.0)


def test_a_death_that_was_felt_by_streams_alone_is_no_fault() -> None:
    jobs = [job for _, job in mixed("m", 4, 0.1)]
    names = [job.id for job in jobs]
    records = [ended(name) for name in names]
    told, heard = dict.fromkeys(names, 1), {names[0]: {1}, names[2]: {1}}
    assert kept(jobs, records, told, heard).kept
    broken = [replace(records[0], state=State.FAILED), *records[1:]]
    judged = kept(jobs, broken, told, heard)
    assert (judged.kept, judged.broken_streams, judged.completed) == (True, 1, 3)


def test_control_each_fault_is_found() -> None:
    jobs = [job for _, job in mixed("m", 4, 0.1)]
    names = [job.id for job in jobs]
    records, once = [ended(name) for name in names], dict.fromkeys(names, 1)
    heard = {names[0]: {1}, names[2]: {1}}
    failed = replace(records[0], state=State.FAILED)
    whole = replace(records[1], state=State.FAILED)
    faults = [
        kept(jobs, records[1:], once, heard),  # lost
        kept(jobs, records, {**once, names[1]: 2}, heard),  # its end was told twice
        kept(jobs, records, once, {**heard, names[0]: {1, 2}}),  # pieces of two attempts
        kept(jobs, [failed, *records[1:]], once, {}),  # a stream of which nothing was sent
        kept(jobs, [records[0], whole, *records[2:]], once, heard),  # a whole answer
    ]
    assert not any(one.kept for one in faults)
