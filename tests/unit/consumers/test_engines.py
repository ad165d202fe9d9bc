"""The live engines: the pure one on a clock, one that burns, and one that does nothing."""

from __future__ import annotations

import pytest

from parallax.consumers.engines.clock import ClockEngine
from parallax.consumers.engines.cpu import CpuEngine, calibrated
from parallax.consumers.engines.factory import build_engine
from parallax.consumers.engines.interface import Engine, Progress
from parallax.consumers.engines.noop import NoopEngine
from parallax.core.clock import ManualClock
from parallax.core.errors import InvalidInput
from parallax.engine.batch import BatchEngine
from parallax.engine.profiles import PROFILES
from parallax.engine.request import Request

PROFILE = PROFILES["llama3-8b-a100"]


class Burner:
    """Burns units of work on a manual clock: `rate` of them in a millisecond."""

    def __init__(self, clock: ManualClock, rate: float) -> None:
        self.clock, self.rate, self.units = clock, rate, 0

    def __call__(self, units: int) -> None:
        self.units += units
        self.clock.wait(units / self.rate / 1000)


def ended(engine: Engine, clock: ManualClock) -> dict[str, Progress]:
    """Work until there is nothing left to do."""
    done: dict[str, Progress] = {}
    while (due := engine.next_due(clock.monotonic())) is not None:
        clock.wait(max(0.0, due - clock.monotonic()) + 1e-9)  # a real clock never stands still
        done |= {p.id: p for p in engine.advance(clock.monotonic()) if p.finished}
    return done


def modelled_ms(*requests: Request) -> dict[str, float]:
    pure = BatchEngine(PROFILE)
    for request in requests:
        pure.add(request)
    return {change.id: change.at_ms for change in pure.run_until(1e9) if change.finished}


@pytest.mark.parametrize("speed", [1.0, 5.0])
def test_the_clock_engine_takes_the_modelled_time_over_its_speed(speed: float) -> None:
    clock = ManualClock(1_000.0)
    engine = ClockEngine(PROFILE, speed, clock)
    requests = [Request(f"r{n}", "", 100 * n, 50, 10 + n) for n in range(5)]
    for request in requests:
        engine.add(request, clock.monotonic())
    done = ended(engine, clock)
    for name, at_ms in modelled_ms(*requests).items():
        assert done[name].at - 1_000.0 == pytest.approx(at_ms / 1000 / speed)


def test_being_polled_late_does_not_lengthen_the_service() -> None:
    clock = ManualClock()
    engine = ClockEngine(PROFILE, 1.0, clock)
    engine.add(Request("r", "", 100, 50, 10), clock.monotonic())
    clock.wait(60.0)
    (first, *_, last) = engine.advance(clock.monotonic())
    assert (
        first.at <= last.at == pytest.approx(modelled_ms(Request("r", "", 100, 50, 10))["r"] / 1e3)
    )


def test_an_idle_clock_engine_starts_when_work_comes() -> None:
    clock = ManualClock()
    engine = ClockEngine(PROFILE, 1.0, clock)
    clock.wait(30.0)
    engine.add(Request("r", "", 100, 50, 10), clock.monotonic())
    assert ended(engine, clock)["r"].at > 30.0


def test_the_cpu_engine_burns_in_proportion_to_the_modelled_time() -> None:
    clock = ManualClock()
    burner = Burner(clock, rate=50.0)
    engine = CpuEngine(PROFILE, 1.0, clock, burner)
    assert engine.units_per_ms == pytest.approx(50.0)
    burner.units = 0
    request = Request("r", "", 100, 50, 10)
    engine.add(request, clock.monotonic())
    ended(engine, clock)
    assert burner.units == pytest.approx(50.0 * modelled_ms(request)["r"], rel=0.01)


def test_calibration_is_the_median_of_a_noisy_machine() -> None:
    clock = ManualClock()
    rates = iter([10.0, 50.0, 50.0, 51.0, 500.0])

    def burner(units: int) -> None:
        clock.wait(units / next(rates) / 1000)

    assert calibrated(clock, burner) == pytest.approx(50.0)


def test_the_noop_engine_ends_everything_at_once() -> None:
    engine = NoopEngine(2)
    for n in range(2):
        engine.add(Request(f"r{n}", "", 10, 5, 3), 0.0)
    assert engine.room == 0
    done = engine.advance(7.0)
    assert [(p.id, p.at, p.output_tokens, p.finished) for p in done] == [
        ("r0", 7.0, 3, True), ("r1", 7.0, 3, True),
    ]  # fmt: skip
    assert engine.next_due(7.0) is None
    assert engine.room == 2


@pytest.mark.parametrize("kind", ["cpu", "clock", "noop"])
def test_every_kind_is_built_and_says_what_it_is(kind: str) -> None:
    clock = ManualClock()
    if kind == "cpu":
        engine: Engine = CpuEngine(PROFILE, 1.0, clock, Burner(clock, 10.0))
    else:
        engine = build_engine(kind, profile="laptop", slots=3, speed=1.0, clock=clock)
        assert engine.slots == 3
    assert engine.name == kind
    assert all(isinstance(value, str | int | float) for value in engine.describe().values())


@pytest.mark.parametrize(
    ("options", "field"),
    [
        ({"kind": "gpu"}, "--engine"), ({"profile": "x"}, "profile"), ({"speed": 0.0}, "--speed"),
        ({"speed": float("nan")}, "--speed"), ({"slots": 0}, "--slots"),
    ],
)  # fmt: skip
def test_bad_options_are_refused_by_name(options: dict[str, object], field: str) -> None:
    given = {"kind": "noop", "profile": "laptop", "slots": None, "speed": 1.0} | options
    kind = str(given.pop("kind"))
    with pytest.raises(InvalidInput, match=field):
        build_engine(kind, clock=ManualClock(), **given)  # type: ignore[arg-type]
