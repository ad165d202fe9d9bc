"""What engines say they have computed when they are stopped, up to that moment."""

from __future__ import annotations

import pytest

from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.cpu import CpuEngine
from parallax.consumers.engines.interface import Engine
from parallax.consumers.engines.noop import NoopEngine
from parallax.consumers.hosts import HandHost
from parallax.core.clock import ManualClock
from parallax.engine.batch import BatchEngine
from parallax.engine.cost_model import StepCost
from parallax.engine.profiles import Profile
from parallax.engine.request import Consumed, Request

#: A step takes 10 ms whatever it computes; of prompts it computes 100 tokens.
SERVER = Profile("server", StepCost(10.0, 0.0, 0.0, 0.0, 0.0), 4_096, token_budget=100)


def engines(clock: ManualClock) -> list[Engine]:
    return [
        ClockEngine(SERVER, 1.0, clock),
        CpuEngine(SERVER, 1.0, clock, lambda units: clock.wait(units / 1e5)),
    ]


def hosted(engine: Engine, clock: ManualClock) -> HandHost:
    host = HandHost(clock)
    engine.start(host)
    return host


@pytest.mark.parametrize("kind", [0, 1], ids=["clock", "cpu"])
@pytest.mark.parametrize(
    ("after_s", "least", "most"),
    [
        (0.025, Consumed(200, 0), Consumed(400, 0)),  # of ten chunks, the one under way too
        (0.098, Consumed(900, 0), Consumed(1_000, 2)),
        (0.305, Consumed(1_000, 20), Consumed(1_000, 23)),
    ],
)
def test_whoever_is_stopped_has_consumed_what_was_computed_by_then(
    kind: int, after_s: float, least: Consumed, most: Consumed
) -> None:
    clock = ManualClock(50.0)
    engine = engines(clock)[kind]
    host = hosted(engine, clock)
    start = clock.monotonic()
    engine.add(Request("r", "", 1_000, 50, 50), start)
    while (due := host.next_due()) is not None and due < start + after_s:
        clock.wait(max(0.0, due - clock.monotonic()) + 1e-9)  # a real clock never stands still
        host.turn()
    clock.wait(max(0.0, start + after_s - clock.monotonic()))
    consumed = engine.stop("r")
    assert consumed is not None
    assert least.prompt_tokens <= consumed.prompt_tokens <= most.prompt_tokens
    assert least.output_tokens <= consumed.output_tokens <= most.output_tokens
    assert engine.stop("r") is None


def test_the_clock_engine_counts_what_passed_since_anybody_looked() -> None:
    clock = ManualClock(50.0)
    engine = ClockEngine(SERVER, 1.0, clock)
    host = hosted(engine, clock)
    engine.add(Request("r", "", 100, 500, 500), clock.monotonic())
    host.turn()
    clock.wait(2.0)  # the worker waited for news
    consumed = engine.stop("r")
    assert consumed is not None
    assert 198 <= consumed.output_tokens <= 202


def test_what_ended_before_it_was_stopped_has_consumed_all_and_is_not_told_of() -> None:
    clock = ManualClock(50.0)
    engine = ClockEngine(SERVER, 1.0, clock)
    host = hosted(engine, clock)
    engine.add(Request("r", "", 100, 5, 5), clock.monotonic())
    clock.wait(10.0)
    assert engine.stop("r") == Consumed(100, 5)
    engine.add(Request("r", "", 100, 5, 5), clock.monotonic())  # the job comes back
    assert host.turn() == []


def test_what_has_not_begun_has_consumed_nothing() -> None:
    noop = NoopEngine(4)
    host = hosted(noop, ManualClock())
    noop.add(Request("r", "", 100, 5, 5), 0.0)
    assert noop.stop("r") == Consumed()
    assert noop.stop("r") is None
    assert host.turn() == []
    full = BatchEngine(Profile("one", SERVER.cost, 4_096, max_seqs=1))
    for name in "ab":
        full.add(Request(name, "", 100, 5, 5))
    full.run_until(15.0)
    assert [full.has_begun(name) for name in "abc"] == [True, False, False]
    assert full.cancel("b") == Consumed()


def test_a_prompt_that_came_from_elsewhere_counts_with_its_first_token() -> None:
    clock = ManualClock(50.0)
    engine = ClockEngine(SERVER, 1.0, clock)
    hosted(engine, clock)
    engine.add(Request("r", "", 100, 5, 5, prefilled=True), clock.monotonic())
    assert engine.stop("r") == Consumed(100, 1)


def test_what_was_cached_is_told_apart() -> None:
    engine = BatchEngine(SERVER)
    engine.add(Request("first", "s", 320, 2, 2))
    engine.run_until(100.0)
    engine.add(Request("second", "s", 800, 9, 9))
    engine.run_until(115.0)
    consumed = engine.cancel("second")
    assert consumed is not None
    assert consumed.cached_tokens >= 304
    assert consumed.prompt_tokens - consumed.cached_tokens <= 200


def test_what_is_computed_again_after_a_preemption_is_not_found_in_a_cache() -> None:
    """It was computed for this request, and is charged to it once."""
    engine = BatchEngine(Profile("small", SERVER.cost, 480, max_seqs=4, token_budget=100))
    names = tuple(range(1, 13))
    engine.add(Request("old", "", 200, 80, 80))
    engine.add(Request("new", "", 200, 80, 80, names))
    changes = {c.id: c for c in engine.run_until(1e6) if c.finished}
    assert engine.preemptions > 0
    assert changes["new"].cached_tokens == 0
