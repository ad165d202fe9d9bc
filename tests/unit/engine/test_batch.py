"""The batching engine: what it must never do, and that rows of steps equal single steps."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import PROFILES, Profile, profile_named
from parallax.engine.request import Change, Request
from tests.examples import examples

SMALL = replace(
    PROFILES["llama3-8b-a100"], kv_capacity=16 * 60, block_size=16, token_budget=64, max_seqs=4
)
REQUESTS = st.lists(
    st.tuples(st.integers(0, 200), st.integers(1, 60), st.floats(0.0, 800.0)),
    min_size=1, max_size=12,
)  # fmt: skip
Asked = list[tuple[int, int, float]]


def played(asked: Asked, pieces: int, profile: Profile = SMALL) -> list[Change]:
    """Add requests at their times; between two of them advance in so many pieces."""
    engine = BatchEngine(profile)
    changes: list[Change] = []
    arrivals = sorted((at, n) for n, (_, _, at) in enumerate(asked))
    for at, n in arrivals:
        changes += advanced(engine, at, pieces)
        prompt, output, _ = asked[n]
        engine.add(Request(f"r{n}", "", prompt, output, output))
    while engine.busy:
        changes += advanced(engine, engine.now_ms + 5_000.0, pieces)
    return changes


def advanced(engine: BatchEngine, until: float, pieces: int) -> Iterator[Change]:
    start = engine.now_ms
    for piece in range(1, pieces + 1):
        yield from engine.run_until(start + (until - start) * piece / pieces)


@given(asked=REQUESTS)
@settings(max_examples=examples(60), deadline=None)
def test_every_request_gets_the_tokens_it_asked_for_once(asked: Asked) -> None:
    changes = played(asked, 1)
    finished = {c.id: c.output_tokens for c in changes if c.finished}
    assert finished == {f"r{n}": output for n, (_, output, _) in enumerate(asked)}
    assert sum(c.first_token for c in changes) == len(asked)
    assert sum(c.finished for c in changes) == len(asked)


@given(asked=REQUESTS, pieces=st.integers(2, 40))
@settings(max_examples=examples(60), deadline=None)
def test_a_row_of_steps_equals_single_steps(asked: Asked, pieces: int) -> None:
    """However often it is looked at, everything happens at the same times."""
    at_once, in_pieces = played(asked, 1), played(asked, pieces)
    for one, other in zip(at_once, in_pieces, strict=True):
        assert one == replace(other, at_ms=one.at_ms, began_ms=one.began_ms)
        assert one.at_ms == pytest.approx(other.at_ms, rel=1e-9)


def test_single_steps_and_rows_agree_with_the_formula() -> None:
    cost = SMALL.cost
    one = played([(10, 20, 0.0)], 1)
    prefill = cost.step_ms([(10, 0)], 0, 0)
    decodes = sum(cost.step_ms([], 1, 10 + k) for k in range(1, 20))
    assert one[0].at_ms == pytest.approx(prefill)
    assert one[-1].at_ms == pytest.approx(prefill + decodes)


@given(asked=REQUESTS)
@settings(max_examples=examples(60), deadline=None)
def test_no_step_exceeds_the_token_budget_or_the_batch(asked: Asked) -> None:
    engine = BatchEngine(SMALL)
    for n, (prompt, output, _) in enumerate(asked):
        engine.add(Request(f"r{n}", "", prompt, output, output))
    while (row := engine.row) is not None:
        assert sum(tokens for _, tokens in row.chunks) <= SMALL.token_budget
        assert len(row.chunks) <= SMALL.max_seqs
        assert 0.0 <= engine.kv_used <= 1.0
        engine.run_until(engine.now_ms + row.duration_ms)
    assert not engine.busy
    assert engine.kv_used == 0.0


@given(asked=REQUESTS, victim=st.integers(0, 11), at=st.floats(0.0, 3_000.0))
@settings(max_examples=examples(60), deadline=None)
def test_a_cancelled_request_leaves_nothing_behind(asked: Asked, victim: int, at: float) -> None:
    engine = BatchEngine(SMALL)
    for n, (prompt, output, _) in enumerate(asked):
        engine.add(Request(f"r{n}", "", prompt, output, output))
    engine.run_until(at)
    engine.cancel(f"r{victim}")
    assert engine.cancel(f"r{victim}") is None
    changes = engine.run_until(1e7)
    assert not engine.busy
    assert engine.kv_used == 0.0
    assert f"r{victim}" not in {c.id for c in changes}


def test_decodes_never_pause_while_a_long_prompt_is_prefilled_in_chunks() -> None:
    engine = BatchEngine(SMALL)
    engine.add(Request("decoding", "", 4, 60, 60))
    engine.run_until(30.0)
    engine.add(Request("long", "", 400, 5, 5))
    under_way = engine.row
    assert under_way is not None
    assert not under_way.chunks
    engine.run_until(engine.now_ms + under_way.duration_ms)
    chunks = 0
    while (row := engine.row) is not None and row.chunks:
        before = engine.output_of("decoding")
        assert sum(tokens for _, tokens in row.chunks) < SMALL.token_budget
        engine.run_until(engine.now_ms + row.duration_ms)
        assert engine.output_of("decoding") == before + 1
        chunks += 1
    assert chunks == -(-400 // (SMALL.token_budget - 1))


def test_memory_that_runs_out_preempts_the_newest_and_all_still_end() -> None:
    engine = BatchEngine(replace(SMALL, kv_capacity=16 * 20))
    for n in range(4):
        engine.add(Request(f"r{n}", "", 40, 120, 120))
    changes = engine.run_until(1e7)
    assert engine.preemptions > 0
    assert {c.id: c.output_tokens for c in changes if c.finished} == {
        f"r{n}": 120 for n in range(4)
    }
    assert sum(c.first_token for c in changes) == 4  # not again after a preemption


def test_with_enough_memory_nobody_is_preempted() -> None:
    engine = BatchEngine(replace(SMALL, kv_capacity=16 * 200))
    for n in range(4):
        engine.add(Request(f"r{n}", "", 40, 120, 120))
    engine.run_until(1e7)
    assert engine.preemptions == 0


def test_the_next_turn_of_a_session_finds_its_prefix() -> None:
    engine = BatchEngine(SMALL)
    engine.add(Request("one", "chat", 100, 20, 20))
    first = engine.run_until(1e6)[-1]
    engine.add(Request("two", "chat", 150, 5, 5))
    engine.add(Request("stranger", "", 150, 5, 5))
    cached = {c.id: c.cached_tokens for c in engine.run_until(2e6) if c.finished}
    assert first.cached_tokens == 0
    assert 0 < cached["two"] <= 120
    assert cached["stranger"] == 0


def test_a_request_that_can_never_fit_is_refused_by_name() -> None:
    with pytest.raises(InvalidInput, match="KV memory"):
        BatchEngine(SMALL).add(Request("huge", "", 10_000, 1, 1))


def test_an_answer_of_unknown_length_is_the_same_each_time() -> None:
    lengths = {Request("same", "", 1, 400).length for _ in range(3)}
    assert len(lengths) == 1
    assert all(100 <= Request(f"r{n}", "", 1, 400).length <= 400 for n in range(200))
    assert len({Request(f"r{n}", "", 1, 400).length for n in range(200)}) > 50


def test_an_idle_engine_follows_the_clock_and_knows_no_next_change() -> None:
    engine = BatchEngine(SMALL)
    assert engine.next_change_ms() is None
    assert engine.run_until(500.0) == []
    assert engine.now_ms == 500.0


@given(asked=REQUESTS)
@settings(max_examples=examples(40), deadline=None)
def test_nothing_changes_before_the_next_change(asked: Asked) -> None:
    engine = BatchEngine(SMALL)
    for n, (prompt, output, _) in enumerate(asked):
        engine.add(Request(f"r{n}", "", prompt, output, output))
    while (due := engine.next_change_ms()) is not None:
        assert engine.run_until(due - 1e-3) == []
        engine.run_until(max(due, engine.now_ms + 0.01))


def test_profiles_are_found_by_name_and_unknown_ones_list_the_known() -> None:
    assert profile_named("laptop").name == "laptop"
    with pytest.raises(InvalidInput, match="llama3-8b-a100"):
        profile_named("no-such")
